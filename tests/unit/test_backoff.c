#include "policy/backoff.h"

#include <stddef.h>

#include "test.h"

enum { BASE = 1000, CAP = 60000 };

static const double nearly_one = 0.999999999;

/* The guide's formula: base * 2^n + uniform(0, 1 s); here with the cap on the first part. */
static void additive_is_the_guides(void)
{
	static const double randoms[] = {0, 0.25, 0.5, 0.75, 0.999};
	struct backoff backoff = {BASE, INT64_C(86400000), JITTER_ADDITIVE};

	for (int n = 0; n < 16; n++) {
		for (size_t i = 0; i < COUNT_OF(randoms); i++) {
			double guide = 1.0 * (1 << n) + randoms[i];

			ROW("n = %d, random = %g", n, randoms[i]);
			CHECK_INT(backoff_delay(&backoff, n, randoms[i], 0), guide * 1000 + 0.5);
		}
	}
}

static void each_jitter(void)
{
	static const struct {
		enum jitter jitter;
		int n;
		msec_t previous_ms, at_0, at_half, at_nearly_1;
	} rows[] = {
		{JITTER_NONE, 0, 0, 1000, 1000, 1000},
		{JITTER_NONE, 1, 1000, 2000, 2000, 2000},
		{JITTER_NONE, 5, 0, 32000, 32000, 32000},
		{JITTER_NONE, 6, 0, 60000, 60000, 60000},
		{JITTER_NONE, 63, 0, 60000, 60000, 60000},
		{JITTER_ADDITIVE, 0, 0, 1000, 1500, 1999},
		{JITTER_ADDITIVE, 1, 99999, 2000, 2500, 2999},
		{JITTER_ADDITIVE, 4, 0, 16000, 16500, 16999},
		{JITTER_ADDITIVE, 6, 0, 60000, 60500, 60999},
		{JITTER_ADDITIVE, 64, 0, 60000, 60500, 60999},
		{JITTER_FULL, 0, 0, 0, 500, 999},
		{JITTER_FULL, 3, 0, 0, 4000, 7999},
		{JITTER_FULL, 10, 0, 0, 30000, 59999},
		{JITTER_EQUAL, 0, 0, 500, 750, 999},
		{JITTER_EQUAL, 3, 0, 4000, 6000, 7999},
		{JITTER_EQUAL, 10, 0, 30000, 45000, 59999},
		/* decorrelated: uniform(base, 3 * previous), and n does not matter */
		{JITTER_DECORRELATED, 0, 0, 1000, 2000, 2999},
		{JITTER_DECORRELATED, 7, 0, 1000, 2000, 2999},
		{JITTER_DECORRELATED, 1, 1000, 1000, 2000, 2999},
		{JITTER_DECORRELATED, 2, 3000, 1000, 5000, 8999},
		{JITTER_DECORRELATED, 3, 500, 1000, 2000, 2999},
		{JITTER_DECORRELATED, 4, 50000, 1000, 60000, 60000},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct backoff backoff = {BASE, CAP, rows[i].jitter};
		int n = rows[i].n;
		msec_t previous = rows[i].previous_ms;

		ROW("%s, n = %d, %lld before", jitter_names[rows[i].jitter], n,
			(long long)previous);
		CHECK_INT(backoff_delay(&backoff, n, 0, previous), rows[i].at_0);
		CHECK_INT(backoff_delay(&backoff, n, 0.5, previous), rows[i].at_half);
		CHECK_INT(backoff_delay(&backoff, n, nearly_one, previous), rows[i].at_nearly_1);
	}
}

static void other_bases_and_caps(void)
{
	static const struct {
		struct backoff backoff;
		int n;
		msec_t want;
	} rows[] = {
		{{500, 60000, JITTER_NONE}, 0, 500},
		{{500, 60000, JITTER_NONE}, 2, 2000},
		{{500, 60000, JITTER_ADDITIVE}, 2, 2500},
		{{1, 60000, JITTER_NONE}, 15, 32768},
		{{1, 60000, JITTER_NONE}, 16, 60000},
		{{7, 7, JITTER_NONE}, 0, 7},
		{{7, 7, JITTER_NONE}, 9, 7},
		{{10000, 3000, JITTER_NONE}, 0, 3000},
		{{10000, 3000, JITTER_FULL}, 4, 1500},
		{{10000, 3000, JITTER_DECORRELATED}, 0, 3000},
		{{3600000, 86400000, JITTER_NONE}, 4, 57600000},
		{{3600000, 86400000, JITTER_NONE}, 5, 86400000},
		{{3600000, 86400000, JITTER_NONE}, 1000, 86400000},
		{{1, 86400000, JITTER_NONE}, 2000000000, 86400000},
		{{1, 1, JITTER_EQUAL}, 0, 1},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		ROW("base %lld, cap %lld, n = %d", (long long)rows[i].backoff.base_ms,
			(long long)rows[i].backoff.cap_ms, rows[i].n);
		CHECK_INT(backoff_delay(&rows[i].backoff, rows[i].n, 0.5, 0), rows[i].want);
	}
}

/* Whatever the numbers: never below nothing, and never above the cap and the guide's second. */
static void stays_within_its_bounds(void)
{
	for (int jitter = JITTER_ADDITIVE; jitter <= JITTER_NONE; jitter++) {
		struct backoff backoff = {BASE, CAP, (enum jitter)jitter};
		msec_t most = CAP + (jitter == JITTER_ADDITIVE ? 999 : 0), delay = 0;
		int outside = 0;

		for (int i = 0; i < 10000; i++) {
			delay = backoff_delay(&backoff, i % 70, i % 997 / 997.0, delay);
			outside += delay < 0 || delay > most;
		}
		ROW("%s", jitter_names[jitter]);
		CHECK_INT(outside, 0);
	}
}

static void names(void)
{
	static const char *const want[] = {
		"additive", "full", "equal", "decorrelated", "none", NULL};

	for (size_t i = 0; i < COUNT_OF(want); i++)
		CHECK_STR(jitter_names[i], want[i]);
	CHECK_STR(jitter_names[JITTER_DECORRELATED], "decorrelated");
}

TEST_MAIN(TEST(additive_is_the_guides), TEST(each_jitter), TEST(other_bases_and_caps),
	TEST(stays_within_its_bounds), TEST(names))
