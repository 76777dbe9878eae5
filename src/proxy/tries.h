#pragma once

/* What an exchange has tried so far, and what follows from how the last try went: the retry
 * decision with its facts, and the upstream's pace and breakers told of them. Lives inside its
 * exchange. */

#include <stdbool.h>

#include "policy/retry.h"
#include "proxy/record.h"
#include "proxy/upstream.h"

struct answer;

struct tries {
	bool replaced; /* a dead kept connection was replaced */
	int before;    /* of record.attempts: made for another model or upstream */
	int throttled; /* 429s */
	int scale_ups; /* answers of a deployment that starts */
	msec_t scaling_since;
	msec_t delay_ms; /* before the current attempt */
};

/* Judges the last attempt, of which `record` has the facts: with an answer, or (NULL) without one.
 * `random` is uniform in [0, 1). */
struct retry_verdict tries_judge(struct tries *tries, struct record *record,
	const struct answer *answer, struct ticket *ticket, msec_t deadline, double random);
/* Tells the upstream how an attempt went, where nothing else is to be decided. */
void tries_tell(const struct record *record, const struct answer *answer, struct ticket *ticket);
/* Another model or upstream is asked from now on. */
void tries_start_over(struct tries *tries, struct record *record);
