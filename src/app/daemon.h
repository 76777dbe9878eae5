#pragma once

/* The daemon: listeners, workers, signals, and an orderly end. */

#include "config/config.h"

/* Runs until SIGTERM or SIGINT and returns the exit code (sysexits.h). `on_listening`, or NULL, is
 * called before anything else is said, with the first port that it listens on. */
int daemon_run(struct config *config, void (*on_listening)(unsigned port));
