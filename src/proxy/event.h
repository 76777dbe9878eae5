#pragma once

/* A failed attempt, a finished request or a change of state, and its line in the event log. Fields
 * and names are CONTRACT's and never hold a key (proxy/redact.h) or a query value, nor, without
 * body_bytes, a body. */

#include <stdbool.h>
#include <stddef.h>

#include "net/fields.h"
#include "net/transport.h"
#include "policy/failure.h"
#include "proxy/redact.h"

struct evbuffer;
struct str;

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

/* One JSON object; of the body as many bytes. */
void event_render_json(const struct event *event, size_t body_bytes, struct str *out);
/* For a person. */
void event_render_text(const struct event *event, struct str *out);
