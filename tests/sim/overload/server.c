/* The upstream: for each lane a bucket of generated tokens, as Fireworks' serverless limits are
 * given. A request that finds the bucket above nothing is served, whatever it costs; the bucket may
 * go below nothing for it. It is charged at once (the upstream is taken to know what an answer will
 * cost), or, with `charge_late`, when the answer is complete: then more is let in than the quota
 * allows, and paid for by a longer closed time. Everything else gets its answer within a round
 * trip: 429 from an empty bucket, 503 or no connection in an outage. */

#include <math.h>
#include <string.h>

#include "overload.h"

enum { MAX_LANES = 16, ROUND_TRIP_MS = 50, RAMP_MS = 2 * SECOND, RAMP_FREE = 8 };

struct server {
	double level; /* tokens */
	msec_t filled_at;
	msec_t arrivals[512]; /* the last ones, for `ramp`; a ring */
	size_t arrival_count;
};

static struct server servers[MAX_LANES];

void server_reset(void)
{
	memset(servers, 0, sizeof(servers));
	for (int i = 0; i < MAX_LANES; i++) {
		servers[i].level = scenario->quota * scenario->burst_s;
		servers[i].filled_at = world_now;
	}
}

static void fill(struct server *server)
{
	double quota = scenario_quota(scenario, world_elapsed());
	double most = quota * scenario->burst_s;
	double earned = quota * (double)(world_now - server->filled_at) / 1000;

	server->filled_at = world_now;
	server->level = fmin(most, server->level + earned);
}

double server_level(int lane)
{
	fill(&servers[lane]);
	return servers[lane].level;
}

/* ---- The ramp limit: more arrivals in two seconds than twice those of the two before. */

static bool ramps_too_fast(struct server *server)
{
	size_t room = sizeof(server->arrivals) / sizeof(server->arrivals[0]);
	size_t known = server->arrival_count < room ? server->arrival_count : room;
	size_t now = 0, before = 0;

	for (size_t i = 1; i <= known; i++) {
		msec_t age = world_now - server->arrivals[(server->arrival_count - i) % room];

		if (age >= 2 * RAMP_MS)
			break;
		if (age < RAMP_MS)
			now++;
		else
			before++;
	}
	server->arrivals[server->arrival_count++ % room] = world_now;
	return now >= RAMP_FREE && now >= 2 * before;
}

/* ---- One request: out, and its answer back. */

static void refuse(struct caller *caller, int status, msec_t retry_after_ms)
{
	caller->flight = FLIGHT_REFUSED;
	caller->status = status;
	caller->retry_after_ms = retry_after_ms;
	task_start(&caller->travel, world_now + ROUND_TRIP_MS / 2);
}

static msec_t until_open(const struct server *server)
{
	double seconds = ceil((1 - server->level) / scenario_quota(scenario, world_elapsed()));

	return (msec_t)fmax(1, seconds) * SECOND;
}

static void serve(struct caller *caller, struct server *server)
{
	msec_t body_ms = (msec_t)(caller->tokens / scenario->speed * 1000);

	if (!scenario->charge_late)
		server->level -= caller->tokens;
	caller->flight = FLIGHT_HEAD;
	caller->status = 200;
	caller->retry_after_ms = -1;
	task_start(&caller->travel,
		world_now + scenario->first_token_ms + (scenario->whole ? body_ms : 0));
}

static void on_arrival(struct caller *caller)
{
	struct server *server = &servers[caller->lane];
	bool too_fast = scenario->ramp && ramps_too_fast(server);

	fill(server);
	if (scenario_outage(scenario, world_elapsed()) >= 0)
		refuse(caller, scenario->unreachable ? 0 : 503, -1);
	else if (server->level <= 0 || too_fast)
		refuse(caller, 429, scenario->retry_after ? until_open(server) : -1);
	else
		serve(caller, server);
}

static void note_success(const struct caller *caller)
{
	for (size_t i = 0; i < MAX_OUTAGES; i++) {
		struct outage *outage = &measures->outages[i];
		msec_t end = scenario->outage_every_ms * (msec_t)(i + 1) + scenario->outage_ms;
		msec_t elapsed = world_elapsed();

		if (!scenario->outage_ms || end > elapsed)
			return;
		if (outage->first_success_ms < 0 && caller->sent_at - world_now + elapsed >= end)
			outage->first_success_ms = elapsed - end;
	}
}

static void on_head(struct caller *caller)
{
	double seconds = caller->tokens / scenario->speed;

	note_success(caller);
	if (!scenario->whole)
		task_stop(&caller->limit); /* a stream may take its time */
	caller->flight = FLIGHT_BODY;
	task_start(&caller->travel, world_now + (scenario->whole ? 0 : (msec_t)(seconds * 1000)));
	caller->policy->on_answer(caller, caller->status, caller->retry_after_ms);
}

static void on_end(struct caller *caller)
{
	caller->flight = FLIGHT_NONE;
	measures->tokens += caller->tokens;
	if (scenario->charge_late) {
		fill(&servers[caller->lane]);
		servers[caller->lane].level -= caller->tokens;
	}
	caller->policy->on_end(caller);
}

static void on_travel(void *arg)
{
	struct caller *caller = arg;

	switch (caller->flight) {
	case FLIGHT_NONE:
		break;
	case FLIGHT_OUT:
		on_arrival(caller);
		break;
	case FLIGHT_REFUSED:
		caller->flight = FLIGHT_NONE;
		measures->refusals += caller->status == 429;
		caller->policy->on_answer(caller, caller->status, caller->retry_after_ms);
		break;
	case FLIGHT_HEAD:
		on_head(caller);
		break;
	case FLIGHT_BODY:
		on_end(caller);
		break;
	}
}

void server_send(struct caller *caller, bool probe)
{
	int outage = scenario_outage(scenario, world_elapsed());

	measures->attempts++;
	caller->attempts++;
	if (outage >= 0) {
		measures->outages[outage].sends++;
		measures->outages[outage].probes += probe;
	}
	task_stop(&caller->travel);
	task_init(&caller->travel, on_travel, caller);
	caller->flight = FLIGHT_OUT;
	caller->sent_at = world_now;
	task_start(&caller->travel, world_now + ROUND_TRIP_MS / 2);
}

/* What has been served of it stays charged. */
void server_cancel(struct caller *caller)
{
	task_stop(&caller->travel);
	caller->flight = FLIGHT_NONE;
}
