#include "policy/backoff.h"

#include <stddef.h>

const char *const jitter_names[] = {"additive", "full", "equal", "decorrelated", "none", NULL};

enum { ADDITIVE_JITTER_MS = 1000 }; /* the guide's uniform(0, 1) seconds */

static msec_t at_most(msec_t value, msec_t limit)
{
	return value < limit ? value : limit;
}

static msec_t share(msec_t of, double random)
{
	return (msec_t)((double)of * random);
}

static msec_t exponential(const struct backoff *backoff, int n)
{
	msec_t delay = backoff->base_ms;

	while (n-- > 0 && delay < backoff->cap_ms)
		delay *= 2;
	return at_most(delay, backoff->cap_ms);
}

msec_t backoff_delay(const struct backoff *backoff, int n, double random, msec_t previous_ms)
{
	msec_t delay = exponential(backoff, n);
	msec_t base = backoff->base_ms;
	msec_t previous = previous_ms > base ? previous_ms : base;

	switch (backoff->jitter) {
	case JITTER_ADDITIVE:
		return delay + share(ADDITIVE_JITTER_MS, random);
	case JITTER_FULL:
		return share(delay, random);
	case JITTER_EQUAL:
		return delay - delay / 2 + share(delay / 2, random);
	case JITTER_DECORRELATED:
		return at_most(base + share(previous * 3 - base, random), backoff->cap_ms);
	case JITTER_NONE:
		break;
	}
	return delay;
}
