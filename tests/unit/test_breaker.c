#include "policy/breaker.h"

#include <stddef.h>

#include "test.h"

enum { START = 1000000 };

/* Each letter is a failure (of request a or b), S a success; what the last one changes. */
static void three_in_a_row_of_two_requests(void)
{
	static const struct {
		const char *story;
		enum breaker_change want;
	} rows[] = {
		{"a", BREAKER_SAME},
		{"ab", BREAKER_SAME},
		{"aab", BREAKER_TRIPPED},
		{"aba", BREAKER_TRIPPED},
		{"abb", BREAKER_TRIPPED},
		{"abc", BREAKER_TRIPPED},
		{"aaa", BREAKER_SAME},
		{"aaaaaaa", BREAKER_SAME},
		{"aaaaaab", BREAKER_TRIPPED},
		{"abSa", BREAKER_SAME},
		{"abSaa", BREAKER_SAME},
		{"abSaaa", BREAKER_SAME},
		{"abSaab", BREAKER_TRIPPED},
		{"aaSbbb", BREAKER_SAME},
		{"S", BREAKER_SAME},
		{"abS", BREAKER_SAME},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct breaker breaker = {0};
		enum breaker_change change = BREAKER_SAME;

		ROW("%s", rows[i].story);
		for (const char *step = rows[i].story; *step; step++) {
			CHECK(breaker_may_send(&breaker, START));
			change = *step == 'S' ? breaker_on_success(&breaker, false, START)
					      : breaker_on_failure(&breaker, (uint64_t)*step, false,
							START, 0.5);
		}
		CHECK_INT(change, rows[i].want);
		CHECK_INT(breaker_is_paused(&breaker), rows[i].want == BREAKER_TRIPPED);
	}
}

static struct breaker tripped(double random)
{
	struct breaker breaker = {0};

	breaker_on_failure(&breaker, 1, false, START, 0.1);
	breaker_on_failure(&breaker, 2, false, START, 0.2);
	breaker_on_failure(&breaker, 1, false, START, random);
	return breaker;
}

/* U(1/2, 1) x min(5 s, 0.5 s x 2^n), n the failed probes. */
static void pauses(void)
{
	static const struct {
		int failed_probes;
		msec_t at_0, at_half, at_nearly_1;
	} rows[] = {
		{0, 250, 375, 499},
		{1, 500, 750, 999},
		{2, 1000, 1500, 1999},
		{3, 2000, 3000, 3999},
		{4, 2500, 3750, 4999},
		{5, 2500, 3750, 4999},
		{1000, 2500, 3750, 4999},
	};
	static const double randoms[] = {0, 0.5, 0.999999};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		const msec_t want[] = {rows[i].at_0, rows[i].at_half, rows[i].at_nearly_1};

		for (size_t j = 0; j < COUNT_OF(randoms); j++) {
			struct breaker breaker = tripped(randoms[j]);
			msec_t now = START;

			for (int n = 0; n < rows[i].failed_probes; n++) {
				now = breaker.probe_at;
				breaker_begin_probe(&breaker, START);
				breaker_on_failure(&breaker, 3, true, now, randoms[j]);
			}
			ROW("%d failed probes, random %g", rows[i].failed_probes, randoms[j]);
			CHECK_INT(breaker.probe_at - now, want[j]);
			CHECK_INT(breaker.failed_probes, rows[i].failed_probes);
		}
	}
}

static void one_probe_at_a_time(void)
{
	struct breaker breaker = tripped(0);
	msec_t now = START + 250;

	CHECK(!breaker_may_send(&breaker, now - 1));
	CHECK(breaker_may_send(&breaker, now));
	breaker_begin_probe(&breaker, now);
	CHECK(!breaker_may_send(&breaker, now + 4999));
	CHECK(breaker_is_paused(&breaker));
	CHECK_INT(breaker_on_failure(&breaker, 4, true, now + 10, 0), BREAKER_SAME);
	CHECK(!breaker_may_send(&breaker, now + 10 + 499));
	CHECK(breaker_may_send(&breaker, now + 10 + 500));
	breaker_begin_probe(&breaker, START);
	CHECK_INT(breaker_on_success(&breaker, true, now + 600), BREAKER_RECOVERED);
	CHECK(breaker_may_send(&breaker, now + 600));
	CHECK(!breaker_is_paused(&breaker));
}

/* What was sent before it paused changes nothing, however it ends. */
static void stragglers(void)
{
	struct breaker breaker = tripped(0), before = breaker;

	CHECK_INT(breaker_on_failure(&breaker, 9, false, START + 100, 0.9), BREAKER_SAME);
	CHECK_INT(breaker_on_success(&breaker, false, START + 100), BREAKER_SAME);
	CHECK_INT(breaker.probe_at, before.probe_at);
	CHECK_INT(breaker.failed_probes, 0);
	CHECK(breaker_is_paused(&breaker));
	breaker_begin_probe(&breaker, START);
	CHECK_INT(breaker_on_failure(&breaker, 9, false, START + 300, 0.9), BREAKER_SAME);
	CHECK_INT(breaker_on_success(&breaker, false, START + 300), BREAKER_SAME);
	CHECK_INT(breaker.state, BREAKER_PROBING);
}

static void a_probe_that_told_nothing(void)
{
	struct breaker breaker = tripped(0);

	breaker_begin_probe(&breaker, START);
	breaker_abandon_probe(&breaker, START + 700);
	CHECK(breaker_is_paused(&breaker));
	CHECK(breaker_may_send(&breaker, START + 700));
	CHECK_INT(breaker.failed_probes, 0);
}

/* A probe that stays silent lets another one go, and each may still tell something. */
static void a_silent_probe(void)
{
	struct breaker breaker = tripped(0), both;

	breaker_begin_probe(&breaker, START + 300);
	CHECK(!breaker_may_send(&breaker, START + 5299));
	CHECK(breaker_may_send(&breaker, START + 5300));
	breaker_begin_probe(&breaker, START + 5300);
	CHECK(!breaker_may_send(&breaker, START + 10299));
	both = breaker;
	CHECK_INT(breaker_on_success(&breaker, true, START + 6000), BREAKER_RECOVERED);
	CHECK_INT(breaker_on_success(&breaker, true, START + 6100), BREAKER_SAME);
	CHECK_INT(breaker_on_failure(&breaker, 7, true, START + 6200, 0), BREAKER_SAME);
	CHECK(!breaker_is_paused(&breaker)); /* that was an ordinary failure */
	CHECK_INT(breaker.failures, 1);
	breaker_abandon_probe(&breaker, START + 6300);
	CHECK(!breaker_is_paused(&breaker));
	breaker_on_failure(&both, 7, true, START + 6000, 0);
	breaker_abandon_probe(&both, START + 6001);
	CHECK_INT(both.probe_at, START + 6500); /* the failed one has set it */
}

/* After it has recovered, it takes three again, and the pauses begin short again. */
static void begins_anew(void)
{
	struct breaker breaker = tripped(0);

	for (int i = 0; i < 5; i++) {
		breaker_begin_probe(&breaker, START);
		breaker_on_failure(&breaker, 5, true, START + i, 0);
	}
	breaker_begin_probe(&breaker, START);
	breaker_on_success(&breaker, true, START + 100);
	CHECK_INT(breaker_on_failure(&breaker, 1, false, START + 200, 0), BREAKER_SAME);
	CHECK_INT(breaker_on_failure(&breaker, 2, false, START + 200, 0), BREAKER_SAME);
	CHECK_INT(breaker_on_failure(&breaker, 2, false, START + 200, 0), BREAKER_TRIPPED);
	CHECK_INT(breaker.probe_at, START + 200 + 250);
}

static void how_long_it_paused(void)
{
	struct breaker breaker = tripped(0);

	CHECK_INT(breaker_paused_ms(&breaker, START), 0);
	CHECK_INT(breaker_paused_ms(&breaker, START + 400), 400);
	breaker_begin_probe(&breaker, START);
	CHECK_INT(breaker_paused_ms(&breaker, START + 500), 500);
	breaker_on_success(&breaker, true, START + 1000);
	CHECK_INT(breaker_paused_ms(&breaker, START + 9000), 1000);
	for (uint64_t i = 0; i < 3; i++)
		breaker_on_failure(&breaker, i, false, START + 10000, 0);
	CHECK_INT(breaker_paused_ms(&breaker, START + 10500), 1500);
	breaker_on_success(&breaker, true, START + 10700);
	CHECK_INT(breaker_paused_ms(&breaker, START + 20000), 1700);
}

TEST_MAIN(TEST(three_in_a_row_of_two_requests), TEST(pauses), TEST(one_probe_at_a_time),
	TEST(stragglers), TEST(a_silent_probe), TEST(a_probe_that_told_nothing), TEST(begins_anew),
	TEST(how_long_it_paused))
