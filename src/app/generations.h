#pragma once

/* The configurations at work (proxy/generation.h): the newest one, and those before it whose last
 * requests still run; and the alarms of their upstreams, which this thread hears. Belongs to the
 * main thread. */

#include <stdbool.h>
#include <stddef.h>

#include "proxy/generation.h"

enum { GENERATIONS_MAX_OLD = 64 };

struct event_base;
struct heard;
struct timer;

struct generations {
	struct event_base *base;
	struct generation *newest, *old[GENERATIONS_MAX_OLD];
	size_t old_count;
	struct heard *heard; /* an upstream and its alarm */
	size_t heard_count;
	struct timer *sweep;
};

void generations_init(
	struct generations *generations, struct event_base *base, struct generation *first);
/* Are there so many that no other one may come? */
bool generations_are_full(const struct generations *generations);
void generations_add(struct generations *generations, struct generation *next);
/* Nobody else may hold one any more. */
void generations_fini(struct generations *generations);
