#include "base/metrics.h"

#include <pthread.h>

#include "test.h"

static const char *const names[] = {
#define METRIC(id, kind, name, ...) name,
#include "base/metrics.def"
};

/* Is this line, or the beginning of one, in the text? */
static bool has_line(const char *text, const char *line)
{
	_cleanup_str_ struct str wanted = STR_NULL;

	str_addf(&wanted, "\n%s", line);
	return strstr(text, str_text(&wanted)) != NULL;
}

static size_t count_lines(const char *text, const char *beginning)
{
	_cleanup_str_ struct str wanted = STR_NULL;
	size_t count = 0;

	str_addf(&wanted, "\n%s", beginning);
	for (text = strstr(text, str_text(&wanted)); text; count++)
		text = strstr(text + 1, str_text(&wanted));
	return count;
}

static void check_lines(const struct metrics *metrics, const char *const *lines)
{
	_cleanup_str_ struct str text = STR_NULL;

	metrics_render(metrics, &text);
	for (size_t i = 0; lines[i]; i++) {
		ROW("%s", lines[i]);
		CHECK(has_line(str_text(&text), lines[i]));
	}
	ROW("%s", "");
}

static void every_family_is_there_from_the_start(void)
{
	static const char *const zeros[] = {"andiron_client_connections 0\n",
		"andiron_log_dropped_total 0\n", "andiron_request_duration_seconds_count 0\n",
		"andiron_request_duration_seconds_sum 0\n",
		"andiron_request_duration_seconds_bucket{le=\"+Inf\"} 0\n", NULL};
	struct metrics *metrics = metrics_new();
	_cleanup_str_ struct str text = STR_NULL;

	check_lines(metrics, zeros);
	str_add_char(&text, '\n');
	metrics_render(metrics, &text);
	for (size_t i = 0; i < METRIC_COUNT; i++) {
		_cleanup_str_ struct str help = STR_NULL, type = STR_NULL;

		ROW("%s", names[i]);
		str_addf(&help, "# HELP %s ", names[i]);
		str_addf(&type, "# TYPE %s ", names[i]);
		CHECK_INT(count_lines(str_text(&text), str_text(&help)), 1);
		CHECK_INT(count_lines(str_text(&text), str_text(&type)), 1);
	}
	metrics_free(metrics);
}

static void series_are_found_by_their_labels(void)
{
	static const char *const want[] = {
		"andiron_attempts_total{upstream=\"a\",code=\"200\"} 3\n",
		"andiron_attempts_total{upstream=\"a\",code=\"503\"} 1\n",
		"andiron_attempts_total{upstream=\"b\",code=\"200\"} 0.5\n", NULL};
	struct metrics *metrics = metrics_new();

	metrics_add(metrics, METRIC_ATTEMPTS, (const char *[]){"a", "200"}, 1);
	metrics_add(metrics, METRIC_ATTEMPTS, (const char *[]){"a", "503"}, 1);
	metrics_add(metrics, METRIC_ATTEMPTS, (const char *[]){"b", "200"}, 0.5);
	metrics_add(metrics, METRIC_ATTEMPTS, (const char *[]){"a", "200"}, 2);
	check_lines(metrics, want);
	metrics_free(metrics);
}

static void nothing_is_counted_nowhere(void)
{
	metrics_add(NULL, METRIC_CLIENT_CONNECTIONS, NULL, 1);
	metrics_observe(NULL, METRIC_FIRST_BYTE, NULL, 1);
	metrics_free(NULL);
	CHECK(true);
}

static void buckets_are_cumulative(void)
{
	static const char *const want[] = {
		"andiron_connect_seconds_bucket{phase=\"tls\",le=\"0.001\"} 1\n",
		"andiron_connect_seconds_bucket{phase=\"tls\",le=\"0.005\"} 2\n",
		"andiron_connect_seconds_bucket{phase=\"tls\",le=\"0.01\"} 2\n",
		"andiron_connect_seconds_bucket{phase=\"tls\",le=\"10\"} 3\n",
		"andiron_connect_seconds_bucket{phase=\"tls\",le=\"+Inf\"} 4\n",
		"andiron_connect_seconds_sum{phase=\"tls\"} 26.126\n",
		"andiron_connect_seconds_count{phase=\"tls\"} 4\n", NULL};
	static const double values[] = {0.001, 0.005, 0.12, 26};
	struct metrics *metrics = metrics_new();

	for (size_t i = 0; i < COUNT_OF(values); i++)
		metrics_observe(metrics, METRIC_CONNECT, (const char *[]){"tls"}, values[i]);
	check_lines(metrics, want);
	metrics_free(metrics);
}

static void label_values_are_escaped(void)
{
	static const struct {
		const char *value, *want;
	} rows[] = {
		{"a\"b", "a\\\"b"},
		{"a\\b", "a\\\\b"},
		{"a\nb", "a\\nb"},
		{"a\n# HELP x y", "a\\n# HELP x y"},
		{"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
		{"a\xff\xc3", "a\xef\xbf\xbd\xef\xbf\xbd"},
		{"", ""},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct metrics *metrics = metrics_new();
		_cleanup_str_ struct str line = STR_NULL;

		str_addf(&line, "andiron_build_info{version=\"%s\"} 1\n", rows[i].want);
		metrics_add(metrics, METRIC_BUILD_INFO, &rows[i].value, 1);
		check_lines(metrics, (const char *[]){str_text(&line), NULL});
		metrics_free(metrics);
	}
}

static void long_values_are_cut_behind_a_whole_character(void)
{
	struct metrics *metrics = metrics_new();
	_cleanup_str_ struct str value = STR_NULL, line = STR_NULL;
	const char *label;

	for (size_t i = 0; i < 159; i++)
		str_add_char(&value, 'a');
	str_addf(&line, "andiron_build_info{version=\"%s\"} 2\n", str_text(&value));
	str_add(&value, "\xc3\xbc");
	label = str_text(&value);
	metrics_add(metrics, METRIC_BUILD_INFO, &label, 1);
	str_add(&value, " and more");
	label = str_text(&value);
	metrics_add(metrics, METRIC_BUILD_INFO, &label, 1);
	check_lines(metrics, (const char *[]){str_text(&line), NULL});
	metrics_free(metrics);
}

static void add_models(struct metrics *metrics, const char *prefix, int count)
{
	for (int i = 0; i < count; i++) {
		char model[32];

		snprintf(model, sizeof(model), "%s%d", prefix, i);
		metrics_add(metrics, METRIC_TOKENS, (const char *[]){"u", model, "prompt"}, 1);
	}
}

/* How many models are told apart, and what `other` has. */
static void check_models(const struct metrics *metrics, size_t named, const char *of_other)
{
	_cleanup_str_ struct str text = STR_NULL, line = STR_NULL;

	metrics_render(metrics, &text);
	CHECK_INT(count_lines(str_text(&text), "andiron_tokens_total{"), named + 1);
	str_addf(&line, "andiron_tokens_total{upstream=\"u\",model=\"other\",type=\"prompt\"} %s\n",
		of_other);
	CHECK(has_line(str_text(&text), str_text(&line)));
}

static void the_fifty_first_value_is_other(void)
{
	struct metrics *metrics = metrics_new();

	add_models(metrics, "m", 53);
	add_models(metrics, "m", 53);
	metrics_add(metrics, METRIC_TOKENS, (const char *[]){"u", "other", "prompt"}, 1);
	check_models(metrics, 50, "7");
	metrics_free(metrics);
}

static void a_client_that_says_other_is_one_of_them(void)
{
	struct metrics *metrics = metrics_new();

	metrics_add(metrics, METRIC_TOKENS, (const char *[]){"u", "other", "prompt"}, 10);
	add_models(metrics, "m", 53);
	check_models(metrics, 50, "13"); /* two lines of the same labels would be no metrics */
	metrics_free(metrics);
}

/* 50 words each of four labels would be six million series. */
static void series_are_bounded(void)
{
	struct metrics *metrics = metrics_new();
	_cleanup_str_ struct str text = STR_NULL;

	for (int i = 0; i < 50; i++) {
		for (int j = 0; j < 50; j++) {
			char code[16], route[16];

			snprintf(code, sizeof(code), "%d", i);
			snprintf(route, sizeof(route), "%d", j);
			metrics_add(metrics, METRIC_REQUESTS,
				(const char *[]){"u", route, "p", code}, 1);
		}
	}
	metrics_render(metrics, &text);
	CHECK_INT(count_lines(str_text(&text), "andiron_requests_total{"), 2001);
	CHECK(has_line(str_text(&text), "andiron_requests_total{upstream=\"other\",route=\"other\","
					"profile=\"other\",code=\"other\"} 500\n"));
	metrics_free(metrics);
}

static void blocks_are_summed(void)
{
	static const char *const want[] = {
		"andiron_attempts_total{upstream=\"a\",code=\"200\"} 3\n",
		"andiron_attempts_total{upstream=\"a\",code=\"503\"} 1\n",
		"andiron_first_byte_seconds_bucket{le=\"1\"} 1\n",
		"andiron_first_byte_seconds_sum 2.5\n", "andiron_first_byte_seconds_count 2\n",
		NULL};
	struct metrics *one = metrics_new(), *two = metrics_new(), *sum = metrics_new();

	metrics_add(one, METRIC_ATTEMPTS, (const char *[]){"a", "200"}, 1);
	metrics_add(two, METRIC_ATTEMPTS, (const char *[]){"a", "503"}, 1);
	metrics_add(two, METRIC_ATTEMPTS, (const char *[]){"a", "200"}, 2);
	metrics_observe(one, METRIC_FIRST_BYTE, NULL, 0.5);
	metrics_observe(two, METRIC_FIRST_BYTE, NULL, 2);
	for (int i = 0; i < 3; i++) { /* as often as somebody asks */
		metrics_clear(sum);
		metrics_merge(sum, one);
		metrics_merge(sum, two);
		check_lines(sum, want);
	}
	metrics_free(one);
	metrics_free(two);
	metrics_free(sum);
}

/* What has been `other` in one answer has no series of its own in a later one, and the other way
 * round: else counters would fall. */
static void a_sum_keeps_its_words(void)
{
	struct metrics *one = metrics_new(), *two = metrics_new(), *sum = metrics_new();

	add_models(two, "b", 40);
	metrics_merge(sum, one);
	metrics_merge(sum, two);
	add_models(one, "a", 40);
	metrics_clear(sum);
	metrics_merge(sum, one);
	metrics_merge(sum, two);
	check_models(sum, 50, "30");
	check_lines(sum,
		(const char *[]){
			"andiron_tokens_total{upstream=\"u\",model=\"b39\",type=\"prompt\"} 1\n",
			NULL});
	metrics_free(one);
	metrics_free(two);
	metrics_free(sum);
}

static void gauges_are_forgotten(void)
{
	struct metrics *sum = metrics_new();
	_cleanup_str_ struct str text = STR_NULL;

	metrics_add(sum, METRIC_PACE, (const char *[]){"u", "gone"}, 2);
	metrics_add(sum, METRIC_CLIENT_CONNECTIONS, NULL, 2);
	metrics_clear(sum);
	metrics_render(sum, &text);
	CHECK_INT(count_lines(str_text(&text), "andiron_pace{"), 0);
	CHECK(has_line(str_text(&text), "andiron_client_connections 0\n"));
	metrics_free(sum);
}

enum { ROUNDS = 20000 };

static void *count_on(void *arg)
{
	for (int i = 0; i < ROUNDS; i++)
		metrics_add(arg, METRIC_ATTEMPTS, (const char *[]){"a", "200"}, 1);
	return NULL;
}

static void it_is_read_while_it_counts(void)
{
	static const char *const want[] = {
		"andiron_attempts_total{upstream=\"a\",code=\"200\"} 40000\n", NULL};
	struct metrics *metrics = metrics_new(), *sum = metrics_new();
	pthread_t threads[2];

	for (size_t i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, count_on, metrics);
	for (int i = 0; i < 100; i++) {
		metrics_clear(sum);
		metrics_merge(sum, metrics);
	}
	for (size_t i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	metrics_clear(sum);
	metrics_merge(sum, metrics);
	check_lines(sum, want);
	metrics_free(metrics);
	metrics_free(sum);
}

TEST_MAIN(TEST(every_family_is_there_from_the_start), TEST(series_are_found_by_their_labels),
	TEST(nothing_is_counted_nowhere), TEST(buckets_are_cumulative),
	TEST(label_values_are_escaped), TEST(long_values_are_cut_behind_a_whole_character),
	TEST(the_fifty_first_value_is_other), TEST(a_client_that_says_other_is_one_of_them),
	TEST(series_are_bounded), TEST(blocks_are_summed), TEST(a_sum_keeps_its_words),
	TEST(gauges_are_forgotten), TEST(it_is_read_while_it_counts))
