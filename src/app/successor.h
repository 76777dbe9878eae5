#pragma once

/* The process that takes over from this one: SIGUSR2 starts the program anew, from its file and
 * with its arguments and environment, and hands it the listening sockets (app/handover). Whatever
 * goes wrong before it is ready, this process goes on as it was. Lives on the main loop. */

#include <stdbool.h>

#include "app/listeners.h"

struct event_base;
struct successor;

struct successor_handler {
	/* There will be none, and why: the words are a sentence's end. */
	void (*on_failed)(void *arg, const char *why);
	/* It serves: this process need not any more. */
	void (*on_serving)(void *arg, long long pid);
	/* Later: it has been told to end. */
	void (*on_drain)(void *arg);
};

/* What the program is started with. */
struct successor_program {
	char *const *argv; /* its file, looked for in PATH if it has no slash, and the rest */
	const char
		*environment_key; /* FIREWORKS_API_KEY, which is in nobody's environment; or NULL */
};

struct successor *successor_new(struct event_base *base, const struct successor_program *program,
	const struct successor_handler *handler, void *arg);
/* At the very end: one that is being made ends with this process. */
void successor_free(struct successor *successor);
/* What is handed over stays the caller's; `depth`: this process and those before it. on_failed()
 * may be called in here. */
void successor_start(struct successor *successor, const struct listeners *listeners,
	const struct listeners *admin, const struct activation *activation, long long depth);
/* One that is not ready yet is not waited for any more. */
void successor_give_up(struct successor *successor, const char *why);
bool successor_is_starting(const struct successor *successor);
