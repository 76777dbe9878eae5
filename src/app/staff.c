#include "app/staff.h"

#include "base/metrics.h"

static void start_one(struct staff *staff, const struct worker_news *news)
{
	size_t i = staff->count;

	if (i == staff->metrics_count)
		staff->metrics[staff->metrics_count++] = metrics_new();
	staff->setup.index = (int)i;
	staff->setup.metrics = staff->metrics[i];
	staff->setup.news = *news;
	staff->workers[staff->count++] = worker_start(&staff->setup);
}

void staff_start(struct staff *staff, const struct worker_setup *setup,
	const struct worker_news *news, size_t count)
{
	staff->setup = *setup;
	while (staff->count < count)
		start_one(staff, news);
}

void staff_reload(struct staff *staff, const struct worker_news *news, size_t count)
{
	while (staff->count > count && staff->retired_count < STAFF_MAX_RETIRED) {
		struct worker *worker = staff->workers[--staff->count];

		worker_command(worker, WORKER_RETIRE);
		staff->retired[staff->retired_count++] = worker;
	}
	for (size_t i = 0; i < staff->count; i++)
		worker_reload(staff->workers[i], news);
	while (staff->count < count)
		start_one(staff, news);
}

bool staff_has_news(const struct staff *staff)
{
	for (size_t i = 0; i < staff->count; i++) {
		if (worker_has_news(staff->workers[i]))
			return true;
	}
	return false;
}

static void command_each(struct worker *const *workers, size_t count, enum worker_command command)
{
	for (size_t i = 0; i < count; i++)
		worker_command(workers[i], command);
}

void staff_command(struct staff *staff, enum worker_command command)
{
	command_each(staff->workers, staff->count, command);
	command_each(staff->retired, staff->retired_count, command);
}

/* Those that still run; the others are joined. */
static size_t sweep(struct staff *staff, struct worker **workers, size_t count)
{
	size_t left = 0;

	for (size_t i = 0; i < count; i++) {
		if (worker_has_ended(workers[i]))
			staff->cut += worker_join(workers[i]);
		else
			workers[left++] = workers[i];
	}
	return left;
}

size_t staff_sweep(struct staff *staff)
{
	staff->retired_count = sweep(staff, staff->retired, staff->retired_count);
	staff->count = sweep(staff, staff->workers, staff->count);
	return staff->count + staff->retired_count;
}

void staff_fini(struct staff *staff)
{
	for (size_t i = 0; i < staff->metrics_count; i++)
		metrics_free(staff->metrics[i]);
}
