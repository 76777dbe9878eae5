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
#include "policy/sse.h"

struct evbuffer;
struct evhttp_request;

/* How long a silence may last until a stream's client needs a sign of life; MSEC_NEVER: it needs
 * none. */
struct signs {
	msec_t first_ms;   /* from the request's arrival */
	msec_t waiting_ms; /* from then on, until the stream begins */
	msec_t running_ms; /* within the stream */
};

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
	msec_t total_ms;           /* from its arrival to its answer */
	const char *total_name;    /* whose limit that is, for people */
	enum sse_dialect dialect;  /* of its answer, should that be a stream */
	struct signs signs;
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

/* What is asked when a create with an id of the client's own meets a 409: the resource that an
 * earlier attempt has made. NULL if there is no such thing; the caller frees it, and the fields,
 * too. */
char *request_created_target(const struct request *request, struct fields *ret_fields);
