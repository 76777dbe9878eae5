#pragma once

/* One generation (proxy/generation.h) as one worker reaches it: a pool of connections to each of
 * its upstreams. An exchange keeps the one that it began with; the last reference ends it, a moment
 * later. Belongs to one thread. */

#include <stddef.h>
#include <sys/queue.h>

#include "proxy/generation.h"

struct backends;
struct event_base;
struct metrics;
struct pool;
struct resolver;

TAILQ_HEAD(backends_list, backends);

struct backends_setup {
	struct event_base *base;
	struct resolver *resolver;
	struct metrics *metrics;
	struct backends_list *list; /* the server's; what is alive is in it */
};

/* With one reference; takes one of the generation. */
struct backends *backends_new(const struct backends_setup *setup, struct generation *generation);
struct backends *backends_ref(struct backends *backends);
void backends_unref(struct backends *backends);
/* The server ends: all of them, at once; nothing may be under way. */
void backends_free_all(struct backends_list *list);

struct generation *backends_generation(const struct backends *backends);
struct config *backends_config(const struct backends *backends);
struct upstream *backends_upstream(const struct backends *backends, size_t index);
struct pool *backends_pool(const struct backends *backends, size_t index);
