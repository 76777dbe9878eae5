#pragma once

/* One upstream as one event loop reaches it: its name and addresses, TLS, the session to resume,
 * and the connections that wait for their next request. */

#include <openssl/ssl.h>
#include <stdbool.h>

#include "base/clock.h"
#include "net/resolver.h"
#include "net/tls.h"

struct conn;
struct event_base;
struct pool;

struct pool_options {
	struct event_base *base;
	struct resolver *resolver;
	const char *host;
	unsigned short port;
	SSL_CTX *tls; /* NULL: plain */
	msec_t idle_ms;
};

/* Copies the options; base, resolver and TLS context must outlive the pool. */
struct pool *pool_new(const struct pool_options *options);
/* Closes what waits. No connection may be in use. */
void pool_free(struct pool *pool);

struct event_base *pool_base(const struct pool *pool);
const char *pool_host(const struct pool *pool);
bool pool_has_tls(const struct pool *pool);
/* A new TLS object for this upstream; NULL if it is plain. */
SSL *pool_new_ssl(struct pool *pool);

/* Looks up the addresses anew; the caller hands them to pool_keep_addresses(). */
struct resolver_query *pool_resolve(struct pool *pool, resolver_on_answer *on_answer, void *arg);
/* The addresses of the last look-up, if they are fresh; else NULL. */
const struct resolver_answer *pool_addresses(const struct pool *pool, msec_t now);
void pool_keep_addresses(struct pool *pool, const struct resolver_answer *answer, msec_t now);

/* ---- Waiting connections, the one used last first. */

/* A connection that has waited no longer than `max_idle_ms`, or NULL. */
struct conn *pool_acquire(struct pool *pool, msec_t max_idle_ms);
/* Keeps a connection for later; the pool frees it after its idle time. */
void pool_release(struct pool *pool, struct conn *conn);
/* A waiting connection was closed by the server: forgets it. */
void pool_forget(struct pool *pool, struct conn *conn);
