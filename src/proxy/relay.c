#include "proxy/relay.h"

#include <stdlib.h>

#include "base/str.h"
#include "proxy/message.h"

enum {
	QUEUE_LIMIT = 256 << 10, /* bytes that may wait for a slow client */
	EVENT_LIMIT = 64 << 10,  /* a larger event goes out in pieces */
};

static void pass_on(struct relay *relay, struct evbuffer *piece)
{
	relay->passed += evbuffer_get_length(piece);
	client_send(relay->client, piece);
	if (!relay->paused && client_queued(relay->client) > QUEUE_LIMIT) {
		relay->paused = true;
		attempt_pause(relay->attempt);
	}
}

static void note_event(struct relay *relay, const char *event, size_t len)
{
	enum sse_kind kind = relay->torn
				     ? relay->torn_kind
				     : sse_classify(relay->dialect, event, len, &relay->choices);

	relay->terminated |= kind == SSE_TERMINAL;
	relay->torn = false;
}

/* Takes bytes of the stream; the events that end in them are noted. How many bytes of `pending`
 * and these may go out. */
static size_t scan(struct relay *relay, const char *bytes, size_t len)
{
	size_t old = evbuffer_get_length(relay->pending), whole = 0, event;
	size_t done = 0;

	evbuffer_add(relay->pending, bytes, len);
	while (!relay->terminated &&
		(event = sse_scan(&relay->scanner, bytes + done, len - done)) > 0) {
		size_t end = old + done + event;
		const char *all = (const char *)evbuffer_pullup(relay->pending, (ev_ssize_t)end);

		note_event(relay, all + whole, end - whole);
		done += event;
		whole = end;
	}
	return whole;
}

/* The begun event is too large to wait for its end; its name stands in its first part. */
static void tear(struct relay *relay)
{
	size_t len = evbuffer_get_length(relay->pending);

	if (!relay->torn)
		relay->torn_kind = sse_classify(relay->dialect,
			(const char *)evbuffer_pullup(relay->pending, -1), len, &relay->choices);
	relay->torn = true;
}

static void pass_events(struct relay *relay, const char *bytes, size_t len)
{
	size_t whole = scan(relay, bytes, len);
	struct evbuffer *ready = evbuffer_new();

	if (!ready)
		abort();
	evbuffer_remove_buffer(relay->pending, ready, whole);
	if (relay->terminated) { /* nothing behind the terminal event passes */
		evbuffer_drain(relay->pending, evbuffer_get_length(relay->pending));
	} else if (evbuffer_get_length(relay->pending) > EVENT_LIMIT) {
		tear(relay);
		evbuffer_add_buffer(ready, relay->pending);
	}
	if (evbuffer_get_length(ready) > 0)
		pass_on(relay, ready);
	evbuffer_free(ready);
}

void relay_body(struct relay *relay, struct evbuffer *piece)
{
	if (!relay->event_stream && !relay->ended)
		pass_on(relay, piece);
	while (relay->event_stream && !relay->terminated && evbuffer_get_length(piece) > 0) {
		size_t len = evbuffer_get_contiguous_space(piece);

		pass_events(relay, (const char *)evbuffer_pullup(piece, (ev_ssize_t)len), len);
		evbuffer_drain(piece, len);
	}
}

void relay_start(struct relay *relay, struct client *client, struct attempt *attempt,
	struct answer *answer, const char *path, const struct fields *fields, bool last)
{
	const char *length = fields_get(fields, "Content-Length");

	relay->client = client;
	relay->attempt = attempt;
	relay->bodiless = !client_takes_body(client, answer->status);
	relay->event_stream =
		answer->event_stream && !relay->bodiless && !fields_get(fields, "Content-Encoding");
	relay->dialect = sse_dialect_of(path);
	relay->promised = length ? strtoll(length, NULL, 10) : -1;
	relay->pending = evbuffer_new();
	if (!relay->pending)
		abort();
	client_start(client, answer->status, answer->reason, fields, last);
	if (evbuffer_get_length(answer->held) > 0)
		relay_body(relay, answer->held);
}

/* The last event may lack its empty line. */
static void pass_last_event(struct relay *relay)
{
	size_t len = evbuffer_get_length(relay->pending);
	const char *event = (const char *)evbuffer_pullup(relay->pending, -1);

	if (!len)
		return;
	note_event(relay, event, len);
	if (relay->terminated || sse_choices_done(&relay->choices) || relay->dialect == SSE_PLAIN)
		pass_on(relay, relay->pending);
}

enum error relay_end(struct relay *relay)
{
	bool any_length = relay->promised < 0 || relay->bodiless;

	if (relay->event_stream)
		pass_last_event(relay);
	if (!any_length && relay->passed != (uint64_t)relay->promised)
		return ERROR_HTTP_RESPONSE_INCOMPLETE;
	if (relay->event_stream && relay->dialect != SSE_PLAIN && !relay->terminated &&
		!sse_choices_done(&relay->choices))
		return ERROR_STREAM_TRUNCATED;
	relay->ended = true;
	client_end(relay->client);
	return ERROR_NONE;
}

void relay_break(struct relay *relay, enum error error, const char *message)
{
	_cleanup_str_ struct str event = STR_NULL;

	if (relay->event_stream) {
		if (relay->torn)
			str_add(&event, "\n\n");
		message_render_error_event(error, message, &event);
	}
	client_break(relay->client, str_text(&event));
}

void relay_on_drained(struct relay *relay)
{
	if (!relay->paused || !relay->attempt)
		return;
	relay->paused = false;
	attempt_resume(relay->attempt);
}

void relay_fini(struct relay *relay)
{
	if (relay->pending)
		evbuffer_free(relay->pending);
}
