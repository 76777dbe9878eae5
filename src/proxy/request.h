#pragma once

/* What a client asks for, as facts: where it goes, how far it may be repeated, with which limits,
 * and the message for the upstream. Filled once, from evhttp's request; constant from then on, but
 * for request_fall_back(). */

#include <stdbool.h>

#include "base/clock.h"
#include "base/str.h"
#include "config/config.h"
#include "net/fields.h"
#include "policy/class.h"
#include "policy/retry.h"
#include "policy/sse.h"
#include "proxy/refusal.h"

struct evbuffer;
struct budget;
struct received;

/* How long a silence may last until a stream's client needs a sign of life; MSEC_NEVER: it needs
 * none. */
struct signs {
	msec_t first_ms;   /* from the request's arrival */
	msec_t waiting_ms; /* from then on, until the stream begins */
	msec_t running_ms; /* within the stream */
};

struct request {
	char *method;
	char *path;     /* the upstream's, decoded, without its query: for rules and logs */
	char *target;   /* the upstream's path and query, byte for byte */
	char *id;       /* X-Request-Id: the client's or a new one */
	char *trace;    /* traceparent, likewise */
	char *model;    /* NULL: the body names none */
	char *origin;   /* of the web page that may read the answer; NULL: none */
	bool stream;    /* the body asks for one */
	bool anthropic; /* /messages: other error bodies, another id field */
	enum request_class request_class;
	int sdk_retry;                    /* x-stainless-retry-count; -1: none */
	const struct route_config *route; /* NULL: none matches */
	const char *fallback;             /* the route's, if that is what is asked now; or NULL */
	const struct upstream_config *upstream;
	size_t upstream_index;
	const struct profile_config *profile;
	struct retry_policy retry; /* the profile's, with the client's max attempts */
	msec_t total_ms;           /* from its arrival to its answer */
	const char *total_name;    /* whose limit that is, for people */
	enum sse_dialect dialect;  /* of its answer, should that be a stream */
	struct signs signs;
	struct fields fields;  /* for the upstream */
	struct evbuffer *body; /* shared by all attempts; NULL: not needed any more */
	struct budget *memory; /* what the body takes of it: */
	size_t reserved;
};

/* Fills `request` (zeroed) from what the guard let in, whose body and whose reservation in `memory`
 * it takes. On a refusal what is known so far is filled; `config` must outlive the request. */
void request_init(struct request *request, const struct received *from, const struct config *config,
	struct budget *memory, struct refusal *ret_refusal);
/* Is there a fallback that may still be asked? */
bool request_has_fallback(const struct request *request);
size_t request_fallback_upstream(const struct request *request);
/* From now on the route's fallback is asked: another model, perhaps at another upstream. False, and
 * nothing is changed, if there is none, it is asked already, or this request may not be repeated
 * or has no model to replace. No attempt may be running. */
bool request_fall_back(struct request *request, const struct config *config);
/* No attempt will be made any more: the memory of the body is free for others. */
void request_drop_body(struct request *request);
void request_fini(struct request *request);

/* What is asked when a create with an id of the client's own meets a 409: the resource that an
 * earlier attempt has made. NULL if there is no such thing; the caller frees it, and the fields,
 * too. */
char *request_created_target(const struct request *request, struct fields *ret_fields);
