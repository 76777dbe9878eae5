#pragma once

/* One try of one exchange: a transport with the profile's time-outs around it, which holds the
 * answer back until it is known what to do with it. */

#include <event2/buffer.h>
#include <stdbool.h>
#include <stddef.h>

#include "config/option.h"
#include "net/transport.h"

struct attempt;

struct answer {
	int status;
	char *reason;
	struct fields fields;
	struct evbuffer *held; /* the body so far */
	bool complete;         /* nothing follows */
	bool event_stream;     /* a 2xx with text/event-stream */
	char error_code[64];   /* error.code, or what stands for it, of a body that is JSON */
};

struct attempt_request {
	struct pool *pool;
	struct transport_request transport;
	const struct profile_options *profile; /* its time-outs and hold_body */
	msec_t deadline;                       /* of the exchange */
};

/* Callbacks come from the loop, never inside attempt_start(), and none after on_end, on_failure
 * or attempt_cancel(). */
struct attempt_handler {
	/* The head is here, and of the body what is held: all of it, or more than may be held.
	 * The answer is the attempt's. The attempt is over if it is complete. */
	void (*on_answer)(void *arg, struct answer *answer);
	void (*on_body)(void *arg, struct evbuffer *piece);
	void (*on_end)(void *arg);
	/* Before or after on_answer: no answer, or not a whole one. */
	void (*on_failure)(void *arg, const struct failure *failure);
};

struct attempt *attempt_start(struct event_base *base, const struct attempt_request *request,
	const struct attempt_handler *handler, void *arg);
/* Closes what is open and frees the attempt, in any state; NULL is fine. */
void attempt_cancel(struct attempt *attempt);
void attempt_pause(struct attempt *attempt);
void attempt_resume(struct attempt *attempt);

const struct transport_facts *attempt_facts(const struct attempt *attempt);
enum phase attempt_phase(const struct attempt *attempt);
msec_t attempt_total_ms(const struct attempt *attempt);
