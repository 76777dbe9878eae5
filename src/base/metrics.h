#pragma once

/* Counters, gauges and histograms, as Prometheus reads them; metrics.def has them all. Each thread
 * that counts has a block of its own; whoever is asked merges the blocks into one and renders that.
 * A series is found by the values of its labels. They may be a client's words, so there is a limit:
 * of each label 50 values are told apart, the rest are `other`. */

#include "base/str.h"

struct metrics;

enum metric {
#define METRIC(id, ...) id,
#include "base/metrics.def"
	METRIC_COUNT,
};

struct metrics *metrics_new(void);
void metrics_free(struct metrics *metrics);

/* Adds to a counter or a gauge. `labels`: as many values as the family has labels; NULL if it has
 * none. Any thread may call; `metrics` NULL: nothing. */
void metrics_add(
	struct metrics *metrics, enum metric metric, const char *const *labels, double amount);
/* The same of a histogram. */
void metrics_observe(
	struct metrics *metrics, enum metric metric, const char *const *labels, double value);

/* Adds all that is in `from`, whose owner may go on counting; `into` is the caller's alone. */
void metrics_merge(struct metrics *into, struct metrics *from);
/* Back to zero, for the next merge. Counters and histograms keep their series, so that what is
 * `other` stays so and no counter ever falls; gauges forget theirs. */
void metrics_clear(struct metrics *metrics);
/* The text format 0.0.4. */
void metrics_render(const struct metrics *metrics, struct str *out);
