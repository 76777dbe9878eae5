/* The rules of the breakers: three failures in a row, of two requests at least, close the lane or
 * the path, and nothing else does. */

#include "sim.h"

enum { TRIP_AT = 3, LONGEST_PAUSE_MS = 5000 };

static bool is_reached(const struct report *report)
{
	return report->status || report->failure.phase > PHASE_TLS;
}

static void forget(struct streak *streak)
{
	streak->failures = 0;
	streak->several = streak->unsure = false;
}

static void add_failure(struct streak *streak, uint64_t request)
{
	if (streak->failures++ == 0)
		streak->first = request;
	else
		streak->several |= request != streak->first;
}

static void note_of_lane(const struct report *report, uint64_t request, bool probe)
{
	struct streak *streak = &world->queueing.lane_streak;
	bool unanswered = report->outcome > OUTCOME_SERVER_ERROR;

	if (probe)
		streak->probe_failed = unanswered || report->outcome == OUTCOME_SERVER_ERROR;
	if (report->outcome == OUTCOME_SERVER_ERROR || (probe && unanswered))
		add_failure(streak, request);
	else if (!unanswered)
		forget(streak);
}

static void note_of_path(const struct report *report, uint64_t request, bool probe)
{
	struct streak *streak = &world->queueing.path_streak;

	if (probe)
		streak->probe_failed = !is_reached(report);
	if (report->outcome == OUTCOME_NOT_CONNECTED || (probe && !is_reached(report)))
		add_failure(streak, request);
	else if (is_reached(report))
		forget(streak);
}

void note_report(size_t lane, uint64_t request, const struct report *report, struct probes probes)
{
	if (lane == OWN_LANE)
		note_of_lane(report, request, probes.lane);
	note_of_path(report, request, probes.path);
}

/* U(1/2, 1) x min(5 s, 0.5 s x 2^n), which has just begun. */
static void check_pause(msec_t pause, int failed_probes)
{
	msec_t longest = 500;

	for (int i = 0; i < failed_probes && longest < LONGEST_PAUSE_MS; i++)
		longest *= 2;
	longest = longest < LONGEST_PAUSE_MS ? longest : LONGEST_PAUSE_MS;
	MUST(pause >= longest / 2 && pause <= longest, "a pause of %lld ms after %d failed probes",
		(long long)pause, failed_probes);
}

/* A breaker as it was before this step, and as it is. */
struct closing {
	bool was, is;
	msec_t probe_ms;
};

static void check_breaker(struct streak *streak, struct closing closed, const char *what)
{
	bool trips = world->scenario->crowd.upstream.breaker && streak->failures >= TRIP_AT &&
		     streak->several;

	if (!closed.was && !streak->unsure)
		MUST(closed.is == trips, "%d failures in a row, and the %s is %s", streak->failures,
			what, closed.is ? "closed" : "open");
	if (closed.is && !closed.was)
		check_pause(closed.probe_ms, streak->failed_probes = 0);
	else if (closed.is && streak->probe_failed)
		check_pause(closed.probe_ms, ++streak->failed_probes);
	MUST(!closed.was || closed.is || !streak->probe_failed || streak->unsure,
		"a failed probe opens the %s", what);
	if (closed.is)
		forget(streak);
	streak->probe_failed = false;
}

void check_breakers(const struct view *before, const struct view *now)
{
	struct queueing *queue = &world->queueing;
	struct closing lane = {before->lane_paused, now->lane_paused, now->lane_probe_ms};
	struct closing path = {before->path_lost, now->path_lost, now->path_probe_ms};

	check_breaker(&queue->lane_streak, lane, "lane");
	check_breaker(&queue->path_streak, path, "path");
}

/* The outcome of the exchange's own attempt, from its line. */
static enum outcome outcome_of_line(const struct transport *transport, const struct event *event)
{
	bool scaling = transport->scaling && world->scenario->profile.retry.scale_up_wait_ms > 0;

	if (event->status == 429)
		return OUTCOME_THROTTLED;
	if (event->status >= 500)
		return scaling ? OUTCOME_ANSWERED : OUTCOME_SERVER_ERROR;
	if (event->status)
		return event->status < 400 ? OUTCOME_SUCCESS : OUTCOME_ANSWERED;
	return event->failure->error == ERROR_TLS_CERTIFICATE_ERROR ||
			       event->failure->phase > PHASE_TLS
		       ? OUTCOME_LOST
		       : OUTCOME_NOT_CONNECTED;
}

static void note_own(const struct report *report)
{
	struct probes probes = {world->queueing.holds_lane_probe, world->queueing.holds_path_probe};

	note_told();
	note_report(OWN_LANE, 0, report, probes);
}

void note_own_report(const struct transport *transport, const struct event *event)
{
	struct report report = {.outcome = outcome_of_line(transport, event),
		.status = event->status,
		.failure = *event->failure};

	if (event->failure->error == ERROR_CLIENT_CLOSED || str_same(event->reason, "replaced"))
		return;
	note_own(&report);
	/* Of half an answer nobody knows whether it says that the deployment starts. */
	if (transport->script->scaling && event->status && !transport->scaling)
		world->queueing.lane_streak.unsure = true;
}

void note_own_success(void)
{
	struct report report = {.outcome = OUTCOME_SUCCESS, .status = 200};

	note_own(&report);
}
