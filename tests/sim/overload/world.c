/* Virtual time, and chance. */

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "overload.h"

enum { BEGINNING = 10 * MINUTE }; /* at 0 a clock would hide mistakes */

msec_t world_now;
struct rng world_rng;

static struct task **heap; /* from 1; the first is the next */
static size_t heap_count, heap_room;
static uint64_t numbers;

/* splitmix64, the same everywhere */
static uint64_t rng_next(struct rng *rng)
{
	uint64_t z = rng->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

double rng_unit(struct rng *rng)
{
	return (double)(rng_next(rng) >> 11) / 9007199254740992.0;
}

double rng_exponential(struct rng *rng, double mean)
{
	return -mean * log(1 - rng_unit(rng));
}

static bool is_before(const struct task *a, const struct task *b)
{
	return a->due < b->due || (a->due == b->due && a->number < b->number);
}

static void put(struct task *task, size_t place)
{
	heap[place] = task;
	task->place = place;
}

static void rise(struct task *task, size_t place)
{
	for (; place > 1 && is_before(task, heap[place / 2]); place /= 2)
		put(heap[place / 2], place);
	put(task, place);
}

static void sink(struct task *task, size_t place)
{
	size_t child;

	for (; (child = place * 2) <= heap_count; place = child) {
		if (child < heap_count && is_before(heap[child + 1], heap[child]))
			child++;
		if (is_before(task, heap[child]))
			break;
		put(heap[child], place);
	}
	rise(task, place);
}

void task_init(struct task *task, void (*run)(void *arg), void *arg)
{
	*task = (struct task){.run = run, .arg = arg};
}

void task_stop(struct task *task)
{
	size_t place = task->place;
	struct task *last;

	if (!place)
		return;
	last = heap[heap_count--];
	task->place = 0;
	if (last != task)
		sink(last, place);
}

void task_start(struct task *task, msec_t due)
{
	task_stop(task);
	if (heap_count + 2 > heap_room) {
		heap_room = heap_room ? heap_room * 2 : 256;
		heap = xrealloc(heap, heap_room * sizeof(*heap));
	}
	task->due = due > world_now ? due : world_now;
	task->number = ++numbers;
	rise(task, ++heap_count);
}

msec_t world_elapsed(void)
{
	return world_now - BEGINNING;
}

void world_begin(uint64_t seed)
{
	assert(heap_count == 0);
	world_now = BEGINNING;
	world_rng.state = seed;
	numbers = 0;
}

void world_run(msec_t length_ms)
{
	msec_t end = BEGINNING + length_ms;

	while (heap_count && heap[1]->due < end) {
		struct task *task = heap[1];

		task_stop(task);
		world_now = task->due;
		task->run(task->arg);
	}
	world_now = end;
}
