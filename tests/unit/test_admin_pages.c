#include "admin/health.h"
#include "admin/metrics_page.h"
#include "admin/status.h"

#include "base/budget.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "proxy/upstream.h"

#include "test.h"

/* What the pages ask, in the place of the real ones. */
struct upstream {
	struct upstream_status status;
};

void upstream_read_status(struct upstream *upstream, struct upstream_status *ret)
{
	*ret = upstream->status;
}

void upstream_status_fini(struct upstream_status *status)
{
	*status = (struct upstream_status){.name = NULL};
}

uint64_t event_log_dropped(struct event_log *log)
{
	(void)log;
	return 7;
}

static bool draining;

static bool is_draining(void *arg)
{
	(void)arg;
	return draining;
}

static struct lane_status lanes[] = {
	{.name = "m/\"a\" 0123abcd",
		.waiting = 3,
		.in_flight = 2,
		.pace = 2.5,
		.measured = 1.25,
		.closed_ms = 400,
		.paused = true,
		.probe_ms = 250,
		.failed_probes = 4,
		.last_error = "upstream_status 503"},
	{.name = "b 4567cdef"},
};

static char name_one[] = "one", url_one[] = "https://one.test";
static char name_two[] = "two", url_two[] = "https://two.test";

static struct upstream one = {{
	.name = name_one,
	.url = url_one,
	.in_flight = 2,
	.waiting = 3,
	.waiting_bytes = 300,
	.max_in_flight = 10,
	.queue = -1,
	.queue_bytes = 1000,
	.retry_budget = 4.5,
	.lanes = lanes,
	.lane_count = 2,
}};
static struct upstream two = {{
	.name = name_two,
	.url = url_two,
	.max_in_flight = -1,
	.queue_bytes = -1,
	.retry_budget = -1,
}};

static void lose_path(bool lost)
{
	two.status.path_lost = lost;
	two.status.probe_ms = lost ? 100 : 0;
	snprintf(two.status.last_error, sizeof(two.status.last_error), "%s",
		lost ? "connection_refused" : "");
}

static struct upstream *const upstreams[] = {&one, &two};
static struct budget memory = {.limit = -1, .used = 12}, connections = {.limit = 9, .used = 5};

static const struct admin_setup setup = {
	.upstreams = upstreams,
	.upstream_count = 2,
	.worker_count = 0,
	.memory = &memory,
	.connections = &connections,
	.is_draining = is_draining,
};

static void readiness(void)
{
	static const struct {
		bool draining, lost, upstream;
		int status;
		const char *text;
	} rows[] = {
		{false, false, false, 200, "ready\n"},
		{false, false, true, 200, "ready\n"},
		{false, true, false, 200, "ready\n"},
		{false, true, true, 503, "upstream two: the path is lost: connection_refused\n"},
		{true, false, false, 503, "draining\n"},
		{true, false, true, 503, "draining\n"},
		{true, true, true, 503,
			"draining\nupstream two: the path is lost: connection_refused\n"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		_cleanup_str_ struct str text = STR_NULL;

		ROW("row %zu", i);
		draining = rows[i].draining;
		lose_path(rows[i].lost);
		CHECK_INT(health_ready(&setup, rows[i].upstream, &text), rows[i].status);
		CHECK_STR(str_text(&text), rows[i].text);
	}
	draining = false;
	lose_path(false);
}

static void status_says_why_a_request_waits(void)
{
	_cleanup_str_ struct str text = STR_NULL;

	lose_path(true);
	status_render(&setup, 65000, &text);
	lose_path(false);
	CHECK_STR(str_text(&text),
		"{\"version\":\"" ANDIRON_VERSION "\",\"uptime_s\":65,\"draining\":false,"
		"\"workers\":0,\"client_connections\":5,\"max_connections\":9,\"memory_used\":12,"
		"\"max_memory\":null,\"log_dropped\":7,\"upstreams\":["
		"{\"name\":\"one\",\"url\":\"https://one.test\",\"in_flight\":2,"
		"\"max_in_flight\":10,\"waiting\":3,\"queue\":null,\"waiting_bytes\":300,"
		"\"queue_bytes\":1000,\"path_lost\":false,\"next_probe_ms\":0,\"last_error\":null,"
		"\"retry_budget\":4.5,\"lanes\":["
		"{\"name\":\"m/\\\"a\\\" 0123abcd\",\"waiting\":3,\"in_flight\":2,\"pace\":2.5,"
		"\"measured\":1.25,\"closed_for_ms\":400,\"paused\":true,\"next_probe_ms\":250,"
		"\"failed_probes\":4,\"last_error\":\"upstream_status 503\"},"
		"{\"name\":\"b 4567cdef\",\"waiting\":0,\"in_flight\":0,\"pace\":null,"
		"\"measured\":null,\"closed_for_ms\":0,\"paused\":false,\"next_probe_ms\":0,"
		"\"failed_probes\":0,\"last_error\":null}]},"
		"{\"name\":\"two\",\"url\":\"https://two.test\",\"in_flight\":0,"
		"\"max_in_flight\":null,\"waiting\":0,\"queue\":0,\"waiting_bytes\":0,"
		"\"queue_bytes\":null,\"path_lost\":true,\"next_probe_ms\":100,"
		"\"last_error\":\"connection_refused\",\"retry_budget\":null,\"lanes\":[]}]}\n");
}

static void check_line(const char *text, const char *line, bool wanted)
{
	ROW("%s", line);
	CHECK((strstr(text, line) != NULL) == wanted);
}

static void gauges_stand_beside_what_was_counted(void)
{
	static const char *const lines[] = {"\nandiron_in_flight{upstream=\"one\"} 2\n",
		"\nandiron_in_flight{upstream=\"two\"} 0\n",
		"\nandiron_queue_length{upstream=\"one\"} 3\n",
		"\nandiron_pace{upstream=\"one\",lane=\"m/\\\"a\\\" 0123abcd\"} 2.5\n",
		"\nandiron_breaker_open{upstream=\"one\"} 1\n",
		"\nandiron_upstream_connections{upstream=\"two\",state=\"idle\"} 0\n",
		"\nandiron_client_connections 5\n", "\nandiron_log_dropped_total 7\n",
		"\nandiron_build_info{version=\"" ANDIRON_VERSION "\"} 1\n",
		"\nandiron_attempts_total{upstream=\"one\",code=\"200\"} 2\n"};
	struct metrics *workers[] = {metrics_new(), metrics_new()}, *sum = metrics_new();
	struct admin_setup with_workers = setup;

	with_workers.metrics = workers;
	with_workers.worker_count = 2;
	for (size_t i = 0; i < 2; i++)
		metrics_add(workers[i], METRIC_ATTEMPTS, (const char *[]){"one", "200"}, 1);
	for (int again = 0; again < 2; again++) {
		_cleanup_str_ struct str text = STR_NULL;

		lose_path(again);
		metrics_page_render(&with_workers, sum, &text);
		for (size_t i = 0; i < COUNT_OF(lines); i++)
			check_line(str_text(&text), lines[i], true);
		check_line(str_text(&text), "4567cdef", false); /* it has no pace */
		check_line(str_text(&text), "\nandiron_breaker_open{upstream=\"two\"} 1\n", again);
	}
	lose_path(false);
	for (size_t i = 0; i < 2; i++)
		metrics_free(workers[i]);
	metrics_free(sum);
}

TEST_MAIN(TEST(readiness), TEST(status_says_why_a_request_waits),
	TEST(gauges_stand_beside_what_was_counted))
