#include "proxy/waiting.h"

#include <stdio.h>

#include "net/timer.h"
#include "proxy/credential.h"
#include "proxy/request.h"

enum { LOOK_AGAIN_MS = 1000 }; /* its limit is over, but something else holds it back now */

/* ---- How long it may last. */

static msec_t longer(msec_t a, msec_t b)
{
	return a > b ? a : b;
}

/* What is left of the limit for `cause`; if nothing is, it only ends the wait while that holds. */
static msec_t left_of(msec_t limit, msec_t waited, enum wait_cause cause, const struct wait *wait)
{
	msec_t left = limit - waited;

	if (left > 0)
		return left;
	return wait->cause == cause ? 0 : LOOK_AGAIN_MS;
}

/* Ends the wait, or sees to it that somebody looks again. */
static enum waiting_end judge(struct waiting *waiting)
{
	struct wait wait = ticket_wait(&waiting->ticket);
	msec_t outage = longer(wait.waited.lane, wait.waited.path);
	msec_t place = left_of(waiting->pool_timeout, wait.waited.full, WAIT_PLACE, &wait);
	msec_t closed = left_of(waiting->outage_wait, outage, WAIT_OUTAGE, &wait);
	msec_t left = waiting->deadline - clock_mono();

	waiting->held_by = wait.cause;
	if (left <= 0 || (wait.next_ms != MSEC_NEVER && wait.next_ms >= left))
		return WAITING_DEADLINE;
	if (closed == 0)
		return WAITING_OUTAGE;
	if (place == 0)
		return WAITING_NO_PLACE;
	if (place < left)
		left = place;
	timer_start(waiting->timer, closed < left ? closed : left);
	return WAITING_ON;
}

static enum waiting_end end_of_turn(enum turn turn)
{
	switch (turn) {
	case TURN_GO:
		return WAITING_GO;
	case TURN_FULL:
		return WAITING_FULL;
	case TURN_LATE:
		return WAITING_LATE;
	case TURN_TOO_LONG:
		return WAITING_TOO_LONG;
	case TURN_WAIT:
		break;
	}
	return WAITING_ON;
}

static void end(struct waiting *waiting, enum waiting_end how)
{
	timer_stop(waiting->timer);
	if (how != WAITING_GO)
		ticket_release(&waiting->ticket);
	waiting->on_end(waiting->arg, how);
}

/* ---- What ends it. */

static void waiting_on_turn(void *arg)
{
	struct waiting *waiting = arg;
	enum waiting_end how = end_of_turn(ticket_turn(&waiting->ticket));

	if ((how == WAITING_GO || how == WAITING_LATE) && clock_mono() >= waiting->deadline)
		how = WAITING_DEADLINE; /* the letter, or the loop, was late */
	end(waiting, how);
}

static void waiting_on_timer(void *arg)
{
	struct waiting *waiting = arg;
	enum waiting_end how;

	if (ticket_turn(&waiting->ticket) != TURN_WAIT)
		return; /* the letter is on its way */
	how = judge(waiting);
	if (how != WAITING_ON)
		end(waiting, how);
}

void waiting_init(struct waiting *waiting, struct event_base *base, struct mailbox *mailbox,
	void (*on_end)(void *arg, enum waiting_end end), void *arg)
{
	waiting->timer = timer_new(base, waiting_on_timer, waiting);
	waiting->mailbox = mailbox;
	waiting->on_end = on_end;
	waiting->arg = arg;
}

void waiting_choose(
	struct waiting *waiting, struct upstream *upstream, const struct request *request)
{
	const struct profile_options *profile = &request->profile->options;
	struct ticket_request asked = {
		.upstream = upstream,
		.mailbox = waiting->mailbox,
		.model = request->model,
		.key = credential_of(&request->fields),
		.bytes = request->reserved,
		.retry_after_cap_ms = profile->retry_after_cap,
		.on_turn = waiting_on_turn,
		.arg = waiting,
	};

	waiting_stop(waiting);
	ticket_fini(&waiting->ticket);
	waiting->pool_timeout = profile->pool_timeout;
	waiting->outage_wait = profile->outage_wait;
	waiting->may_probe = request->retry.max_attempts > 1;
	ticket_init(&waiting->ticket, &asked);
}

enum waiting_end waiting_start(struct waiting *waiting, msec_t deadline)
{
	enum turn turn;

	waiting->deadline = deadline;
	if (clock_mono() >= deadline) {
		ticket_release(&waiting->ticket);
		return WAITING_DEADLINE;
	}
	turn = ticket_enter(&waiting->ticket, deadline, waiting->may_probe);
	if (turn == TURN_WAIT)
		timer_start(waiting->timer, 0); /* its limits: never inside this call */
	return end_of_turn(turn);
}

void waiting_hurry(struct waiting *waiting, msec_t deadline)
{
	waiting->deadline = deadline;
	timer_start(waiting->timer, 0);
}

void waiting_stop(struct waiting *waiting)
{
	if (!waiting->timer)
		return;
	timer_stop(waiting->timer);
	ticket_release(&waiting->ticket);
}

void waiting_fini(struct waiting *waiting)
{
	if (!waiting->timer)
		return;
	ticket_fini(&waiting->ticket);
	timer_free(waiting->timer);
}

bool waiting_is_overflow(enum waiting_end end)
{
	return end == WAITING_FULL || end == WAITING_LATE || end == WAITING_NO_PLACE;
}

/* `closed`: for how long it was. */
static void explain_outage(struct waiting *waiting, const char *closed, struct failure *ret)
{
	char detail[sizeof(ret->detail)];
	int status = ticket_last_failure(&waiting->ticket, ret);

	if (status)
		snprintf(detail, sizeof(detail), "%d, and closed %s", status, closed);
	else
		snprintf(detail, sizeof(detail), "%.100s%sclosed %s", ret->detail,
			*ret->detail ? ", and " : "", closed);
	if (status)
		failure_set(ret, PHASE_POOL, ERROR_UPSTREAM_STATUS, detail);
	else
		failure_set(ret, ret->phase, ret->error, detail);
}

void waiting_explain(struct waiting *waiting, enum waiting_end end, struct failure *ret)
{
	static const char *const details[] = {
		[WAITING_FULL] = "the queue is full",
		[WAITING_LATE] = "its turn would come after its deadline",
		[WAITING_NO_PLACE] = "all max_in_flight places were taken for pool_timeout",
	};
	static const char *const deadlines[] = {
		[WAIT_PLACE] = "its deadline came before a place of max_in_flight was free",
		[WAIT_PACE] = "its deadline came before the pace that 429s have set let it go",
	};
	char closed[64];

	snprintf(closed, sizeof(closed), "for outage_wait, %g s",
		(double)waiting->outage_wait / 1000);
	if (end == WAITING_OUTAGE)
		explain_outage(waiting, closed, ret);
	else if (end == WAITING_DEADLINE && waiting->held_by == WAIT_OUTAGE)
		explain_outage(waiting, "until after its deadline", ret);
	else if (end == WAITING_DEADLINE)
		failure_set(ret, PHASE_POOL, ERROR_CONNECTION_LIMIT_REACHED,
			deadlines[waiting->held_by]);
	else if (end == WAITING_TOO_LONG)
		failure_set(ret, PHASE_POOL, ERROR_UPSTREAM_STATUS,
			"429, and it asks for a longer pause than retry_after_cap");
	else
		failure_set(ret, PHASE_POOL, ERROR_CONNECTION_LIMIT_REACHED, details[end]);
}

msec_t waiting_ms(struct waiting *waiting)
{
	return waiting->ticket.lane ? ticket_waited(&waiting->ticket).all : 0;
}
