#pragma once

/* One try of one exchange: a transport with the profile's time-outs around it, which holds the
 * answer back until it is known what to do with it. */

#include <stdbool.h>
#include <stddef.h>

#include "config/option.h"
#include "net/transport.h"
#include "policy/sse.h"
#include "proxy/answer.h"

struct attempt;
struct budget;

struct attempt_request {
	struct pool *pool;
	struct budget *memory; /* what is held counts there; what does not fit passes unheld */
	struct transport_request transport;
	const struct profile_options *profile; /* its time-outs and what it holds */
	msec_t asked_at, deadline;             /* of the exchange */
	const char *deadline_name;             /* whose that is, for people */
	enum sse_dialect dialect;              /* of a stream, should it be one */
	struct answer_expectation expected;
};

/* Callbacks come from the loop, never inside attempt_start(), and none after on_end, on_failure
 * or attempt_cancel(). */
struct attempt_handler {
	/* The head is here, and of the body what is held: all of it, more than may be held, or of
	 * a stream what ends with its first event. The answer is the attempt's. The attempt is
	 * over if it is complete. */
	void (*on_answer)(void *arg, struct answer *answer);
	/* Of a stream: whole events (or pieces of one that is very large). */
	void (*on_body)(void *arg, struct evbuffer *piece);
	/* The answer is whole; a stream has said its last word. */
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

/* What the upstream said in the error event that broke its stream, or NULL. */
const struct soft_error *attempt_stream_error(const struct attempt *attempt);
/* Is the head of an answer here? */
bool attempt_is_answered(const struct attempt *attempt);
/* Has a part of an event gone out, and not yet its end? */
bool attempt_is_torn(const struct attempt *attempt);

const struct transport_facts *attempt_facts(const struct attempt *attempt);
enum phase attempt_phase(const struct attempt *attempt);
msec_t attempt_total_ms(const struct attempt *attempt);
