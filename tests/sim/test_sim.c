/* The exchange against the simulation.
 *
 *   test_sim                     the systematic part, then 25000 seeds
 *   test_sim --seeds FROM COUNT
 *   test_sim SEED                one seed, with its trace
 *
 * Exits with 1 at the first broken rule, after its seed and its trace. */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim.h"

enum { DEFAULT_SEEDS = 25000, RUNS_FOR_A_CELL = 6, BASES_FOR_A_CELL = 3000 };

/* ---- Counts. */

static unsigned long counts[COUNT_COUNT];

void count(enum count what)
{
	counts[what]++;
}

static const char *const states[] = {
	"ADMITTING", "LETTER", "TRYING", "BACKING_OFF", "RELAYING", "BREAKING", "ANSWERING"};
static const char *const endings[] = {"gone", "stall", "drain", "cut", "abort", "deadline"};

enum { STATES = sizeof(states) / sizeof(states[0]) };

static unsigned long cells[STATES][ENDING_KINDS];

int state_index(const char *state)
{
	for (int i = 0; i < STATES; i++) {
		if (str_same(states[i], state))
			return i;
	}
	return -1;
}

void cover(const char *state, enum ending_kind kind)
{
	int index = state_index(state);

	if (index >= 0)
		cells[index][kind]++;
}

static void print_counts(void)
{
	static const char *const names[] = {
#define COUNT_NAME(name) #name,
		COUNTS(COUNT_NAME)
#undef COUNT_NAME
	};

	for (size_t i = 0; i < COUNT_COUNT; i++)
		printf("%-20s %lu\n", names[i], counts[i]);
	printf("%-12s", "");
	for (size_t j = 0; j < ENDING_KINDS; j++)
		printf(" %8s", endings[j]);
	for (size_t i = 0; i < STATES; i++) {
		printf("\n%-12s", states[i]);
		for (size_t j = 0; j < ENDING_KINDS; j++)
			printf(" %8lu", cells[i][j]);
	}
	putchar('\n');
}

/* A rule that nothing reaches any more holds of nothing. */
static int check_counts(void)
{
	int missing = 0;

	for (size_t i = 0; i < COUNT_COUNT; i++)
		missing += counts[i] == 0;
	if (missing)
		printf("BROKEN: %d of the counts above are 0: the simulation is blind there\n",
			missing);
	return missing;
}

/* ---- The systematic part: every kind of ending in every state. A seed of it has its cell in the
 * upper half, so that it is replayed like any other. */

static uint64_t cell_seed(size_t state, size_t kind, size_t variant, size_t base)
{
	uint64_t cell = (state * ENDING_KINDS + kind) * 4 + variant + 1;

	return (cell << 32) | base;
}

static void set_cell(struct scenario *scenario)
{
	size_t cell = (size_t)(scenario->seed >> 32) - 1;

	scenario->ending_count = 1;
	scenario->endings[0] = (struct ending){
		.kind = (enum ending_kind)(cell / 4 % ENDING_KINDS),
		.state = states[cell / 4 / ENDING_KINDS % STATES],
		.nth = cell & 2 ? 2 : 1,
		.soon = cell % 2 == 0,
		.delay_ms = 5,
	};
}

static void run(uint64_t seed, bool traced)
{
	struct scenario *scenario = scenario_new(seed);

	if (seed >> 32)
		set_cell(scenario);
	world_run(scenario, traced);
	scenario_free(scenario);
}

/* BREAKING, RELAYING and ANSWERING are entered once. */
static bool can_be(size_t state, size_t variant)
{
	return variant < 2 || state < 4;
}

static int run_cell(size_t state, size_t kind, size_t variant)
{
	unsigned long before = cells[state][kind];

	for (size_t base = 0; base < BASES_FOR_A_CELL; base++) {
		run(cell_seed(state, kind, variant, base), false);
		if (cells[state][kind] >= before + RUNS_FOR_A_CELL)
			return 0;
	}
	printf("BROKEN: %s never comes while %s (%zu)\n", endings[kind], states[state], variant);
	return 1;
}

static int run_systematic(void)
{
	int missing = 0;

	for (size_t state = 0; state < STATES; state++) {
		for (size_t kind = 0; kind < ENDING_KINDS; kind++) {
			for (size_t variant = 0; variant < 4; variant++)
				missing += can_be(state, variant) && run_cell(state, kind, variant);
		}
	}
	return missing;
}

/* ---- Crashes: asserts of the code under test, and what a sanitizer finds. */

static void say_seed(void)
{
	char text[64];
	int len = 0;

	if (world)
		len = snprintf(text, sizeof(text), "seed %llu: CRASHED\n",
			(unsigned long long)world->scenario->seed);
	if (write(STDOUT_FILENO, text, (size_t)len) < 0)
		_exit(1);
}

void __asan_on_error(void);
void __asan_on_error(void)
{
	say_seed();
}

static void on_crash(int number)
{
	char seed[24];

	(void)number;
	say_seed();
	if (!world || world->traced)
		_exit(1);
	snprintf(seed, sizeof(seed), "%llu", (unsigned long long)world->scenario->seed);
	execl("/proc/self/exe", "test_sim", "--again", seed, (char *)NULL);
	_exit(1);
}

static void catch_crashes(void)
{
	struct sigaction action;

	memset(&action, 0, sizeof(action));
	action.sa_handler = on_crash;
	action.sa_flags = SA_NODEFER;
	sigaction(SIGABRT, &action, NULL);
#ifndef __SANITIZE_ADDRESS__
	sigaction(SIGSEGV, &action, NULL);
#endif
}

/* ---- main */

static int run_seeds(uint64_t from, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		run(from + i, false);
	printf("%llu seeds from %llu\n", (unsigned long long)n, (unsigned long long)from);
	return 0;
}

static int run_all(void)
{
	int failed = run_systematic();

	run_seeds(1, DEFAULT_SEEDS);
	print_counts();
	return failed + check_counts();
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t value = strtoull(text, &end, 10);

	if (*end || end == text) {
		fputs("usage: test_sim [SEED | --seeds FROM COUNT]\n", stderr);
		exit(64);
	}
	return value;
}

int main(int argc, char **argv)
{
	catch_crashes();
	if (argc == 1)
		return run_all() ? 1 : 0;
	if (argc == 4 && str_same(argv[1], "--seeds"))
		return run_seeds(number(argv[2]), number(argv[3]));
	if (argc == 3 && str_same(argv[1], "--again")) {
		run(number(argv[2]), true); /* it failed; once more, with its trace */
		puts("BROKEN: it holds when run again: the run depends on more than its seed");
		return 1;
	}
	run(number(argv[argc - 1]), true);
	return 0;
}
