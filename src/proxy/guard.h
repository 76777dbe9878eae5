#pragma once

/* The strict door in front of evhttp, one for each connection. It takes the bytes off the socket's
 * buffer before evhttp looks (never by a bufferevent_filter: that loses answers), reads requests
 * by RFC 9112 to the letter (net/http1.h), bounds their size and their time, and keeps one whole
 * request at a time. evhttp gets a head of andiron's own making, so that it frames the answer and
 * keeps the connection; the request itself is read from here. What is refused is answered in the
 * same way, as JSON, and the connection closes. Owned by its accepted record. */

#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"
#include "net/http1.h"
#include "policy/failure.h"

struct budget;
struct bufferevent;
struct config;
struct evbuffer;
struct guard;

struct guard_options {
	size_t max_head, max_body;
	msec_t timeout_ms;     /* a whole head; a body without progress */
	struct budget *memory; /* bodies count */
	struct config *config; /* its unix_users may come in by a Unix socket; NULL: anybody */
};

/* What the guard has for the exchange. */
struct received {
	const struct http1_head *head; /* NULL: refused before it was whole */
	const struct fields *fields;   /* of the head, as far as they have come */
	struct evbuffer *body;         /* the exchange may move it out */
	bool has_body;                 /* it was framed, were it empty */
	size_t reserved;               /* of the memory budget, for the body */
	int fd;                        /* the connection's */
	int status;                    /* 0: let in; else the answer to it */
	enum error error;
	const char *why;
};

struct guard *guard_new(struct bufferevent *bev, const struct guard_options *options);
void guard_free(struct guard *guard);

/* Bytes have come into the connection's input. False if it must end: too much came behind a
 * request that waits. */
bool guard_on_input(struct guard *guard);
/* Is a part of a request here, and not yet the whole? */
bool guard_is_reading(const struct guard *guard);
/* The request that evhttp was told of. The body's reservation is the exchange's from now on. */
struct received guard_take(struct guard *guard);
/* Its answer is out: the next one may come in. */
void guard_next(struct guard *guard);
/* Nothing more is read from this connection. */
void guard_shut(struct guard *guard);
bool guard_has_refused(const struct guard *guard);
