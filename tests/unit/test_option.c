#include "config/option.h"

#include <stdlib.h>

#include "base/mem.h"
#include "test.h"

/* One section of any kind, with its defaults. */
struct section {
	const struct option_table *table;
	union {
		struct server_options server;
		struct log_options log;
		struct upstream_options upstream;
		struct profile_options profile;
		struct route_options route;
	} options;
};

static void section_init(struct section *section, int number)
{
	memset(section, 0, sizeof(*section));
	section->table = &option_tables[number];
	option_init_section(section->table, &section->options);
}

static void section_fini(struct section *section)
{
	option_fini_section(section->table, &section->options);
}

#define _cleanup_section_ __attribute__((cleanup(section_fini)))

static char *value_of(const struct section *section, const struct config_option *option)
{
	struct str text = STR_NULL;

	option_render(option, &section->options, &text);
	return str_steal(&text);
}

static bool is_quantity(const struct config_option *option)
{
	return option->type == OPTION_COUNT || option->type == OPTION_DURATION ||
	       option->type == OPTION_SIZE;
}

static int64_t quantity_of(const struct section *section, const struct config_option *option)
{
	return *(const int64_t *)(const void *)((const char *)&section->options + option->offset);
}

static char *quantity_text(const struct config_option *option, int64_t value)
{
	struct str text = STR_NULL;

	str_addf(&text, "%lld%s", (long long)value, option->type == OPTION_DURATION ? "ms" : "");
	return str_steal(&text);
}

/* Sets the option, and says nothing on success, or what is wrong. */
static char *set(struct section *section, const struct config_option *option, const char *text)
{
	struct str error = STR_NULL;
	bool done = option_set(option, &section->options, text, &error);

	CHECK_INT(done, error.len == 0);
	return str_steal(&error);
}

static void check_set(struct section *section, const struct config_option *option, const char *text)
{
	_cleanup_free_ char *error = set(section, option, text);

	CHECK_STR(error, "");
}

/* It is refused, the message has `word`, and the value stays. */
static void check_refused(struct section *section, const struct config_option *option,
	const char *text, const char *word)
{
	_cleanup_free_ char *before = value_of(section, option);
	_cleanup_free_ char *error = set(section, option, text);
	_cleanup_free_ char *after = value_of(section, option);

	if (!strstr(error, word))
		CHECK_STR(error, word);
	CHECK(*error);
	CHECK_STR(after, before);
}

/* Calls `check` for each row of options.def, on a section with its defaults. */
static void for_each_option(void (*check)(struct section *, const struct config_option *))
{
	for (int number = 0; number < SECTION_COUNT; number++) {
		_cleanup_section_ struct section section;

		section_init(&section, number);
		for (size_t i = 0; i < section.table->count; i++) {
			const struct config_option *option = &section.table->options[i];

			ROW("[%s] %s", section.table->section, option->key);
			check(&section, option);
		}
	}
}

/* ---- Every row of options.def */

static void check_default(struct section *section, const struct config_option *option)
{
	_cleanup_free_ char *before = value_of(section, option), *after = NULL;

	check_set(section, option, option->fallback);
	after = value_of(section, option);
	CHECK_STR(after, before);
	CHECK(option_find(section->table, option->key) == option);
	CHECK(option->help && *option->help);
	if (is_quantity(option) && quantity_of(section, option) != OPTION_SPECIAL) {
		CHECK(quantity_of(section, option) >= option->min);
		CHECK(quantity_of(section, option) <= option->max);
	}
}

static void every_default_parses(void)
{
	for_each_option(check_default);
}

static void check_round_trip(struct section *section, const struct config_option *option)
{
	_cleanup_free_ char *text = value_of(section, option), *again = NULL;

	check_set(section, option, text);
	again = value_of(section, option);
	CHECK_STR(again, text);
}

static void every_default_is_rendered_as_it_is_read(void)
{
	for_each_option(check_round_trip);
}

static void check_quantity(struct section *section, const struct config_option *option, int64_t at)
{
	_cleanup_free_ char *text = quantity_text(option, at);

	if (at >= option->min && at <= option->max) {
		check_set(section, option, text);
		CHECK_INT(quantity_of(section, option), at);
		check_round_trip(section, option);
		CHECK_INT(quantity_of(section, option), at);
	} else {
		check_refused(section, option, text, at < 0 ? "\"" : "out of range");
	}
}

static void check_bounds(struct section *section, const struct config_option *option)
{
	if (!is_quantity(option) || !option->built)
		return;
	check_quantity(section, option, option->min);
	check_quantity(section, option, option->min + 1);
	check_quantity(section, option, option->max);
	check_quantity(section, option, option->max + 1);
	check_quantity(section, option, option->max * 10);
	check_quantity(section, option, option->min - 1);
	check_quantity(section, option, 0);
	check_quantity(section, option, -5);
	check_refused(section, option, "", "\"\"");
	check_refused(section, option, "x", "\"x\"");
	check_refused(section, option, "on", "\"on\"");
}

static void every_quantity_has_its_bounds(void)
{
	for_each_option(check_bounds);
}

static void check_zero(struct section *section, const struct config_option *option)
{
	static const char *const off_at_zero[] = {"hold_body", "hold_stream", "heartbeat",
		"body_bytes", "queue", "scale_up_wait", "hedge_after"};
	bool is_off = false;

	for (size_t i = 0; i < COUNT_OF(off_at_zero); i++)
		is_off |= strcmp(option->key, off_at_zero[i]) == 0;
	if (is_quantity(option) && option->built && !is_off)
		check_refused(section, option, "0", "out of range");
}

/* Of what is built, only a few are said to be off at 0. */
static void zero_is_refused_where_it_is_not_off(void)
{
	for_each_option(check_zero);
}

static void check_words(struct section *section, const struct config_option *option)
{
	if (!option->built || (option->type != OPTION_WORD && option->type != OPTION_BOOL))
		return;
	for (int i = 0; option->words && option->words[i]; i++) {
		_cleanup_free_ char *text = NULL;

		check_set(section, option, option->words[i]);
		text = value_of(section, option);
		CHECK_STR(text, option->words[i]);
		check_refused(section, option, "no such word", option->words[i]);
	}
	check_refused(section, option, "", "\"\"");
	check_refused(section, option, "1", "\"1\"");
	check_refused(section, option, "INFO", "\"INFO\"");
}

static void every_word_is_known(void)
{
	for_each_option(check_words);
}

static void check_text(struct section *section, const struct config_option *option)
{
	_cleanup_free_ char *text = NULL;

	if (!option->built || (option->type != OPTION_TEXT && option->type != OPTION_LIST))
		return;
	check_set(section, option, "one two  three");
	text = value_of(section, option);
	CHECK_STR(text, "one two  three");
	check_set(section, option, "");
}

static void every_text_is_taken(void)
{
	for_each_option(check_text);
}

/* What is not part of this version takes the value that turns it off, and no other. */
static void check_later(struct section *section, const struct config_option *option)
{
	static const char *const others[] = {"on", "off", "auto", "0", "1", "1s", "5m", "1MiB",
		"20%", "native", "/path", "127.0.0.1:8788", "https://a.example", ""};

	if (option->built)
		return;
	check_set(section, option, option->fallback);
	for (size_t i = 0; i < COUNT_OF(others); i++) {
		if (strcmp(others[i], option->fallback) != 0)
			check_refused(section, option, others[i], "not built");
	}
}

static void what_is_not_built_stays_off(void)
{
	for_each_option(check_later);
}

/* ---- The defaults that the contract names */

static void defaults_are_the_contracts(void)
{
	static const struct {
		enum option_section section;
		const char *key, *value;
	} rows[] = {
		{SECTION_SERVER, "listen", "127.0.0.1:8787 [::1]:8787"},
		{SECTION_SERVER, "admin", "127.0.0.1:8788"},
		{SECTION_SERVER, "workers", "auto"},
		{SECTION_SERVER, "max_body", "64MiB"},
		{SECTION_SERVER, "max_header", "64KiB"},
		{SECTION_SERVER, "idle_timeout", "2m"},
		{SECTION_SERVER, "send_timeout", "2m"},
		{SECTION_SERVER, "drain_timeout", "30s"},
		{SECTION_SERVER, "allow_hosts", ""},
		{SECTION_SERVER, "unix_mode", "0600"},
		{SECTION_SERVER, "unix_users", ""},
		{SECTION_SERVER, "allow_origins", ""},
		{SECTION_SERVER, "client_token_file", ""},
		{SECTION_LOG, "events", "stderr"},
		{SECTION_LOG, "format", "auto"},
		{SECTION_LOG, "level", "info"},
		{SECTION_LOG, "body_bytes", "0"},
		{SECTION_UPSTREAM, "api_key_file", ""},
		{SECTION_UPSTREAM, "profile", ""},
		{SECTION_UPSTREAM, "ca_file", ""},
		{SECTION_UPSTREAM, "max_in_flight", "1024"},
		{SECTION_UPSTREAM, "queue", "1024"},
		{SECTION_UPSTREAM, "queue_bytes", "256MiB"},
		{SECTION_UPSTREAM, "pacing", "on"},
		{SECTION_UPSTREAM, "breaker", "on"},
		{SECTION_UPSTREAM, "pool_idle", "1m"},
		{SECTION_UPSTREAM, "proxy", ""},
		{SECTION_UPSTREAM, "transport", "native"},
		{SECTION_UPSTREAM, "retry_budget", "20%"},
		{SECTION_PROFILE, "connect_timeout", "10s"},
		{SECTION_PROFILE, "write_timeout", "30s"},
		{SECTION_PROFILE, "first_byte_timeout", "30m"},
		{SECTION_PROFILE, "idle_timeout", "30m"},
		{SECTION_PROFILE, "pool_timeout", "10s"},
		{SECTION_PROFILE, "total_timeout", "30m"},
		{SECTION_PROFILE, "outage_wait", "1m"},
		{SECTION_PROFILE, "max_attempts", "5"},
		{SECTION_PROFILE, "backoff_base", "1s"},
		{SECTION_PROFILE, "backoff_cap", "1m"},
		{SECTION_PROFILE, "jitter", "additive"},
		{SECTION_PROFILE, "retry_statuses", "408 429 500 502 503 504 520"},
		{SECTION_PROFILE, "retry_after_cap", "1m"},
		{SECTION_PROFILE, "scale_up_wait", "0"},
		{SECTION_PROFILE, "hold_first_event", "on"},
		{SECTION_PROFILE, "hold_body", "4MiB"},
		{SECTION_PROFILE, "hold_stream", "0"},
		{SECTION_PROFILE, "patience", "on"},
		{SECTION_PROFILE, "heartbeat", "0"},
		{SECTION_PROFILE, "hedge_after", "0"},
		{SECTION_ROUTE, "path", ""},
		{SECTION_ROUTE, "model", ""},
		{SECTION_ROUTE, "profile", ""},
		{SECTION_ROUTE, "upstream", ""},
		{SECTION_ROUTE, "fallback", ""},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		_cleanup_section_ struct section section;
		const struct config_option *option;
		_cleanup_free_ char *value = NULL;

		section_init(&section, (int)rows[i].section);
		option = option_find(section.table, rows[i].key);
		ROW("[%s] %s", section.table->section, rows[i].key);
		if (!CHECK(option != NULL))
			continue;
		value = value_of(&section, option);
		CHECK_STR(value, rows[i].value);
	}
}

/* ---- Durations, sizes, counts */

static void parses_durations(void)
{
	static const struct {
		const char *text;
		msec_t want;
	} rows[] = {
		{"0", 0},
		{"0s", 0},
		{"0ms", 0},
		{"1ms", 1},
		{"500ms", 500},
		{"45s", 45000},
		{"045s", 45000},
		{"10m", 600000},
		{"1h", 3600000},
		{"48h", 172800000},
		{"1.5m", 90000},
		{"0.5s", 500},
		{"0.25h", 900000},
		{"2.750s", 2750},
		{"0.001s", 1},
		{"1000000h", 3600000000000},
		{"", -1},
		{"s", -1},
		{"ms", -1},
		{"10", -1},
		{"1.5", -1},
		{"-1s", -1},
		{"+1s", -1},
		{" 1s", -1},
		{"1s ", -1},
		{"1 s", -1},
		{"1S", -1},
		{"1MS", -1},
		{"1sec", -1},
		{"1min", -1},
		{"1d", -1},
		{"1us", -1},
		{"1m30s", -1},
		{".5s", -1},
		{"1.s", -1},
		{"1..5s", -1},
		{"1.5.5s", -1},
		{"1,5s", -1},
		{"1e3s", -1},
		{"0x10s", -1},
		{"infs", -1},
		{"nan", -1},
		{"off", -1},
		{"99999999999999999999h", -1},
		{"99999999999999999999999999999999999999999999999999999999999999999999ms", -1},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		ROW("%s", rows[i].text);
		CHECK_INT(duration_parse(rows[i].text), rows[i].want);
	}
}

static void check_values(enum option_section number, const char *key, const char *const good[][2],
	const char *const *bad)
{
	_cleanup_section_ struct section section;
	const struct config_option *option;

	section_init(&section, (int)number);
	option = option_find(section.table, key);
	for (size_t i = 0; good[i][0]; i++) {
		_cleanup_free_ char *value = NULL;

		ROW("%s = %s", key, good[i][0]);
		check_set(&section, option, good[i][0]);
		value = value_of(&section, option);
		CHECK_STR(value, good[i][1]);
	}
	for (size_t i = 0; bad[i]; i++) {
		ROW("%s = %s", key, bad[i]);
		check_refused(&section, option, bad[i], bad[i]);
	}
}

static void parses_sizes(void)
{
	static const char *const good[][2] = {{"0", "0"}, {"1", "1"}, {"1023", "1023"},
		{"1024", "1KiB"}, {"1KiB", "1KiB"}, {"1.5KiB", "1536"}, {"64KiB", "64KiB"},
		{"4MiB", "4MiB"}, {"0.5MiB", "512KiB"}, {"1GiB", "1GiB"}, {"1024MiB", "1GiB"},
		{"0KiB", "0"}, {NULL, NULL}};
	static const char *const bad[] = {"1KB", "1kib", "1K", "1 KiB", "KiB", "-1KiB", "1.KiB",
		"1MiBx", "1B", "0x10", "1e3", "off", NULL};

	check_values(SECTION_PROFILE, "hold_body", good, bad);
}

static void parses_counts(void)
{
	static const char *const good[][2] = {
		{"1", "1"}, {"5", "5"}, {"05", "5"}, {"64", "64"}, {NULL, NULL}};
	static const char *const bad[] = {
		"-1", "+1", "5x", "5 ", "five", "1e1", "0x5", "2.5", "1.0", "auto", "off", NULL};

	check_values(SECTION_PROFILE, "max_attempts", good, bad);
}

static void parses_percentages(void)
{
	static const char *const good[][2] = {{"20%", "20%"}, {"0.5%", "0.5%"}, {"0%", "0%"},
		{"off", "off"}, {"020.50%", "20.5%"}, {"100%", "100%"}, {"1000%", "1000%"},
		{"33.333%", "33.333%"}, {"0.001%", "0.001%"}, {"999.999%", "999.999%"},
		{"12.34567%", "12.346%"}, {"0.1%", "0.1%"}, {"29%", "29%"}, {NULL, NULL}};
	static const char *const bad[] = {"20", "0", "0.2", "%", "-1%", "+1%", "20 %", "20%%",
		"20%x", "1e2%", "1.%", ".5%", "1000.001%", "1001%", "99999999999999999999%", "on",
		"OFF", "inf%", "nan%", NULL};
	static const struct {
		const char *text;
		double want;
	} shares[] = {{"20%", 0.2}, {"0.5%", 0.005}, {"0%", 0}, {"1000%", 10}, {"100%", 1}};
	_cleanup_section_ struct section section;

	check_values(SECTION_UPSTREAM, "retry_budget", good, bad);
	section_init(&section, SECTION_UPSTREAM);
	for (size_t i = 0; i < COUNT_OF(shares); i++) {
		ROW("%s", shares[i].text);
		check_set(&section, option_find(section.table, "retry_budget"), shares[i].text);
		CHECK(section.options.upstream.retry_budget == shares[i].want);
	}
	check_set(&section, option_find(section.table, "retry_budget"), "off");
	CHECK(section.options.upstream.retry_budget < 0);
	CHECK_STR(option_find(section.table, "retry_budget")->fallback, "20%");
}

static void renders_durations(void)
{
	static const char *const good[][2] = {{"10ms", "10ms"}, {"1500ms", "1500ms"},
		{"1000ms", "1s"}, {"90s", "90s"}, {"1.5m", "90s"}, {"60s", "1m"}, {"120s", "2m"},
		{"3600s", "1h"}, {"24h", "24h"}, {"0.5h", "30m"}, {NULL, NULL}};
	static const char *const bad[] = {"10", "1d", "9ms x", NULL};

	check_values(SECTION_PROFILE, "total_timeout", good, bad);
}

static void some_numbers_have_a_word(void)
{
	static const char *const good[][2] = {
		{"auto", "auto"}, {"1", "1"}, {"256", "256"}, {"auto", "auto"}, {NULL, NULL}};
	static const char *const bad[] = {"off", "AUTO", "auto ", NULL};

	check_values(SECTION_SERVER, "workers", good, bad);
}

/* ---- Sections */

static void finds_options(void)
{
	CHECK(option_find(&option_tables[SECTION_SERVER], "listen") != NULL);
	CHECK(!option_find(&option_tables[SECTION_SERVER], "Listen"));
	CHECK(!option_find(&option_tables[SECTION_SERVER], "url"));
	CHECK(!option_find(&option_tables[SECTION_SERVER], ""));
	CHECK_STR(option_tables[SECTION_SERVER].section, "server");
	CHECK_STR(option_tables[SECTION_LOG].section, "log");
	CHECK_STR(option_tables[SECTION_UPSTREAM].section, "upstream");
	CHECK_STR(option_tables[SECTION_PROFILE].section, "profile");
	CHECK_STR(option_tables[SECTION_ROUTE].section, "route");
	for (int i = 0; i < SECTION_COUNT; i++)
		CHECK_INT(option_tables[i].named, i >= SECTION_UPSTREAM);
}

static void keys_are_unique(void)
{
	for (int number = 0; number < SECTION_COUNT; number++) {
		const struct option_table *table = &option_tables[number];

		for (size_t i = 0; i < table->count; i++) {
			ROW("[%s] %s", table->section, table->options[i].key);
			CHECK(option_find(table, table->options[i].key) == &table->options[i]);
		}
	}
}

/* A copy has its own texts. */
static void copies_sections(void)
{
	const struct option_table *table = &option_tables[SECTION_PROFILE];
	struct profile_options from, to;
	_cleanup_str_ struct str error = STR_NULL;

	memset(&from, 0, sizeof(from));
	memset(&to, 0, sizeof(to));
	option_init_section(table, &from);
	CHECK(option_set(option_find(table, "total_timeout"), &from, "7m", &error));
	CHECK(option_set(option_find(table, "jitter"), &from, "full", &error));
	CHECK(option_set(option_find(table, "retry_statuses"), &from, "503", &error));
	CHECK(option_set(option_find(table, "hold_body"), &from, "0", &error));
	option_copy_section(table, &to, &from);
	CHECK(to.retry_statuses != from.retry_statuses);
	option_fini_section(table, &from);
	CHECK_INT(to.total_timeout, 420000);
	CHECK_INT(to.jitter, 1);
	CHECK_STR(to.retry_statuses, "503");
	CHECK_INT(to.hold_body, 0);
	CHECK_INT(to.connect_timeout, 10000);
	CHECK_INT(to.pool_timeout, 10000);
	option_copy_section(table, &to, &to);
	CHECK_STR(to.retry_statuses, "503");
	option_fini_section(table, &to);
}

TEST_MAIN(TEST(every_default_parses), TEST(every_default_is_rendered_as_it_is_read),
	TEST(every_quantity_has_its_bounds), TEST(zero_is_refused_where_it_is_not_off),
	TEST(every_word_is_known), TEST(every_text_is_taken), TEST(what_is_not_built_stays_off),
	TEST(defaults_are_the_contracts), TEST(parses_durations), TEST(parses_sizes),
	TEST(parses_counts), TEST(parses_percentages), TEST(renders_durations),
	TEST(some_numbers_have_a_word), TEST(finds_options), TEST(keys_are_unique),
	TEST(copies_sections))
