#pragma once

/* The signals that a daemon obeys, heard on the main loop. They stay blocked, and are read from a
 * descriptor (signalfd): no handler ever runs, and one that comes while no loop turns waits. */

struct event_base;
struct signals;

typedef void signals_on_signal(int number, void *arg);

/* From here on they wait to be read, also in threads that are started later. */
void signals_hold(void);
struct signals *signals_new(struct event_base *base, signals_on_signal *on_signal, void *arg);
void signals_free(struct signals *signals);
