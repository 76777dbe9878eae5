#include "admin/metrics_page.h"

#include "base/budget.h"
#include "base/metrics.h"
#include "proxy/upstream.h"

static size_t count_closed(const struct upstream_status *status)
{
	size_t closed = 0;

	if (status->path_lost)
		return status->lane_count ? status->lane_count : 1;
	for (size_t i = 0; i < status->lane_count; i++)
		closed += status->lanes[i].paused;
	return closed;
}

static void add_connections(struct metrics *sum, const char *upstream)
{
	static const char *const states[] = {"idle", "busy"};

	for (size_t i = 0; i < 2; i++) /* the workers have the numbers; before the first, 0 */
		metrics_add(
			sum, METRIC_UPSTREAM_CONNECTIONS, (const char *[]){upstream, states[i]}, 0);
}

static void add_upstream(struct metrics *sum, const struct upstream_status *status)
{
	const char *name = status->name;

	metrics_add(sum, METRIC_IN_FLIGHT, &name, (double)status->in_flight);
	metrics_add(sum, METRIC_QUEUE_LENGTH, &name, (double)status->waiting);
	metrics_add(sum, METRIC_BREAKER_OPEN, &name, (double)count_closed(status));
	for (size_t i = 0; i < status->lane_count; i++) {
		const struct lane_status *lane = &status->lanes[i];

		if (lane->pace > 0)
			metrics_add(
				sum, METRIC_PACE, (const char *[]){name, lane->name}, lane->pace);
	}
	add_connections(sum, name);
}

void metrics_page_render(const struct admin_setup *setup, struct metrics *sum, struct str *out)
{
	const char *version = ANDIRON_VERSION;

	metrics_clear(sum);
	for (size_t i = 0; i < setup->worker_count; i++)
		metrics_merge(sum, setup->metrics[i]);
	for (size_t i = 0; i < setup->upstream_count; i++) {
		struct upstream_status status;

		upstream_read_status(setup->upstreams[i], &status);
		add_upstream(sum, &status);
		upstream_status_fini(&status);
	}
	metrics_add(sum, METRIC_CLIENT_CONNECTIONS, NULL, (double)setup->connections->used);
	metrics_add(sum, METRIC_LOG_DROPPED, NULL, (double)event_log_dropped(setup->log));
	metrics_add(sum, METRIC_BUILD_INFO, &version, 1);
	metrics_render(sum, out);
}
