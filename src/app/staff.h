#pragma once

/* The workers of the process: as many as the configuration asks for, and those that a reload has
 * retired and whose last connections still run. Belongs to the main thread. */

#include <stdbool.h>
#include <stddef.h>

#include "app/worker.h"

enum { STAFF_MAX = 256, STAFF_MAX_RETIRED = 256 };

struct staff {
	struct worker_setup setup; /* of each */
	struct worker *workers[STAFF_MAX], *retired[STAFF_MAX_RETIRED];
	size_t count, retired_count;
	struct metrics *metrics[STAFF_MAX]; /* by index; they stay when a worker goes */
	size_t metrics_count;
	size_t cut; /* requests that were cut short */
};

/* Starts them; `setup` without index, metrics and news. */
void staff_start(struct staff *staff, const struct worker_setup *setup,
	const struct worker_news *news, size_t count);
/* News for all; some are new, or retire. */
void staff_reload(struct staff *staff, const struct worker_news *news, size_t count);
/* Has somebody not taken the last news yet? */
bool staff_has_news(const struct staff *staff);
/* To all, the retired ones too. */
void staff_command(struct staff *staff, enum worker_command command);
/* After done_fd was told: lets go of those that have ended; how many are left. */
size_t staff_sweep(struct staff *staff);
/* All of them must have ended. */
void staff_fini(struct staff *staff);
