#pragma once

/* The event log: a line for each failed attempt, each finished request and each change of state.
 * Fields and names are CONTRACT's and never hold a key (proxy/redact.h) or a query value, nor,
 * without body_bytes, a body. One log serves all workers; a writer thread does the writing. */

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "net/fields.h"
#include "net/transport.h"
#include "policy/failure.h"
#include "proxy/redact.h"

struct evbuffer;
struct event_log;
struct str;
struct writer;

struct event {
	const char *event; /* "attempt", "request" or "state" */
	const char *level; /* "info", "warning" or "error" */
	const char *state; /* of a state event */
	int worker;        /* -1: none */
	const char *request_id, *upstream_request_id;
	const char *traceparent; /* its trace id is logged */
	const char *method, *path, *model, *profile, *upstream, *request_class;
	const char *reason; /* why the retry decision went as it did */
	bool stream;
	int attempt, attempts;         /* 0: left out */
	const struct failure *failure; /* NULL: none */
	const char *dashboard, *detail;
	int status; /* 0: none */
	const char *error_code;
	const struct transport_facts *facts;   /* NULL: nothing was tried */
	msec_t total_ms, wait_ms, retry_in_ms; /* -1: left out */
	int sdk_retry;                         /* -1: left out */
	const struct fields *answer_fields;    /* for ratelimit and fireworks; NULL: none */
	struct evbuffer *body;                 /* an error's, for body_bytes; NULL: none */
	struct redact_sent sent;               /* whose keys are no part of a line */
};

#define EVENT_INIT                                                                                 \
	((struct event){.level = "info",                                                           \
		.worker = -1,                                                                      \
		.total_ms = -1,                                                                    \
		.wait_ms = -1,                                                                     \
		.retry_in_ms = -1,                                                                 \
		.sdk_retry = -1})

/* Opens the log. `stderr_writer` serves events = stderr. NULL and why if a file cannot be opened.
 */
struct event_log *event_log_new(
	const struct log_options *options, struct writer *stderr_writer, struct str *ret_error);
/* Waits a moment for what is queued. */
void event_log_free(struct event_log *log);
/* Any thread. */
void event_log_write(struct event_log *log, const struct event *event);

/* ---- For the main thread only. */

/* Other options, in two steps. The first opens what they name and changes nothing; false, and why,
 * if it cannot. Then one of the others follows. */
bool event_log_prepare(
	struct event_log *log, const struct log_options *options, struct str *ret_error);
/* The lines that are made from now on go there. What is queued for an earlier file is written, by
 * its own thread, which then closes it. */
void event_log_commit(struct event_log *log);
void event_log_discard(struct event_log *log);
/* Waits a moment for what is queued; any thread may go on writing. */
void event_log_flush(struct event_log *log);
void event_log_reopen(struct event_log *log);
/* Of all its destinations, so far. */
uint64_t event_log_dropped(struct event_log *log);
