#pragma once

/* The daemon: listeners, workers, signals, reloads, and an orderly end. */

#include "config/config.h"

struct daemon_setup {
	struct config *config; /* becomes the daemon's */
	/* The configuration anew, for a reload; NULL after it has said what is wrong. */
	struct config *(*load)(void *arg);
	void *arg;
	/* Or NULL: called before anything else is said, with the first port that it listens on. */
	void (*on_listening)(unsigned port);
	bool has_predecessor;        /* predecessor_enter() */
	char *const *argv;           /* what a successor is started with: */
	const char *environment_key; /* FIREWORKS_API_KEY, or NULL */
};

/* Runs until SIGTERM or SIGINT and returns the exit code (sysexits.h). */
int daemon_run(const struct daemon_setup *setup);
