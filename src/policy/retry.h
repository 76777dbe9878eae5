#pragma once

/* The retry decision: one pure function over the facts of a finished attempt. The rules are those
 * of docs/retries.md; a request is repeated only while nothing of an answer has gone to the
 * client, and only as far as its class allows. */

#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"
#include "policy/backoff.h"
#include "policy/class.h"
#include "policy/failure.h"

enum {
	RETRY_MAX_STATUSES = 32,
	RETRY_MAX_CLOSED_MS = 60000, /* a lane, whatever Retry-After asks for */
};

/* A request whose max_attempts is 1 is sent once and no more, whatever else would be free. */
struct retry_policy {
	int max_attempts;
	struct backoff backoff;
	msec_t retry_after_cap_ms;
	msec_t scale_up_wait_ms; /* for a deployment that starts; 0: that is an ordinary 503 */
	int statuses[RETRY_MAX_STATUSES]; /* those that may be retried; ends with 0 */
};

struct retry_facts {
	enum request_class request_class;
	bool inference;        /* path_is_inference() */
	int status;            /* a whole answer's; 0: there was none, `failure` says why */
	enum error error;      /* of an attempt without an answer */
	bool sent;             /* at least one byte of the request was written */
	bool reused;           /* on a connection that had carried a request before */
	bool answer_begun;     /* at least one byte of an answer has come */
	bool replaced;         /* a dead reused connection was replaced before */
	int attempts;          /* that count, made so far; this one included, unless it is free */
	int sends;             /* all but those that got a 429 or met a deployment that starts */
	bool probe;            /* it tried a closed lane for all others: it is free */
	bool paced;            /* 429s set a pace: the lane says when, and it is free */
	int throttled;         /* 429s so far, this one included */
	bool scaling_up;       /* the deployment starts: DEPLOYMENT_SCALING_UP */
	int scale_ups;         /* such answers so far, this one included */
	msec_t scaling_ms;     /* since the first of them */
	bool budget_empty;     /* the retry budget has no room */
	msec_t retry_after_ms; /* what the upstream asks for; -1: nothing */
	msec_t previous_ms;    /* the delay before this attempt */
	msec_t now, deadline;
	double random; /* uniform in [0, 1) */
};

enum retry_action {
	RETRY_RELAY,   /* hand the upstream's answer to the client */
	RETRY_AGAIN,   /* another attempt after `delay_ms` */
	RETRY_REPLACE, /* at once on a fresh connection; does not count as an attempt */
	RETRY_GIVE_UP, /* there is no answer to hand over: andiron's own error */
};

/* X(id, name, what it says): why, for the log; the first ones lead to another attempt. */
/* clang-format off */
#define RETRY_REASONS(X) \
	X(RETRY_REASON_STATUS, "status", "the status is in retry_statuses, and the class allows it") \
	X(RETRY_REASON_CONNECTION, "connection", "not a byte was sent: repeating is safe for every class") \
	X(RETRY_REASON_NO_ANSWER, "no_answer", "sent, and lost: repeated as the class allows it") \
	X(RETRY_REASON_REPLACED, "replaced", "a kept connection died before a byte of an answer: at once on a fresh one, once") \
	X(RETRY_REASON_PACED, "paced", "a 429 has cut the lane's pace: back at its old place in the queue, uncounted") \
	X(RETRY_REASON_PROBE, "probe", "it tried a closed lane for all that wait there, in vain: uncounted") \
	X(RETRY_REASON_SCALING_UP, "scaling_up", "the deployment starts: asked again for scale_up_wait, uncounted, until that is over") \
	X(RETRY_REASON_FINAL, "final", "nothing to retry: the status is none for it, or a part of the answer is out, or the client has left") \
	X(RETRY_REASON_CLASS, "class", "it may have been done already, and may not be done twice") \
	X(RETRY_REASON_ATTEMPTS, "attempts", "max_attempts (or X-Andiron-Max-Attempts) is used up") \
	X(RETRY_REASON_DEADLINE, "deadline", "the wait would not end before the request's deadline") \
	X(RETRY_REASON_RETRY_AFTER, "retry_after", "the upstream asks for a longer wait than retry_after_cap") \
	X(RETRY_REASON_BUDGET, "budget", "retry_budget is used up: failures may add only their share of requests") \
	X(RETRY_REASON_CERTIFICATE, "certificate", "a wrong certificate stays wrong")
/* clang-format on */

enum retry_reason {
#define RETRY_ENUM(id, ...) id,
	RETRY_REASONS(RETRY_ENUM)
#undef RETRY_ENUM
};

struct retry_verdict {
	enum retry_action action;
	msec_t delay_ms;
	enum retry_reason reason;
	bool is_free; /* the attempt does not count, nor draw on the retry budget */
};

/* Was it worth another attempt, and there is none left, or no time for it? */
bool retry_is_exhausted(enum retry_reason reason);
const char *retry_reason_name(enum retry_reason reason);

struct retry_verdict retry_decide(
	const struct retry_policy *policy, const struct retry_facts *facts);

/* May a request of this class be sent again after it was sent and got no answer? */
bool retry_may_resend(enum request_class request_class);

/* May this status be retried at all? */
bool retry_is_listed(const struct retry_policy *policy, int status);
