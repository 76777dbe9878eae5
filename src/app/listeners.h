#pragma once

/* The listening sockets of the process, by what the configuration says. A reload keeps those that
 * are in it still. Belongs to the main thread. */

#include <stdbool.h>
#include <stddef.h>

#include "app/activation.h"
#include "app/worker.h"
#include "config/config.h"
#include "net/listen.h"

struct listeners {
	struct {
		int id;     /* of this socket, for the workers */
		char *text; /* as it was written */
		struct listener listener;
	} list[FRONT_MAX_LISTENERS];
	size_t count;
	int next_id;
};

/* Opens those of `listen` that `before` does not have, which stays as it is; what systemd has
 * passed is taken and not opened. False after an error line, and nothing has been opened. `ret` is
 * zeroed. */
bool listeners_open(const struct config *config, struct activation *activation,
	const struct listeners *before, struct listeners *ret);
/* The same of `admin`: none or one. Of the default address a failure is only a warning: the proxy
 * is what was asked for. */
bool listeners_open_admin(const struct config *config, struct activation *activation,
	const struct listeners *before, struct listeners *ret);
/* Closes what is not in `next`, which takes its place. */
void listeners_replace(struct listeners *now, struct listeners *next);
/* Of a reload that failed: what was opened for it. */
void listeners_discard(struct listeners *opened, const struct listeners *before);
/* Those that are in `taken` are that one's only. */
void listeners_forget(struct listeners *listeners, const struct listeners *taken);
void listeners_close(struct listeners *listeners);
/* One that was opened elsewhere; there must be room. */
void listeners_add(struct listeners *listeners, const char *text, const struct listener *listener);
/* Whether another process has them, too, whose the files of Unix sockets are then. */
void listeners_lend(struct listeners *listeners, bool lent);
