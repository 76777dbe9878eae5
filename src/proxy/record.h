#pragma once

/* What is known of an exchange, for the two who ask later: the event log, and the client that gets
 * an error. Lives inside its exchange, which fills it as things happen. */

#include <stdbool.h>

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
	int worker;
	msec_t began, wait_ms;  /* the waits between attempts, together */
	int attempts;           /* counted ones */
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
};

/* A new attempt: what was known of the last one's answer is forgotten. */
void record_begin_attempt(struct record *record);
void record_facts(struct record *record, const struct attempt *attempt, bool answered);
void record_answer(struct record *record, const struct answer *answer);
/* What failed without an answer, or after it: `said` are the upstream's words, or NULL. */
void record_failure(
	struct record *record, const struct failure *failure, const struct soft_error *said);

/* One line for an attempt that failed. `answer` is what it got, or NULL; `retry_in_ms` -1: no other
 * follows. */
void record_log_attempt(const struct record *record, const struct attempt *attempt,
	const struct answer *answer, msec_t retry_in_ms);
/* The one line of the request. */
void record_log_request(const struct record *record);

/* A sentence for the client: what failed, where, how often, and whether Fireworks can have seen
 * it. */
void record_render_message(const struct record *record, struct str *out);
/* The error event that ends a begun stream: the upstream's own words where it has said any. */
void record_render_error_event(const struct record *record, struct str *out);
/* An SSE comment that says what is going on: which attempt, what the last one met, and, if that
 * is known, when the next one comes (`next_in_ms` -1: it runs). */
void record_render_comment(const struct record *record, msec_t next_in_ms, struct str *out);
