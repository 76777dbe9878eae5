#pragma once

/* When the client gives up, from what it announces and what its kind is known to do, and what
 * andiron does before that. All durations in milliseconds. */

#include <stdbool.h>

#include "base/clock.h"

struct client_announcement {
	/* X-Stainless-Timeout (to the head of the answer), X-Stainless-Read-Timeout (between
	 * bytes), both in seconds, whole or fractional; X-Stainless-Lang; User-Agent. NULL: not
	 * sent. */
	const char *timeout, *read_timeout, *lang, *user_agent;
	bool stream;
};

struct client_limits {
	msec_t first_byte_ms; /* it waits so long for the first byte; MSEC_NEVER: no end is known */
	msec_t silence_ms;    /* and so long between two bytes of a stream */
};

/* Node's fetch gives up after 300 s whatever its SDK announces; a stream's client that announces
 * nothing is taken to do so, too. What is no number above 0 counts as not sent. */
struct client_limits client_limits_of(const struct client_announcement *announced);

/* How long after its arrival a request must have its answer: 10 % before the limit, at least
 * 250 ms, at most 2 s, but not before half of it. MSEC_NEVER stays. */
msec_t client_limit_answer_ms(msec_t limit_ms);
/* When a stream's client gets its early 200: a tenth of the limit before it, 1 to 15 s, but not
 * before half of it. MSEC_NEVER stays. */
msec_t client_limit_patience_ms(msec_t limit_ms);
/* How often a silence is filled: a third of the limit, at most 15 s, also for MSEC_NEVER. */
msec_t client_limit_filler_ms(msec_t limit_ms);
