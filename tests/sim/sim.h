#pragma once

/* The simulation of the exchange: exchange.c and what it is made of (attempt, stream, answer,
 * relay, patience, record, reply, ...) and policy as they are, everything around them made up, and
 * time virtual. One run is one scenario: a request, a client, and what the upstream does to each
 * attempt. It is made from a seed alone, so that a seed is a whole bug report.
 *
 *   loop.c        virtual time, randomness, the trace, and how a broken rule is reported
 *   fakes.c       what exchange.c and below call: transport, timer, client, server, clock, log
 *   scenario.c    a seed made into a scenario
 *   crowd.c       the upstream's other requests (phantoms), its alarm, and the letters of both
 *   model.c       what an upstream's answer amounts to, from its script and what of it is out
 *   invariants.c  the rules: what the fakes were told is held against the scenario
 *   queue_rules.c the same of the queue: whose turn it is, and how long one may wait
 *   breaker_rules.c  the same of the breakers: what closes a lane, or the path
 *   count_rules.c the same of what is sent again: attempts, what is free, the retry budget
 *   test_sim.c    main: seeds, the systematic part, counts
 *
 * To extend it: a new callee gets a fake; a new field of struct request is filled in request_init()
 * in fakes.c; a new way for an upstream to fail is a function in scenario.c, and what it amounts to
 * is said in model.c; a new rule is a check in invariants.c. */

#include <event2/buffer.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/budget.h"
#include "base/clock.h"
#include "base/str.h"
#include "config/config.h"
#include "net/transport.h"
#include "policy/sse.h"
#include "proxy/client.h"
#include "proxy/event_log.h"
#include "proxy/request.h"
#include "proxy/upstream.h"

/* ---- loop.c */

struct rng {
	uint64_t state;
};

uint64_t rng_next(struct rng *rng);
/* Uniform in [0, n); 0 for n = 0. */
size_t rng_below(struct rng *rng, size_t n);
/* Uniform in [low, high]. */
msec_t rng_between(struct rng *rng, msec_t low, msec_t high);
bool rng_chance(struct rng *rng, unsigned percent);
#define RNG_PICK(rng, array) ((array)[rng_below((rng), sizeof(array) / sizeof((array)[0]))])

/* Something that is due at an instant. Tasks of the same instant run in random order: no order
 * among unlike sources is promised by an event loop, so none may be relied on. */
struct task {
	TAILQ_ENTRY(task) entry;
	void (*run)(void *arg);
	void *arg;
	msec_t due;
	uint64_t rank; /* lower first; 0: before all others of its instant */
	bool queued;
};

void task_init(struct task *task, void (*run)(void *arg), void *arg);
void task_start(struct task *task, msec_t delay_ms);
/* The very next one. */
void task_start_first(struct task *task);
void task_stop(struct task *task);

/* Prints a line with the virtual time, if this run is traced. */
void trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A rule does not hold: says so, replays the seed with its trace, exits. */
_Noreturn void broken(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define MUST(cond, ...)                                                                            \
	do {                                                                                       \
		if (!(cond))                                                                       \
			broken(__VA_ARGS__);                                                       \
	} while (0)

/* ---- scenario.c */

/* MARK_COMMENT: whatever is no event for the client's code. */
enum mark_kind { MARK_ORDINARY, MARK_COMMENT, MARK_FINISH, MARK_TERMINAL, MARK_ERROR };

/* One event of a stream: where its text ends, and where it ends with its empty line. */
struct mark {
	size_t text_end, end;
	enum mark_kind kind;
};

enum step_kind {
	STEP_PHASE,    /* enters `phase`, and says so unless `quiet` */
	STEP_SENT,     /* `bytes` of the request have gone out */
	STEP_SENT_ALL, /* the rest of it */
	STEP_BYTE,     /* the first byte of an answer, not yet its whole head */
	STEP_HEAD,
	STEP_BODY, /* `bytes` of the body */
	STEP_END,
	STEP_FAIL,
};

struct step {
	enum step_kind kind;
	msec_t delay_ms; /* after the step before */
	size_t bytes;
	enum phase phase;
	enum error error;
	bool quiet;
};

enum { MAX_STEPS = 400, MAX_MARKS = 64, MAX_SCRIPTS = 12 };

/* What the upstream does to one attempt. Behind the last step there is silence. */
struct script {
	const char *name; /* for the trace */
	bool reused;      /* on a kept connection, if one is allowed */
	struct step steps[MAX_STEPS];
	size_t step_count;
	int status;
	const char *type; /* Content-Type */
	bool event_stream, encoded, says_length, chunked;
	bool scaling;  /* the deployment starts */
	bool soft;     /* the body is an error's and nothing else */
	int named;     /* the status that the error in the body or in the events names; 0: none */
	bool one_line; /* the error event's data is one line of JSON, from `error_at` on */
	size_t error_at, error_len;
	char error_word[16];                      /* stands in it */
	size_t other_at;                          /* from here on a stream is none; SIZE_MAX */
	const char *retry_after, *retry_after_ms; /* NULL: not sent */
	msec_t floor_ms;                          /* what these mean; -1: nothing */
	int64_t retry_after_date;                 /* seconds since the epoch; 0: none */
	char retry_after_text[64];
	struct str body;
	struct mark marks[MAX_MARKS];
	size_t mark_count;
};

enum ending_kind {
	ENDING_GONE,
	ENDING_STALL,
	ENDING_DRAIN,
	ENDING_CUT,
	ENDING_ABORT,
	ENDING_DEADLINE
};

enum { ENDING_KINDS = ENDING_DEADLINE + 1, MAX_ENDINGS = 3 };

/* Something from outside that ends the exchange: at an instant, or when a state is entered. */
struct ending {
	enum ending_kind kind;
	const char *state; /* NULL: at an instant */
	int nth;           /* time that the state is entered, from 1 */
	msec_t delay_ms;   /* after that, or after the beginning; 0: the very next thing */
	bool soon;         /* at the state change: before anything else happens */
};

/* What goes wrong at the upstream for a while, for everybody. */
enum storm { STORM_NONE, STORM_THROTTLED, STORM_ERRORS, STORM_UNREACHABLE, STORM_SCALING };

/* The other requests at the upstream, and how it is with it. */
struct crowd {
	struct upstream_options upstream;
	size_t phantoms;
	enum storm storm;
	size_t storm_attempts;                 /* of the exchange that mostly meet it */
	msec_t storm_ms;                       /* the phantoms meet it so long */
	msec_t flap_ms;                        /* the storm comes and goes; 0: it does not */
	msec_t hold_ms, think_ms, patience_ms; /* at most */
	bool endless;                          /* nothing else ever comes, and all of it is whole */
	bool spent;                            /* the retry budget is, at the beginning */
	unsigned late_percent;                 /* how often a letter needs its time */
};

struct scenario {
	uint64_t seed;
	const char *method, *path;
	enum request_class request_class;
	bool stream;
	int refusal; /* 0: let through */
	struct profile_config profile;
	struct signs signs;
	bool has_created; /* what a create made has a name */
	msec_t total_ms, drain_ms, send_timeout_ms;
	size_t request_bytes;
	struct script *scripts[MAX_SCRIPTS]; /* NULL: not yet needed */
	struct {
		msec_t drain_low, drain_high; /* how long it takes to take `gulp` bytes */
		size_t gulp;
		size_t stalls_at; /* takes nothing behind so many bytes; SIZE_MAX: never */
	} client;
	struct ending endings[MAX_ENDINGS];
	size_t ending_count;
	unsigned lag_percent; /* how often the loop is late */
	struct crowd crowd;
};

/* From the seed alone. */
struct scenario *scenario_new(uint64_t seed);
/* What the upstream does to the attempt of this index; those beyond the last one do as it. */
const struct script *scenario_script(struct scenario *scenario, size_t index);
void scenario_free(struct scenario *scenario);

/* ---- fakes.c: what one run has seen. */

enum fate {
	FATE_RUNNING,
	FATE_ENDED,
	FATE_FAILED,
	FATE_CANCELLED,
	FATE_FINISHED, /* its caller had all that it wanted */
};

/* A transport stays until the end of the run, so that a use behind its end is told, not undefined.
 */
struct transport {
	const struct transport_handler *handler;
	void *arg;
	const struct script *script;
	struct task task;
	struct transport_facts facts;
	enum phase phase;
	enum fate fate;
	enum error error; /* of FATE_FAILED */
	size_t index, next_step, delivered;
	bool in_last_callback, paused, ever_paused, blocked, head_told, follow_up;
	msec_t max_idle_ms;
	msec_t began, progress, head_at, ended_at;
	msec_t deadline; /* the exchange's, when this one began */
	/* as its line said: */
	int attempt_events, event_status;
	msec_t retry_in_ms, event_at; /* -1: none */
	bool replaced;
	bool probe;              /* its turn was a probe's */
	bool throttled, scaling; /* what came was a 429; a deployment that starts */
	bool is_free;            /* another one follows, and it does not count */
	bool budget_was_empty;
	enum error told; /* in its line */
};

enum client_state { CLIENT_WAITING, CLIENT_ANSWERING, CLIENT_ENDING, CLIENT_BREAKING, CLIENT_OVER };

struct client {
	const struct client_handler *handler;
	void *arg;
	enum client_state state;
	struct task drain, stall, turn;
	size_t queued, taken;
	bool stalled;
	msec_t send_timeout_ms;
	/* what it was told: */
	bool started, framed, ended, was_broken, gone, done, aborted;
	bool early; /* its head came before any answer */
	int status;
	bool from_upstream;
	int attempts;                /* X-Andiron-Attempts */
	long long retry_after;       /* seconds; -1 */
	char should_retry[8];        /* x-should-retry; empty: none */
	long long promised;          /* Content-Length; -1 */
	struct str body;             /* without andiron's comments */
	struct str last_word;        /* client_break()'s */
	char type[64];               /* Content-Type */
	msec_t started_at, ended_at; /* the end: client_end() or client_break() */
	msec_t last_sign;            /* the last byte, or the commit */
	msec_t silent_since;         /* the same, or when no comment was possible */
};

/* What an answer is to the client, from the part that has come. */
struct expectation {
	bool fails;  /* it is none, or not a whole one */
	bool unsure; /* half of what decides has come */
	int status;
	bool own;       /* the status is andiron's */
	bool stream;    /* it is passed on as events */
	bool rendered;  /* the body is andiron's, with the upstream's words */
	size_t at, len; /* else it stands here in the script's body; grows if the answer runs */
};

/* What the upstream says of itself, without the phantoms' part. */
struct view {
	size_t in_flight, waiting; /* the exchange's */
	size_t all_in_flight, all_waiting, all_waiting_bytes;
	size_t lane_in_flight, lane_waiting; /* of its lane, the phantoms included */
	bool full;
	bool lane_paused, path_lost;
	int failed_probes;                   /* of its lane */
	msec_t lane_probe_ms, path_probe_ms; /* 0: out, or due */
	msec_t closed_ms;                    /* of its lane */
	double pace, budget;
};

enum { LANES = 3, OWN_LANE = 0 };
enum { PROBE_MS = 5000 }; /* a probe that is still out by then is one among others */

/* Why a request that waits is turned down, as far as an outsider can tell. */
enum down_reason {
	DOWN_FULL = 1,
	DOWN_LATE = 2,
	DOWN_PLACE = 4,
	DOWN_OUTAGE = 8,
	DOWN_TOO_LONG = 16,
	DOWN_DEADLINE = 32,
	DOWN_DISPLACED = 64,
	DOWN_OVERFLOW = DOWN_FULL | DOWN_LATE | DOWN_PLACE | DOWN_DISPLACED,
};

/* Failures one after another. */
struct streak {
	int failures;
	uint64_t first;    /* whose the first one was; 0: the exchange's */
	bool several;      /* there was another's among them */
	bool probe_failed; /* just now */
	int failed_probes;
	bool unsure;
};

/* What queue_rules.c knows of the exchange's turn. */
struct queueing {
	struct view view;                            /* after the last step */
	msec_t queued_ms, full_ms, lane_ms, path_ms; /* waited so long, altogether */
	msec_t place_due, outage_due;                /* its wait is over by then; MSEC_NEVER */
	msec_t turn_due;    /* nothing holds its lane back: somebody goes by then */
	msec_t admitted_at; /* asked for its turn */
	bool granted, grant_is_new;
	msec_t granted_at;
	bool refused;                          /* by letter */
	msec_t lane_closed_at, path_closed_at; /* when it last waited for a probe */
	unsigned refused_as;                   /* reasons */
	bool holds_lane_probe, holds_path_probe;
	int probes;
	msec_t closed_until[LANES]; /* by Retry-After */
	msec_t long_ask_at;         /* somebody of its lane met a pause that it does not accept */
	bool must_cut;              /* it is one */
	bool must_not_cut;          /* what came just now is no reason for another pace */
	msec_t cut_at;              /* the last 429 that was one; MSEC_NEVER */
	bool must_be_refused;       /* by the one that it met just now */
	msec_t lane_probe_at, path_probe_at; /* no probe before that; 0: not paused */
	struct streak lane_streak, path_streak;
	double tokens;        /* sends that the pace has room for, at most */
	bool drained;         /* turned away by the drain */
	unsigned down;        /* reasons; 0: it was not turned down */
	msec_t scaling_since; /* the first answer of a deployment that starts */
	double budget;        /* the retry budget as it should be */
	msec_t budget_filled_at;
};

enum { MAX_TRANSPORTS = 160 };

struct world {
	struct scenario *scenario;
	struct rng rng; /* what happens by chance while it runs */
	bool traced;
	msec_t now, began, deadline;
	msec_t lag; /* how late the loop has been, altogether */
	size_t turns;
	TAILQ_HEAD(, task) tasks;

	struct exchange *exchange; /* NULL: not begun, or ended */
	bool begun, ended, freed;
	char state[24];
	int states_entered;
	struct transport *transports[MAX_TRANSPORTS];
	size_t transport_count;
	struct client *client;
	struct transport *source;    /* whose answer the client gets; NULL: not committed */
	struct expectation expected; /* that answer when it was committed */
	int timers, requests;        /* alive */
	long evbuffers;              /* libevent's allocations alive */
	bool drain_is_deadline;      /* it is nearer than the request's own */
	bool draining, cutting, was_cut, was_aborted;
	struct config *config;
	struct budget memory;

	struct task endings[MAX_ENDINGS];
	struct task drain_end[2];
	int state_visits[8];
	int attempt_events, request_events;
	msec_t waits_told;

	struct upstream *upstream;
	struct queueing queueing;
};

extern struct world *world;

/* Runs one scenario to its end and checks it. */
void world_run(struct scenario *scenario, bool traced);
struct transport *world_last_transport(void);

/* ---- crowd.c: the upstream's other requests. */

void crowd_begin(void);
/* All leave, and nothing may be left of them. */
void crowd_end(void);
struct mailbox *crowd_mailbox(void); /* the exchange's */
bool crowd_has_own_letter(void);     /* is there one for it, under way? */

/* What of the upstream's counts is phantoms' own. */
struct share {
	size_t in_flight, waiting;
	size_t waiting_bytes;
	struct {
		size_t in_flight, waiting;
		bool probes;
	} lane[LANES];
	bool probes_path;
};
struct share crowd_share(void);
const char *crowd_model(size_t lane);
/* Does a phantom of the exchange's lane wait that came before it; that should probe rather? */
bool crowd_has_older(void);
bool crowd_has_younger(void);
bool crowd_has_fresher_probe(void);
/* The loop is late, and everybody with it. */
void world_pass(msec_t now);
/* The exchange has come to a state, or to LETTER: it was given a turn and does not know. The
 * scenario's endings may wait for that. */
void world_visit(const char *state);

/* ---- queue_rules.c */

/* Who waited in the exchange's lane when somebody was given a place. */
struct passed {
	bool exchange; /* of a phantom that came later than it */
	bool older, fresher_probe, younger;
};

/* A phantom was given a place. */
void check_grant(const struct ticket *phantom, size_t lane, const struct passed *passed);
/* The exchange's letter was posted. */
void check_letter(const struct passed *passed);
void check_delivery(void);
/* Time passes from world->now to `now`. */
void check_time(msec_t now);
/* Nobody may have waited longer than until now. */
void check_patience(void);
void check_queue(void);
void check_turn_of(struct transport *transport, const struct transport *before);
/* It goes from one state to another. */
void check_state(const char *before, const char *next);
void check_turned_down(const struct client *client);
/* A 429 for a request of this lane that was given its place at `sent_at`. */
void note_throttled(size_t lane, msec_t sent_at, msec_t asked_ms);
/* A 429 that is a quota, not a matter of pace. */
void note_quota(void);
/* It was told how the exchange's attempt went: what was a probe is none any more. */
void note_told(void);
/* Does everybody still wait for a probe that was sent at `granted_at`? */
bool is_probe_out(msec_t granted_at, msec_t closed_at);

/* ---- breaker_rules.c */

/* What the upstream is told by a phantom, or by the exchange: in the line of an attempt, or
 * because its answer is handed on. */
struct probes {
	bool lane, path;
};
void note_report(size_t lane, uint64_t request, const struct report *report, struct probes probes);
void note_own_report(const struct transport *transport, const struct event *event);
void note_own_success(void);
void check_breakers(const struct view *before, const struct view *now);

/* ---- count_rules.c */

/* Is it one of retry_statuses? */
bool is_listed(int status);
/* All sends but replacements of dead connections, and GETs of what was created. */
int made_attempts(void);
void check_count(const struct transport *transport);
void check_outcome(struct transport *transport, const struct event *event);
void check_given_up(const struct transport *transport, int status);
bool may_resend(void);
bool is_paced(void);                                /* a 429 of the exchange sets the pace */
msec_t floor_of(const struct transport *transport); /* what the upstream asks for, from now; -1 */
void budget_earn(void);
bool budget_spend(void);

/* ---- model.c */

enum {
	QUEUE_LIMIT = 256 << 10, /* relay.c's */
	EVENT_LIMIT = 64 << 10,  /* stream.c's: a larger event goes out in pieces */
	HELD_ERROR = 64 << 10,   /* attempt.c's: of an error's body, or of comments */
	HELD_ERROR_MS = 2000,    /* attempt.c's: so long an error's body is waited for */
};

/* What the bytes of a stream that were delivered make of it. */
struct verdict {
	enum { STREAM_CUT, STREAM_WHOLE, STREAM_EITHER } kind;
	size_t low, high; /* so many bytes may be out when it is cut, or are when it is whole */
	bool speaks;      /* an event for the client's code has come */
	bool by_terminal, failed, other;
};

bool takes_body(int status);
/* Events that can be read. */
bool is_read_stream(const struct transport *transport);
struct verdict judge(const struct transport *transport);
struct expectation expect(const struct transport *transport);
/* May the exchange be told of this answer now, and must it have been? */
bool may_tell(const struct transport *transport);
bool must_be_told(const struct transport *transport);
/* Do so many bytes of the stream end with an event? */
bool is_between_events(const struct transport *transport, size_t bytes);

/* ---- invariants.c: called by the fakes as things happen. */

void check_transport_start(struct transport *transport);
void check_transport_cancel(const struct transport *transport);
void check_transport_finish(const struct transport *transport);
void check_commit(void);
void check_client_start(const struct client *client);
void check_client_send(struct client *client, const char *bytes, size_t len);
void check_event(const struct event *event);
void check_turn(void);
void check_end(void);

/* ---- test_sim.c: how often things happened, so that a simulation that no longer reaches them is
 * noticed. */
#define COUNTS(X)                                                                                  \
	X(RETRIED)                                                                                 \
	X(REPLACED)                                                                                \
	X(RELAYED_WHOLE)                                                                           \
	X(STREAM_WHOLE)                                                                            \
	X(STREAM_BROKEN)                                                                           \
	X(BODY_BROKEN)                                                                             \
	X(GAVE_UP)                                                                                 \
	X(REFUSED)                                                                                 \
	X(GONE)                                                                                    \
	X(CUT)                                                                                     \
	X(ABORTED)                                                                                 \
	X(PAUSED)                                                                                  \
	X(TORN)                                                                                    \
	X(TIMED_OUT)                                                                               \
	X(STATUS_HANDED_BACK)                                                                      \
	X(DONE_INSIDE_END)                                                                         \
	X(DEADLINE_ENDED)                                                                          \
	X(NO_TERMINAL_BUT_WHOLE)                                                                   \
	X(FINISHED)                                                                                \
	X(SOFT_ERROR)                                                                              \
	X(OWN_STATUS)                                                                              \
	X(STREAM_ERROR_HELD)                                                                       \
	X(STREAM_ERROR_TOLD)                                                                       \
	X(NO_STREAM_HELD)                                                                          \
	X(NO_STREAM_TOLD)                                                                          \
	X(CUT_JSON)                                                                                \
	X(HELD_STREAM_RETRIED)                                                                     \
	X(HELD_STREAM_WHOLE)                                                                       \
	X(HELD_STREAM_PASSED)                                                                      \
	X(ONLY_COMMENTS_PASSED)                                                                    \
	X(EARLY_HEAD)                                                                              \
	X(EARLY_THEN_STREAM)                                                                       \
	X(EARLY_THEN_FAILURE)                                                                      \
	X(EARLY_THEN_WORDS)                                                                        \
	X(COMMENT_WAITING)                                                                         \
	X(COMMENT_RUNNING)                                                                         \
	X(CREATED_READ)                                                                            \
	X(CREATED_CONFLICT)                                                                        \
	X(FIRST_CONFLICT)                                                                          \
	X(WAITED)                                                                                  \
	X(WAITED_FOR_PLACE)                                                                        \
	X(WAITED_FOR_PACE)                                                                         \
	X(WAITED_AT_CLOSED)                                                                        \
	X(WAITED_AT_LOST)                                                                          \
	X(GRANTED_LATE)                                                                            \
	X(LEFT_WITH_LETTER)                                                                        \
	X(PROBED)                                                                                  \
	X(PROBE_FAILED)                                                                            \
	X(PROBED_TWICE)                                                                            \
	X(PACED)                                                                                   \
	X(PACED_OUT)                                                                               \
	X(SENDS_USED_UP)                                                                           \
	X(SCALED)                                                                                  \
	X(SCALED_OUT)                                                                              \
	X(BUDGET_EMPTY)                                                                            \
	X(ONE_SEND)                                                                                \
	X(DOWN_FULL)                                                                               \
	X(DOWN_DISPLACED)                                                                          \
	X(DOWN_LATE)                                                                               \
	X(DOWN_PLACE)                                                                              \
	X(DOWN_OUTAGE)                                                                             \
	X(DOWN_OUTAGE_SENT)                                                                        \
	X(DOWN_TOO_LONG)                                                                           \
	X(DOWN_DEADLINE)                                                                           \
	X(DOWN_KEPT)                                                                               \
	X(DOWN_BEHIND_HEAD)                                                                        \
	X(DRAINED_WAITING)

enum count {
#define COUNT_ENUM(name) COUNT_##name,
	COUNTS(COUNT_ENUM)
#undef COUNT_ENUM
		COUNT_COUNT
};

void count(enum count what);
/* An ending that came while the exchange was in this state. */
void cover(const char *state, enum ending_kind kind);
int state_index(const char *state); /* of those that the systematic part visits, or -1 */
