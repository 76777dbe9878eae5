#pragma once

/* The admin listener: health, metrics and status, for people and for what watches over them. An
 * evhttp server of its own, on the main loop, so that it answers while the workers drain; behind
 * the same strict door and the same checks of Host and Origin as the proxy. No page has a key in
 * it, and none changes anything. */

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"
#include "proxy/event_log.h"

struct admin;
struct budget;
struct event_base;
struct metrics;
struct upstream;

/* What the pages tell of. All of it is the caller's and outlives the admin. */
struct admin_setup {
	struct event_base *base;
	struct config *config;
	struct upstream *const *upstreams;
	size_t upstream_count;
	struct metrics *const *metrics; /* one for each worker */
	size_t worker_count;
	struct event_log *log;
	struct budget *memory, *connections; /* of the proxy */
	bool beyond_loopback;                /* then some pages need the client token */
	bool (*is_draining)(void *arg);
	void *arg;
};

/* Serves on this listening descriptor, which becomes the admin's. One in a process. */
struct admin *admin_new(const struct admin_setup *setup, int fd);
/* After a reload: what the pages tell of now. */
void admin_reload(struct admin *admin, const struct admin_setup *setup);
/* Another process serves here now: accepts no more, and lets its connections end. NULL: nothing. */
void admin_retire(struct admin *admin);
bool admin_has_retired(const struct admin *admin);
/* The loop turns a few more times in here. */
void admin_free(struct admin *admin);
