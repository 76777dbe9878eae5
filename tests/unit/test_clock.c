#include "base/clock.h"

#include <stdlib.h>
#include <time.h>

#include "test.h"

static void renders_rfc3339(void)
{
	static const struct {
		int64_t wall_us;
		const char *want;
	} rows[] = {
		{0, "1970-01-01T00:00:00.000000Z"},
		{1, "1970-01-01T00:00:00.000001Z"},
		{999999, "1970-01-01T00:00:00.999999Z"},
		{1000000, "1970-01-01T00:00:01.000000Z"},
		{1709251199999999, "2024-02-29T23:59:59.999999Z"},
		{1709251200000000, "2024-03-01T00:00:00.000000Z"},
		{1780819750123456, "2026-06-07T08:09:10.123456Z"},
		{1780819750000050, "2026-06-07T08:09:10.000050Z"},
		{2147483647999999, "2038-01-19T03:14:07.999999Z"},
		{2147483648000000, "2038-01-19T03:14:08.000000Z"},
		{4107542400000000, "2100-03-01T00:00:00.000000Z"},
		{253402300799000000, "9999-12-31T23:59:59.000000Z"},
	};
	static const char *const zones[] = {"UTC0", "XYZ-13:45", "ABC+11"};
	char text[28];

	for (size_t zone = 0; zone < COUNT_OF(zones); zone++) {
		setenv("TZ", zones[zone], 1);
		tzset();
		for (size_t i = 0; i < COUNT_OF(rows); i++) {
			ROW("%lld in %s", (long long)rows[i].wall_us, zones[zone]);
			clock_render_rfc3339(rows[i].wall_us, text, sizeof(text));
			CHECK_STR(text, rows[i].want);
		}
	}
}

static void mono_never_goes_back(void)
{
	msec_t before = clock_mono();

	CHECK(before >= 0);
	for (int i = 0; i < 1000; i++) {
		msec_t now = clock_mono();

		if (now < before)
			CHECK_INT(now, before);
		before = now;
	}
	CHECK(before < MSEC_NEVER);
}

static void counts_milliseconds_and_microseconds(void)
{
	struct timespec before, after;
	msec_t mono;
	int64_t wall;

	clock_gettime(CLOCK_MONOTONIC, &before);
	mono = clock_mono();
	clock_gettime(CLOCK_MONOTONIC, &after);
	CHECK(mono >= before.tv_sec * 1000 + before.tv_nsec / 1000000);
	CHECK(mono <= after.tv_sec * 1000 + after.tv_nsec / 1000000);
	clock_gettime(CLOCK_REALTIME, &before);
	wall = clock_wall_us();
	clock_gettime(CLOCK_REALTIME, &after);
	if (before.tv_sec <= after.tv_sec) { /* nobody has set the clock back in between */
		CHECK(wall / 1000000 >= before.tv_sec);
		CHECK(wall / 1000000 <= after.tv_sec);
	}
}

/* Whenever in its millisecond each of the two was read. */
static void after_is_never_early(void)
{
	static const msec_t delays[] = {1, 2, 999, 1000, 86400000};

	CHECK_INT(clock_after(5000, 0), 5000);
	for (size_t i = 0; i < COUNT_OF(delays); i++) {
		msec_t began_us = 5000999, due_us = clock_after(5000, delays[i]) * 1000;

		ROW("%lld ms", (long long)delays[i]);
		CHECK(due_us - began_us >= delays[i] * 1000);
		CHECK(due_us - 5000 * 1000 <= delays[i] * 1000 + 1000);
	}
}

TEST_MAIN(TEST(renders_rfc3339), TEST(mono_never_goes_back), TEST(after_is_never_early),
	TEST(counts_milliseconds_and_microseconds))
