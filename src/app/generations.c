#include "app/generations.h"

#include <event2/event.h>
#include <stdlib.h>

#include "base/mem.h"
#include "net/timer.h"
#include "proxy/upstream.h"

enum { SWEEP_MS = 1000 }; /* how often old ones are looked at */

struct heard {
	struct upstream *upstream;
	struct event *event;
};

static void generations_on_alarm(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	upstream_on_time(arg);
}

static bool is_in(const struct generation *generation, const struct upstream *upstream)
{
	for (size_t i = 0; i < generation->count; i++) {
		if (generation->upstreams[i] == upstream)
			return true;
	}
	return false;
}

static bool is_needed(const struct generations *generations, const struct upstream *upstream)
{
	for (size_t i = 0; i < generations->old_count; i++) {
		if (is_in(generations->old[i], upstream))
			return true;
	}
	return is_in(generations->newest, upstream);
}

static bool is_heard(const struct generations *generations, const struct upstream *upstream)
{
	for (size_t i = 0; i < generations->heard_count; i++) {
		if (generations->heard[i].upstream == upstream)
			return true;
	}
	return false;
}

/* Those of the newest that are not heard yet. */
static void hear(struct generations *generations)
{
	for (size_t i = 0; i < generations->newest->count; i++) {
		struct upstream *upstream = generations->newest->upstreams[i];
		struct event *event;

		if (is_heard(generations, upstream))
			continue;
		event = event_new(generations->base, upstream_fd(upstream), EV_READ | EV_PERSIST,
			generations_on_alarm, upstream);
		if (!event || event_add(event, NULL) != 0)
			abort();
		generations->heard = xrealloc(generations->heard,
			(generations->heard_count + 1) * sizeof(*generations->heard));
		generations->heard[generations->heard_count++] = (struct heard){upstream, event};
	}
}

static void stop_hearing(struct generations *generations)
{
	size_t left = 0;

	for (size_t i = 0; i < generations->heard_count; i++) {
		if (is_needed(generations, generations->heard[i].upstream))
			generations->heard[left++] = generations->heard[i];
		else
			event_free(generations->heard[i].event);
	}
	generations->heard_count = left;
}

/* Generations whose last request has ended. */
static void generations_on_sweep(void *arg)
{
	struct generations *generations = arg;
	struct generation *idle[GENERATIONS_MAX_OLD];
	size_t left = 0, idle_count = 0;

	for (size_t i = 0; i < generations->old_count; i++) {
		if (generation_is_idle(generations->old[i]))
			idle[idle_count++] = generations->old[i];
		else
			generations->old[left++] = generations->old[i];
	}
	generations->old_count = left;
	stop_hearing(generations); /* before the descriptors are gone */
	for (size_t i = 0; i < idle_count; i++)
		generation_free(idle[i]);
	if (generations->old_count > 0)
		timer_start(generations->sweep, SWEEP_MS);
}

void generations_init(
	struct generations *generations, struct event_base *base, struct generation *first)
{
	*generations = (struct generations){.base = base, .newest = first};
	generations->sweep = timer_new(base, generations_on_sweep, generations);
	hear(generations);
}

bool generations_are_full(const struct generations *generations)
{
	return generations->old_count == GENERATIONS_MAX_OLD;
}

void generations_add(struct generations *generations, struct generation *next)
{
	generations->old[generations->old_count++] = generations->newest;
	generations->newest = next;
	hear(generations);
	timer_start(generations->sweep, SWEEP_MS);
}

void generations_fini(struct generations *generations)
{
	timer_free(generations->sweep);
	for (size_t i = 0; i < generations->heard_count; i++)
		event_free(generations->heard[i].event);
	free(generations->heard);
	for (size_t i = 0; i < generations->old_count; i++)
		generation_free(generations->old[i]);
	generation_free(generations->newest);
}
