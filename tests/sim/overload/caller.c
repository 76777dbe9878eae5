/* Callers in a closed loop, and the policies that each of them can follow alone. */

#include <string.h>

#include "overload.h"

static struct caller callers[MAX_CALLERS];

/* ---- A caller's life: thinks, calls, has its answer or fails, thinks. */

static void on_next(void *arg);
static void on_limit(void *arg);

static void think(struct caller *caller)
{
	msec_t due = world_now + (msec_t)rng_exponential(&caller->rng, (double)scenario->think_ms);
	msec_t elapsed = world_elapsed();

	if (scenario->idle_until && elapsed >= scenario->idle_from) {
		if (elapsed >= scenario->idle_until || caller->number >= scenario->wake)
			return;
		due = world_now - elapsed + scenario->idle_until;
	}
	if (elapsed < scenario->quiet_until)
		due = world_now - elapsed +
		      (caller->number ? scenario->quiet_until : elapsed + 30 * SECOND);
	task_init(&caller->next, on_next, caller);
	task_start(&caller->next, due);
}

static void on_next(void *arg)
{
	struct caller *caller = arg;

	caller->began = world_now;
	caller->deadline = world_now + scenario->deadline_ms;
	caller->tokens = 1 + rng_exponential(&caller->rng, scenario->mean_tokens - 1);
	caller->attempts = caller->uncounted = caller->throttled = 0;
	caller->previous_ms = 0;
	task_init(&caller->limit, on_limit, caller);
	task_start(&caller->limit, caller->deadline);
	caller->policy->begin(caller);
}

static void on_limit(void *arg)
{
	struct caller *caller = arg;

	caller->policy->cancel(caller);
	server_cancel(caller);
	caller_finish(caller, false);
}

void caller_finish(struct caller *caller, bool success)
{
	double seconds = (double)(world_now - caller->began) / 1000;

	task_stop(&caller->limit);
	task_stop(&caller->next);
	if (success) {
		measures->successes++;
		measures->served[caller->number]++;
		if (world_elapsed() >= scenario->idle_until)
			measures_latency(measures, seconds);
	} else {
		measures->failures++;
	}
	think(caller);
}

void callers_start(const struct policy *policy, uint64_t seed)
{
	for (int i = 0; i < scenario->callers; i++) {
		struct caller *caller = &callers[i];

		memset(caller, 0, sizeof(*caller));
		caller->policy = policy;
		caller->number = i;
		caller->lane = i % scenario->lanes;
		caller->rng.state = seed * 1000003 + (uint64_t)i * 7919;
		think(caller);
	}
}

void callers_stop(void)
{
	for (int i = 0; i < scenario->callers; i++) {
		task_stop(&callers[i].next);
		task_stop(&callers[i].limit);
		if (callers[i].flight >= FLIGHT_HEAD && !scenario->charge_late)
			measures->tokens += callers[i].tokens; /* it would have been complete */
		server_cancel(&callers[i]);
		callers[i].policy->cancel(&callers[i]);
	}
}

/* ---- The policies with a timer for each request: so many attempts, so long between them. */

static void on_again(void *arg)
{
	struct caller *caller = arg;

	server_send(caller, false);
}

static void timer_begin(struct caller *caller)
{
	server_send(caller, false);
}

static void timer_on_answer(struct caller *caller, int status, msec_t retry_after_ms)
{
	const struct policy *policy = caller->policy;
	msec_t delay;

	if (status == 200)
		return;
	if (policy->max_attempts && caller->attempts >= policy->max_attempts) {
		caller_finish(caller, false);
		return;
	}
	delay = policy->delay(policy, caller);
	if (policy->obeys_retry_after && delay < retry_after_ms)
		delay = retry_after_ms;
	if (delay >= caller->deadline - world_now) {
		caller_finish(caller, false);
		return;
	}
	task_init(&caller->next, on_again, caller);
	task_start(&caller->next, world_now + delay);
}

static void timer_on_end(struct caller *caller)
{
	caller_finish(caller, true);
}

static void timer_cancel(struct caller *caller)
{
	task_stop(&caller->next);
}

static double exponential(const struct policy *policy, const struct caller *caller)
{
	int doublings = caller->attempts < 30 ? caller->attempts - 1 : 29;
	double delay = (double)policy->base_ms * (double)(1 << doublings);

	return delay < (double)policy->cap_ms ? delay : (double)policy->cap_ms;
}

static msec_t full_jitter(const struct policy *policy, struct caller *caller)
{
	return (msec_t)(exponential(policy, caller) * rng_unit(&caller->rng));
}

/* base_delay * 2 ** attempt + random.uniform(0, 1) */
static msec_t guides_delay(const struct policy *policy, struct caller *caller)
{
	return (msec_t)(exponential(policy, caller) + 1000 * rng_unit(&caller->rng));
}

static msec_t sdks_delay(const struct policy *policy, struct caller *caller)
{
	return (msec_t)(exponential(policy, caller) * (1 - 0.25 * rng_unit(&caller->rng)));
}

#define BY_TIMER                                                                                   \
	.begin = timer_begin, .on_answer = timer_on_answer, .on_end = timer_on_end,                \
	.cancel = timer_cancel

const struct policy timer_policies[] = {
	{"SDK default", BY_TIMER, .max_attempts = 3, .base_ms = 500, .cap_ms = 8 * SECOND,
		.delay = sdks_delay, .obeys_retry_after = true},
	/* max_retries = 5 of its code are attempts */
	{"the guide", BY_TIMER, .max_attempts = 5, .base_ms = SECOND, .cap_ms = MINUTE,
		.delay = guides_delay},
	{"full jitter 0.5/8 s", BY_TIMER, .base_ms = 500, .cap_ms = 8 * SECOND,
		.delay = full_jitter, .obeys_retry_after = true},
	{"full jitter 1/30 s", BY_TIMER, .base_ms = SECOND, .cap_ms = 30 * SECOND,
		.delay = full_jitter, .obeys_retry_after = true},
	{.name = NULL},
};
