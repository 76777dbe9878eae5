#include "net/pool.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/metrics.h"
#include "net/timer.h"

/* Whatever the TTL says: not a look-up for each connection, and none that is never repeated. */
enum { MIN_FRESH_MS = 1000, MAX_FRESH_MS = 5 * 60 * 1000 };

struct pool {
	struct pool_options options;
	char *name, *host; /* the options' ones */
	struct tls_session session;
	struct timer *sweep;
	struct pooled *newest, *oldest; /* waiting connections */
	struct pool_guest *guests;
	struct resolver_answer answer;
	msec_t answered, stale_at;
};

static void count(struct pool *pool, const char *state, int change)
{
	metrics_add(pool->options.metrics, METRIC_UPSTREAM_CONNECTIONS,
		(const char *[]){pool->name, state}, change);
}

void pool_on_opened(struct pool *pool)
{
	count(pool, "busy", 1);
}

void pool_on_closed(struct pool *pool)
{
	count(pool, "busy", -1);
}

static void unlink_pooled(struct pool *pool, struct pooled *pooled)
{
	*(pooled->newer ? &pooled->newer->older : &pool->newest) = pooled->older;
	*(pooled->older ? &pooled->older->newer : &pool->oldest) = pooled->newer;
	pooled->newer = pooled->older = NULL;
	count(pool, "idle", -1);
	count(pool, "busy", 1);
}

static void close_oldest(struct pool *pool)
{
	struct pooled *pooled = pool->oldest;

	unlink_pooled(pool, pooled);
	pooled->close(pooled);
}

static void pool_on_sweep(void *arg)
{
	struct pool *pool = arg;
	msec_t now = clock_mono();

	while (pool->oldest) {
		msec_t ends = pool->oldest->since + pool->options.idle_ms;

		if (ends > now) {
			timer_start(pool->sweep, ends - now);
			return;
		}
		close_oldest(pool);
	}
}

struct pool *pool_new(const struct pool_options *options)
{
	struct pool *pool = xcalloc(1, sizeof(*pool));

	pool->options = *options;
	pool->options.host = pool->host = xstrdup(options->host);
	pool->options.name = pool->name = xstrdup(options->name);
	pool->sweep = timer_new(options->base, pool_on_sweep, pool);
	return pool;
}

void pool_free(struct pool *pool)
{
	if (!pool)
		return;
	while (pool->guests)
		pool->guests->leave(pool->guests);
	while (pool->oldest)
		close_oldest(pool);
	timer_free(pool->sweep);
	tls_session_fini(&pool->session);
	free(pool->name);
	free(pool->host);
	free(pool);
}

struct event_base *pool_base(const struct pool *pool)
{
	return pool->options.base;
}

const struct transport_type *pool_transport(const struct pool *pool)
{
	return pool->options.transport;
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
	const struct resolver_answer *answer = &pool->answer;
	bool fresh = answer->count && now < pool->stale_at &&
		     answer->generation == resolver_generation(pool->options.resolver);

	return fresh ? answer : NULL;
}

void pool_keep_addresses(struct pool *pool, const struct resolver_answer *answer, msec_t now)
{
	msec_t fresh_ms = answer->fresh_ms;

	if (fresh_ms < MIN_FRESH_MS)
		fresh_ms = MIN_FRESH_MS;
	if (fresh_ms > MAX_FRESH_MS)
		fresh_ms = MAX_FRESH_MS;
	pool->answer = *answer;
	pool->answered = now;
	pool->stale_at = now + fresh_ms;
}

void pool_doubt_addresses(struct pool *pool)
{
	msec_t stale_at = pool->answered + MIN_FRESH_MS;

	if (stale_at < pool->stale_at)
		pool->stale_at = stale_at;
}

struct pooled *pool_acquire(struct pool *pool, msec_t max_idle_ms)
{
	struct pooled *pooled = pool->newest;

	if (!pooled || clock_mono() - pooled->since > max_idle_ms)
		return NULL;
	unlink_pooled(pool, pooled);
	return pooled;
}

void pool_release(struct pool *pool, struct pooled *pooled)
{
	count(pool, "busy", -1);
	count(pool, "idle", 1);
	pooled->since = clock_mono();
	pooled->older = pool->newest;
	*(pool->newest ? &pool->newest->newer : &pool->oldest) = pooled;
	pool->newest = pooled;
	if (pool->oldest == pooled)
		timer_start(pool->sweep, pool->options.idle_ms);
}

void pool_forget(struct pool *pool, struct pooled *pooled)
{
	unlink_pooled(pool, pooled);
}

void pool_add_guest(struct pool *pool, struct pool_guest *guest)
{
	guest->next = pool->guests;
	guest->previous = &pool->guests;
	if (guest->next)
		guest->next->previous = &guest->next;
	pool->guests = guest;
}

void pool_remove_guest(struct pool_guest *guest)
{
	if (!guest->previous)
		return;
	*guest->previous = guest->next;
	if (guest->next)
		guest->next->previous = guest->previous;
	guest->previous = NULL;
}
