#pragma once

/* One configuration at work: the snapshot, and what was made of it for the whole process: a TLS
 * context and a struct upstream for each of its upstreams. A reload makes a new generation; one
 * that is no longer the newest lives on until its last request has ended. The main thread makes and
 * frees generations; any thread may hold a reference. */

#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stddef.h>

#include "config/config.h"

struct event_log;
struct upstream;

struct generation {
	struct config *config;
	SSL_CTX **tls;               /* for each upstream; NULL: plain */
	struct upstream **upstreams; /* shared with other generations */
	size_t count;
	_Atomic int references;
};

/* An upstream that `before` (or NULL) had by the same name, with the same URL and key, is the same:
 * its queue, lanes and places go on, under the new limits. NULL: `ret_error` says why, and nothing
 * has changed. */
struct generation *generation_new(struct config *config, const struct generation *before,
	struct event_log *log, struct str *ret_error);
struct generation *generation_ref(struct generation *generation);
/* Never frees it: the main thread does, when only its own reference is left. */
void generation_unref(struct generation *generation);
/* Main thread. True: only one reference is left. */
bool generation_is_idle(const struct generation *generation);
/* Main thread: nobody else holds a reference. */
void generation_free(struct generation *generation);
