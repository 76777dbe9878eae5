#pragma once

/* How long to wait before the next attempt: base * 2^n, capped, with one of five kinds of jitter.
 * `additive` is the formula of the Fireworks guide "Reliability and Error Handling". */

#include "base/clock.h"

enum jitter { JITTER_ADDITIVE, JITTER_FULL, JITTER_EQUAL, JITTER_DECORRELATED, JITTER_NONE };

extern const char *const jitter_names[];

struct backoff {
	msec_t base_ms;
	msec_t cap_ms;
	enum jitter jitter;
};

/* The delay after the n-th failed attempt, n from 0. `random` is uniform in [0, 1);
 * `previous_ms` is the delay before (for decorrelated jitter; 0 at first). */
msec_t backoff_delay(const struct backoff *backoff, int n, double random, msec_t previous_ms);
