#pragma once

/* What a client asks for, as facts: where it goes, how far it may be repeated, with which limits,
 * and the message for the upstream. Filled once, from evhttp's request; constant from then on. */

#include <stdbool.h>

#include "base/clock.h"
#include "base/str.h"
#include "config/config.h"
#include "net/fields.h"
#include "policy/class.h"
#include "policy/retry.h"

struct evbuffer;
struct evhttp_request;

struct request {
	const char *method;
	char *path;     /* the upstream's, decoded, without its query: for rules and logs */
	char *target;   /* the upstream's path and query, byte for byte */
	char *id;       /* X-Request-Id: the client's or a new one */
	char *trace;    /* traceparent, likewise */
	char *model;    /* NULL: the body names none */
	bool stream;    /* the body asks for one */
	bool anthropic; /* /messages: other error bodies, another id field */
	enum request_class request_class;
	int sdk_retry; /* x-stainless-retry-count; -1: none */
	const struct upstream_config *upstream;
	size_t upstream_index;
	const struct profile_config *profile;
	struct retry_policy retry; /* the profile's, with the client's max attempts */
	msec_t total_ms;
	struct fields fields;  /* for the upstream */
	struct evbuffer *body; /* shared by all attempts */
};

/* Why a request is not let through: andiron's answer to it. */
struct refusal {
	int status; /* 0: there is none */
	enum error error;
	struct str message;
	bool close; /* the connection ends with the answer */
};

/* Fills `request` (zeroed) from evhttp's one, whose body it takes. On a refusal what is known so
 * far is filled; `config` must outlive the request. */
void request_init(struct request *request, struct evhttp_request *from, const struct config *config,
	struct refusal *ret_refusal);
void request_fini(struct request *request);
