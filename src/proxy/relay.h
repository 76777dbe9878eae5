#pragma once

/* The body of an upstream's answer on its way to the client, with backpressure both ways, and its
 * honest end: whole, or so that nobody takes it for whole. Lives inside its exchange. */

#include <stdbool.h>
#include <stdint.h>

#include "policy/failure.h"
#include "proxy/attempt.h"
#include "proxy/client.h"

struct relay {
	struct client *client;
	struct attempt *attempt; /* NULL: the upstream's side is over */
	bool paused, ended;
	bool bodiless;     /* HEAD, 204, 304 */
	bool event_stream; /* an error can be told as an event */
	bool may_have_bom; /* which must not stand behind an early head's comments */
	int64_t promised;  /* Content-Length; -1: none */
	uint64_t passed;
};

/* Sends status and fields (the commit point is the caller's; NULL: the client has its head), and
 * what of the body is held. The relay is zeroed. */
void relay_start(struct relay *relay, struct client *client, struct attempt *attempt,
	struct answer *answer, const struct fields *fields, bool last);
void relay_body(struct relay *relay, struct evbuffer *piece);
/* The upstream has ended the answer. ERROR_NONE if it is whole: it is handed to the client,
 * nothing more passes, and the exchange may be over; else what it lacks, and the caller breaks it
 * off. */
enum error relay_end(struct relay *relay);
/* The client has taken everything: the upstream may go on. */
void relay_on_drained(struct relay *relay);
