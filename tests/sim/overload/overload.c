/* An upstream that throttles, and who gets how much of it.
 *
 *   overload                       the tables: every policy in every world
 *   overload --sweep [WORLD...]    andiron alone, also in many other worlds
 *   overload --check               what the test demands
 *   overload --trace WORLD SEED    andiron in one world: a line for each second
 *
 * Five seeds and half an hour of virtual time for each. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "overload.h"

enum { SEEDS = 5 };

static void run(const struct policy *policy, uint64_t seed, struct measures *ret)
{
	measures_init(ret);
	measures = ret;
	world_begin(seed);
	server_reset();
	through_open();
	callers_start(policy, seed);
	world_run(scenario->length_ms);
	callers_stop();
	through_close();
	measures_end_run(ret);
}

static void run_seeds(const struct policy *policy, struct measures *ret)
{
	static struct measures one; /* too large for a stack */

	*ret = (struct measures){0};
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		run(policy, seed, &one);
		measures_add(ret, &one);
		measures_fini(&one);
	}
}

static void print_row(const char *name, const struct policy *policy)
{
	static struct measures sum;

	run_seeds(policy, &sum);
	measures_print(name, &sum);
	measures_fini(&sum);
}

static void print_tables(void)
{
	for (const struct scenario *one = scenarios; one->name; one++) {
		scenario_enter(one);
		printf("\n%s\n\n", scenario->about);
		measures_print_head("policy");
		print_row(through_andiron.name, &through_andiron);
		for (const struct policy *policy = timer_policies; policy->name; policy++)
			print_row(policy->name, policy);
	}
}

static const struct scenario *find(const char *name)
{
	const struct scenario *tables[] = {scenarios, sweep};

	for (size_t i = 0; i < 2; i++) {
		for (const struct scenario *one = tables[i]; one->name; one++) {
			if (strcmp(one->name, name) == 0)
				return one;
		}
	}
	fprintf(stderr, "overload: there is no world %s\n", name);
	exit(64);
}

static void print_andiron(const struct scenario *of)
{
	scenario_enter(of);
	print_row(of->name, &through_andiron);
}

static void print_sweep(char **names)
{
	measures_print_head("andiron");
	for (; *names; names++)
		print_andiron(find(*names));
}

static void print_whole_sweep(void)
{
	measures_print_head("andiron");
	for (const struct scenario *one = scenarios; one->name; one++)
		print_andiron(one);
	for (const struct scenario *one = sweep; one->name; one++)
		print_andiron(one);
	putchar('\n');
	for (const struct scenario *one = sweep; one->name; one++)
		printf("- %s: %s\n", one->name, one->about);
}

/* ---- What the test demands. */

static int broken;

static void demand(bool holds, const char *what, double is, uint64_t seed)
{
	if (holds)
		return;
	broken++;
	printf("BROKEN: %s, seed %llu: %s, not %.3f\n", scenario->name, (unsigned long long)seed,
		what, is);
}

static void demand_of_overload(struct measures *of, uint64_t seed)
{
	double first_s = (double)of->max_first_success_ms / 1000;

	demand(of->failures == 0, "no request fails", (double)of->failures, seed);
	demand(measures_per_success(of) <= 1.5, "at most 1.5 attempts for a success",
		measures_per_success(of), seed);
	demand(measures_used(of) >= 95, "at least 95 % of the quota is used", measures_used(of),
		seed);
	demand(measures_fairness(of) >= 0.99, "a fairness of at least 0.99", measures_fairness(of),
		seed);
	demand(of->max_probes <= 10, "at most 10 probes in an outage", of->max_probes, seed);
	demand(first_s <= 7, "a first success at most 7 s after an outage", first_s, seed);
}

/* The upstream of this world is one that others despair of. */
static void demand_of_world(struct measures *of, uint64_t seed)
{
	demand(measures_per_success(of) > 4, "full jitter needs more than 4 attempts",
		measures_per_success(of), seed);
	demand(measures_used(of) > 90, "full jitter uses the quota", measures_used(of), seed);
}

/* A pace from minutes ago is no pace for a new burst. */
static void demand_of_waking(struct measures *of, uint64_t seed)
{
	double slowest_s = measures_latency_at(of, 0.95);

	demand(of->latency_count == (size_t)scenario->wake, "everybody is served",
		(double)of->latency_count, seed);
	demand(slowest_s <= 30, "19 of 20 are served within 30 s", slowest_s, seed);
}

/* A lane that was hardly used is no slow one. */
static void demand_of_trickle(struct measures *of, uint64_t seed)
{
	demand(of->failures == 0, "no request fails", (double)of->failures, seed);
	demand(measures_used(of) >= 95, "at least 95 % of the quota is used", measures_used(of),
		seed);
}

static void check(const char *name, const struct policy *policy,
	void (*demand_of)(struct measures *of, uint64_t seed))
{
	static struct measures of;

	scenario_enter(find(name));
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		run(policy, seed, &of);
		demand_of(&of, seed);
		measures_fini(&of);
	}
}

static int check_all(void)
{
	static const char *const overloads[] = {"64", "64-hint", "256", "60s", "unreachable"};
	static const char *const naps[] = {"wake", "wake-short"};
	const struct policy *jitter = &timer_policies[3];

	for (size_t i = 0; i < sizeof(overloads) / sizeof(overloads[0]); i++) {
		check(overloads[i], &through_andiron, demand_of_overload);
		check(overloads[i], jitter, demand_of_world);
	}
	for (size_t i = 0; i < sizeof(naps) / sizeof(naps[0]); i++)
		check(naps[i], &through_andiron, demand_of_waking);
	check("trickle-20/s", &through_andiron, demand_of_trickle);
	printf("%d demands broken\n", broken);
	return broken ? 1 : 0;
}

/* ---- The trace. */

static struct task second;

static void on_second(void *arg)
{
	(void)arg;
	printf("%6.0f s  pace %8.3f  bucket %8.0f  attempts %6lu  refused %6lu  served %6lu  "
	       "failed %4lu  state lines %4lu%s\n",
		(double)world_elapsed() / 1000, through_pace(), server_level(0), measures->attempts,
		measures->refusals, measures->successes, measures->failures, measures->notes,
		scenario_outage(scenario, world_elapsed()) >= 0 ? "  outage" : "");
	task_start(&second, world_now + SECOND);
}

static void print_trace(const char *world, uint64_t seed)
{
	static struct measures of;

	scenario_enter(find(world));
	measures_init(&of);
	measures = &of;
	world_begin(seed);
	server_reset();
	through_open();
	task_init(&second, on_second, NULL);
	task_start(&second, world_now);
	callers_start(&through_andiron, seed);
	world_run(scenario->length_ms);
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "--trace") == 0)
		print_trace(argv[2], strtoull(argv[3], NULL, 10));
	else if (argc > 1 && strcmp(argv[1], "--check") == 0)
		return check_all();
	else if (argc > 2 && strcmp(argv[1], "--sweep") == 0)
		print_sweep(argv + 2);
	else if (argc > 1 && strcmp(argv[1], "--sweep") == 0)
		print_whole_sweep();
	else
		print_tables();
	return 0;
}
