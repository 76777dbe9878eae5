#include "proxy/upstream.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alarm.h"
#include "base/mem.h"
#include "base/random.h"
#include "proxy/event_log.h"
#include "proxy/turns.h"

enum {
	MIN_RETRY_AFTER_MS = 1000,
	MAX_RETRY_AFTER_MS = 60000,
	UNKNOWN_RETRY_AFTER_MS = 5000, /* a probe is out */
};

struct upstream {
	int references;
	char *name, *url;
	struct event_log *log;
	struct alarm *alarm;
	pthread_mutex_t lock; /* what follows */
	struct turns turns;
	msec_t due; /* the alarm's */
};

/* ---- The lock. Whoever changes something leaves with unlock_and_run(). */

static msec_t lock(struct upstream *upstream)
{
	pthread_mutex_lock(&upstream->lock);
	return clock_mono();
}

static void unlock(struct upstream *upstream)
{
	pthread_mutex_unlock(&upstream->lock);
}

static void post_verdicts(struct turns *turns)
{
	struct ticket *ticket;

	while ((ticket = TAILQ_FIRST(&turns->decided))) {
		TAILQ_REMOVE(&turns->decided, ticket, entry);
		mailbox_post(ticket->request.mailbox, &ticket->letter);
	}
}

static void unlock_and_run(struct upstream *upstream, msec_t now)
{
	msec_t due = turns_run(&upstream->turns, now);

	post_verdicts(&upstream->turns);
	if (due != upstream->due)
		alarm_set(upstream->alarm, due);
	upstream->due = due;
	unlock(upstream);
}

/* ---- Tickets. */

void ticket_init(struct ticket *ticket, const struct ticket_request *request)
{
	struct upstream *upstream = request->upstream;
	struct lane_key key;

	*ticket = (struct ticket){
		.request = *request,
		.letter = {.on_delivery = request->on_turn, .arg = request->arg},
	};
	key = lanes_key(&upstream->turns.lanes, request->model, request->key);
	lock(upstream);
	turns_join(&upstream->turns, ticket, &key);
	unlock(upstream);
}

bool ticket_enter_beside(struct ticket *ticket, const struct ticket *first)
{
	struct upstream *upstream = first->request.upstream;
	msec_t now = lock(upstream);
	bool entered;

	*ticket = (struct ticket){.request = first->request};
	entered = turns_enter_beside(&upstream->turns, ticket, first, now);
	unlock(upstream);
	return entered;
}

void ticket_fini(struct ticket *ticket)
{
	if (!ticket->lane)
		return;
	ticket_release(ticket);
	lock(ticket->request.upstream);
	turns_part(&ticket->request.upstream->turns, ticket);
	unlock(ticket->request.upstream);
}

enum turn ticket_enter(struct ticket *ticket, msec_t deadline, bool may_probe)
{
	struct upstream *upstream = ticket->request.upstream;
	msec_t now = lock(upstream);
	enum turn turn;

	ticket->deadline = deadline;
	ticket->may_probe = may_probe;
	turn = turns_enter(&upstream->turns, ticket, now);
	unlock_and_run(upstream, now);
	return turn;
}

void ticket_release(struct ticket *ticket)
{
	struct upstream *upstream = ticket->request.upstream;
	msec_t now;

	if (!ticket->lane)
		return;
	now = lock(upstream);
	mailbox_withdraw(ticket->request.mailbox, &ticket->letter);
	turns_leave(&upstream->turns, ticket, now);
	unlock_and_run(upstream, now);
}

enum turn ticket_turn(struct ticket *ticket)
{
	enum turn turn;

	lock(ticket->request.upstream);
	turn = ticket->turn;
	unlock(ticket->request.upstream);
	return turn;
}

bool ticket_is_probe(const struct ticket *ticket)
{
	return ticket->probes_lane || ticket->probes_path;
}

static void log_notices(struct upstream *upstream, const struct notices *notices)
{
	for (size_t i = 0; i < notices->count; i++) {
		struct event event = EVENT_INIT;

		event.event = "state";
		event.level = "warning";
		event.state = notices->list[i].state;
		event.detail = notices->list[i].detail;
		event.upstream = upstream->name;
		event_log_write(upstream->log, &event);
	}
}

void ticket_report(struct ticket *ticket, const struct report *report)
{
	struct upstream *upstream = ticket->request.upstream;
	struct notices notices = {.count = 0};
	msec_t now = lock(upstream);

	turns_report(&upstream->turns, ticket, report, now, random_unit(), &notices);
	unlock_and_run(upstream, now);
	log_notices(upstream, &notices);
}

struct wait ticket_wait(struct ticket *ticket)
{
	struct turns *turns = &ticket->request.upstream->turns;
	msec_t now = lock(ticket->request.upstream);
	struct wait wait = {
		.cause = turns_cause(turns, ticket->lane),
		.waited = turns_waited(turns, ticket, now),
		.next_ms = turns_next_ms(turns, ticket->lane, 0, now),
	};

	unlock(ticket->request.upstream);
	return wait;
}

struct clocks ticket_waited(struct ticket *ticket)
{
	struct upstream *upstream = ticket->request.upstream;
	msec_t now = lock(upstream);
	struct clocks waited = turns_waited(&upstream->turns, ticket, now);

	unlock(upstream);
	return waited;
}

int ticket_last_failure(struct ticket *ticket, struct failure *ret)
{
	struct turns *turns = &ticket->request.upstream->turns;
	int status;

	lock(ticket->request.upstream);
	status = turns_last_failure(turns, ticket->lane, ret);
	unlock(ticket->request.upstream);
	return status;
}

msec_t ticket_retry_after_ms(struct ticket *ticket)
{
	struct turns *turns = &ticket->request.upstream->turns;
	const struct lane *lane = ticket->lane;
	msec_t now = lock(ticket->request.upstream);
	msec_t next = ticket->turn == TURN_TOO_LONG
			      ? lane->asked_ms
			      : turns_next_ms(turns, ticket->lane, lane->waiting_count, now);
	bool is_asked = ticket->turn == TURN_TOO_LONG;

	unlock(ticket->request.upstream);
	if (next == MSEC_NEVER)
		return UNKNOWN_RETRY_AFTER_MS;
	if (next < MIN_RETRY_AFTER_MS)
		return MIN_RETRY_AFTER_MS;
	return is_asked || next < MAX_RETRY_AFTER_MS ? next : MAX_RETRY_AFTER_MS;
}

bool ticket_spend_retry(struct ticket *ticket)
{
	struct upstream *upstream = ticket->request.upstream;
	msec_t now = lock(upstream);
	bool spent = retry_budget_spend(&upstream->turns.budget, now);

	unlock(upstream);
	return spent;
}

/* ---- The upstream. */

struct upstream *upstream_new(const struct upstream_config *config, struct event_log *log)
{
	struct upstream *upstream = xcalloc(1, sizeof(*upstream));

	upstream->references = 1;
	upstream->name = xstrdup(config->name);
	upstream->url = xstrdup(config->options.url);
	upstream->log = log;
	upstream->alarm = alarm_new();
	upstream->due = MSEC_NEVER;
	pthread_mutex_init(&upstream->lock, NULL);
	turns_init(&upstream->turns, &config->options, clock_mono());
	return upstream;
}

struct upstream *upstream_ref(struct upstream *upstream)
{
	upstream->references++;
	return upstream;
}

void upstream_unref(struct upstream *upstream)
{
	if (!upstream || --upstream->references > 0)
		return;
	turns_fini(&upstream->turns);
	pthread_mutex_destroy(&upstream->lock);
	alarm_free(upstream->alarm);
	free(upstream->name);
	free(upstream->url);
	free(upstream);
}

void upstream_configure(struct upstream *upstream, const struct upstream_options *options)
{
	msec_t now = lock(upstream);

	turns_configure(&upstream->turns, options, now);
	unlock_and_run(upstream, now);
}

int upstream_fd(const struct upstream *upstream)
{
	return alarm_fd(upstream->alarm);
}

void upstream_on_time(struct upstream *upstream)
{
	msec_t now = lock(upstream);

	alarm_clear(upstream->alarm);
	upstream->due = MSEC_NEVER; /* it has rung */
	unlock_and_run(upstream, now);
}

/* ---- Status. */

static void render_failure(const struct failure *failure, int status, char *ret, size_t size)
{
	if (status)
		snprintf(ret, size, "%s %d", error_name(ERROR_UPSTREAM_STATUS), status);
	else if (failure->error != ERROR_NONE)
		snprintf(ret, size, "%s in phase %s", error_name(failure->error),
			phase_name(failure->phase));
}

/* 0: it is out, or due. */
static msec_t until_probe(const struct breaker *breaker, msec_t now)
{
	return breaker->state == BREAKER_PAUSED && breaker->probe_at > now ? breaker->probe_at - now
									   : 0;
}

static void read_lane(const struct lane *lane, msec_t now, struct lane_status *ret)
{
	msec_t closed = lane->pacer.closed_until - now;

	*ret = (struct lane_status){
		.waiting = lane->waiting_count,
		.in_flight = lane->in_flight,
		.pace = pacer_rate(&lane->pacer),
		.measured = lane->pacer.measured,
		.closed_ms = closed > 0 ? closed : 0,
		.paused = breaker_is_paused(&lane->breaker),
		.probe_ms = until_probe(&lane->breaker, now),
		.failed_probes = lane->breaker.failed_probes,
	};
	snprintf(ret->name, sizeof(ret->name), "%s", lane->name);
	render_failure(
		&lane->last_failure, lane->last_status, ret->last_error, sizeof(ret->last_error));
}

void upstream_add_counts(struct upstream *upstream, size_t *in_flight, size_t *waiting)
{
	lock(upstream);
	*in_flight += upstream->turns.in_flight;
	*waiting += upstream->turns.waiting;
	unlock(upstream);
}

void upstream_read_status(struct upstream *upstream, struct upstream_status *ret)
{
	const struct turns *turns = &upstream->turns;
	msec_t now = lock(upstream);
	struct lane *lane;

	*ret = (struct upstream_status){
		.name = xstrdup(upstream->name),
		.url = xstrdup(upstream->url),
		.in_flight = turns->in_flight,
		.waiting = turns->waiting,
		.waiting_bytes = turns->waiting_bytes,
		.max_in_flight = turns->max_in_flight,
		.queue = turns->queue,
		.queue_bytes = turns->queue_bytes,
		.path_lost = breaker_is_paused(&turns->path),
		.probe_ms = until_probe(&turns->path, now),
		.retry_budget = turns->budget.share < 0 ? -1 : turns->budget.tokens,
		.lanes = xcalloc(turns->lanes.count + 1, sizeof(struct lane_status)),
	};
	render_failure(&turns->path_failure, 0, ret->last_error, sizeof(ret->last_error));
	for (lane = TAILQ_FIRST(&turns->lanes.list); lane; lane = TAILQ_NEXT(lane, entry))
		read_lane(lane, now, &ret->lanes[ret->lane_count++]);
	unlock(upstream);
}

void upstream_status_fini(struct upstream_status *status)
{
	free(status->name);
	free(status->url);
	free(status->lanes);
}
