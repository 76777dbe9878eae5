#include "policy/pacer.h"

#include <math.h>
#include <stddef.h>

#include "test.h"

enum { START = 1000000 };

static const double slack = 1e-9;

static bool is_about(double a, double b)
{
	return fabs(a - b) <= slack * fmax(1, fabs(b));
}

/* The upstream answers so often a second. */
static void answer(struct pacer *pacer, int rate, msec_t from, msec_t to)
{
	msec_t count = (to - from) * rate / 1000;

	for (msec_t i = 0; i <= count; i++)
		pacer_on_success(pacer, from + i * 1000 / rate, true);
}

/* A lane that has had its pace for minutes, so often a second; and a request was refused just now.
 */
static struct pacer paced(int rate)
{
	struct pacer pacer;

	pacer_init(&pacer);
	pacer_on_throttled(&pacer, START - 130000, START - 130000);
	answer(&pacer, rate, START - 130000, START);
	pacer_on_throttled(&pacer, START, START - 50);
	return pacer;
}

static void no_pace_without_a_429(void)
{
	struct pacer pacer;

	pacer_init(&pacer);
	for (msec_t now = START; now < START + 5000; now += 7) {
		pacer_on_send(&pacer, now);
		pacer_on_success(&pacer, now, now % 2 == 0);
	}
	CHECK_INT(pacer_ready_at(&pacer, START + 5000), START + 5000);
	CHECK_INT(pacer_wait_ms(&pacer, 1000, START + 5000), 0);
	CHECK(is_about(pacer_rate(&pacer), 0));
}

static void a_cut_leaves_seven_tenths(void)
{
	static const struct {
		int rate;
		double want;
		msec_t next_ms;
	} rows[] = {{2, 1.4, 715}, {10, 7, 143}, {50, 35, 29}, {100, 70, 15}};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct pacer pacer = paced(rows[i].rate);

		ROW("%d a second", rows[i].rate);
		CHECK(is_about(pacer.measured, rows[i].rate));
		CHECK(is_about(pacer_rate(&pacer), rows[i].want));
		CHECK_INT(pacer_ready_at(&pacer, START), START + rows[i].next_ms);
	}
}

/* Nothing is known of a first burst: the rate begins at half a request a second, and each success
 * adds a half to it, until the next refusal. */
static void a_first_burst_starts_slowly(void)
{
	struct pacer pacer;

	pacer_init(&pacer);
	CHECK(pacer_on_throttled(&pacer, START, START - 50));
	CHECK(is_about(pacer_rate(&pacer), 0.5));
	CHECK_INT(pacer_ready_at(&pacer, START), START + 2000);
	for (int i = 1; i <= 4; i++) {
		ROW("success %d", i);
		pacer_on_success(&pacer, START + i, true);
		CHECK(is_about(pacer_rate(&pacer), 0.5 + 0.5 * i));
	}
	pacer_on_success(&pacer, START + 2001, true); /* 5 in 2 s: that is a measure */
	CHECK(is_about(pacer.measured, 2.5));
	CHECK(pacer_on_throttled(&pacer, START + 2100, START + 2050));
	CHECK(is_about(pacer_rate(&pacer), 0.7 * 2.5));
	CHECK(is_about(pacer.rate_max, 2.5));
}

/* What was measured without a pace is what was asked for: a place to begin, and no more. A lane
 * that was hardly used is no slow one. */
static void what_was_measured_without_a_pace(void)
{
	static const struct {
		int rate;
		double want;
	} rows[] = {{1, 0.7}, {10, 7}, {100, 70}};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct pacer pacer;

		ROW("%d a second", rows[i].rate);
		pacer_init(&pacer);
		answer(&pacer, rows[i].rate, START - 60000, START);
		pacer_on_throttled(&pacer, START, START - 50);
		CHECK(fabs(pacer_rate(&pacer) - rows[i].want) < 1e-6);
		pacer_on_success(&pacer, START + 10, true);
		CHECK(fabs(pacer_rate(&pacer) - rows[i].want - 0.5) < 1e-6);
		CHECK(pacer_on_throttled(&pacer, START + 20, START + 10));
		CHECK(fabs(pacer_rate(&pacer) - 0.7 * (rows[i].want + 0.5)) < 1e-6);
		pacer_on_success(&pacer, START + 30, true);
		CHECK(fabs(pacer_rate(&pacer) - 0.7 * (rows[i].want + 0.5) - 0.5) < 1e-6);
	}
}

static void one_cut_stands_for_all_under_way(void)
{
	struct pacer pacer = paced(10);

	CHECK(!pacer_on_throttled(&pacer, START + 1, START - 1));
	CHECK(!pacer_on_throttled(&pacer, START + 90, START));
	CHECK(is_about(pacer_rate(&pacer), 7));
	CHECK(pacer_on_throttled(&pacer, START + 100, START + 1));
	CHECK(is_about(pacer_rate(&pacer), 4.9));
	CHECK(is_about(pacer.rate_max, 7));
}

/* The cubic through 0.7 of the rate at the cut, and the rate itself cbrt(rate * 0.3 / 0.4) seconds
 * later; never more than twice what was measured. */
static void the_rate_comes_back(void)
{
	static const struct {
		int rate;
		msec_t after_ms;
		double want;
	} rows[] = {
		{10, 0, 7},
		{10, 1000, 9.648936010},
		{10, 1957, 10},
		{10, 3000, 10.453284521},
		{10, 4000, 13.408697022},
		{10, 5000, 20},
		{10, 20000, 20},
		{1, 0, 0.7},
		{1, 909, 1},
		{1, 3000, 2},
		{100, 4217, 100},
		{100, 10000, 177.353999088},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct pacer pacer = paced(rows[i].rate);

		ROW("%d a second, %lld ms later", rows[i].rate, (long long)rows[i].after_ms);
		pacer_on_success(&pacer, START + rows[i].after_ms, false);
		if (!CHECK(fabs(pacer_rate(&pacer) - rows[i].want) < 1e-6))
			printf("\tgot %.9f\n", pacer_rate(&pacer));
	}
}

static void never_slower_than_the_least_rate(void)
{
	struct pacer pacer = paced(10);
	msec_t now = START;

	for (int i = 0; i < 30; i++) {
		now += 100;
		CHECK(pacer_on_throttled(&pacer, now, now - 50));
	}
	CHECK(is_about(pacer_rate(&pacer), 0.2));
	pacer_on_success(&pacer, now + 1, false);
	CHECK(pacer_rate(&pacer) >= 0.2);
}

/* How many may go at once, after so long in which nobody came. */
static void what_is_saved_is_a_second_at_most(void)
{
	static const struct {
		int rate;
		msec_t idle_ms;
		int want;
	} rows[] = {{10, 0, 0}, {10, 143, 1}, {10, 500, 3}, {10, 59000, 7}, {1, 59000, 1}};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct pacer pacer = paced(rows[i].rate);
		msec_t now = START + rows[i].idle_ms;
		int sent = 0;

		ROW("%d a second, %lld ms", rows[i].rate, (long long)rows[i].idle_ms);
		for (; pacer_ready_at(&pacer, now) <= now && sent < 100; sent++)
			pacer_on_send(&pacer, now);
		CHECK_INT(sent, rows[i].want);
	}
}

static void a_pause_that_is_asked_for(void)
{
	struct pacer pacer;

	pacer_init(&pacer);
	pacer_close(&pacer, START + 3000);
	CHECK_INT(pacer_ready_at(&pacer, START), START + 3000);
	CHECK_INT(pacer_wait_ms(&pacer, 0, START), 3000);
	pacer_close(&pacer, START + 1000); /* an earlier answer, late */
	CHECK_INT(pacer_ready_at(&pacer, START + 1500), START + 3000);
	CHECK_INT(pacer_ready_at(&pacer, START + 3000), START + 3000);
	pacer = paced(10);
	pacer_close(&pacer, START + 100);
	CHECK_INT(pacer_ready_at(&pacer, START), START + 143);
	pacer_close(&pacer, START + 200);
	CHECK_INT(pacer_ready_at(&pacer, START), START + 200);
}

static void half_the_rate_after_an_outage(void)
{
	struct pacer pacer = paced(10); /* 7 a second */

	pacer_ease_in(&pacer, START + 20000);
	CHECK(is_about(pacer.tokens, 1));
	pacer_on_send(&pacer, START + 20000);
	CHECK_INT(pacer_ready_at(&pacer, START + 20000), START + 20286);
	pacer_on_send(&pacer, START + 20286);
	pacer_on_send(&pacer, START + 20286);
	pacer_on_send(&pacer, START + 20286);
	pacer_on_send(
		&pacer, START + 20286); /* 4 owed: 3.5 s of tokens - 0.5 s, and the half one */
	CHECK_INT(pacer_ready_at(&pacer, START + 20286), START + 21000 + 215);
	CHECK(is_about(pacer_rate(&pacer), 7));
	pacer_init(&pacer);
	pacer_ease_in(&pacer, START);
	CHECK_INT(pacer_ready_at(&pacer, START), START);
}

/* A pace that has held nobody back for a minute is none; one that does, stays. */
static void what_holds_nobody_back_is_forgotten(void)
{
	struct pacer pacer = paced(10);
	msec_t now = START + 60000;

	pacer_ready_at(&pacer, now);
	CHECK(pacer_rate(&pacer) > 0);
	CHECK_INT(pacer_ready_at(&pacer, now + 1), now + 1);
	CHECK(is_about(pacer_rate(&pacer), 0));
	pacer = paced(10);
	for (now = START; now < START + 120000; now = pacer_ready_at(&pacer, now) + 1)
		pacer_on_send(&pacer, now);
	CHECK(is_about(pacer_rate(&pacer), 7));
	pacer = paced(10);
	pacer_close(&pacer, START + 90000);
	CHECK_INT(pacer_ready_at(&pacer, START + 80000), START + 90000);
	CHECK(is_about(pacer_rate(&pacer), 7));
}

/* Answers that come seldom because nobody asks say nothing of the upstream. */
static void a_gap_does_not_lower_the_measure(void)
{
	struct pacer pacer = paced(10);

	pacer_on_success(&pacer, START + 20000, false);
	CHECK(is_about(pacer.measured, 10));
	pacer_on_success(&pacer, START + 40000, true);
	CHECK(pacer.measured < 10);
}

static void the_wait_of_those_in_the_queue(void)
{
	static const struct {
		size_t position;
		msec_t want;
	} rows[] = {{0, 100}, {1, 200}, {9, 1000}, {99, 10000}};
	struct pacer pacer = paced(10);

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		ROW("position %zu", rows[i].position); /* at the 10 that it has seen lately */
		CHECK_INT(pacer_wait_ms(&pacer, rows[i].position, START), rows[i].want);
	}
	ROW("after a run of refusals");
	for (msec_t now = START + 100; now <= START + 1000; now += 100)
		pacer_on_throttled(&pacer, now, now - 50);
	CHECK(pacer_rate(&pacer) < 1);
	CHECK(pacer_wait_ms(&pacer, 99, START + 1000) <= 10200);
	ROW("in a slow start");
	pacer_init(&pacer);
	pacer_on_throttled(&pacer, START, START);
	CHECK_INT(pacer_wait_ms(&pacer, 0, START), 1386); /* 2 s x ln(1 + 1) */
	CHECK_INT(pacer_wait_ms(&pacer, 63, START), 8348);
}

/* ---- Whatever happens. */

static unsigned chance(unsigned *seed, unsigned n)
{
	*seed = *seed * 1664525u + 1013904223u;
	return (*seed >> 8) % n;
}

static void something(struct pacer *pacer, unsigned *seed, msec_t now)
{
	switch (chance(seed, 12)) {
	case 0:
		pacer_on_throttled(pacer, now, now - (msec_t)chance(seed, 400));
		break;
	case 1:
		if (chance(seed, 20) == 0)
			pacer_close(pacer, now + (msec_t)chance(seed, 3000));
		break;
	case 2:
		if (chance(seed, 20) == 0)
			pacer_ease_in(pacer, now);
		break;
	default:
		pacer_on_success(pacer, now, chance(seed, 2));
		break;
	}
}

/* Sends as soon as it may, always. */
static void what_it_says_holds(void)
{
	int too_early = 0, too_slow = 0, too_long = 0, late_waits = 0;

	for (unsigned seed = 1; seed <= 500; seed++) {
		unsigned state = seed;
		struct pacer pacer, then;
		msec_t now = START;

		pacer_init(&pacer);
		for (int i = 0; i < 500; i++) {
			msec_t ready = pacer_ready_at(&pacer, now);

			late_waits += pacer_wait_ms(&pacer, 5, now) < pacer_wait_ms(&pacer, 4, now);
			too_long += ready > now + 2 * 5000 + 3000;
			then = pacer;
			too_early += pacer_ready_at(&then, ready) > ready + 1;
			too_slow += pacer.enabled && pacer_rate(&pacer) < 0.2 - slack;
			if (ready <= now)
				pacer_on_send(&pacer, now);
			something(&pacer, &state, now);
			now += (msec_t)chance(&state, 300);
		}
	}
	CHECK_INT(too_early, 0);
	CHECK_INT(too_slow, 0);
	CHECK_INT(too_long, 0);
	CHECK_INT(late_waits, 0);
}

/* In any time not more than the rate gives, and what was saved. */
static void no_more_goes_than_the_rate_allows(void)
{
	for (int rate = 1; rate <= 64; rate *= 2) {
		struct pacer pacer = paced(rate);
		double most = pacer_rate(&pacer) * 30 + fmax(1, pacer_rate(&pacer));
		int sent = 0;

		for (msec_t now = START; now < START + 30000; now++) {
			for (; pacer_ready_at(&pacer, now) <= now; sent++)
				pacer_on_send(&pacer, now);
		}
		ROW("%d a second", rate);
		CHECK(sent <= most);
		CHECK(sent >= most - 2 * fmax(1, pacer_rate(&pacer)) - 30);
	}
}

TEST_MAIN(TEST(no_pace_without_a_429), TEST(a_cut_leaves_seven_tenths),
	TEST(a_first_burst_starts_slowly), TEST(what_was_measured_without_a_pace),
	TEST(one_cut_stands_for_all_under_way), TEST(the_rate_comes_back),
	TEST(never_slower_than_the_least_rate), TEST(what_is_saved_is_a_second_at_most),
	TEST(a_pause_that_is_asked_for), TEST(half_the_rate_after_an_outage),
	TEST(what_holds_nobody_back_is_forgotten), TEST(a_gap_does_not_lower_the_measure),
	TEST(the_wait_of_those_in_the_queue), TEST(what_it_says_holds),
	TEST(no_more_goes_than_the_rate_allows))
