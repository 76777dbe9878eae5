#include "admin/status.h"

#include "base/budget.h"
#include "base/json.h"
#include "proxy/upstream.h"

static void add_limit(struct str *out, const char *key, int64_t limit)
{
	if (limit < 0)
		json_add_null(out, key);
	else
		json_add_int(out, key, limit);
}

/* Empty: there is none. */
static void add_error(struct str *out, const char *error)
{
	if (*error)
		json_add_string(out, "last_error", error);
	else
		json_add_null(out, "last_error");
}

/* 0: there is none, or it is not known. */
static void add_rate(struct str *out, const char *key, double rate)
{
	if (rate > 0)
		json_add_double(out, key, rate);
	else
		json_add_null(out, key);
}

static void add_lane(struct str *out, const struct lane_status *lane)
{
	json_begin_element(out);
	json_add_string(out, "name", lane->name);
	json_add_int(out, "waiting", (int64_t)lane->waiting);
	json_add_int(out, "in_flight", (int64_t)lane->in_flight);
	add_rate(out, "pace", lane->pace);
	add_rate(out, "measured", lane->measured);
	json_add_int(out, "closed_for_ms", lane->closed_ms);
	json_add_bool(out, "paused", lane->paused);
	json_add_int(out, "next_probe_ms", lane->probe_ms);
	json_add_int(out, "failed_probes", lane->failed_probes);
	add_error(out, lane->last_error);
	json_end(out);
}

static void add_upstream(struct str *out, const struct upstream_status *status)
{
	json_begin_element(out);
	json_add_string(out, "name", status->name);
	json_add_string(out, "url", status->url);
	json_add_int(out, "in_flight", (int64_t)status->in_flight);
	add_limit(out, "max_in_flight", status->max_in_flight);
	json_add_int(out, "waiting", (int64_t)status->waiting);
	add_limit(out, "queue", status->queue);
	json_add_int(out, "waiting_bytes", (int64_t)status->waiting_bytes);
	add_limit(out, "queue_bytes", status->queue_bytes);
	json_add_bool(out, "path_lost", status->path_lost);
	json_add_int(out, "next_probe_ms", status->probe_ms);
	add_error(out, status->last_error);
	if (status->retry_budget < 0)
		json_add_null(out, "retry_budget");
	else
		json_add_double(out, "retry_budget", status->retry_budget);
	json_begin_list(out, "lanes");
	for (size_t i = 0; i < status->lane_count; i++)
		add_lane(out, &status->lanes[i]);
	json_end_list(out);
	json_end(out);
}

static void add_budget(struct str *out, const char *used, const char *limit, struct budget *budget)
{
	json_add_int(out, used, budget->used);
	add_limit(out, limit, budget->limit);
}

void status_render(const struct admin_setup *setup, msec_t uptime_ms, struct str *out)
{
	json_begin(out);
	json_add_string(out, "version", ANDIRON_VERSION);
	json_add_int(out, "uptime_s", uptime_ms / 1000);
	json_add_bool(out, "draining", setup->is_draining(setup->arg));
	json_add_int(out, "workers", (int64_t)setup->worker_count);
	add_budget(out, "client_connections", "max_connections", setup->connections);
	add_budget(out, "memory_used", "max_memory", setup->memory);
	json_add_int(out, "log_dropped", (int64_t)event_log_dropped(setup->log));
	json_begin_list(out, "upstreams");
	for (size_t i = 0; i < setup->upstream_count; i++) {
		struct upstream_status status;

		upstream_read_status(setup->upstreams[i], &status);
		add_upstream(out, &status);
		upstream_status_fini(&status);
	}
	json_end_list(out);
	json_end(out);
	str_add_char(out, '\n');
}
