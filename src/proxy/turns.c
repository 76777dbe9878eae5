#include "proxy/turns.h"

#include <assert.h>

#include "policy/retry.h"

void turns_init(struct turns *turns, const struct upstream_options *options, msec_t now)
{
	*turns = (struct turns){.full_at = MSEC_NEVER};
	lanes_init(&turns->lanes);
	TAILQ_INIT(&turns->with_work);
	TAILQ_INIT(&turns->decided);
	retry_budget_init(&turns->budget, options->retry_budget, now);
	turns_configure(turns, options, now);
}

void turns_fini(struct turns *turns)
{
	lanes_fini(&turns->lanes);
}

/* ---- Places. */

static bool is_full(const struct turns *turns)
{
	return turns->max_in_flight >= 0 && turns->in_flight >= (size_t)turns->max_in_flight;
}

static void note_full(struct turns *turns, msec_t now)
{
	bool was_full = turns->full_at != MSEC_NEVER;

	if (is_full(turns) == was_full)
		return;
	if (was_full)
		turns->full_ms += now - turns->full_at;
	turns->full_at = was_full ? MSEC_NEVER : now;
}

static bool is_outage(const struct turns *turns, const struct lane *lane)
{
	return breaker_is_paused(&turns->path) || breaker_is_paused(&lane->breaker);
}

enum wait_cause turns_cause(const struct turns *turns, const struct lane *lane)
{
	if (is_outage(turns, lane))
		return WAIT_OUTAGE;
	return is_full(turns) ? WAIT_PLACE : WAIT_PACE;
}

int turns_last_failure(const struct turns *turns, const struct lane *lane, struct failure *ret)
{
	bool lost = breaker_is_paused(&turns->path);

	*ret = lost ? turns->path_failure : lane->last_failure;
	return lost ? 0 : lane->last_status;
}

static struct clocks read_clocks(const struct turns *turns, const struct lane *lane, msec_t now)
{
	return (struct clocks){
		.all = now,
		.full = turns->full_ms + (turns->full_at != MSEC_NEVER ? now - turns->full_at : 0),
		.lane = breaker_paused_ms(&lane->breaker, now),
		.path = breaker_paused_ms(&turns->path, now),
	};
}

struct clocks turns_waited(const struct turns *turns, const struct ticket *ticket, msec_t now)
{
	struct clocks waited = ticket->waited, clocks;

	if (ticket->state != TICKET_WAITING)
		return waited;
	clocks = read_clocks(turns, ticket->lane, now);
	waited.all += clocks.all - ticket->began.all;
	waited.full += clocks.full - ticket->began.full;
	waited.lane += clocks.lane - ticket->began.lane;
	waited.path += clocks.path - ticket->began.path;
	return waited;
}

/* A closed lane has nobody to open it when there is no breaker any more. */
static void open_all(struct turns *turns, msec_t now)
{
	struct lane *lane;

	breaker_reset(&turns->path, now);
	for (lane = TAILQ_FIRST(&turns->lanes.list); lane; lane = TAILQ_NEXT(lane, entry))
		breaker_reset(&lane->breaker, now);
}

void turns_configure(struct turns *turns, const struct upstream_options *options, msec_t now)
{
	turns->max_in_flight = options->max_in_flight;
	turns->queue = options->queue;
	turns->queue_bytes = options->queue_bytes;
	turns->pacing = options->pacing;
	turns->breaking = options->breaker;
	retry_budget_set(&turns->budget, options->retry_budget);
	if (!turns->breaking)
		open_all(turns, now);
	note_full(turns, now);
}

/* ---- The queue. */

/* Puts it into its lane by its arrival; how many stand before it. */
static size_t insert(struct turns *turns, struct ticket *ticket, msec_t now)
{
	struct lane *lane = ticket->lane;
	struct ticket *last = TAILQ_LAST(&lane->waiting, ticket_list), *next;
	size_t position = 0;

	if (!last) {
		TAILQ_INSERT_TAIL(&turns->with_work, lane, turn);
		turns->with_work_count++;
	}
	if (!last || last->arrival < ticket->arrival) {
		TAILQ_INSERT_TAIL(&lane->waiting, ticket, entry);
		position = lane->waiting_count;
	} else {
		for (next = TAILQ_FIRST(&lane->waiting); next->arrival < ticket->arrival;
			next = TAILQ_NEXT(next, entry))
			position++;
		TAILQ_INSERT_BEFORE(next, ticket, entry);
	}
	lane->waiting_count++;
	turns->waiting++;
	turns->waiting_bytes += ticket->request.bytes;
	ticket->state = TICKET_WAITING;
	ticket->turn = TURN_WAIT;
	ticket->began = read_clocks(turns, lane, now);
	return position;
}

/* Takes it out of its lane; its waiting is over. */
static void take_out(struct turns *turns, struct ticket *ticket, msec_t now)
{
	struct lane *lane = ticket->lane;

	ticket->waited = turns_waited(turns, ticket, now);
	TAILQ_REMOVE(&lane->waiting, ticket, entry);
	if (TAILQ_EMPTY(&lane->waiting)) {
		TAILQ_REMOVE(&turns->with_work, lane, turn);
		turns->with_work_count--;
	}
	lane->waiting_count--;
	turns->waiting--;
	turns->waiting_bytes -= ticket->request.bytes;
	ticket->state = TICKET_IDLE;
}

/* A verdict for one that waits. */
static void decide(struct turns *turns, struct ticket *ticket, enum turn turn, msec_t now)
{
	take_out(turns, ticket, now);
	ticket->turn = turn;
	TAILQ_INSERT_TAIL(&turns->decided, ticket, entry);
}

/* ---- Who goes next. */

static msec_t probe_ready_at(const struct breaker *breaker, msec_t now)
{
	return breaker_is_paused(breaker) ? breaker->probe_at : now;
}

/* The first instant at which a request of this lane may go. */
static msec_t ready_at(const struct turns *turns, struct lane *lane, msec_t now)
{
	msec_t ready = turns->pacing ? pacer_ready_at(&lane->pacer, now) : now;
	msec_t of_lane = probe_ready_at(&lane->breaker, now);
	msec_t of_path = probe_ready_at(&turns->path, now);

	if (of_lane > ready)
		ready = of_lane;
	return of_path > ready ? of_path : ready;
}

/* The oldest; to probe, of those that have probed least, and one that may send only once only if
 * there is no other. */
static struct ticket *choose(const struct turns *turns, const struct lane *lane)
{
	struct ticket *best = TAILQ_FIRST(&lane->waiting), *ticket;

	if (!is_outage(turns, lane))
		return best;
	for (ticket = TAILQ_FIRST(&lane->waiting); ticket; ticket = TAILQ_NEXT(ticket, entry)) {
		if (ticket->may_probe != best->may_probe ? ticket->may_probe
							 : ticket->probes < best->probes)
			best = ticket;
	}
	return best;
}

static void grant(struct turns *turns, struct ticket *ticket, msec_t now)
{
	struct lane *lane = ticket->lane;

	decide(turns, ticket, TURN_GO, now);
	ticket->state = TICKET_HOLDING;
	ticket->sent_at = now;
	ticket->was_sent = true;
	ticket->reported = false;
	ticket->probes_lane = breaker_is_paused(&lane->breaker);
	ticket->probes_path = breaker_is_paused(&turns->path);
	if (ticket->probes_lane)
		breaker_begin_probe(&lane->breaker, now);
	if (ticket->probes_path)
		breaker_begin_probe(&turns->path, now);
	ticket->probes += ticket->probes_lane || ticket->probes_path;
	pacer_on_send(&lane->pacer, now);
	lane->in_flight++;
	turns->in_flight++;
	note_full(turns, now);
}

/* How much time it should have left when it is sent: most answers of its lane come within it. Where
 * others wait for the pace too, none is sent that its client will hardly wait for. */
static msec_t needed_ms(const struct lane *lane)
{
	if (lane->waiting_count < 2 || pacer_rate(&lane->pacer) <= 0)
		return 0;
	return (msec_t)(lane->answer_ms + 2 * lane->answer_deviation_ms);
}

static void serve(struct turns *turns, struct ticket *ticket, msec_t now)
{
	if (ticket->deadline - now > needed_ms(ticket->lane))
		grant(turns, ticket, now);
	else
		decide(turns, ticket, TURN_LATE, now); /* dropped, not sent */
}

msec_t turns_run(struct turns *turns, msec_t now)
{
	size_t left = turns->with_work_count;
	msec_t due = MSEC_NEVER;

	while (left > 0 && !is_full(turns)) {
		struct lane *lane = TAILQ_FIRST(&turns->with_work);
		msec_t ready = ready_at(turns, lane, now);

		TAILQ_REMOVE(&turns->with_work, lane, turn);
		TAILQ_INSERT_TAIL(&turns->with_work, lane, turn);
		left--;
		if (ready <= now) {
			serve(turns, choose(turns, lane), now);
			left = turns->with_work_count;
			due = MSEC_NEVER; /* the others are asked again */
		} else if (ready < due) {
			due = ready;
		}
	}
	return due;
}

/* ---- Coming and going. */

void turns_join(struct turns *turns, struct ticket *ticket, const struct lane_key *key)
{
	ticket->lane = lanes_find(&turns->lanes, key, ticket->request.model, ticket->request.key);
	ticket->lane->tickets++;
	ticket->arrival = ++turns->arrivals;
	retry_budget_earn(&turns->budget);
}

void turns_part(struct turns *turns, struct ticket *ticket)
{
	(void)turns;
	assert(ticket->state == TICKET_IDLE);
	ticket->lane->tickets--;
	ticket->lane = NULL;
}

msec_t turns_next_ms(struct turns *turns, struct lane *lane, size_t position, msec_t now)
{
	msec_t next = turns->pacing ? pacer_wait_ms(&lane->pacer, position, now) : 0;
	msec_t probe = ready_at(turns, lane, now);

	if (turns->path.state == BREAKER_PROBING || lane->breaker.state == BREAKER_PROBING)
		return MSEC_NEVER; /* it may succeed at any moment */
	return probe - now > next ? probe - now : next;
}

/* The last one in it that was never sent; NULL: there is none. */
static struct ticket *last_newcomer(struct lane *lane)
{
	struct ticket *ticket = TAILQ_LAST(&lane->waiting, ticket_list);

	while (ticket && ticket->was_sent)
		ticket = TAILQ_PREV(ticket, ticket_list, entry);
	return ticket;
}

/* The last one of a lane that has more than half of the queue makes room for another lane. */
static bool displace(struct turns *turns, const struct lane *by, msec_t now)
{
	struct lane *lane;
	struct ticket *last;

	for (lane = TAILQ_FIRST(&turns->with_work); lane; lane = TAILQ_NEXT(lane, turn)) {
		if (lane == by || (int64_t)lane->waiting_count * 2 <= turns->queue)
			continue;
		last = last_newcomer(lane);
		if (!last)
			return false;
		decide(turns, last, TURN_FULL, now);
		return true;
	}
	return false;
}

/* Is there room in the queue for this new one, which stands in it already? */
static bool fits(struct turns *turns, const struct ticket *ticket, msec_t now)
{
	const struct lane *lane = ticket->lane;
	bool others = turns->waiting > lane->waiting_count;

	if (turns->queue_bytes >= 0 && turns->waiting_bytes > (uint64_t)turns->queue_bytes)
		return false;
	if (turns->queue < 0)
		return true;
	if (others && (int64_t)lane->waiting_count * 2 > turns->queue)
		return false;
	return (int64_t)turns->waiting <= turns->queue || displace(turns, lane, now);
}

static void give_back(struct turns *turns, struct ticket *ticket, msec_t now)
{
	struct lane *lane = ticket->lane;

	if (ticket->probes_lane && !ticket->reported)
		breaker_abandon_probe(&lane->breaker, now);
	if (ticket->probes_path && !ticket->reported)
		breaker_abandon_probe(&turns->path, now);
	ticket->state = TICKET_IDLE;
	ticket->probes_lane = ticket->probes_path = false;
	lane->in_flight--;
	turns->in_flight--;
	note_full(turns, now);
}

enum turn turns_enter(struct turns *turns, struct ticket *ticket, msec_t now)
{
	bool was_sent = ticket->was_sent;
	size_t position;
	msec_t wait;

	turns_leave(turns, ticket, now);
	position = insert(turns, ticket, now);
	turns_run(turns, now);
	if (ticket->state != TICKET_WAITING) {
		TAILQ_REMOVE(&turns->decided, ticket, entry); /* the caller is told at once */
		return ticket->turn;
	}
	wait = turns->pacing ? pacer_wait_ms(&ticket->lane->pacer, position, now) : 0;
	if (wait > 0)
		wait += needed_ms(ticket->lane);
	if (wait >= ticket->deadline - now)
		ticket->turn = TURN_LATE;
	else if (!was_sent && !fits(turns, ticket, now))
		ticket->turn = TURN_FULL;
	if (ticket->turn != TURN_WAIT)
		take_out(turns, ticket, now);
	return ticket->turn;
}

bool turns_enter_beside(
	struct turns *turns, struct ticket *ticket, const struct ticket *first, msec_t now)
{
	struct lane *lane = first->lane;

	if (is_full(turns) || is_outage(turns, lane) || pacer_rate(&lane->pacer) > 0 ||
		lane->waiting_count > 0 || ready_at(turns, lane, now) > now)
		return false;
	ticket->lane = lane;
	lane->tickets++;
	ticket->arrival = first->arrival; /* it is the same request */
	insert(turns, ticket, now);
	grant(turns, ticket, now);
	TAILQ_REMOVE(&turns->decided, ticket, entry);
	return true;
}

void turns_leave(struct turns *turns, struct ticket *ticket, msec_t now)
{
	if (ticket->state == TICKET_WAITING)
		take_out(turns, ticket, now);
	else if (ticket->state == TICKET_HOLDING)
		give_back(turns, ticket, now);
}

void turns_refuse_impatient(struct turns *turns, struct lane *lane, msec_t asked, msec_t now)
{
	struct ticket *ticket = TAILQ_FIRST(&lane->waiting);

	while (ticket) {
		struct ticket *next = TAILQ_NEXT(ticket, entry);

		if (asked > RETRY_MAX_CLOSED_MS && asked > ticket->request.retry_after_cap_ms)
			decide(turns, ticket, TURN_TOO_LONG, now);
		else if (ticket->deadline <= lane->pacer.closed_until)
			decide(turns, ticket, TURN_LATE, now);
		ticket = next;
	}
}
