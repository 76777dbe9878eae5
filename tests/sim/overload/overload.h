#pragma once

/* The simulation of an overload: callers in a closed loop before an upstream that throttles and
 * has outages, under several policies, andiron's real code one of them. Time is virtual, chance
 * comes from a seed: the same numbers on every machine.
 *
 *   world.c      virtual time and chance
 *   fakes.c      what upstream.c calls: clock, alarm, mailbox, random numbers, event log
 *   server.c     the upstream: a bucket of generated tokens, outages
 *   caller.c     the callers, and the policies that need nothing but a timer
 *   through.c    the policy `andiron`: what exchange.c does with a ticket, and nothing else
 *   scenario.c   the worlds
 *   measure.c    what came of it, and how it is printed
 *   overload.c   main: the tables, and what the test demands */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "proxy/upstream.h"

enum { SECOND = 1000, MINUTE = 60 * SECOND };

/* ---- world.c */

struct rng {
	uint64_t state;
};

double rng_unit(struct rng *rng);
/* Exponentially distributed. */
double rng_exponential(struct rng *rng, double mean);

/* Something that is due at an instant; of one instant, the first that was set comes first. */
struct task {
	void (*run)(void *arg);
	void *arg;
	msec_t due;
	uint64_t number;
	size_t place; /* in the heap, from 1; 0: not set */
};

void task_init(struct task *task, void (*run)(void *arg), void *arg);
/* Replaces what was set. */
void task_start(struct task *task, msec_t due);
void task_stop(struct task *task);

extern msec_t world_now;
extern struct rng world_rng; /* what andiron draws */

/* Since the run began. */
msec_t world_elapsed(void);

void world_begin(uint64_t seed);
/* Runs what is due in this time from the beginning. */
void world_run(msec_t length_ms);

/* ---- fakes.c */

/* Of the upstream whose alarm was made last. */
void fakes_attach(struct upstream *upstream);

/* ---- scenario.c */

struct scenario {
	const char *name, *about;
	int callers, lanes;            /* a lane has its own quota, and its share of the callers */
	msec_t deadline_ms, length_ms; /* the deadline: of a stream's head, or a whole answer */
	double quota;                  /* generated tokens per second, of each lane */
	double burst_s;                /* what the bucket holds, in seconds of quota */
	double mean_tokens, speed;     /* of a request; tokens per second of one answer */
	msec_t first_token_ms, think_ms;   /* between a caller's requests, on average */
	msec_t outage_ms, outage_every_ms; /* 0: none */
	bool unreachable;                  /* an outage's connections fail; else 503 */
	bool retry_after;                  /* 429s say how long */
	bool charge_late;             /* an answer is charged at its end; else at its beginning */
	bool ramp;                    /* an arrival rate that doubles within 2 s is refused */
	bool whole;                   /* no streams: the head comes with the end */
	msec_t idle_from, idle_until; /* nobody calls between; then `wake` callers at once */
	int wake;
	msec_t quiet_until; /* until then only the first caller calls, seldom */
	msec_t jump_at;     /* from then on the quota is another one; 0: never */
	double jump_to;
};

/* The worlds of the tables, and those that the pacer was tuned in; both end with .name = NULL. */
extern const struct scenario scenarios[], sweep[];
/* The present one, with the usual values where it has 0. */
extern const struct scenario *scenario;
void scenario_enter(const struct scenario *of);
/* Of a lane, now. */
double scenario_quota(const struct scenario *of, msec_t elapsed);
/* Which outage it is at this instant since the beginning, from 0; -1: none. */
int scenario_outage(const struct scenario *scenario, msec_t elapsed);
/* How much of a run is no outage. */
msec_t scenario_open_ms(const struct scenario *scenario);

/* ---- measure.c */

enum { MAX_CALLERS = 4096, MAX_OUTAGES = 64 };

struct outage {
	unsigned sends, probes;
	msec_t first_success_ms; /* from its end to the head of the first answer sent since; -1 */
};

/* One run's, or the sum of several. */
struct measures {
	int runs;
	unsigned long attempts, refusals, successes, failures;
	unsigned long notes;     /* lines of state in the event log */
	double tokens, possible; /* generated; what the quota allows outside the outages */
	double fairness;         /* Jain's, summed over the runs */
	unsigned served[MAX_CALLERS];
	struct outage outages[MAX_OUTAGES];
	unsigned max_sends, max_probes; /* in one outage, of any run */
	double sends;                   /* in all of them */
	unsigned long outages_over;
	msec_t max_first_success_ms, sum_first_success_ms;
	float *latencies; /* of successes, in seconds */
	size_t latency_count, latency_room;
};

extern struct measures *measures;

void measures_latency(struct measures *to, double seconds);
void measures_init(struct measures *run);
/* What can only be said of a whole run. */
void measures_end_run(struct measures *run);
void measures_add(struct measures *to, const struct measures *run);
void measures_fini(struct measures *of);
double measures_per_success(const struct measures *of);
double measures_failed(const struct measures *of); /* percent */
double measures_used(const struct measures *of);   /* percent */
double measures_fairness(const struct measures *of);
/* In seconds; sorts. */
double measures_latency_at(struct measures *of, double share);
void measures_print_head(const char *first);
void measures_print(const char *name, struct measures *of);

/* ---- server.c and caller.c */

struct caller;

/* What the caller's policy is told: an answer's status (0: no connection), and of a 200 its end. */
struct policy {
	const char *name;
	void (*begin)(struct caller *caller);
	void (*on_answer)(struct caller *caller, int status, msec_t retry_after_ms);
	void (*on_end)(struct caller *caller);
	void (*cancel)(struct caller *caller); /* its deadline has come */
	/* those with a timer: */
	int max_attempts; /* 0: until the deadline */
	msec_t base_ms, cap_ms;
	bool obeys_retry_after;
	msec_t (*delay)(const struct policy *policy, struct caller *caller);
};

extern const struct policy through_andiron;
extern const struct policy timer_policies[]; /* ends with .name = NULL */

enum flight { FLIGHT_NONE, FLIGHT_OUT, FLIGHT_REFUSED, FLIGHT_HEAD, FLIGHT_BODY };

struct caller {
	const struct policy *policy;
	struct rng rng;
	int number, lane;
	msec_t began, deadline;
	double tokens;           /* that the present request will cost */
	int attempts;            /* of the present request */
	struct task next, limit; /* its next deed, its deadline */
	/* server.c's: */
	enum flight flight;
	struct task travel;
	int status;
	msec_t retry_after_ms, sent_at;
	/* through.c's: */
	struct ticket ticket;
	int uncounted, throttled; /* attempts that do not count; 429s */
	msec_t previous_ms;
};

void server_reset(void);
void server_send(struct caller *caller, bool probe);
void server_cancel(struct caller *caller);
/* Tokens that a lane's bucket holds. */
double server_level(int lane);

void callers_start(const struct policy *policy, uint64_t seed);
void callers_stop(void);
void caller_finish(struct caller *caller, bool success);

/* ---- through.c */

void through_open(void);
void through_close(void);
/* Requests per second that a lane's pace allows now; 0: none. */
double through_pace(void);
