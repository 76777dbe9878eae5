#include "policy/header.h"

#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include "test.h"

static void knows_the_fields_of_one_connection(void)
{
	static const char *const hop_by_hop[] = {"Connection", "connection", "KEEP-ALIVE",
		"Proxy-Connection", "Proxy-Authenticate", "proxy-authorization", "TE", "te",
		"Trailer", "Transfer-Encoding", "transfer-encoding", "Upgrade", "upgrade",
		"HTTP2-Settings", "http2-settings"};
	static const char *const end_to_end[] = {"", "Authorization", "x-api-key", "Content-Type",
		"Content-Encoding", "Content-Length", "Accept-Encoding", "Cookie", "Set-Cookie",
		"Via", "Date", "ETag", "Location", "Cache-Control", "Retry-After",
		"WWW-Authenticate", "X-Request-Id", "x-session-affinity", "traceparent", "TE-x",
		"xTE", "Connection ", "Trailers", "Upgrade-Insecure-Requests"};

	for (size_t i = 0; i < COUNT_OF(hop_by_hop); i++) {
		ROW("%s", hop_by_hop[i]);
		CHECK(header_is_hop_by_hop(hop_by_hop[i]));
	}
	for (size_t i = 0; i < COUNT_OF(end_to_end); i++) {
		ROW("%s", end_to_end[i]);
		CHECK(!header_is_hop_by_hop(end_to_end[i]));
	}
}

static void finds_a_token_in_a_list(void)
{
	static const struct {
		const char *list, *token;
		bool want;
	} rows[] = {
		{"close", "close", true},
		{"Close", "cLOSE", true},
		{"keep-alive, close", "close", true},
		{"keep-alive,close", "close", true},
		{" , x ,\tclose\t, ", "Close", true},
		{"x-a,x-b,x-c", "X-B", true},
		{"close", "clos", false},
		{"clos", "close", false},
		{"closed", "close", false},
		{"x close", "close", false},
		{"x;close", "close", false},
		{"", "close", false},
		{",,", "close", false},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		ROW("%s in %s", rows[i].token, rows[i].list);
		CHECK_INT(header_list_has(rows[i].list, rows[i].token), rows[i].want);
	}
}

/* 2026-06-07T08:09:10.250Z, a Sunday */
static const int64_t wall_now_us = INT64_C(1780819750250000);

static const struct {
	const char *retry_after, *retry_after_ms;
	int64_t want;
} waits[] = {
	{NULL, NULL, -1},
	/* whole seconds */
	{"0", NULL, 0},
	{"1", NULL, 1000},
	{"120", NULL, 120000},
	{"0120", NULL, 120000},
	{"5 ", NULL, 5000},
	{"5\t", NULL, 5000},
	{"86400", NULL, 86400000},
	/* fractions, as some servers have them */
	{"1.5", NULL, 1500},
	{"0.25", NULL, 250},
	{"0.001", NULL, 1},
	{"2.0", NULL, 2000},
	{"1.2345", NULL, 1234},
	{"0.0004", NULL, 0},
	/* milliseconds go before seconds, where they parse */
	{NULL, "250", 250},
	{NULL, "0", 0},
	{"10", "250", 250},
	{"10", "0", 0},
	{"10", "1500.75", 1500},
	{"Sun, 07 Jun 2026 08:09:40 GMT", "250", 250},
	{"10", "soon", 10000},
	{"10", "", 10000},
	{"10", "-5", 10000},
	{"10", "250ms", 10000},
	{NULL, "soon", -1},
	{"soon", "250", 250},
	{"soon", "later", -1},
	/* the three forms of a date: preferred, RFC 850, asctime */
	{"Sun, 07 Jun 2026 08:09:40 GMT", NULL, 29750},
	{"Sunday, 07-Jun-26 08:09:40 GMT", NULL, 29750},
	{"Sun Jun  7 08:09:40 2026", NULL, 29750},
	{"Sun, 07 Jun 2026 09:09:10 GMT", NULL, 3599750},
	{"Mon, 08 Jun 2026 08:09:10 GMT", NULL, 86399750},
	{"Thu Jun 18 08:09:10 2026", NULL, 950399750},
	{"Sun, 07 Jun 2026 08:09:11 GMT", NULL, 750},
	/* in the past, or now: no wait */
	{"Sun, 07 Jun 2026 08:09:10 GMT", NULL, 0},
	{"Sun, 07 Jun 2026 08:09:09 GMT", NULL, 0},
	{"Sunday, 06-Nov-94 08:49:37 GMT", NULL, 0},
	{"Sun Nov  6 08:49:37 1994", NULL, 0},
	{"Thu, 01 Jan 1970 00:00:00 GMT", NULL, 0},
	/* neither */
	{"", NULL, -1},
	{" ", NULL, -1},
	{"soon", NULL, -1},
	{"-1", NULL, -1},
	{"+5", NULL, -1},
	{".5", NULL, -1},
	{"1,5", NULL, -1},
	{"5s", NULL, -1},
	{"5 s", NULL, -1},
	{"1e3", NULL, -1},
	{"0x10", NULL, -1},
	{"1.5.5", NULL, -1},
	{"5, 10", NULL, -1},
	{"inf", NULL, -1},
	{"nan", NULL, -1},
	{"Sun, 07 Jun 2026 08:09:40", NULL, -1},
	{"Sun, 07 Jun 2026 08:09:40 GMT+1", NULL, -1},
	{"Sun, 07 Jun 2026 08:09:40 PST", NULL, -1},
	{"Sun, 07 Jun 2026 25:09:40 GMT", NULL, -1},
	{"07 Jun 2026 08:09:40 GMT", NULL, -1},
	{"2026-06-07T08:09:40Z", NULL, -1},
	{"Sun, 07 Juni 2026 08:09:40 GMT", NULL, -1},
};

static void reads_how_long_to_wait(void)
{
	static const char *const zones[] = {"UTC0", "XYZ-13:45", "ABC+11"};

	for (size_t zone = 0; zone < COUNT_OF(zones); zone++) {
		setenv("TZ", zones[zone], 1);
		tzset();
		for (size_t i = 0; i < COUNT_OF(waits); i++) {
			ROW("Retry-After: %s, retry-after-ms: %s, TZ=%s",
				waits[i].retry_after ? waits[i].retry_after : "(none)",
				waits[i].retry_after_ms ? waits[i].retry_after_ms : "(none)",
				zones[zone]);
			CHECK_INT(header_retry_after_ms(waits[i].retry_after,
					  waits[i].retry_after_ms, wall_now_us),
				waits[i].want);
		}
	}
}

/* A number that no type holds is still a long wait: never a short one, never none. */
static void huge_waits_stay_long(void)
{
	static const char *const numbers[] = {"31536000", "9223372036854775807",
		"9223372036854775808", "18446744073709551617", "99999999999999999999999999999999",
		"99999999999999999999.9999999999999999999"};
	static const int64_t year_ms = INT64_C(31536000000);

	for (size_t i = 0; i < COUNT_OF(numbers); i++) {
		ROW("%s", numbers[i]);
		CHECK(header_retry_after_ms(numbers[i], NULL, wall_now_us) >= year_ms);
		if (i > 0)
			CHECK(header_retry_after_ms(NULL, numbers[i], wall_now_us) >= year_ms);
	}
	ROW("the last year of a date");
	CHECK(header_retry_after_ms("Fri, 31 Dec 9999 23:59:59 GMT", NULL, wall_now_us) > year_ms);
}

static void reads_ratelimit_fields(void)
{
	static const struct {
		const char *ratelimit, *remaining, *reset;
		int64_t want;
	} rows[] = {
		{NULL, NULL, NULL, -1},
		{"\"p\";r=0;t=30", NULL, NULL, 30000},
		{"\"p\";r=0;t=0", NULL, NULL, 0},
		{"\"p\"; r=0;  t=30", NULL, NULL, 30000},
		{"\"p\";t=30;r=0", NULL, NULL, 30000},
		{"  \"p\";r=0;t=30  ", NULL, NULL, 30000},
		{"p;r=0;t=30", NULL, NULL, 30000},
		{"\"p\";r=0;t=999999999999999", NULL, NULL, INT64_C(999999999999999000)},
		{"\"p\";r=0;t=0030", NULL, NULL, 30000},
		/* there is quota left, or nobody says how long there is none */
		{"\"p\";r=1;t=30", NULL, NULL, -1},
		{"\"p\";r=0", NULL, NULL, -1},
		{"\"p\";t=30", NULL, NULL, -1},
		{"\"p\"", NULL, NULL, -1},
		{"\"p\";R=0;t=30", NULL, NULL, -1},
		{"", NULL, NULL, -1},
		{" ", NULL, NULL, -1},
		/* several policies: the longest of those that are used up */
		{"\"a\";r=0;t=5, \"b\";r=0;t=60,\"c\";r=0;t=7", NULL, NULL, 60000},
		{"\"a\";r=0;t=5\t,\t\"b\";r=9;t=60", NULL, NULL, 5000},
		{"\"a\";r=9;t=5, \"b\";r=9;t=60", NULL, NULL, -1},
		{"\"a\";r=0, \"b\";r=0;t=2", NULL, NULL, 2000},
		/* other parameters and values of every kind; the last of two counts */
		{"\"a,;\\\"\\\\\";pk=:cHsdsRa894==:;r=0;w;x=?1;y=-1.5;z=@-9;t=3;u=*t/:k", NULL,
			NULL, 3000},
		{"\"a\";d=%\"f%c3%bc\";r=0;t=3", NULL, NULL, 3000},
		{"\"a\";r=5;t=1;r=0;t=3", NULL, NULL, 3000},
		{"\"a\";r=0;t=3;r=5", NULL, NULL, -1},
		{"-1;r=0;t=1, 1.5;r=0;t=2, ?0;r=0;t=3, :YQ==:;r=0;t=4", NULL, NULL, 4000},
		{"\"a\";rr=1;tt=9;r=0;t=3", NULL, NULL, 3000},
		/* malformed: all of it is ignored */
		{"\"p\";r=0;t=30,", NULL, NULL, -1},
		{"\"a\";r=0;t=5, ", NULL, NULL, -1},
		{",\"p\";r=0;t=30", NULL, NULL, -1},
		{"\"p\";r=0;t=30 x", NULL, NULL, -1},
		{"\"p\" ;r=0;t=30", NULL, NULL, -1},
		{"\"p\";r=0;t=30;", NULL, NULL, -1},
		{"\"p\";r=0;t=", NULL, NULL, -1},
		{"\"p\";r=0;t =30", NULL, NULL, -1},
		{"\"p\";r=0;t=-30", NULL, NULL, -1},
		{"\"p\";r=-1;t=30", NULL, NULL, -1},
		{"\"p\";r=0;t=1.5", NULL, NULL, -1},
		{"\"p\";r=0.0;t=1", NULL, NULL, -1},
		{"\"p\";r=0;t=\"30\"", NULL, NULL, -1},
		{"\"p\";r;t=30", NULL, NULL, -1},
		{"\"p\";r=0;t=1000000000000000", NULL, NULL, -1},
		{"\"p\";r=0;t=30;x=1.2345", NULL, NULL, -1},
		{"\"p\";r=0;t=30;x=1234567890123.1", NULL, NULL, -1},
		{"\"p\";r=0;t=30;x=1.", NULL, NULL, -1},
		{"\"p\";r=0;t=30;x=-", NULL, NULL, -1},
		{"\"p\";r=0;t=30;x=?2", NULL, NULL, -1},
		{"\"p\";r=0;t=30;x=:a", NULL, NULL, -1},
		{"\"p\";r=0;t=30;x=@1.5", NULL, NULL, -1},
		{"\"p\";r=0;t=30;x=%\"%C3\"", NULL, NULL, -1},
		{"\"p\";r=0;t=30;x=%a", NULL, NULL, -1},
		{"\"p\";r=0;t=30;X=1", NULL, NULL, -1},
		{"\"p\";r=0;t=30;1=1", NULL, NULL, -1},
		{"\"p;r=0;t=30", NULL, NULL, -1},
		{"\"p\\", NULL, NULL, -1},
		{"\"\\p\";r=0;t=30", NULL, NULL, -1},
		{"\"\xc3\xa9\";r=0;t=30", NULL, NULL, -1},
		{"(\"p\");r=0;t=30", NULL, NULL, -1},
		{"\"a\";r=0;t=5, (", NULL, NULL, -1},
		{"limit=10, remaining=0, reset=30", NULL, NULL, -1},
		/* the older ones, where the new one is missing or malformed */
		{NULL, "0", "30", 30000},
		{NULL, "0", "0", 0},
		{NULL, "00", "30 ", 30000},
		{"", "0", "30", 30000},
		{"\"p\";r=0;t=5,", "0", "30", 30000},
		{"\"p\";r=0;t=-5", "0", "30", 30000},
		{"\"p\";r=0;t=5", "0", "30", 5000},
		{"\"p\";r=1;t=5", "0", "30", -1},
		{NULL, "1", "30", -1},
		{NULL, "0", NULL, -1},
		{NULL, NULL, "30", -1},
		{NULL, "0", "-30", -1},
		{NULL, "0", "1.5", -1},
		{NULL, "0.0", "30", -1},
		{NULL, "0.5", "30", -1},
		{NULL, "", "30", -1},
		{NULL, "0", "", -1},
		{NULL, "0", "30s", -1},
		{NULL, "0", "30, 60", -1},
		{NULL, "none", "30", -1},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		ROW("RateLimit: %s, %s, %s", rows[i].ratelimit ? rows[i].ratelimit : "(none)",
			rows[i].remaining ? rows[i].remaining : "(none)",
			rows[i].reset ? rows[i].reset : "(none)");
		CHECK_INT(header_ratelimit_wait_ms(
				  rows[i].ratelimit, rows[i].remaining, rows[i].reset),
			rows[i].want);
	}
}

static void knows_an_event_stream(void)
{
	static const struct {
		const char *type;
		bool want;
	} rows[] = {
		{"text/event-stream", true},
		{"Text/Event-Stream", true},
		{"text/event-stream; charset=utf-8", true},
		{"text/event-stream;charset=utf-8", true},
		{"text/event-stream ; x", true},
		{"text/event-stream\t", true},
		{"text/event-streams", false},
		{"text/event", false},
		{"application/json", false},
		{"application/json; text/event-stream", false},
		{"", false},
		{";", false},
		{NULL, false},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		ROW("%s", rows[i].type ? rows[i].type : "(none)");
		CHECK_INT(header_is_event_stream(rows[i].type), rows[i].want);
	}
}

#define TRACE  "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"

static void knows_a_traceparent(void)
{
	static const struct {
		const char *value;
		bool want;
	} rows[] = {
		{"00-" TRACE "-" PARENT "-01", true},
		{"00-" TRACE "-" PARENT "-00", true},
		{"00-" TRACE "-" PARENT "-ff", true},
		{"00-00000000000000000000000000000001-0000000000000001-00", true},
		{"00-10000000000000000000000000000000-1000000000000000-00", true},
		{"00-00000000000000000000000000000000-" PARENT "-01", false},
		{"00-" TRACE "-0000000000000000-01", false},
		{"00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT "-01", false},
		{"00-" TRACE "-00F067AA0BA902B7-01", false},
		{"00-" TRACE "-" PARENT "-0F", false},
		{"00-" TRACE "-" PARENT "-0g", false},
		{"00-" TRACE "-" PARENT "-1", false},
		{"00-" TRACE "-" PARENT "-001", false},
		{"00-" TRACE "-" PARENT "-01-", false},
		{"00-" TRACE "-" PARENT "-01 ", false},
		{" 00-" TRACE "-" PARENT "-01", false},
		{"00-" TRACE "-" PARENT, false},
		{"00-" TRACE "x" PARENT "-01", false},
		{"00_" TRACE "-" PARENT "-01", false},
		{"00-" TRACE "-" PARENT "_01", false},
		{"00-4bf92f3577b34da6a3ce929d0e0e473-" PARENT "x-01", false},
		{"00-4bf92f3577b34da6a3ce929d0e0e473g-" PARENT "-01", false},
		{"00-" TRACE "-00f067aa0ba902bg-01", false},
		{"ff-" TRACE "-" PARENT "-01", false},
		{"", false},
		{"00-", false},
		{"-------------------------------------------------------", false},
		{"0000000000000000000000000000000000000000000000000000000", false},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		ROW("%s", rows[i].value);
		CHECK_INT(header_is_traceparent(rows[i].value), rows[i].want);
	}
}

static void knows_a_token(void)
{
	static const char *const good[] = {
		"a", "Content-Type", "x-stainless-lang", "!#$%&'*+-.^_`|~0"};
	static const char *const bad[] = {"", "a b", "a:", "a\r", "a\x7f", "\xc3\xa9", "(a)", "a\"",
		"a/b", "[a]", "{", "a@b", "a\\", "<a>", "a,b", "a;", "a?", "a="};

	for (size_t i = 0; i < COUNT_OF(good); i++) {
		ROW("%s", good[i]);
		CHECK(header_is_token(good[i], strlen(good[i])));
	}
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		ROW("%s", bad[i]);
		CHECK(!header_is_token(bad[i], strlen(bad[i])));
	}
	CHECK(header_is_token("a b", 1));
	CHECK(!header_is_token("a\0b", 3));
}

TEST_MAIN(TEST(knows_the_fields_of_one_connection), TEST(finds_a_token_in_a_list),
	TEST(reads_how_long_to_wait), TEST(huge_waits_stay_long), TEST(reads_ratelimit_fields),
	TEST(knows_an_event_stream), TEST(knows_a_traceparent), TEST(knows_a_token))
