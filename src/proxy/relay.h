#pragma once

/* The body of an upstream's answer on its way to the client, with backpressure both ways, and its
 * honest end: whole, or so that nobody takes it for whole. Of a stream each event goes out when
 * it is whole, so that a break leaves no half event in front of the error. Lives inside its
 * exchange. */

#include <stdbool.h>
#include <stdint.h>

#include "policy/failure.h"
#include "policy/sse.h"
#include "proxy/attempt.h"
#include "proxy/client.h"

struct relay {
	struct client *client;
	struct attempt *attempt; /* NULL: the upstream's side is over */
	bool paused, ended;
	bool bodiless;    /* HEAD, 204, 304 */
	int64_t promised; /* Content-Length; -1: none */
	uint64_t passed;
	/* of a stream: */
	bool event_stream;
	enum sse_dialect dialect;
	struct sse_choices choices;
	struct sse_scanner scanner;
	struct evbuffer *pending; /* the begun event */
	bool torn;                /* it was too large: a part of it has gone out */
	enum sse_kind torn_kind;  /* what that part said */
	bool terminated;          /* the terminal event has passed */
};

/* Sends status and fields (the commit point is the caller's), and what of the body is held. The
 * relay is zeroed; `path` says what ends a stream. */
void relay_start(struct relay *relay, struct client *client, struct attempt *attempt,
	struct answer *answer, const char *path, const struct fields *fields, bool last);
void relay_body(struct relay *relay, struct evbuffer *piece);
/* The upstream has ended the answer, or sent a stream's terminal event. ERROR_NONE if it is whole:
 * it is handed to the client, nothing more passes, and the exchange may be over; else what it
 * lacks, and the caller breaks it off. */
enum error relay_end(struct relay *relay);
/* The answer cannot be finished. */
void relay_break(struct relay *relay, enum error error, const char *message);
/* The client has taken everything: the upstream may go on. */
void relay_on_drained(struct relay *relay);
void relay_fini(struct relay *relay);
