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

struct record {
	const struct request *request;
	struct event_log *log;
	int worker;
	msec_t began, wait_ms;  /* the waits between attempts, together */
	int attempts;           /* counted ones */
	int status;             /* that the client got; 0: none yet */
	struct failure failure; /* the last one; ERROR_NONE: none */
	/* of the last attempt: */
	bool tried;
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

/* One line for an attempt that failed. `status` is its answer's, 0: none; `fields` too, or NULL;
 * `retry_in_ms` -1: no other follows. */
void record_log_attempt(const struct record *record, const struct attempt *attempt, int status,
	const struct fields *fields, msec_t retry_in_ms);
/* The one line of the request. */
void record_log_request(const struct record *record);

/* A sentence for the client: what failed, where, how often, and whether Fireworks can have seen
 * it. */
void record_render_message(const struct record *record, struct str *out);
