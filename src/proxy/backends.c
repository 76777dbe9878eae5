#include "proxy/backends.h"

#include <stdlib.h>

#include "base/mem.h"
#include "net/pool.h"
#include "net/timer.h"
#include "net/transport.h"

/* Connections of its last exchange are put away in the next turns of the loop, and need the pool.
 */
enum { LAST_MS = 1000 };

struct backends {
	TAILQ_ENTRY(backends) entry;
	struct backends_list *list;
	int references;
	struct generation *generation;
	struct pool **pools;
	struct timer *last;
};

static const struct transport_type *transport_of(int kind)
{
	return kind == TRANSPORT_EVHTTP ? &transport_evhttp : &transport_native;
}

static void backends_free(struct backends *backends)
{
	TAILQ_REMOVE(backends->list, backends, entry);
	timer_free(backends->last);
	for (size_t i = 0; i < backends->generation->count; i++)
		pool_free(backends->pools[i]);
	free(backends->pools);
	generation_unref(backends->generation);
	free(backends);
}

static void backends_on_last(void *arg)
{
	backends_free(arg);
}

struct backends *backends_new(const struct backends_setup *setup, struct generation *generation)
{
	struct backends *backends = xcalloc(1, sizeof(*backends));

	backends->references = 1;
	backends->list = setup->list;
	TAILQ_INSERT_TAIL(setup->list, backends, entry);
	backends->generation = generation_ref(generation);
	backends->last = timer_new(setup->base, backends_on_last, backends);
	backends->pools = xcalloc(generation->count, sizeof(struct pool *));
	for (size_t i = 0; i < generation->count; i++) {
		const struct upstream_config *config = &generation->config->upstreams[i];
		struct pool_options options = {
			.name = config->name,
			.metrics = setup->metrics,
			.base = setup->base,
			.resolver = setup->resolver,
			.host = config->host,
			.port = config->port,
			.tls = generation->tls[i],
			.idle_ms = config->options.pool_idle,
			.transport = transport_of(config->options.transport),
		};

		backends->pools[i] = pool_new(&options);
	}
	return backends;
}

struct backends *backends_ref(struct backends *backends)
{
	backends->references++;
	return backends;
}

void backends_unref(struct backends *backends)
{
	if (--backends->references == 0)
		timer_start(backends->last, LAST_MS);
}

void backends_free_all(struct backends_list *list)
{
	struct backends *backends = TAILQ_FIRST(list), *next;

	for (; backends; backends = next) {
		next = TAILQ_NEXT(backends, entry);
		backends_free(backends);
	}
}

struct generation *backends_generation(const struct backends *backends)
{
	return backends->generation;
}

struct config *backends_config(const struct backends *backends)
{
	return backends->generation->config;
}

struct upstream *backends_upstream(const struct backends *backends, size_t index)
{
	return backends->generation->upstreams[index];
}

struct pool *backends_pool(const struct backends *backends, size_t index)
{
	return backends->pools[index];
}
