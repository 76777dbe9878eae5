#include "net/resolver.h"

#include <event2/dns.h>
#include <event2/event.h>
#include <event2/util.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "net/timer.h"

struct resolver {
	struct event_base *base;
	struct evdns_base *evdns;
};

struct resolver_query {
	struct resolver *resolver;
	struct evdns_getaddrinfo_request *request; /* NULL: not running */
	struct timer *deliver; /* so that an answer at hand is not given inside resolver_start() */
	struct resolver_answer answer;
	unsigned short port;
	bool asking;                   /* evdns will still call back */
	resolver_on_answer *on_answer; /* NULL: cancelled */
	void *arg;
};

struct resolver *resolver_new(struct event_base *base)
{
	struct resolver *resolver = xcalloc(1, sizeof(*resolver));

	resolver->base = base;
	resolver->evdns = evdns_base_new(base, 0);
	if (!resolver->evdns)
		abort();
	/* No DNS_OPTION_SEARCH: a trailing dot does not stop evdns's search list. A missing file
	 * leaves the defaults (127.0.0.1), as resolv.conf(5) has it. */
	evdns_base_resolv_conf_parse(resolver->evdns,
		DNS_OPTION_NAMESERVERS | DNS_OPTION_MISC | DNS_OPTION_HOSTSFILE,
		"/etc/resolv.conf");
	evdns_base_set_option(resolver->evdns, "timeout:", "2");
	evdns_base_set_option(resolver->evdns, "attempts:", "3");
	evdns_base_set_option(resolver->evdns, "max-timeouts:", "100");
	return resolver;
}

void resolver_free(struct resolver *resolver)
{
	if (!resolver)
		return;
	evdns_base_free(resolver->evdns, 1);
	free(resolver);
}

static void query_free(struct resolver_query *query)
{
	timer_free(query->deliver);
	free(query);
}

static void query_on_deliver(void *arg)
{
	struct resolver_query *query = arg;

	query->on_answer(query->arg, &query->answer);
	query_free(query);
}

static void add_address(struct resolver_answer *answer, const struct address *address)
{
	if (answer->count < RESOLVER_MAX_ADDRESSES)
		answer->addresses[answer->count++] = *address;
}

static void add_ip(struct resolver_query *query, const char *ip)
{
	struct address address;

	if (address_from_ip(ip, query->port, &address))
		add_address(&query->answer, &address);
}

/* evdns tells NXDOMAIN from the rest, and no more: time-outs, SERVFAIL, REFUSED and truncated
 * answers all come as EVUTIL_EAI_FAIL. */
static void describe_failure(struct resolver_answer *answer, int result)
{
	char detail[128];

	snprintf(detail, sizeof(detail), "%s", evutil_gai_strerror(result));
	if (result == EVUTIL_EAI_NONAME || result == EVUTIL_EAI_NODATA)
		snprintf(detail, sizeof(detail), "NXDOMAIN: there is no such name");
	else if (result == EVUTIL_EAI_FAIL || result == EVUTIL_EAI_AGAIN)
		snprintf(detail, sizeof(detail), "no usable answer from the name servers");
	failure_set(&answer->failure, PHASE_DNS, ERROR_DNS_ERROR, detail);
}

static void query_on_addrinfo(int result, struct evutil_addrinfo *list, void *arg)
{
	struct resolver_query *query = arg;

	query->request = NULL;
	query->asking = false;
	for (struct evutil_addrinfo *item = list; item; item = item->ai_next) {
		struct address address;

		if (address_from_sockaddr(item->ai_addr, &address))
			add_address(&query->answer, &address);
	}
	if (list)
		evutil_freeaddrinfo(list);
	if (!query->on_answer) {
		query_free(query);
		return;
	}
	if (!query->answer.count)
		describe_failure(&query->answer, result);
	timer_start(query->deliver, 0); /* evdns may call back inside evdns_getaddrinfo() */
}

static void ask(struct resolver_query *query, const char *host)
{
	struct evutil_addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct evdns_getaddrinfo_request *request;
	_cleanup_free_ char *name = xstrdup(host);
	char port[8];

	for (char *p = name; *p; p++)
		*p = ascii_lower(*p); /* evdns compares the answer's case with the question's */
	snprintf(port, sizeof(port), "%u", query->port);
	query->asking = true;
	request = evdns_getaddrinfo(
		query->resolver->evdns, name, port, &hints, query_on_addrinfo, query);
	if (query->asking)
		query->request = request;
}

struct resolver_query *resolver_start(struct resolver *resolver, const char *host,
	unsigned short port, resolver_on_answer *on_answer, void *arg)
{
	struct resolver_query *query = xcalloc(1, sizeof(*query));

	query->resolver = resolver;
	query->port = port;
	query->on_answer = on_answer;
	query->arg = arg;
	query->deliver = timer_new(resolver->base, query_on_deliver, query);
	if (str_same_nocase(host, "localhost")) {
		add_ip(query, "127.0.0.1");
		add_ip(query, "::1");
	} else {
		add_ip(query, host);
	}
	if (query->answer.count)
		timer_start(query->deliver, 0);
	else
		ask(query, host);
	return query;
}

void resolver_cancel(struct resolver_query *query)
{
	query->on_answer = NULL;
	if (!query->asking) {
		query_free(query);
	} else if (query->request) {
		evdns_getaddrinfo_cancel(query->request); /* calls back later, with EAI_CANCEL */
		query->request = NULL;
	}
}
