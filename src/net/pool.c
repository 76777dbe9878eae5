#include "net/pool.h"

#include <stdlib.h>

#include "base/mem.h"
#include "net/conn.h"
#include "net/timer.h"

enum { ADDRESSES_FRESH_MS = 30 * 1000 }; /* evdns's getaddrinfo gives no TTL */

struct pool {
	struct pool_options options;
	char *host; /* the options' one */
	struct tls_session session;
	struct timer *sweep;
	struct conn *newest, *oldest; /* waiting connections */
	struct resolver_answer answer;
	msec_t answered;
};

static void unlink_conn(struct pool *pool, struct conn *conn)
{
	struct conn_link *link = conn_link(conn);

	*(link->newer ? &conn_link(link->newer)->older : &pool->newest) = link->older;
	*(link->older ? &conn_link(link->older)->newer : &pool->oldest) = link->newer;
	*link = (struct conn_link){NULL, NULL, 0};
}

static void pool_on_sweep(void *arg)
{
	struct pool *pool = arg;
	msec_t now = clock_mono();

	while (pool->oldest) {
		struct conn *conn = pool->oldest;
		msec_t ends = conn_link(conn)->since + pool->options.idle_ms;

		if (ends > now) {
			timer_start(pool->sweep, ends - now);
			return;
		}
		unlink_conn(pool, conn);
		conn_free(conn);
	}
}

struct pool *pool_new(const struct pool_options *options)
{
	struct pool *pool = xcalloc(1, sizeof(*pool));

	pool->options = *options;
	pool->options.host = pool->host = xstrdup(options->host);
	pool->sweep = timer_new(options->base, pool_on_sweep, pool);
	return pool;
}

void pool_free(struct pool *pool)
{
	if (!pool)
		return;
	while (pool->oldest) {
		struct conn *conn = pool->oldest;

		unlink_conn(pool, conn);
		conn_free(conn);
	}
	timer_free(pool->sweep);
	tls_session_fini(&pool->session);
	free(pool->host);
	free(pool);
}

struct event_base *pool_base(const struct pool *pool)
{
	return pool->options.base;
}

const char *pool_host(const struct pool *pool)
{
	return pool->options.host;
}

bool pool_has_tls(const struct pool *pool)
{
	return pool->options.tls != NULL;
}

SSL *pool_new_ssl(struct pool *pool)
{
	if (!pool->options.tls)
		return NULL;
	return tls_connection_new(pool->options.tls, pool->options.host, &pool->session);
}

struct resolver_query *pool_resolve(struct pool *pool, resolver_on_answer *on_answer, void *arg)
{
	return resolver_start(
		pool->options.resolver, pool->options.host, pool->options.port, on_answer, arg);
}

const struct resolver_answer *pool_addresses(const struct pool *pool, msec_t now)
{
	bool fresh = pool->answer.count && now - pool->answered < ADDRESSES_FRESH_MS;

	return fresh ? &pool->answer : NULL;
}

void pool_keep_addresses(struct pool *pool, const struct resolver_answer *answer, msec_t now)
{
	pool->answer = *answer;
	pool->answered = now;
}

struct conn *pool_acquire(struct pool *pool, msec_t max_idle_ms)
{
	struct conn *conn = pool->newest;

	if (!conn || clock_mono() - conn_link(conn)->since > max_idle_ms)
		return NULL;
	unlink_conn(pool, conn);
	return conn;
}

void pool_release(struct pool *pool, struct conn *conn)
{
	struct conn_link *link = conn_link(conn);

	link->since = clock_mono();
	link->older = pool->newest;
	*(pool->newest ? &conn_link(pool->newest)->newer : &pool->oldest) = conn;
	pool->newest = conn;
	if (pool->oldest == conn)
		timer_start(pool->sweep, pool->options.idle_ms);
}

void pool_forget(struct pool *pool, struct conn *conn)
{
	unlink_conn(pool, conn);
}
