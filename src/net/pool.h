#pragma once

/* One upstream as one event loop reaches it: its name and addresses, TLS, the session to resume,
 * and the connections that wait for their next request. */

#include <openssl/ssl.h>
#include <stdbool.h>

#include "base/clock.h"
#include "net/resolver.h"
#include "net/tls.h"

struct event_base;
struct metrics;
struct pool;
struct transport_type;

/* A connection that waits for its next request; embedded in what it is. */
struct pooled {
	struct pooled *newer, *older;
	msec_t since;
	void (*close)(struct pooled *pooled); /* frees it; not inside its own callbacks */
};

/* Something that may outlive its user and still needs the pool; embedded likewise. */
struct pool_guest {
	struct pool_guest *next, **previous;     /* NULL: no guest */
	void (*leave)(struct pool_guest *guest); /* the pool ends: it must go now */
};

struct pool_options {
	const char *name;        /* the upstream's, */
	struct metrics *metrics; /* where its connections are counted; NULL: nowhere */
	struct event_base *base;
	struct resolver *resolver;
	const char *host;
	unsigned short port;
	SSL_CTX *tls; /* NULL: plain */
	msec_t idle_ms;
	const struct transport_type *transport;
};

/* Copies the options; base, resolver and TLS context must outlive the pool. */
struct pool *pool_new(const struct pool_options *options);
/* Closes what waits and sends the guests away. No other connection may be in use. */
void pool_free(struct pool *pool);

struct event_base *pool_base(const struct pool *pool);
const struct transport_type *pool_transport(const struct pool *pool);
/* A new TLS object for this upstream; NULL if it is plain. */
SSL *pool_new_ssl(struct pool *pool);

/* Looks up the addresses anew; the caller hands them to pool_keep_addresses(). */
struct resolver_query *pool_resolve(struct pool *pool, resolver_on_answer *on_answer, void *arg);
/* The addresses of the last look-up; NULL when their TTL (taken as 1 s to 5 min) is over or
 * /etc/hosts or /etc/resolv.conf have changed. */
const struct resolver_answer *pool_addresses(const struct pool *pool, msec_t now);
void pool_keep_addresses(struct pool *pool, const struct resolver_answer *answer, msec_t now);

/* None of them could be connected to: whatever the TTL, they are not used for more than a second
 * after their look-up, so that a server that has moved is found. */
void pool_doubt_addresses(struct pool *pool);

/* A connection to this upstream has been opened; one that does not wait has been closed. */
void pool_on_opened(struct pool *pool);
void pool_on_closed(struct pool *pool);

/* ---- Waiting connections, the one used last first. */

/* A connection that has waited no longer than `max_idle_ms`, or NULL. */
struct pooled *pool_acquire(struct pool *pool, msec_t max_idle_ms);
/* Keeps a connection for later; the pool closes it after its idle time. */
void pool_release(struct pool *pool, struct pooled *pooled);
/* A waiting connection was closed by the server: forgets it. */
void pool_forget(struct pool *pool, struct pooled *pooled);

void pool_add_guest(struct pool *pool, struct pool_guest *guest);
/* Nothing happens if it is none. */
void pool_remove_guest(struct pool_guest *guest);
