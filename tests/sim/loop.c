/* Virtual time, randomness and the trace. */

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim.h"

struct world *world;

/* ---- Randomness: splitmix64, the same everywhere. */

uint64_t rng_next(struct rng *rng)
{
	uint64_t z = rng->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

size_t rng_below(struct rng *rng, size_t n)
{
	return n ? (size_t)(rng_next(rng) % n) : 0;
}

msec_t rng_between(struct rng *rng, msec_t low, msec_t high)
{
	return low + (msec_t)rng_below(rng, (size_t)(high - low + 1));
}

bool rng_chance(struct rng *rng, unsigned percent)
{
	return rng_below(rng, 100) < percent;
}

/* ---- Tasks. */

void task_init(struct task *task, void (*run)(void *arg), void *arg)
{
	*task = (struct task){.run = run, .arg = arg};
}

void task_stop(struct task *task)
{
	if (task->queued)
		TAILQ_REMOVE(&world->tasks, task, entry);
	task->queued = false;
}

static bool is_before(const struct task *a, const struct task *b)
{
	return a->due < b->due || (a->due == b->due && a->rank < b->rank);
}

static void insert(struct task *task, msec_t due, uint64_t rank)
{
	struct task *other;

	task_stop(task);
	task->due = due;
	task->rank = rank;
	task->queued = true;
	TAILQ_FOREACH(other, &world->tasks, entry)
	{
		if (is_before(task, other)) {
			TAILQ_INSERT_BEFORE(other, task, entry);
			return;
		}
	}
	TAILQ_INSERT_TAIL(&world->tasks, task, entry);
}

void task_start(struct task *task, msec_t delay_ms)
{
	msec_t delay = delay_ms > 0 ? delay_ms : 0;
	msec_t due = delay > MSEC_NEVER - world->now ? MSEC_NEVER : world->now + delay;

	insert(task, due, 1 + rng_below(&world->rng, 1u << 30));
}

void task_start_first(struct task *task)
{
	insert(task, 0, 0); /* before those, too, for which the loop is late */
}

/* ---- What a person reads. */

void trace(const char *format, ...)
{
	va_list args;

	if (!world->traced)
		return;
	printf("%8lld %-11s ", (long long)(world->now - world->began), world->state);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
}

/* The run as it was, once more, with its trace: nothing of it depends on anything but the seed. */
static _Noreturn void replay(void)
{
	char seed[24];

	snprintf(seed, sizeof(seed), "%llu", (unsigned long long)world->scenario->seed);
	execl("/proc/self/exe", "test_sim", "--again", seed, (char *)NULL);
	_exit(1);
}

void broken(const char *format, ...)
{
	va_list args;

	printf("seed %llu: BROKEN: ", (unsigned long long)world->scenario->seed);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
	if (!world->traced)
		replay();
	_exit(1);
}
