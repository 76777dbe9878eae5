#pragma once

/* What is known of an exchange, for the two who ask later: the event log, and the client that gets
 * an error. Lives inside its exchange, which fills it as things happen. */

#include <stdbool.h>

#include "base/metrics.h"
#include "base/str.h"
#include "policy/failure.h"
#include "policy/retry.h"
#include "proxy/attempt.h"
#include "proxy/event_log.h"
#include "proxy/request.h"

/* A failed attempt, as Proxy-Status tells of it. */
struct mishap {
	struct failure failure; /* ERROR_NONE: none has failed */
	int status;             /* the upstream's; 0: none */
	char address[64];
};

struct record {
	const struct request *request;
	struct event_log *log;
	struct metrics *metrics; /* NULL: none are kept */
	int worker;
	msec_t began, wait_ms;  /* the waits between attempts, together */
	msec_t queue_ms;        /* the waits for a turn */
	int attempts;           /* all but replaced connections */
	int uncounted;          /* of those: the ones that max_attempts does not count */
	int status;             /* that the client got; 0: none yet */
	struct failure failure; /* what stands at the end; ERROR_NONE: nothing failed */
	struct mishap mishap;   /* the last one */
	struct soft_error said; /* the upstream's words in its last error; empty: none */
	/* of the last attempt: */
	bool tried;
	msec_t attempt_began;
	struct transport_facts facts;
	enum dashboard dashboard;
	enum retry_reason reason;
	char upstream_request_id[128];
	char error_code[64];
	/* for the metrics: */
	bool to_count, to_time; /* the last attempt has not been yet */
	msec_t idle_since;      /* no attempt has run since then; 0: none has yet */
	msec_t added_ms;        /* so long none has, up to the last one */
};

/* A new attempt: what was known of the last one's answer is forgotten. */
void record_begin_attempt(struct record *record);
/* Beside the one whose end has been told another attempt runs on. */
void record_expect_another(struct record *record);
void record_facts(struct record *record, const struct attempt *attempt, bool answered);
void record_answer(struct record *record, const struct answer *answer);
/* What failed without an answer, or after it: `said` are the upstream's words, or NULL. */
void record_failure(
	struct record *record, const struct failure *failure, const struct soft_error *said);

/* One line for an attempt that failed, and its place among the failures and the retries. `answer`
 * is what it got, or NULL; `retry_in_ms` -1: no other follows. */
void record_log_attempt(const struct record *record, const struct attempt *attempt,
	const struct answer *answer, msec_t retry_in_ms);
/* The one line of the request, and its place among the requests. */
void record_log_request(const struct record *record);

/* A sentence for the client: what failed, where, how often, and whether Fireworks can have seen
 * it. */
void record_render_message(const struct record *record, struct str *out);
/* The error event that ends a begun stream: the upstream's own words where it has said any. */
void record_render_error_event(const struct record *record, struct str *out);
/* An SSE comment that says what is going on: which attempt, what the last one met, and, if that
 * is known, when the next one comes (`next_in_ms` -1: it runs; MSEC_NEVER: it waits for its turn).
 */
void record_render_comment(const struct record *record, msec_t next_in_ms, struct str *out);
