/* Random events for a pacer, and what it makes of them, for oracle.py.
 *
 *   pacer_trace COUNT     so many sequences of 200 events
 *
 * A line for each: the event, its arguments, what the call returned; then the rate, the tokens and
 * the measured rate. */

#include <stdio.h>
#include <stdlib.h>

#include "overload.h"
#include "policy/pacer.h"

enum { EVENTS = 200 };

static msec_t below(struct rng *rng, int n)
{
	return (msec_t)(rng_unit(rng) * n);
}

static void one_answer(struct pacer *pacer, struct rng *rng, msec_t now)
{
	bool pressed = rng_unit(rng) < 0.7;

	pacer_on_success(pacer, now, pressed);
	printf("success %lld %d 0", (long long)now, pressed);
}

static void one_refusal(struct pacer *pacer, struct rng *rng, msec_t now)
{
	msec_t sent_at = now - below(rng, 500);
	bool cut = pacer_on_throttled(pacer, now, sent_at);

	printf("throttled %lld %lld %d", (long long)now, (long long)sent_at, cut);
}

static void one_question(struct pacer *pacer, struct rng *rng, msec_t now)
{
	msec_t position = below(rng, 50);
	msec_t wait = pacer_wait_ms(pacer, (size_t)position, now);

	printf("wait %lld %lld %lld", (long long)now, (long long)position, (long long)wait);
}

static void one_try(struct pacer *pacer, msec_t now)
{
	msec_t ready = pacer_ready_at(pacer, now);

	printf("ready %lld 0 %lld", (long long)now, (long long)ready);
	if (ready > now)
		return;
	printf(" %.17g %.17g %.17g\n", pacer_rate(pacer), pacer->tokens, pacer->measured);
	pacer_on_send(pacer, now);
	printf("send %lld 0 0", (long long)now);
}

static void one_rare_event(struct pacer *pacer, struct rng *rng, msec_t now)
{
	msec_t until = now + below(rng, 5000);

	if (rng_unit(rng) < 0.5) {
		pacer_ease_in(pacer, now);
		printf("ease %lld 0 0", (long long)now);
	} else {
		pacer_close(pacer, until);
		printf("close %lld %lld 0", (long long)now, (long long)until);
	}
}

static void one_event(struct pacer *pacer, struct rng *rng, msec_t now)
{
	double chance = rng_unit(rng);

	if (chance < 0.45)
		one_answer(pacer, rng, now);
	else if (chance < 0.55)
		one_refusal(pacer, rng, now);
	else if (chance < 0.65)
		one_question(pacer, rng, now);
	else if (chance < 0.97)
		one_try(pacer, now);
	else
		one_rare_event(pacer, rng, now);
	printf(" %.17g %.17g %.17g\n", pacer_rate(pacer), pacer->tokens, pacer->measured);
}

/* Mostly close together; now and then a long time apart. */
static msec_t pause_ms(struct rng *rng, int scale)
{
	return rng_unit(rng) < 0.01 ? below(rng, 100 * SECOND) : below(rng, scale);
}

int main(int argc, char **argv)
{
	int count = argc > 1 ? atoi(argv[1]) : 1;

	for (int i = 0; i < count; i++) {
		static const int scales[] = {3, 30, 300, 3000};
		struct rng rng = {.state = (uint64_t)i};
		struct pacer pacer;
		msec_t now = 10 * MINUTE;

		pacer_init(&pacer);
		puts("new");
		for (int n = 0; n < EVENTS; n++) {
			one_event(&pacer, &rng, now);
			now += pause_ms(&rng, scales[i % 4]);
		}
	}
	return 0;
}
