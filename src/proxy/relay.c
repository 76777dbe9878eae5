#include "proxy/relay.h"

#include <stdlib.h>
#include <string.h>

enum { QUEUE_LIMIT = 256 << 10 }; /* bytes that may wait for a slow client */

/* Behind the comments of an early head it would no longer stand at the beginning, and be taken for
 * a part of a field's name. */
static void drop_bom(struct evbuffer *piece)
{
	char start[3];

	if (evbuffer_copyout(piece, start, sizeof(start)) == 3 &&
		memcmp(start, "\xef\xbb\xbf", 3) == 0)
		evbuffer_drain(piece, 3);
}

void relay_body(struct relay *relay, struct evbuffer *piece)
{
	if (relay->may_have_bom)
		drop_bom(piece);
	relay->may_have_bom = false;
	relay->passed += evbuffer_get_length(piece);
	client_send(relay->client, piece);
	if (!relay->paused && relay->attempt && client_queued(relay->client) > QUEUE_LIMIT) {
		relay->paused = true;
		attempt_pause(relay->attempt);
	}
}

void relay_start(struct relay *relay, struct client *client, struct attempt *attempt,
	struct answer *answer, const struct fields *fields, bool last)
{
	const char *length = fields ? fields_get(fields, "Content-Length") : NULL;

	relay->client = client;
	relay->attempt = attempt;
	relay->bodiless = !client_takes_body(client, answer->status);
	relay->event_stream = answer->event_stream;
	relay->may_have_bom = !fields;
	relay->promised = length ? strtoll(length, NULL, 10) : -1;
	if (fields)
		client_start(client, answer->status, answer->reason, fields, last);
	if (evbuffer_get_length(answer->held) > 0)
		relay_body(relay, answer->held);
}

enum error relay_end(struct relay *relay)
{
	bool any_length = relay->promised < 0 || relay->bodiless;

	if (!any_length && relay->passed != (uint64_t)relay->promised)
		return ERROR_HTTP_RESPONSE_INCOMPLETE;
	relay->ended = true;
	client_end(relay->client);
	return ERROR_NONE;
}

void relay_on_drained(struct relay *relay)
{
	if (!relay->paused || !relay->attempt)
		return;
	relay->paused = false;
	attempt_resume(relay->attempt);
}
