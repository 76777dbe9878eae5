#include "policy/retry_budget.h"

#include <stddef.h>

#include "test.h"

enum { START = 1000000 };

static int spend_all(struct retry_budget *budget, msec_t now)
{
	int spent = 0;

	while (spent < 10000 && retry_budget_spend(budget, now))
		spent++;
	return spent;
}

/* After an empty bucket: so many requests, so much time. */
static void what_there_is_room_for(void)
{
	static const struct {
		double share;
		int requests;
		msec_t after_ms;
		int want;
	} rows[] = {
		{0.2, 0, 0, 0},
		{0.2, 4, 0, 0},
		{0.2, 5, 0, 1},
		{0.2, 52, 0, 10},
		{0.2, 0, 99, 0},
		{0.2, 0, 100, 1},
		{0.2, 0, 1000, 10},
		{0.2, 5, 1000, 11},
		{0.2, 0, 3600000, 100},
		{0.2, 10000, 0, 100},
		{0, 10000, 0, 0},
		{0, 10000, 500, 5},
		{1, 7, 0, 7},
		{10, 3, 0, 30},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct retry_budget budget;

		ROW("share %g, %d requests, %lld ms", rows[i].share, rows[i].requests,
			(long long)rows[i].after_ms);
		retry_budget_init(&budget, rows[i].share, START);
		CHECK_INT(spend_all(&budget, START), 100);
		for (int n = 0; n < rows[i].requests; n++)
			retry_budget_earn(&budget);
		CHECK_INT(spend_all(&budget, START + rows[i].after_ms), rows[i].want);
	}
}

static void without_a_limit(void)
{
	struct retry_budget budget;

	retry_budget_init(&budget, -1, START);
	for (int i = 0; i < 1000; i++)
		retry_budget_earn(&budget);
	CHECK_INT(spend_all(&budget, START), 10000);
}

/* A storm: every request wants four retries, for a minute. */
static void a_storm_adds_little(void)
{
	for (int per_second = 10; per_second <= 1000; per_second *= 10) {
		struct retry_budget budget;
		int retries = 0, requests = 0, most;

		retry_budget_init(&budget, 0.2, START);
		for (msec_t at = 0; at < 60000; at += 1000 / per_second) {
			requests++;
			retry_budget_earn(&budget);
			for (int i = 0; i < 4; i++)
				retries += retry_budget_spend(&budget, START + at);
		}
		most = 100 + requests / 5 + 600;
		ROW("%d requests a second", per_second);
		CHECK(retries <= most);
		CHECK(retries >= (most < 4 * requests ? most : 4 * requests) - 15);
	}
}

TEST_MAIN(TEST(what_there_is_room_for), TEST(without_a_limit), TEST(a_storm_adds_little))
