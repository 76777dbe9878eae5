#pragma once

/* The connections that clients have opened to one worker, from accept to close, also those that
 * never sent a request. evhttp has no list of them and no word for their end, so each record
 * holds a reference to the connection's bufferevent and looks, now and then, whether evhttp has
 * let go of it. The record's reference is what closes the descriptor in the end. */

#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"
#include "proxy/guard.h"

struct accepted;
struct accepted_list;
struct budget;
struct bufferevent;
struct event_base;

struct accepted_options {
	struct event_base *base;
	msec_t idle_ms; /* idle connections are closed then */
	bool guarded;   /* each has a guard (proxy/guard.h) of these options: */
	struct guard_options guard;
	struct budget *connections; /* those beyond it get a 503; NULL: no limit */
};

struct accepted_list *accepted_list_new(const struct accepted_options *options);
/* Other limits: of connections that are accepted from now on; how long they may idle, of all. */
void accepted_list_configure(struct accepted_list *list, const struct accepted_options *options);
/* The server must be gone. */
void accepted_list_free(struct accepted_list *list);
size_t accepted_count(const struct accepted_list *list);
/* Closes those that have been idle for a second, and the others when they have. */
void accepted_drain(struct accepted_list *list);
/* How many have sent a part of a request, or may have one on its way. */
size_t accepted_reading(const struct accepted_list *list);
/* Closes those; how many they were. */
size_t accepted_cut(struct accepted_list *list);

/* For evhttp_set_bevcb(): a new socket bufferevent with its record. */
struct bufferevent *accepted_new_bufferevent(struct event_base *base, void *list);

/* The record of a connection whose request has just been read; it is busy until its release, and
 * stays valid so long. */
struct accepted *accepted_acquire(struct accepted_list *list, struct bufferevent *bev);
void accepted_release(struct accepted *accepted);
/* The request that was read there. Of a guarded list only. */
struct received accepted_take(struct accepted *accepted);
/* The answer is out: the next request may be read. */
void accepted_next(struct accepted *accepted);
