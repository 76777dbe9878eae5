/* What came of it.
 *
 * Share of the quota used: the tokens of all answers, save those that nobody waited for to the
 * end, against what the bucket
 * earns outside the outages. The bucket is full at the beginning and after an outage, so that a
 * little more than 100 % is possible. What a policy loses right after an outage, or while it learns
 * the rate, counts against it. */

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "overload.h"

struct measures *measures;

void measures_latency(struct measures *to, double seconds)
{
	if (to->latency_count == to->latency_room) {
		to->latency_room = to->latency_room ? to->latency_room * 2 : 1024;
		to->latencies = xrealloc(to->latencies, to->latency_room * sizeof(float));
	}
	to->latencies[to->latency_count++] = (float)seconds;
}

/* Jain's index of the callers' successes: 1 if all have the same, 1/n if one has all. */
static double jain(const struct measures *run, int callers)
{
	double sum = 0, squares = 0;

	for (int i = 0; i < callers; i++) {
		double served = run->served[i];

		sum += served;
		squares += served * served;
	}
	return squares > 0 ? sum * sum / (callers * squares) : 0;
}

static void end_outage(struct measures *run, const struct outage *outage)
{
	run->outages_over++;
	run->sends += outage->sends;
	if (outage->sends > run->max_sends)
		run->max_sends = outage->sends;
	if (outage->probes > run->max_probes)
		run->max_probes = outage->probes;
	if (outage->first_success_ms > run->max_first_success_ms)
		run->max_first_success_ms = outage->first_success_ms;
	run->sum_first_success_ms += outage->first_success_ms;
}

void measures_init(struct measures *run)
{
	*run = (struct measures){.runs = 1};
	for (size_t i = 0; i < MAX_OUTAGES; i++)
		run->outages[i].first_success_ms = -1;
}

void measures_end_run(struct measures *run)
{
	double open_s = (double)(scenario_open_ms(scenario) - scenario->quiet_until) / 1000;

	run->possible = scenario->quota * scenario->lanes * open_s;
	if (scenario->jump_at) /* with no outages */
		run->possible += (scenario->jump_to - scenario->quota) * scenario->lanes *
				 (double)(scenario->length_ms - scenario->jump_at) / 1000;
	run->fairness = jain(run, scenario->callers);
	for (size_t i = 0; i < MAX_OUTAGES && scenario->outage_ms; i++) {
		msec_t end = scenario->outage_every_ms * (msec_t)(i + 1) + scenario->outage_ms;

		if (end + MINUTE > scenario->length_ms)
			break;
		if (run->outages[i].first_success_ms < 0)
			run->outages[i].first_success_ms = scenario->length_ms - end;
		end_outage(run, &run->outages[i]);
	}
}

void measures_add(struct measures *to, const struct measures *run)
{
	to->runs += run->runs;
	to->attempts += run->attempts;
	to->refusals += run->refusals;
	to->successes += run->successes;
	to->failures += run->failures;
	to->notes += run->notes;
	to->tokens += run->tokens;
	to->possible += run->possible;
	to->fairness += run->fairness;
	to->outages_over += run->outages_over;
	to->sends += run->sends;
	to->sum_first_success_ms += run->sum_first_success_ms;
	if (run->max_sends > to->max_sends)
		to->max_sends = run->max_sends;
	if (run->max_probes > to->max_probes)
		to->max_probes = run->max_probes;
	if (run->max_first_success_ms > to->max_first_success_ms)
		to->max_first_success_ms = run->max_first_success_ms;
	for (size_t i = 0; i < run->latency_count; i++)
		measures_latency(to, (double)run->latencies[i]);
}

void measures_fini(struct measures *of)
{
	free(of->latencies);
	*of = (struct measures){0};
}

double measures_per_success(const struct measures *of)
{
	return of->successes ? (double)of->attempts / (double)of->successes : 0;
}

double measures_failed(const struct measures *of)
{
	double calls = (double)(of->successes + of->failures);

	return calls > 0 ? 100 * (double)of->failures / calls : 0;
}

double measures_used(const struct measures *of)
{
	return 100 * of->tokens / of->possible;
}

double measures_fairness(const struct measures *of)
{
	return of->fairness / of->runs;
}

/* ---- The table. */

static int compare(const void *a, const void *b)
{
	float left = *(const float *)a, right = *(const float *)b;

	return (left > right) - (left < right);
}

double measures_latency_at(struct measures *of, double share)
{
	if (of->latency_count == 0)
		return 0;
	qsort(of->latencies, of->latency_count, sizeof(float), compare);
	return (double)of->latencies[(size_t)((double)(of->latency_count - 1) * share)];
}

void measures_print_head(const char *first)
{
	printf("| %-19s | attempts/success | failed %% | quota used %% | p50 / p95 / p99 s  | Jain "
	       " | sent in an outage (probes) | first success after it s |\n"
	       "|%.21s|-----------------:|---------:|-------------:|-------------------:|------:|"
	       "--------------------------:|------------------------:|\n",
		first, "------------------------------");
}

void measures_print(const char *name, struct measures *of)
{
	char latency[40], outage[40] = "-", first[40] = "-";

	snprintf(latency, sizeof(latency), "%.0f / %.0f / %.0f", measures_latency_at(of, 0.5),
		measures_latency_at(of, 0.95), measures_latency_at(of, 0.99));
	if (of->outages_over) {
		double over = (double)of->outages_over;

		snprintf(outage, sizeof(outage), "%.0f, at most %u (%u)", of->sends / over,
			of->max_sends, of->max_probes);
		snprintf(first, sizeof(first), "%.1f, at most %.1f",
			(double)of->sum_first_success_ms / over / 1000,
			(double)of->max_first_success_ms / 1000);
	}
	printf("| %-19s | %16.2f | %8.1f | %12.1f | %18s | %5.3f | %25s | %23s |\n", name,
		measures_per_success(of), measures_failed(of), measures_used(of), latency,
		measures_fairness(of), outage, first);
	fflush(stdout);
}
