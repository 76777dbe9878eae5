#pragma once

/* The request rate that an upstream's 429s set for a lane: CUBIC on requests per second, as
 * botocore's adaptive mode has it (retries/throttling.py), in front of a token bucket. There is
 * no pace until the first 429, and none any more when it has held nobody back for a while. 5xx
 * answers never touch it. */

#include <stdbool.h>

#include "base/clock.h"

struct pacer {
	bool enabled;
	double rate;     /* requests per second */
	double rate_max; /* before the last cut; 0: none since it began, it starts slowly */
	msec_t cut_at;   /* the last cut; MSEC_NEVER: none yet */
	double tokens;   /* sends that may go out now, when it was last filled: */
	msec_t filled_at;
	msec_t closed_until; /* what the upstream has asked for; 0: nothing */
	msec_t slow_until;   /* half the rate until then: back from an outage; 0: no */
	msec_t pressed_at;   /* the last 429, or the last time that the pace held a request back */
	double measured;     /* answers per second, smoothed; 0: none yet */
	msec_t bucket_began; /* of those that are being counted; MSEC_NEVER: none yet */
	int bucket_count;
	double best; /* the highest `measured` of the last minute or so, at best_at */
	msec_t best_at;
};

void pacer_init(struct pacer *pacer);
/* The earliest instant at which a request may go; at most `now`: at once. */
msec_t pacer_ready_at(struct pacer *pacer, msec_t now);
/* A request goes out. */
void pacer_on_send(struct pacer *pacer, msec_t now);
/* An answer that is no refusal. `pressed`: requests wait, so that the pace is what limits them. */
void pacer_on_success(struct pacer *pacer, msec_t now, bool pressed);
/* A 429 for a request that was sent at `sent_at`. The first one begins a pace, below the rate that
 * was measured without one; it grows with every success until the next 429. True if it cut the
 * rate: of the requests that were under way at the last cut each has its 429, and one cut stands
 * for them all. */
bool pacer_on_throttled(struct pacer *pacer, msec_t now, msec_t sent_at);
/* The upstream asks for a pause (Retry-After). */
void pacer_close(struct pacer *pacer, msec_t until);
/* Back from an outage: half the rate for a second, and the learnt rate as it was. */
void pacer_ease_in(struct pacer *pacer, msec_t now);
/* Requests per second; 0: there is no pace. */
double pacer_rate(const struct pacer *pacer);
/* How long the request with so many before it will wait, at best; 0: it need not. */
msec_t pacer_wait_ms(struct pacer *pacer, size_t position, msec_t now);
