#include "proxy/guard.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/budget.h"
#include "base/mem.h"
#include "base/str.h"
#include "config/config.h"
#include "net/buffer.h"
#include "net/http1_feed.h"
#include "net/socket.h"
#include "net/timer.h"
#include "policy/access.h"
#include "policy/header.h"

enum {
	MAX_FIELDS = 200,
	PIPELINE_LIMIT = 64 << 10, /* bytes behind a request that waits for its answer */
	RATE_WINDOW_MS = 30 * 1000,
	RATE_BYTES = 30 << 10, /* the least of a body in that time */
};

/*   IDLE --> HEAD --> BODY --> PASSED --> IDLE      PASSED: evhttp has it; its answer is due
 *             |        |                            REFUSED: answered; nothing more is read
 *             +--------+--> REFUSED                                                        */
enum guard_state { GUARD_IDLE, GUARD_HEAD, GUARD_BODY, GUARD_PASSED, GUARD_REFUSED };

struct guard {
	enum guard_state state;
	struct guard_options options;
	struct bufferevent *bev;
	struct http1_reader *reader;
	struct timer *timer;
	struct evbuffer *hold; /* what has come and was not read */
	bool busy;             /* our own moves call us, too */
	bool in_read;          /* evhttp's read callback follows by itself */
	bool peer_known;       /* whoever has connected may */
	struct received request;
	struct evbuffer *piece, *body;
	size_t reserved;
	msec_t last_progress, window;
	size_t window_bytes;
};

static void guard_on_timer(void *arg);

struct guard *guard_new(struct bufferevent *bev, const struct guard_options *options)
{
	struct guard *guard = xcalloc(1, sizeof(*guard));
	struct http1_limits limits = {options->max_head, MAX_FIELDS};

	guard->options = *options;
	if (options->config)
		config_ref(options->config);
	guard->bev = bev;
	guard->reader = http1_new(HTTP1_REQUEST, &limits);
	guard->timer = timer_new(bufferevent_get_base(bev), guard_on_timer, guard);
	guard->hold = evbuffer_new();
	guard->piece = evbuffer_new();
	guard->body = evbuffer_new();
	if (!guard->hold || !guard->piece || !guard->body)
		abort();
	return guard;
}

static void give_back(struct guard *guard)
{
	budget_give(guard->options.memory, (int64_t)guard->reserved);
	guard->reserved = 0;
	evbuffer_drain(guard->body, evbuffer_get_length(guard->body));
}

void guard_free(struct guard *guard)
{
	give_back(guard);
	config_unref(guard->options.config);
	timer_free(guard->timer);
	http1_free(guard->reader);
	evbuffer_free(guard->hold);
	evbuffer_free(guard->piece);
	evbuffer_free(guard->body);
	free(guard);
}

/* ---- What evhttp gets: a head that says no more than it must know. */

static void tell_evhttp(struct guard *guard, const char *method, int minor, bool close)
{
	_cleanup_str_ struct str head = STR_NULL;

	timer_stop(guard->timer);
	str_addf(&head, "%s / HTTP/1.%d\r\nHost: andiron\r\n%s\r\n", method, minor,
		close ? "Connection: close\r\n" : "");
	guard->busy = true;
	/* The end of the input is frozen outside of reads; its beginning is not. */
	evbuffer_prepend(bufferevent_get_input(guard->bev), head.data, head.len);
	guard->busy = false;
	if (!guard->in_read)
		bufferevent_trigger(guard->bev, EV_READ, 0);
}

static void refuse(struct guard *guard, int status, enum error error, const char *why)
{
	const struct http1_head *head = guard->request.head;

	guard->state = GUARD_REFUSED;
	guard->request.status = status;
	guard->request.error = error;
	guard->request.why = why;
	guard->request.fields = &http1_head(guard->reader)->fields;
	give_back(guard);
	evbuffer_drain(guard->hold, evbuffer_get_length(guard->hold));
	tell_evhttp(guard, head && str_same(head->method, "HEAD") ? "HEAD" : "GET", 1, true);
}

static void pass(struct guard *guard)
{
	const struct http1_head *head = http1_head(guard->reader);

	guard->state = GUARD_PASSED;
	guard->request.fields = &head->fields;
	tell_evhttp(guard, head->method, head->minor, !http1_persists(guard->reader));
}

/* ---- Judging. */

static bool reserve(struct guard *guard, size_t bytes)
{
	if (!budget_take(guard->options.memory, (int64_t)bytes)) {
		refuse(guard, 503, ERROR_CONNECTION_LIMIT_REACHED,
			"the requests that are under way fill max_memory");
		return false;
	}
	guard->reserved += bytes;
	return true;
}

static bool is_known_method(const char *method)
{
	static const char *const known[] = {
		"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", NULL};

	for (size_t i = 0; known[i]; i++) {
		if (str_same(method, known[i]))
			return true;
	}
	return false;
}

/* What is refused whatever the target; false if it was. */
static bool check_method(struct guard *guard, const struct http1_head *head)
{
	bool has_body = head->framing == HTTP1_CHUNKED || head->length > 0;
	bool is_read = str_same(head->method, "GET") || str_same(head->method, "HEAD");

	if (str_same(head->method, "TRACE") || str_same(head->method, "CONNECT"))
		refuse(guard, 405, ERROR_HTTP_REQUEST_ERROR,
			"TRACE and CONNECT are no methods that a proxy for an API serves");
	else if (!is_known_method(head->method))
		refuse(guard, 501, ERROR_HTTP_REQUEST_ERROR, "this method is not known");
	else if (is_read && has_body)
		refuse(guard, 400, ERROR_HTTP_REQUEST_ERROR,
			"a GET or HEAD request cannot have a body");
	else
		return true;
	return false;
}

/* `100-continue` is answered at once; nothing else can be expected (RFC 9110, 10.1.1). */
static bool check_expect(struct guard *guard, const struct http1_head *head)
{
	const char *expect = fields_get(&head->fields, "Expect");
	static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";

	if (!expect || head->minor == 0)
		return true;
	if (!str_same_nocase(expect, "100-continue") || fields_count(&head->fields, "Expect") > 1) {
		refuse(guard, 417, ERROR_HTTP_REQUEST_ERROR, "Expect can only be 100-continue");
		return false;
	}
	/* Past evhttp, which would take the end of this writing for that of an answer. Nothing of
	 * an earlier answer can be waiting: the guard reads one request at a time. */
	if (head->framing != HTTP1_NO_BODY && evbuffer_get_length(guard->hold) == 0)
		(void)!send(bufferevent_getfd(guard->bev), go_on, sizeof(go_on) - 1,
			MSG_DONTWAIT | MSG_NOSIGNAL);
	return true;
}

static bool take_head(struct guard *guard)
{
	const struct http1_head *head = http1_head(guard->reader);

	guard->request.head = head;
	guard->request.has_body = head->framing != HTTP1_NO_BODY;
	if (!check_method(guard, head))
		return false;
	if (head->framing == HTTP1_LENGTH && head->length > guard->options.max_body) {
		refuse(guard, 413, ERROR_HTTP_REQUEST_ERROR, "the body is larger than max_body");
		return false;
	}
	if (head->framing == HTTP1_LENGTH && !reserve(guard, (size_t)head->length))
		return false;
	if (!check_expect(guard, head))
		return false;
	guard->state = GUARD_BODY;
	guard->last_progress = guard->window = clock_mono();
	guard->window_bytes = 0;
	timer_start(guard->timer, guard->options.timeout_ms);
	return true;
}

static void add_bytes(void *buffer, const void *bytes, size_t len)
{
	evbuffer_add(buffer, bytes, len);
}

/* More of the body has come; false if it is too much. It is copied: chains taken from the socket's
 * buffer are half empty, and would be kept so. */
static bool take_body(struct guard *guard)
{
	size_t len;

	buffer_each(guard->piece, add_bytes, guard->body);
	evbuffer_drain(guard->piece, evbuffer_get_length(guard->piece));
	len = evbuffer_get_length(guard->body);
	guard->last_progress = clock_mono();
	if (len > guard->options.max_body) {
		refuse(guard, 413, ERROR_HTTP_REQUEST_ERROR, "the body is larger than max_body");
		return false;
	}
	return len <= guard->reserved || reserve(guard, len - guard->reserved);
}

static bool take_step(struct guard *guard)
{
	switch (http1_feed(guard->reader, guard->hold, guard->piece)) {
	case HTTP1_HEAD:
		return take_head(guard);
	case HTTP1_BODY:
		return take_body(guard);
	case HTTP1_END:
		pass(guard);
		return false;
	case HTTP1_WRONG:
		refuse(guard, http1_error_status(guard->reader), ERROR_HTTP_REQUEST_ERROR,
			http1_error(guard->reader));
		return false;
	case HTTP1_MORE:
		break;
	}
	return false;
}

/* Of a Unix socket, before anything is read; the kernel knows who has connected. */
static void check_peer(struct guard *guard)
{
	const struct config *config = guard->options.config;
	unsigned user;

	if (!guard->peer_known && config &&
		socket_peer_user(bufferevent_getfd(guard->bev), &user) &&
		!access_user_is_listed(user, config->unix_users, config->unix_user_count))
		refuse(guard, 403, ERROR_HTTP_REQUEST_DENIED,
			"this user may not connect to this Unix socket; those who may are in "
			"unix_users in [server]");
	guard->peer_known = true;
}

/* Some clients end a body with an empty line too many (RFC 9112, 2.2): no request begins with it.
 */
static bool is_empty_line(const struct guard *guard)
{
	char bytes[3];

	return evbuffer_copyout(guard->hold, bytes, sizeof(bytes)) == 2 &&
	       memcmp(bytes, "\r\n", 2) == 0;
}

static void judge(struct guard *guard)
{
	if (guard->state == GUARD_IDLE && is_empty_line(guard))
		evbuffer_drain(guard->hold, 2);
	if (guard->state == GUARD_IDLE && evbuffer_get_length(guard->hold) > 0) {
		guard->state = GUARD_HEAD;
		timer_start(guard->timer, guard->options.timeout_ms);
		check_peer(guard);
	}
	while ((guard->state == GUARD_HEAD || guard->state == GUARD_BODY) && take_step(guard))
		;
}

/* ---- Time. */

static bool is_too_slow(struct guard *guard, msec_t now)
{
	size_t len = evbuffer_get_length(guard->body);

	if (now - guard->last_progress >= guard->options.timeout_ms)
		return true;
	if (now - guard->window < RATE_WINDOW_MS)
		return false;
	if (len - guard->window_bytes < RATE_BYTES)
		return true;
	guard->window = now;
	guard->window_bytes = len;
	return false;
}

static void guard_on_timer(void *arg)
{
	struct guard *guard = arg;
	msec_t now = clock_mono();

	if (guard->state == GUARD_HEAD) {
		refuse(guard, 408, ERROR_HTTP_REQUEST_ERROR,
			"the head of the request did not come within header_timeout");
		return;
	}
	if (guard->state != GUARD_BODY)
		return;
	if (is_too_slow(guard, now)) {
		refuse(guard, 408, ERROR_HTTP_REQUEST_ERROR,
			"the body of the request comes too slowly (header_timeout without a byte, "
			"or less than 1 KiB/s)");
		return;
	}
	msec_t silent = guard->last_progress + guard->options.timeout_ms - now;
	msec_t window = guard->window + RATE_WINDOW_MS - now;

	timer_start(guard->timer, silent < window ? silent : window);
}

/* ---- The connection's events. */

/* Into `hold`. What waits behind a request is copied: chains taken from the socket's buffer are a
 * kilobyte each, and would be kept so, however few bytes a client sends at a time. */
static void take_input(struct guard *guard, struct evbuffer *input)
{
	guard->busy = true;
	if (guard->state == GUARD_PASSED) {
		buffer_each(input, add_bytes, guard->hold);
		evbuffer_drain(input, evbuffer_get_length(input));
	} else {
		evbuffer_add_buffer(guard->hold, input);
	}
	guard->busy = false;
}

bool guard_on_input(struct guard *guard)
{
	struct evbuffer *input = bufferevent_get_input(guard->bev);

	if (guard->busy)
		return true;
	take_input(guard, input);
	if (guard->state == GUARD_REFUSED)
		evbuffer_drain(guard->hold, evbuffer_get_length(guard->hold));
	if (guard->state == GUARD_PASSED)
		return evbuffer_get_length(guard->hold) <= PIPELINE_LIMIT;
	guard->in_read = true;
	judge(guard);
	guard->in_read = false;
	return true;
}

void guard_shut(struct guard *guard)
{
	guard->state = GUARD_REFUSED;
	timer_stop(guard->timer);
}

bool guard_has_refused(const struct guard *guard)
{
	return guard->state == GUARD_REFUSED;
}

bool guard_is_reading(const struct guard *guard)
{
	return guard->state == GUARD_HEAD || guard->state == GUARD_BODY;
}

struct received guard_take(struct guard *guard)
{
	struct received request = guard->request;

	request.body = guard->body;
	request.fd = bufferevent_getfd(guard->bev);
	request.reserved = guard->reserved;
	guard->reserved = 0;
	return request;
}

void guard_next(struct guard *guard)
{
	if (guard->state != GUARD_PASSED)
		return;
	give_back(guard);
	guard->request = (struct received){.head = NULL};
	guard->state = GUARD_IDLE;
	http1_begin(guard->reader, false);
	guard->in_read = true; /* evhttp goes on reading by itself after an answer */
	judge(guard);
	guard->in_read = false;
}
