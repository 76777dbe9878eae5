#pragma once

/* Whose turn it is: the places of an upstream, the lanes that have work, and who of them goes
 * next. Lanes are served in turn, each in the order of arrival; one that its pace or a breaker
 * holds back is passed over. No lock, no clock, no I/O: proxy/upstream.h is what the world sees. */

#include "policy/breaker.h"
#include "policy/retry_budget.h"
#include "proxy/lane.h"
#include "proxy/upstream.h"

struct turns {
	int64_t max_in_flight, queue, queue_bytes; /* < 0: no limit */
	bool pacing, breaking;                     /* the options */
	size_t in_flight, waiting, waiting_bytes;
	msec_t full_ms, full_at; /* how long every place was taken; since when, or MSEC_NEVER */
	uint64_t arrivals;
	struct lanes lanes;
	struct lane_list with_work; /* the next one first */
	size_t with_work_count;
	struct breaker path;
	struct failure path_failure;
	struct retry_budget budget;
	struct ticket_list decided; /* tickets that waited, and have their verdict */
};

/* A change of state for the event log. */
struct notice {
	const char *state; /* NULL: none */
	char detail[320];
};

enum { NOTICES_MAX = 4 };

struct notices {
	struct notice list[NOTICES_MAX];
	size_t count;
};

void turns_init(struct turns *turns, const struct upstream_options *options, msec_t now);
/* Other limits; what waits and what is under way stays. */
void turns_configure(struct turns *turns, const struct upstream_options *options, msec_t now);
void turns_fini(struct turns *turns);
/* Takes a number in the order of arrival, and a lane. */
void turns_join(struct turns *turns, struct ticket *ticket, const struct lane_key *key);
/* It neither waits nor has a place. */
void turns_part(struct turns *turns, struct ticket *ticket);
enum turn turns_enter(struct turns *turns, struct ticket *ticket, msec_t now);
/* A second place for the same request, if nobody is kept waiting by that. */
bool turns_enter_beside(
	struct turns *turns, struct ticket *ticket, const struct ticket *first, msec_t now);
void turns_leave(struct turns *turns, struct ticket *ticket, msec_t now);
/* `random` is uniform in [0, 1). */
void turns_report(struct turns *turns, struct ticket *ticket, const struct report *report,
	msec_t now, double random, struct notices *ret);
/* The lane has closed: who waits in it and accepts no pause so long, or has no time for it, has his
 * verdict. */
void turns_refuse_impatient(struct turns *turns, struct lane *lane, msec_t asked_ms, msec_t now);
/* Gives places to whoever may go; the next instant at which that may change by itself. */
msec_t turns_run(struct turns *turns, msec_t now);
struct clocks turns_waited(const struct turns *turns, const struct ticket *ticket, msec_t now);
/* How long a ticket of this lane may have to wait, at best: 0 to MSEC_NEVER. */
msec_t turns_next_ms(struct turns *turns, struct lane *lane, size_t position, msec_t now);
/* Why nobody of this lane goes. */
enum wait_cause turns_cause(const struct turns *turns, const struct lane *lane);
/* The last failure of the path, if it is lost, else of the lane; the upstream's status, or 0. */
int turns_last_failure(const struct turns *turns, const struct lane *lane, struct failure *ret);
