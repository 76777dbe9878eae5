#pragma once

/* The process from which this one takes over (app/handover), if there is one. Until it says so
 * nothing is accepted here. Lives on the main
 * loop. */

#include <stdbool.h>

#include "app/listeners.h"

struct event_base;
struct predecessor;

struct predecessor_handler {
	/* From now on this process serves, too. */
	void (*on_go)(void *arg);
	/* It goes on after all: what is served here already goes on to its end. */
	void (*on_called_off)(void *arg);
	/* From now on only this one does, and the files of Unix sockets are its own. */
	void (*on_yours)(void *arg);
	/* It has ended: before on_go() all is called off; later all is this process's. */
	void (*on_end)(void *arg);
};

/* The very first step of the program. Is there one? Then it forks, and its first process ends:
 * systemd knows only its own children well, and becomes the parent of who is orphaned. */
bool predecessor_enter(void);
/* Takes what it hands over; `activation` and the others are empty. NULL, after an error line: it
 * was not there any more. */
struct predecessor *predecessor_new(struct event_base *base,
	const struct predecessor_handler *handler, void *arg, struct listeners *listeners,
	struct listeners *admin, struct activation *activation);
/* NULL: nothing. */
void predecessor_free(struct predecessor *predecessor);
/* All is made. */
void predecessor_tell_ready(const struct predecessor *predecessor);
/* It is to end as this process does. */
void predecessor_drain(struct predecessor *predecessor);
/* Has it requests still? NULL: no. */
bool predecessor_is_alive(const struct predecessor *predecessor);
/* How many have requests still: it, its own one, and so on. */
long long predecessor_depth(const struct predecessor *predecessor);
