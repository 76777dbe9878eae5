#pragma once

/* What the whole process knows of one upstream: its places, its queue, its lanes (model and key)
 * with their pace, the breakers, the retry budget. Any thread may call; one small lock guards it
 * all and is never held across a callback. A request holds a ticket: with it it asks for its turn,
 * waits, is sent, reports how it went, and gives its place back. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "config/config.h"
#include "policy/outcome.h"
#include "proxy/mailbox.h"

struct event_log;
struct lane;
struct upstream;

/* ---- Tickets. */

enum turn {
	TURN_GO,       /* it has a place: send */
	TURN_WAIT,     /* on_turn follows */
	TURN_FULL,     /* refused: the queue is full, or it takes too much of it */
	TURN_LATE,     /* refused: its turn would come after its deadline */
	TURN_TOO_LONG, /* refused: the upstream asks for a longer pause than it accepts */
};

enum ticket_state {
	TICKET_IDLE,    /* neither waits nor has a place */
	TICKET_WAITING, /* in its lane's queue */
	TICKET_HOLDING, /* has a place */
};

struct ticket_request {
	struct upstream *upstream;
	struct mailbox *mailbox; /* of the worker that asks */
	const char *model;       /* NULL: none */
	const char *key;         /* the credential that is sent; NULL: none */
	size_t bytes;            /* of its body, which the queue holds */
	msec_t retry_after_cap_ms;
	/* A ticket that waits has a verdict: ticket_turn() says which. From the worker's loop. */
	void (*on_turn)(void *arg);
	void *arg;
};

/* What grows while somebody waits, and why he does. */
struct clocks {
	msec_t all;
	msec_t full; /* every place is taken */
	msec_t lane; /* 5xx have closed the lane */
	msec_t path; /* connection failures have closed the upstream */
};

/* Inside its exchange. What stands behind the request belongs to the upstream's lock. */
struct ticket {
	struct ticket_request request;
	struct letter letter;
	TAILQ_ENTRY(ticket) entry; /* in its lane */
	struct lane *lane;         /* NULL: not initialised */
	enum ticket_state state;
	enum turn turn;
	uint64_t arrival;
	msec_t deadline, sent_at;
	int probes; /* that it has carried */
	bool may_probe, was_sent, reported;
	bool probes_lane, probes_path; /* its present place is a probe's */
	struct clocks began, waited;   /* its present wait; all the waits before it */
};

/* Finds its lane, and takes its number in the order of arrival. */
void ticket_init(struct ticket *ticket, const struct ticket_request *request);
/* Gives up whatever it has; also of a zeroed one. */
void ticket_fini(struct ticket *ticket);
/* Asks for a turn; a place that it has is given back, and nobody comes between. What was sent
 * before goes back to where it stood in the queue, and is not refused because that is full.
 * `may_probe`: it may be the one that tries a closed lane. */
enum turn ticket_enter(struct ticket *ticket, msec_t deadline, bool may_probe);
/* Takes a second place for the request that has the ticket `first`, if one is free and nobody is
 * kept waiting by that: not where a lane is paced or closed. Initialises the ticket; ticket_fini()
 * is for it only if this is true. */
bool ticket_enter_beside(struct ticket *ticket, const struct ticket *first);
/* Leaves the queue, or gives its place back; does nothing otherwise. */
void ticket_release(struct ticket *ticket);
/* The verdict that on_turn was called for. */
enum turn ticket_turn(struct ticket *ticket);
bool ticket_is_probe(const struct ticket *ticket);
/* How the attempt went. Once for each turn, while it holds its place. `retry_after_ms` -1: the
 * upstream asks for nothing. */
struct report {
	enum outcome outcome;
	msec_t retry_after_ms;
	int status;             /* 0: there was no answer, */
	struct failure failure; /* and this is why */
};
void ticket_report(struct ticket *ticket, const struct report *report);

/* Why it waits, and how long it has so far. */
enum wait_cause { WAIT_PLACE, WAIT_PACE, WAIT_OUTAGE };
struct wait {
	enum wait_cause cause;
	struct clocks waited; /* altogether, so far */
	msec_t next_ms;       /* until somebody of its lane may go; MSEC_NEVER: unknown */
};
struct wait ticket_wait(struct ticket *ticket);
/* How long alone: what the pace says is not asked for that. */
struct clocks ticket_waited(struct ticket *ticket);
/* The last failure of its lane, or of the path where that is lost; ERROR_NONE: none. Returns the
 * status that the upstream gave, or 0. */
int ticket_last_failure(struct ticket *ticket, struct failure *ret);
/* What a refused client should wait: 1 to 60 s. */
msec_t ticket_retry_after_ms(struct ticket *ticket);
/* Takes from the retry budget; false: there is no room. */
bool ticket_spend_retry(struct ticket *ticket);

/* ---- The upstream. */

/* `log` is told of the changes of state. */
struct upstream *upstream_new(const struct upstream_config *config, struct event_log *log);
/* References are the main thread's; the last one frees it; NULL is fine. */
struct upstream *upstream_ref(struct upstream *upstream);
void upstream_unref(struct upstream *upstream);
/* Other limits, from now on. */
void upstream_configure(struct upstream *upstream, const struct upstream_options *options);
/* Readable when upstream_on_time() is due; one thread watches it. */
int upstream_fd(const struct upstream *upstream);
void upstream_on_time(struct upstream *upstream);

/* ---- What a person sees of it. */

struct lane_status {
	char name[160]; /* the model and eight hex digits that stand for the key */
	size_t waiting, in_flight;
	double pace;      /* requests per second; 0: none */
	double measured;  /* answers per second; 0: unknown */
	msec_t closed_ms; /* the upstream has asked for a pause; 0: no */
	bool paused;      /* 5xx have closed it */
	msec_t probe_ms;  /* until the next probe; 0: it is out, or due */
	int failed_probes;
	char last_error[64]; /* RFC 9209 type, and status; empty: none */
};

struct upstream_status {
	char *name, *url;
	size_t in_flight, waiting, waiting_bytes;
	int64_t max_in_flight, queue, queue_bytes; /* < 0: no limit */
	bool path_lost;
	msec_t probe_ms;
	char last_error[64]; /* of the path */
	double retry_budget; /* retries that it has room for; < 0: no limit */
	struct lane_status *lanes;
	size_t lane_count;
};

/* Adds how many requests are at the upstream, and how many wait. */
void upstream_add_counts(struct upstream *upstream, size_t *in_flight, size_t *waiting);
void upstream_read_status(struct upstream *upstream, struct upstream_status *ret);
void upstream_status_fini(struct upstream_status *status);
