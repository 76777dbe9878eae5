#pragma once

/* One request on its way to an upstream and its answer on the way back. Nothing above this header
 * knows whose HTTP it is. */

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "net/fields.h"
#include "policy/failure.h"

struct evbuffer;
struct pool;
struct transport;
struct transport_type;

/* Our own HTTP over a dialled connection, and libevent's client within its limits
 * (docs/decisions/0001-transport-evhttp.md); each pool has one of them. */
extern const struct transport_type transport_native, transport_evhttp;

struct transport_request {
	const char *method;
	const char *target;
	const struct fields *fields; /* all, Host and framing included; fields_are_sendable() */
	struct evbuffer *body;       /* referenced, never copied or changed; may be empty */
	msec_t max_idle_ms; /* a kept connection may have waited so long; < 0: a fresh one */
};

struct transport_head {
	int status;
	const char *reason;
	const struct fields *fields; /* as they came, hop-by-hop ones included */
};

/* What has happened so far; durations in milliseconds, -1: not reached. */
struct transport_facts {
	char address[64]; /* tried last */
	bool reused, answer_begun;
	msec_t dns_ms, connect_ms, tls_ms, write_ms, first_byte_ms;
	uint64_t bytes_sent, bytes_received;
};

/* Callbacks come from the loop, never inside transport_start(), and none after on_end, on_failure
 * or transport_cancel() or transport_finish(), which may be called inside any of them. */
struct transport_handler {
	/* A phase has begun, or bytes have moved within it. */
	void (*on_progress)(void *arg, enum phase phase);
	/* Once; interim (1xx) answers are not shown. Valid during the call. */
	void (*on_head)(void *arg, const struct transport_head *head);
	/* A piece of the body, of any size; what is left in `piece` is dropped. */
	void (*on_body)(void *arg, struct evbuffer *piece);
	/* The answer is whole. Ends the transport. */
	void (*on_end)(void *arg);
	/* No answer, or not a whole one. Ends the transport. */
	void (*on_failure)(void *arg, const struct failure *failure);
};

/* Starts at once. What the request points to must stay as it is until the transport ends. */
struct transport *transport_start(struct pool *pool, const struct transport_request *request,
	const struct transport_handler *handler, void *arg);
/* Closes the connection; the transport is gone. */
void transport_cancel(struct transport *transport);
/* The caller has all that it wants. What is left of the answer may still come for a moment, so
 * that the connection can be kept; the transport is gone for the caller. */
void transport_finish(struct transport *transport);
/* Stops and goes on reading the body: backpressure. */
void transport_pause(struct transport *transport);
void transport_resume(struct transport *transport);

enum phase transport_phase(const struct transport *transport);
/* Valid until the transport ends, and inside its last callback. */
const struct transport_facts *transport_facts(const struct transport *transport);
