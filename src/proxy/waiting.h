#pragma once

/* A request's wait for its turn at the upstream: in the queue for a place or the pace, or at a
 * lane that failures have closed, until it may go or has waited long enough. Lives inside its
 * exchange, and owns its ticket. */

#include <stdbool.h>

#include "base/clock.h"
#include "proxy/upstream.h"

struct event_base;
struct mailbox;
struct request;
struct timer;

enum waiting_end {
	WAITING_GO,       /* it has a place */
	WAITING_ON,       /* not over */
	WAITING_FULL,     /* the queue is full */
	WAITING_LATE,     /* its turn would come after its deadline */
	WAITING_TOO_LONG, /* the upstream asks for a longer pause than retry_after_cap */
	WAITING_NO_PLACE, /* every place was taken for pool_timeout */
	WAITING_OUTAGE,   /* the lane, or the upstream, was closed for outage_wait */
	WAITING_DEADLINE, /* there is no time left */
};

struct waiting {
	struct ticket ticket;
	struct timer *timer;
	struct mailbox *mailbox;
	msec_t pool_timeout, outage_wait, deadline;
	bool may_probe;
	enum wait_cause held_by; /* when its deadline came */
	void (*on_end)(void *arg, enum waiting_end end);
	void *arg;
};

/* `on_end` comes from the loop, after waiting_start() has returned WAITING_ON. */
void waiting_init(struct waiting *waiting, struct event_base *base, struct mailbox *mailbox,
	void (*on_end)(void *arg, enum waiting_end end), void *arg);
/* Which upstream, which lane: of a new request, or when it falls back to another one. Whatever it
 * had is given up. */
void waiting_choose(
	struct waiting *waiting, struct upstream *upstream, const struct request *request);
enum waiting_end waiting_start(struct waiting *waiting, msec_t deadline);
/* The drain's deadline is nearer. */
void waiting_hurry(struct waiting *waiting, msec_t deadline);
/* Leaves the queue, or gives the place back. */
void waiting_stop(struct waiting *waiting);
/* Both also of a zeroed one. */
void waiting_fini(struct waiting *waiting);
/* May the same request go well in a moment? */
bool waiting_is_overflow(enum waiting_end end);
/* Why it did not get its turn, in the words of failures. */
void waiting_explain(struct waiting *waiting, enum waiting_end end, struct failure *ret);
/* How long it has waited altogether. */
msec_t waiting_ms(struct waiting *waiting);
