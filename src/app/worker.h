#pragma once

/* A worker: a thread with an event loop and a server of its own. Other threads talk to it by
 * commands, which wake its loop through an eventfd. */

#include <openssl/ssl.h>
#include <stddef.h>

#include "config/config.h"
#include "proxy/event_log.h"

struct listener;
struct metrics;
struct upstream;
struct worker;

enum { WORKER_MAX_LISTENERS = 16 };

enum worker_command {
	WORKER_DRAIN = 1, /* stop accepting; end when the last exchange has ended */
	WORKER_CUT = 2,   /* end the exchanges now */
	WORKER_STOP = 4,  /* end the loop */
};

struct worker_setup {
	int index;
	struct config *config;
	SSL_CTX *const *tls;
	struct metrics *metrics; /* of this worker */
	struct event_log *log;
	struct budget *memory, *connections; /* of the whole process */
	struct upstream *const *upstreams;
	/* The worker has a duplicate of each when worker_start() returns. */
	const struct listener *listeners;
	size_t listener_count;
	int done_fd; /* an eventfd that is told when the worker has ended */
};

/* Starts the thread; what the setup points to must outlive it. */
struct worker *worker_start(const struct worker_setup *setup);
void worker_command(struct worker *worker, enum worker_command command);
/* Waits for the thread; returns how many requests were cut short. */
size_t worker_join(struct worker *worker);
