#include "net/question.h"

#include <errno.h>
#include <event2/dns.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "net/socket.h"
#include "net/timer.h"

struct question {
	struct evdns_base *evdns;
	struct evdns_request *request; /* NULL: evdns will not call back (any more) */
	struct timer *timer;           /* the limit; at once if it could not be sent */
	int code;                      /* if the timer ends it */
	question_on_answer *on_answer; /* NULL: cancelled */
	void *arg;
};

static void question_free(struct question *question)
{
	timer_free(question->timer);
	/* Fails no requests: there are none, and evdns would touch the freed server of a probe. */
	if (question->evdns)
		evdns_base_free(question->evdns, 0);
	free(question);
}

static void question_on_timer(void *arg)
{
	struct question *question = arg;
	struct question_answer answer = {.code = question->code};
	question_on_answer *on_answer = question->on_answer;
	void *owner = question->arg;

	question_cancel(question);
	on_answer(owner, &answer);
}

/* Always from the loop: evdns defers its callbacks. What it does after this call touches neither
 * its base nor us, so that both can be freed here. */
static void question_on_reply(int code, char type, int count, int ttl, void *addresses, void *arg)
{
	struct question *question = arg;
	struct question_answer answer = {.code = code, .addresses = addresses};

	(void)type;
	question->request = NULL;
	timer_stop(question->timer);
	/* evdns takes SERVFAIL for a time-out. Its own limit is an hour, so this is no other. */
	if (code == DNS_ERR_TIMEOUT)
		answer.code = DNS_ERR_SERVERFAILED;
	/* A record of no bytes is a success without addresses to evdns. */
	if (code == DNS_ERR_NONE && count <= 0)
		answer.code = DNS_ERR_UNKNOWN;
	if (answer.code == DNS_ERR_NONE) {
		answer.count = (size_t)count;
		answer.ttl_ms = ttl > 0 ? (msec_t)ttl * 1000 : 0; /* < 0: RFC 2181, section 8 */
	}
	if (question->on_answer)
		question->on_answer(question->arg, &answer);
	question_free(question);
}

static struct evdns_base *new_evdns(struct event_base *base, const struct address *server)
{
	struct evdns_base *evdns = evdns_base_new(base, 0);

	if (!evdns)
		abort();
	evdns_base_set_option(evdns, "attempts:", "1");
	evdns_base_set_option(evdns, "timeout:", "3600");
	if (evdns_base_nameserver_sockaddr_add(evdns, &server->any, server->len, 0) == 0)
		return evdns;
	evdns_base_free(evdns, 0); /* a request without a server would wait for ever */
	return NULL;
}

static int send_question(struct question *question, struct event_base *base,
	const struct address *server, int family, const char *name)
{
	/* evdns takes a packet that could not be sent for one that was not answered. */
	int error_number = socket_route_errno(server);

	if (error_number)
		return -error_number;
	question->evdns = new_evdns(base, server);
	if (!question->evdns)
		return -ENOBUFS;
	/* NO_SEARCH: a trailing dot does not stop evdns's search list. */
	question->request = family == AF_INET
				    ? evdns_base_resolve_ipv4(question->evdns, name,
					      DNS_QUERY_NO_SEARCH, question_on_reply, question)
				    : evdns_base_resolve_ipv6(question->evdns, name,
					      DNS_QUERY_NO_SEARCH, question_on_reply, question);
	return question->request ? DNS_ERR_TIMEOUT : -EINVAL; /* too long a name or label */
}

struct question *question_start(struct event_base *base, const struct address *server, int family,
	const char *name, question_on_answer *on_answer, void *arg)
{
	struct question *question = xcalloc(1, sizeof(*question));

	question->on_answer = on_answer;
	question->arg = arg;
	question->timer = timer_new(base, question_on_timer, question);
	question->code = send_question(question, base, server, family, name);
	timer_start(question->timer, question->request ? QUESTION_LIMIT_MS : 0);
	return question;
}

void question_cancel(struct question *question)
{
	question->on_answer = NULL;
	timer_stop(question->timer);
	if (question->request)
		evdns_cancel_request(question->evdns, question->request); /* calls back, later */
	else
		question_free(question);
}

const char *question_code_text(int code)
{
	switch (code) {
	case DNS_ERR_FORMAT:
		return "FORMERR, it could not read the question";
	case DNS_ERR_SERVERFAILED:
		return "SERVFAIL, it could not find out";
	case DNS_ERR_NOTEXIST:
		return "NXDOMAIN, there is no such name";
	case DNS_ERR_NOTIMPL:
		return "NOTIMP, it does not answer such questions";
	case DNS_ERR_REFUSED:
		return "REFUSED, it does not answer this machine";
	case DNS_ERR_TRUNCATED:
		return "TC, a truncated answer: too long for UDP";
	case DNS_ERR_NODATA:
		return "NODATA, the name has no such address";
	case DNS_ERR_TIMEOUT:
		return "no answer";
	default:
		return code < 0 ? strerror(-code) : "an answer that makes no sense";
	}
}
