#include "policy/pacer.h"

#include <math.h>

#define BETA           0.7 /* what a cut leaves of the rate */
#define SCALE          0.4 /* CUBIC's C: how fast the rate comes back */
#define MIN_RATE       0.2
#define FIRST_RATE     0.5 /* the least one after the first 429 */
#define SLOW_START     0.5 /* per success, from the first 429 to the next one */
#define SMOOTHING      0.5 /* the newest bucket's share of the measured rate */
#define MEASURED_TIMES 2.0 /* the rate never exceeds the measured one so many times */

enum {
	BUCKET_MS = 500,
	EASE_IN_MS = 1000,
	FORGET_MS = 60000, /* a pace that has held nobody back for so long is none */
	BEST_MS = 60000,   /* how long the best measured rate stands */
};

static double at_least(double value, double limit)
{
	return value > limit ? value : limit;
}

static double at_most(double value, double limit)
{
	return value < limit ? value : limit;
}

void pacer_init(struct pacer *pacer)
{
	*pacer = (struct pacer){.cut_at = MSEC_NEVER, .bucket_began = MSEC_NEVER};
}

/* What has come in since: at half the rate for the part before `slow_until`. */
static void fill(struct pacer *pacer, msec_t now)
{
	msec_t slow = pacer->slow_until < now ? pacer->slow_until : now;
	double ms = (double)(now - pacer->filled_at);

	if (slow > pacer->filled_at)
		ms -= (double)(slow - pacer->filled_at) / 2;
	pacer->tokens = at_most(pacer->tokens + ms * pacer->rate / 1000, at_least(1, pacer->rate));
	pacer->filled_at = now;
}

static bool is_forgotten(const struct pacer *pacer, msec_t now)
{
	return pacer->enabled && now - pacer->pressed_at > FORGET_MS && now > pacer->closed_until;
}

/* How long until there are so many tokens, at this moment's rate. */
static msec_t ms_for(const struct pacer *pacer, double tokens, double rate, msec_t now)
{
	double ms = (tokens - pacer->tokens) * 1000 / rate;
	double slow = (double)(pacer->slow_until - now);

	if (slow > 0)
		ms += at_most(ms, slow / 2); /* the same at half the rate */
	return (msec_t)ceil(ms);
}

msec_t pacer_ready_at(struct pacer *pacer, msec_t now)
{
	msec_t ready = now;

	if (is_forgotten(pacer, now))
		pacer->enabled = false;
	if (pacer->enabled) {
		fill(pacer, now);
		if (pacer->tokens < 1)
			ready += ms_for(pacer, 1, pacer->rate, now);
	}
	if (pacer->closed_until > ready)
		ready = pacer->closed_until;
	if (ready > now)
		pacer->pressed_at = now;
	return ready;
}

void pacer_on_send(struct pacer *pacer, msec_t now)
{
	if (!pacer->enabled)
		return;
	fill(pacer, now);
	pacer->tokens -= 1;
}

/* A gap in which nobody waited says nothing of what the upstream can do. */
static void measure(struct pacer *pacer, msec_t now, bool pressed)
{
	msec_t elapsed;
	double rate;

	if (pacer->bucket_began == MSEC_NEVER)
		pacer->bucket_began = now;
	pacer->bucket_count++;
	elapsed = now - pacer->bucket_began;
	if (elapsed < BUCKET_MS)
		return;
	rate = pacer->bucket_count * 1000.0 / (double)elapsed;
	if (pacer->measured > 0)
		rate = SMOOTHING * rate + (1 - SMOOTHING) * pacer->measured;
	if (pressed || !pacer->enabled || rate > pacer->measured)
		pacer->measured = rate;
	if (pacer->measured >= pacer->best || now - pacer->best_at > BEST_MS) {
		pacer->best = pacer->measured;
		pacer->best_at = now;
	}
	pacer->bucket_began = now;
	pacer->bucket_count = 0;
}

static double cubic(const struct pacer *pacer, msec_t now)
{
	double t = (double)(now - pacer->cut_at) / 1000;
	double back = cbrt(pacer->rate_max * (1 - BETA) / SCALE); /* seconds until rate_max again */

	return SCALE * pow(t - back, 3) + pacer->rate_max;
}

void pacer_on_success(struct pacer *pacer, msec_t now, bool pressed)
{
	measure(pacer, now, pressed);
	if (!pacer->enabled)
		return;
	fill(pacer, now);
	if (pacer->rate_max > 0)
		pacer->rate = at_least(
			at_most(cubic(pacer, now), MEASURED_TIMES * pacer->measured), MIN_RATE);
	else
		pacer->rate += SLOW_START;
}

/* What was measured without a pace says how much was asked for, and so only what the upstream takes
 * at least: the rate begins below that, grows until the next 429, and is measured anew. */
static void begin_pace(struct pacer *pacer, msec_t now)
{
	pacer->enabled = true;
	pacer->rate_max = 0;
	pacer->rate = at_least(BETA * pacer->measured, FIRST_RATE);
	pacer->measured = pacer->best = 0;
	pacer->bucket_began = MSEC_NEVER;
	pacer->bucket_count = 0;
	pacer->tokens = 0;
	pacer->filled_at = now;
}

static void cut(struct pacer *pacer, msec_t now)
{
	double rate = pacer->rate;

	fill(pacer, now);
	if (pacer->measured > 0)
		pacer->rate_max = rate = at_most(rate, pacer->measured);
	pacer->rate = at_least(BETA * rate, MIN_RATE);
	pacer->tokens = at_most(pacer->tokens, 0);
}

bool pacer_on_throttled(struct pacer *pacer, msec_t now, msec_t sent_at)
{
	pacer->pressed_at = now;
	if (pacer->enabled && sent_at <= pacer->cut_at)
		return false;
	if (pacer->enabled)
		cut(pacer, now);
	else
		begin_pace(pacer, now);
	pacer->cut_at = now;
	return true;
}

void pacer_close(struct pacer *pacer, msec_t until)
{
	if (until > pacer->closed_until)
		pacer->closed_until = until;
}

void pacer_ease_in(struct pacer *pacer, msec_t now)
{
	if (!pacer->enabled)
		return;
	fill(pacer, now);
	pacer->tokens = at_most(pacer->tokens, 1); /* nothing was saved for this moment */
	pacer->slow_until = now + EASE_IN_MS;
}

double pacer_rate(const struct pacer *pacer)
{
	return pacer->enabled ? pacer->rate : 0;
}

msec_t pacer_wait_ms(struct pacer *pacer, size_t position, msec_t now)
{
	msec_t closed = pacer->closed_until > now ? pacer->closed_until - now : 0;
	double need = (double)position + 1;
	msec_t wait;

	if (!pacer->enabled)
		return closed;
	fill(pacer, now);
	if (pacer->tokens >= need)
		return closed;
	if (pacer->rate_max > 0)
		wait = ms_for(pacer, need, at_least(pacer->rate, pacer->best), now);
	else /* each success adds to the rate: it grows exponentially */
		wait = (msec_t)(1000 / SLOW_START *
				log1p((need - pacer->tokens) * SLOW_START / pacer->rate));
	return wait > closed ? wait : closed;
}
