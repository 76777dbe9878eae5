#pragma once

/* A worker: a thread with an event loop and a server of its own. Other threads talk to it by
 * commands, which wake its loop through an eventfd. */

#include <stdbool.h>
#include <stddef.h>

#include "proxy/front.h"

struct budget;
struct event_log;
struct generation;
struct metrics;
struct worker;

enum worker_command {
	WORKER_DRAIN = 1,  /* stop accepting; end when the last exchange has ended */
	WORKER_CUT = 2,    /* end the exchanges now */
	WORKER_STOP = 4,   /* end the loop */
	WORKER_RETIRE = 8, /* stop accepting; end when the last connection has ended */
	WORKER_NEWS = 16,  /* worker_reload()'s own */
	WORKER_TURN = 32,  /* worker_ask_to_turn()'s own */
};

/* What it works by; a reload brings another one. */
struct worker_news {
	struct generation *generation;
	struct front_listener listeners[FRONT_MAX_LISTENERS]; /* the worker gets duplicates */
	size_t listener_count;
};

struct worker_setup {
	int index;
	struct worker_news news;
	struct metrics *metrics; /* for this worker to count in */
	struct event_log *log;
	struct budget *memory, *connections; /* of the whole process */
	int done_fd; /* an eventfd that is told when the worker has ended, or has taken its news */
};

/* Starts the thread; what the setup points to must outlive it. */
struct worker *worker_start(const struct worker_setup *setup);
void worker_command(struct worker *worker, enum worker_command command);
/* Is its loop alive? It has turned since it was asked to, or has ended. */
void worker_ask_to_turn(struct worker *worker);
bool worker_has_turned(const struct worker *worker);
/* It goes by these from now on, or soon. */
void worker_reload(struct worker *worker, const struct worker_news *news);
/* Has it not taken the last news yet? done_fd is told when it does. */
bool worker_has_news(struct worker *worker);
/* Has its loop ended? Then worker_join() does not wait. */
bool worker_has_ended(const struct worker *worker);
/* Waits for the thread; returns how many requests were cut short. */
size_t worker_join(struct worker *worker);
