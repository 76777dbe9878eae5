#pragma once

/* A second attempt beside one that is late (hedge_after): its timer, its place and its transport.
 * Only where the answer may come twice and nothing holds the lane back; it bills twice, so it is
 * off unless asked for. Lives inside its exchange, which has the callbacks of both attempts. */

#include "proxy/attempt.h"
#include "proxy/request.h"
#include "proxy/upstream.h"

struct hedge {
	struct timer *timer;
	msec_t after_ms;         /* 0: never */
	struct ticket ticket;    /* its place */
	struct attempt *attempt; /* NULL: none runs beside the first */
};

/* `on_late` comes from the loop. */
void hedge_init(struct hedge *hedge, struct event_base *base, const struct request *request,
	void (*on_late)(void *arg), void *arg);
/* The first attempt has begun. */
void hedge_watch(struct hedge *hedge);
/* Takes a place beside that of `first`; false: nothing is sent twice now. */
bool hedge_take_place(struct hedge *hedge, struct ticket *first);
/* The second attempt is the caller's now, and keeps its place here. */
struct attempt *hedge_promote(struct hedge *hedge);
/* Cancels it, and gives its place back. Both also of a zeroed one. */
void hedge_stop(struct hedge *hedge);
void hedge_fini(struct hedge *hedge);
