/* The rules of the queue: what the upstream says of itself, less the phantoms' part, is held
 * against what the exchange does; its waits are measured here a second time. */

#include <string.h>

#include "sim.h"

enum {
	LOOK_AGAIN_MS = 1000,   /* waiting.c's: when a limit is over while something else holds */
	SLOWEST_TURN_MS = 5600, /* a fifth of a request a second, for a second half of that */
	LONGEST_CLOSED_MS = 60000,
};

#define LEAST_PACE 0.2 /* requests per second */

static struct queueing *queueing(void)
{
	return &world->queueing;
}

static bool is_state(const char *name)
{
	return str_same(world->state, name);
}

/* ---- What the upstream says. */

static void read_lane(const struct lane_status *lane, struct view *view)
{
	view->lane_in_flight = lane->in_flight;
	view->lane_waiting = lane->waiting;
	view->lane_paused = lane->paused;
	view->lane_probe_ms = lane->probe_ms;
	view->closed_ms = lane->closed_ms;
	view->pace = lane->pace;
}

/* Which of the lanes a status is of; its name begins with the model's. */
static size_t lane_of(const struct lane_status *status)
{
	size_t lane = 0;

	while (lane < LANES && !str_begins(status->name, crowd_model(lane)))
		lane++;
	MUST(lane < LANES, "a lane named %s", status->name);
	return lane;
}

static void must_be_shared(const struct lane_status *status, size_t lane, const struct share *share)
{
	size_t in_flight = share->lane[lane].in_flight, waiting = share->lane[lane].waiting;

	if (lane == OWN_LANE)
		return;
	MUST(status->in_flight == in_flight && status->waiting == waiting,
		"lane %zu has %zu in flight and %zu waiting, it should be %zu and %zu", lane,
		status->in_flight, status->waiting, in_flight, waiting);
}

static void must_add_up(
	const struct upstream_status *status, const struct share *share, struct view *view)
{
	size_t in_flight = status->in_flight - share->in_flight;
	size_t waiting = status->waiting - share->waiting;
	size_t lane_in_flight = view->lane_in_flight - share->lane[OWN_LANE].in_flight;
	size_t lane_waiting = view->lane_waiting - share->lane[OWN_LANE].waiting;

	MUST(in_flight <= 1 && waiting <= 1 && in_flight + waiting <= 1,
		"%zu in flight and %zu waiting, of which the others' are %zu and %zu",
		status->in_flight, status->waiting, share->in_flight, share->waiting);
	MUST(in_flight == lane_in_flight && waiting == lane_waiting,
		"the lane's counts differ from the upstream's");
	MUST(status->max_in_flight < 0 || status->in_flight <= (size_t)status->max_in_flight,
		"more than max_in_flight");
	MUST(status->waiting_bytes ==
			share->waiting_bytes + (waiting ? world->scenario->request_bytes : 0),
		"%zu bytes wait", status->waiting_bytes);
	view->in_flight = in_flight;
	view->waiting = waiting;
}

static struct view look(void)
{
	struct share share = crowd_share();
	struct upstream_status status;
	struct view view = {0};

	upstream_read_status(world->upstream, &status);
	for (size_t i = 0; i < status.lane_count; i++) {
		size_t lane = lane_of(&status.lanes[i]);

		must_be_shared(&status.lanes[i], lane, &share);
		if (lane == OWN_LANE)
			read_lane(&status.lanes[i], &view);
	}
	must_add_up(&status, &share, &view);
	view.all_in_flight = status.in_flight;
	view.all_waiting = status.waiting;
	view.all_waiting_bytes = status.waiting_bytes;
	view.full = status.max_in_flight >= 0 && status.in_flight >= (size_t)status.max_in_flight;
	view.path_lost = status.path_lost;
	view.path_probe_ms = status.probe_ms;
	view.budget = status.retry_budget;
	upstream_status_fini(&status);
	return view;
}

/* ---- Who goes next. */

/* What tells how long a lane stays closed stands in the answer that closed it. */
static void note_pace(size_t lane, msec_t sent_at)
{
	struct queueing *queue = queueing();

	if (lane != OWN_LANE)
		return;
	queue->must_not_cut =
		queue->view.pace > 0 && queue->cut_at != MSEC_NEVER && sent_at <= queue->cut_at;
	queue->must_cut = !queue->must_not_cut;
	if (queue->must_cut)
		queue->cut_at = world->now;
}

void note_quota(void)
{
	queueing()->must_not_cut = true;
}

void note_throttled(size_t lane, msec_t sent_at, msec_t asked_ms)
{
	msec_t asked = asked_ms < LONGEST_CLOSED_MS ? asked_ms : LONGEST_CLOSED_MS;
	msec_t until = world->now + asked + 1; /* this millisecond may be nearly over */

	if (!world->scenario->crowd.upstream.pacing)
		return;
	note_pace(lane, sent_at);
	if (asked > 0 && until > queueing()->closed_until[lane])
		queueing()->closed_until[lane] = until;
	if (lane != OWN_LANE || asked_ms <= LONGEST_CLOSED_MS ||
		asked_ms <= world->scenario->profile.options.retry_after_cap)
		return;
	queueing()->long_ask_at = world->now;
	queueing()->must_be_refused = queueing()->view.waiting;
}

/* The token bucket, filled at the rate that the upstream tells: the most that it may have. */
static void take_token(const struct view *view)
{
	struct queueing *queue = queueing();

	if (view->pace <= 0 || queue->view.pace <= 0)
		return;
	MUST(queue->tokens > 1 - 1e-6, "a request goes before the pace has room for it");
	queue->tokens -= 1;
}

static void fill_tokens(msec_t passed)
{
	struct queueing *queue = queueing();
	double most = queue->view.pace > 1 ? queue->view.pace : 1;

	queue->tokens += (double)passed * queue->view.pace / 1000;
	if (queue->tokens > most)
		queue->tokens = most;
}

/* The first cut leaves none. (Of the others one is not known from a rate that sinks.) */
static void note_cut(const struct view *view)
{
	if (view->pace > 0 && queueing()->view.pace <= 0)
		queueing()->tokens = 0;
}

static void must_be_due(bool of_lane, bool of_path)
{
	MUST(!of_lane || world->now >= queueing()->lane_probe_at, "the lane is probed too early");
	MUST(!of_path || world->now >= queueing()->path_probe_at, "the path is probed too early");
}

static void must_be_open(size_t lane)
{
	MUST(world->now >= queueing()->closed_until[lane],
		"a request goes %lld ms before its lane opens again",
		(long long)(queueing()->closed_until[lane] - world->now));
}

void note_told(void)
{
	queueing()->holds_lane_probe = queueing()->holds_path_probe = false;
}

/* The exchange has a place: now, or by a letter that is on its way. */
static void note_own_grant(const struct view *view, const struct passed *passed)
{
	struct queueing *queue = queueing();
	struct share share = crowd_share();
	bool probe = view->lane_paused || view->path_lost;

	MUST(view->in_flight == 1, "it has its turn and no place");
	must_be_open(OWN_LANE);
	must_be_due(view->lane_paused, view->path_lost);
	take_token(view);
	queue->granted = queue->grant_is_new = true;
	queue->granted_at = world->now;
	queue->holds_lane_probe = view->lane_paused;
	queue->holds_path_probe = view->path_lost;
	MUST(!(view->lane_paused && share.lane[OWN_LANE].probes) &&
			!(view->path_lost && share.probes_path),
		"it probes beside a phantom");
	MUST(!probe || !passed->fresher_probe,
		"the same request probes again, and another one could");
	MUST(probe || !passed->older, "it passes one that came before it");
	queue->probes += probe;
	if (queue->probes > 1 && probe)
		count(COUNT_PROBED_TWICE);
}

bool is_probe_out(msec_t granted_at, msec_t closed_at)
{
	return granted_at >= closed_at && world->now < granted_at + PROBE_MS;
}

static bool own_probes(bool holds, msec_t closed_at)
{
	return holds && is_probe_out(queueing()->granted_at, closed_at);
}

void check_grant(const struct ticket *phantom, size_t lane, const struct passed *passed)
{
	struct view view = look();
	const struct queueing *queue = queueing();
	bool probe = phantom->probes_lane || phantom->probes_path;

	must_be_open(lane);
	MUST(lane != OWN_LANE || probe || !passed->exchange || !view.waiting,
		"a phantom passes the exchange");
	MUST(lane != OWN_LANE || !phantom->probes_lane ||
			!own_probes(queue->holds_lane_probe, queue->lane_closed_at),
		"two probe the lane");
	MUST(!phantom->probes_path || !own_probes(queue->holds_path_probe, queue->path_closed_at),
		"two probe the path");
	must_be_due(lane == OWN_LANE && phantom->probes_lane, phantom->probes_path);
	if (lane == OWN_LANE)
		take_token(&view);
}

/* By a request of another lane, because its own has more than half of the queue. */
static bool may_be_displaced(const struct view *after, const struct passed *passed)
{
	return world->transport_count == 0 && !passed->younger &&
	       ((int64_t)after->lane_waiting + 1) * 2 > world->scenario->crowd.upstream.queue;
}

static bool holds_by_time(const struct view *view)
{
	return view->pace > 0 || view->closed_ms > 0;
}

static unsigned reasons_of_letter(const struct view *view, const struct passed *passed)
{
	unsigned reasons = may_be_displaced(view, passed) ? DOWN_DISPLACED : 0;

	if (queueing()->long_ask_at == world->now)
		reasons |= DOWN_TOO_LONG;
	if (holds_by_time(view) || world->now >= world->deadline)
		reasons |= DOWN_LATE;
	return reasons;
}

void check_letter(const struct passed *passed)
{
	struct view view = look();

	if (view.in_flight == 0) {
		queueing()->refused = true;
		queueing()->refused_as = reasons_of_letter(&view, passed);
		MUST(queueing()->refused_as, "it is refused for nothing");
		return;
	}
	note_own_grant(&view, passed);
}

void check_delivery(void)
{
	MUST(!world->ended && is_state("ADMITTING"), "a turn for an exchange that does not wait");
	if (!queueing()->granted)
		return;
	count(COUNT_WAITED);
	if (world->now > queueing()->granted_at)
		count(COUNT_GRANTED_LATE);
}

static void count_probe(struct transport *transport)
{
	if (transport->probe)
		count(COUNT_PROBED);
}

void check_turn_of(struct transport *transport, const struct transport *before)
{
	struct queueing *queue = queueing();
	struct view view;

	if (before && before->replaced) {
		transport->probe = before->probe;
		MUST(look().in_flight == 1, "a connection is replaced without a place");
		return;
	}
	if (!queue->grant_is_new) { /* without a letter */
		struct passed passed = {
			.older = crowd_has_older(), .fresher_probe = crowd_has_fresher_probe()};

		view = look();
		note_own_grant(&view, &passed);
	}
	queue->grant_is_new = false;
	transport->probe = queue->holds_lane_probe || queue->holds_path_probe;
	count_probe(transport);
}

/* ---- Time. */

/* By when its wait must end, since it has lasted for `limit` by what holds at the moment: at once,
 * or, if the limit was over before that began, when somebody looks again. */
static void note_over(msec_t *due, bool holds, msec_t waited, msec_t limit, msec_t now)
{
	msec_t crossed = now - (waited - limit);

	if (!holds || waited < limit)
		*due = MSEC_NEVER;
	else if (*due == MSEC_NEVER)
		*due = crossed >= world->now ? crossed : world->now + LOOK_AGAIN_MS;
}

static bool is_outage(const struct view *view)
{
	return view->lane_paused || view->path_lost;
}

static msec_t longer(msec_t a, msec_t b)
{
	return a > b ? a : b;
}

void check_time(msec_t now)
{
	const struct profile_options *options = &world->scenario->profile.options;
	struct queueing *queue = queueing();
	const struct view *view = &queue->view;
	msec_t passed = view->waiting ? now - world->now : 0;
	bool full = view->waiting && view->full, outage = view->waiting && is_outage(view);

	fill_tokens(now - world->now);
	queue->queued_ms += passed;
	queue->full_ms += full ? passed : 0;
	queue->lane_ms += view->lane_paused ? passed : 0;
	queue->path_ms += view->path_lost ? passed : 0;
	note_over(&queue->place_due, full && !outage, queue->full_ms, options->pool_timeout, now);
	note_over(&queue->outage_due, outage, longer(queue->lane_ms, queue->path_ms),
		options->outage_wait, now);
	if (passed)
		count(view->lane_paused   ? COUNT_WAITED_AT_CLOSED
			: view->path_lost ? COUNT_WAITED_AT_LOST
			: view->full      ? COUNT_WAITED_FOR_PLACE
					  : COUNT_WAITED_FOR_PACE);
}

static bool is_over(msec_t due)
{
	return due != MSEC_NEVER && world->now > due + world->lag;
}

void check_patience(void)
{
	const struct queueing *queue = queueing();

	MUST(!is_over(queue->place_due), "it waits beyond pool_timeout");
	MUST(!is_over(queue->outage_due), "it waits beyond outage_wait");
	MUST(!is_over(queue->turn_due), "nothing holds it back, and it waits");
	MUST(!queue->view.waiting || world->now <= world->deadline + world->lag,
		"it waits beyond its deadline");
}

/* ---- After every step. */

/* What has not been sent is let into a queue that has room for it. */
static void check_room(const struct view *view)
{
	const struct upstream_options *options = &world->scenario->crowd.upstream;
	bool others = view->all_waiting > view->lane_waiting;

	if (!view->waiting || queueing()->view.waiting || world->transport_count)
		return;
	MUST((int64_t)view->all_waiting <= options->queue, "a full queue takes another one");
	MUST(!others || (int64_t)view->lane_waiting * 2 <= options->queue,
		"its lane takes more than half of the queue");
	MUST(options->queue_bytes < 0 || (int64_t)view->all_waiting_bytes <= options->queue_bytes,
		"more bytes wait than queue_bytes");
}

/* Is there something that will end by itself, or somebody who will end it? */
static bool is_held_back(const struct view *view)
{
	struct share share = crowd_share();
	const struct queueing *queue = queueing();
	bool lane_probes = share.lane[OWN_LANE].probes ||
			   own_probes(queue->holds_lane_probe, queue->lane_closed_at);
	bool path_probes =
		share.probes_path || own_probes(queue->holds_path_probe, queue->path_closed_at);

	return view->full || view->closed_ms > 0 ||
	       (view->lane_paused && (view->lane_probe_ms > 0 || lane_probes)) ||
	       (view->path_lost && (view->path_probe_ms > 0 || path_probes));
}

static void note_idle(const struct view *view, const struct view *before)
{
	bool moved = view->lane_waiting != before->lane_waiting ||
		     view->lane_in_flight != before->lane_in_flight;

	if (!view->waiting || is_held_back(view))
		queueing()->turn_due = MSEC_NEVER;
	else if (moved || queueing()->turn_due == MSEC_NEVER)
		queueing()->turn_due = world->now + SLOWEST_TURN_MS;
}

static void must_be_in_place(const struct view *view)
{
	const struct transport *source = world->source;

	if (is_state("ADMITTING"))
		MUST(view->waiting + view->in_flight == 1 || crowd_has_own_letter() ||
				world->scenario->refusal,
			"it waits for a turn that nobody owes it");
	else if (is_state("TRYING"))
		MUST(view->in_flight == 1, "it is sent without a place");
	else if (is_state("RELAYING"))
		MUST(view->in_flight == (source->fate == FATE_RUNNING),
			"%zu places behind the commit", view->in_flight);
	else
		MUST(view->in_flight == 0 && view->waiting == 0, "a place is not given back");
}

/* Has a 429 done what it should? */
static void check_pace(const struct view *view)
{
	struct queueing *queue = queueing();
	double before = queue->view.pace;

	MUST(!queue->must_not_cut || view->pace == 0 || (before > 0 && view->pace >= before - 1e-9),
		"the pace is cut without a reason");
	MUST(!queue->must_cut || (view->pace > 0 && (before <= LEAST_PACE || view->pace < before)),
		"a 429, and the pace is as it was");
	queue->must_cut = queue->must_not_cut = false;
}

void check_queue(void)
{
	struct queueing *queue = queueing();
	struct view view = look();

	if (view.in_flight == 0) {
		queue->granted = false;
		note_told();
	}
	if (world->begun)
		must_be_in_place(&view);
	check_room(&view);
	MUST(view.closed_ms <= LONGEST_CLOSED_MS + 1, "a lane is closed for %lld ms",
		(long long)view.closed_ms);
	note_idle(&view, &queue->view);
	MUST(world->scenario->crowd.upstream.retry_budget < 0 ||
			(view.budget < queue->budget + 1e-6 && view.budget > queue->budget - 1e-6),
		"the retry budget has %f, it should be %f", view.budget, queue->budget);
	MUST(!queue->must_be_refused || !view.waiting,
		"it goes on waiting for a pause that it does not accept");
	queue->must_be_refused = false;
	queue->lane_probe_at = view.lane_paused ? world->now + view.lane_probe_ms : 0;
	queue->path_probe_at = view.path_lost ? world->now + view.path_probe_ms : 0;
	check_pace(&view);
	note_cut(&view);
	check_breakers(&queue->view, &view);
	if (view.lane_probe_ms > 0)
		queue->lane_closed_at = world->now;
	if (view.path_probe_ms > 0)
		queue->path_closed_at = world->now;
	queue->view = view;
}

/* ---- Turned down. */

static bool was_too_many(const struct view *before)
{
	const struct upstream_options *options = &world->scenario->crowd.upstream;
	size_t queue = (size_t)options->queue;
	size_t bytes = before->all_waiting_bytes + world->scenario->request_bytes;
	bool share = (before->lane_waiting + 1) * 2 > queue &&
		     before->all_waiting > before->lane_waiting;

	if (world->transport_count || before->waiting)
		return false;
	return before->all_waiting + 1 > queue || share ||
	       (options->queue_bytes >= 0 && bytes > (size_t)options->queue_bytes);
}

/* Is it known by now that its turn comes too late? */
static bool is_too_late(const struct view *view)
{
	msec_t left = world->deadline - world->now;

	return left <= 0 || holds_by_time(view) ||
	       (view->lane_paused && view->lane_probe_ms >= left) ||
	       (view->path_lost && view->path_probe_ms >= left);
}

/* What may be the reason: as it was before this step, or as it is now. */
static unsigned find_reasons(const struct view *before, const struct view *now)
{
	const struct profile_options *options = &world->scenario->profile.options;
	const struct queueing *queue = queueing();
	msec_t outage = longer(queue->lane_ms, queue->path_ms);
	unsigned reasons = 0;

	if (queue->refused && (queue->refused_as & DOWN_LATE) && world->now >= world->deadline)
		return (queue->refused_as & ~(unsigned)DOWN_LATE) |
		       DOWN_DEADLINE; /* the letter was late itself */
	if (queue->refused)
		return queue->refused_as;
	if (was_too_many(before))
		reasons |= DOWN_FULL;
	if (!before->waiting && (holds_by_time(before) || holds_by_time(now)))
		reasons |= DOWN_LATE;
	if (before->waiting && before->full && queue->full_ms >= options->pool_timeout)
		reasons |= DOWN_PLACE;
	if (before->waiting && is_outage(before) && outage >= options->outage_wait)
		reasons |= DOWN_OUTAGE;
	if (is_too_late(now))
		reasons |= DOWN_DEADLINE;
	return reasons;
}

static void count_reasons(unsigned reasons)
{
	static const struct {
		unsigned reason;
		enum count count;
	} counted[] = {
		{DOWN_FULL, COUNT_DOWN_FULL},
		{DOWN_DISPLACED, COUNT_DOWN_DISPLACED},
		{DOWN_LATE, COUNT_DOWN_LATE},
		{DOWN_PLACE, COUNT_DOWN_PLACE},
		{DOWN_OUTAGE, COUNT_DOWN_OUTAGE},
		{DOWN_TOO_LONG, COUNT_DOWN_TOO_LONG},
		{DOWN_DEADLINE, COUNT_DOWN_DEADLINE},
	};

	for (size_t i = 0; i < sizeof(counted) / sizeof(counted[0]); i++) {
		if (reasons == counted[i].reason ||
			(reasons & counted[i].reason & (DOWN_TOO_LONG | DOWN_DISPLACED)))
			count(counted[i].count);
	}
	if (reasons == DOWN_OUTAGE && world->transport_count)
		count(COUNT_DOWN_OUTAGE_SENT);
}

static void turn_down(const char *next)
{
	struct view now = look();
	unsigned reasons = find_reasons(&queueing()->view, &now);

	if (world->cutting || world->scenario->refusal)
		return;
	MUST(reasons || world->draining, "it is turned down for nothing");
	queueing()->drained = world->drain_is_deadline && reasons == DOWN_DEADLINE;
	if (world->draining) {
		count(COUNT_DRAINED_WAITING);
		return;
	}
	queueing()->down = reasons;
	count_reasons(reasons);
	if (str_same(next, "RELAYING"))
		count(COUNT_DOWN_KEPT);
	else if (str_same(next, "BREAKING"))
		count(COUNT_DOWN_BEHIND_HEAD);
}

void check_state(const char *before, const char *next)
{
	if (str_same(next, "ADMITTING")) {
		queueing()->admitted_at = world->now;
		queueing()->refused = false;
	} else if (str_same(before, "ADMITTING") && !str_same(next, "TRYING") &&
		   !str_same(next, "ENDED")) {
		turn_down(next);
	}
}

/* An SDK of its own would only multiply the attempts. */
static bool stops_sdks(int status)
{
	return status == 408 || status == 409 || status == 429 || status >= 500;
}

/* What a client is told that was turned down. */
void check_turned_down(const struct client *client)
{
	const struct transport *last = world_last_transport();
	unsigned down = queueing()->down;
	bool asked = down & DOWN_TOO_LONG;
	bool retry = str_same(client->should_retry, "true");

	if (retry)
		MUST((down & DOWN_OVERFLOW) || world->draining || world->cutting,
			"a client is told to try again, and there was no overflow");
	MUST(!stops_sdks(client->status) || *client->should_retry,
		"status %d, and nothing is said of SDKs' own retries", client->status);
	MUST(!queueing()->drained || client->early || (retry && client->status == 503),
		"a drain turns it away with %d, and does not say that it may try again",
		client->status);
	MUST(!retry || client->retry_after >= 1, "to try again, and not when");
	MUST(!retry || !world->source, "the upstream's answer is to be tried again");
	if (!down || client->early)
		return;
	MUST(client->retry_after >= !world->source &&
			(asked || client->retry_after <= 60 || world->source),
		"turned down with Retry-After: %lld", client->retry_after);
	if (world->source)
		return;
	MUST(retry || (down & ~(unsigned)DOWN_OVERFLOW), "an overflow does not say so");
	if (down == DOWN_OUTAGE && last)
		MUST(client->status == error_status(last->told),
			"turned down with status %d, it met %s", client->status,
			error_name(last->told));
	else
		MUST(client->status == 503 || ((down & DOWN_OUTAGE) && last),
			"turned down with status %d", client->status);
}
