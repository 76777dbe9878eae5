#pragma once

/* The door for clients' connections: an evhttp, and the sockets that it accepts from. A thread has
 * at most one. Belongs to its server, or to the admin listener. */

#include <stdbool.h>
#include <stddef.h>

struct accepted_list;
struct event_base;
struct evhttp_request;
struct front;

enum { FRONT_MAX_LISTENERS = 16 };

struct front_listener {
	int id; /* names it */
	int fd; /* -1: out of descriptors; what is listened to already goes on */
};

/* `accepted` keeps the connections and outlives the front. */
struct front *front_new(struct event_base *base, struct accepted_list *accepted,
	void (*on_request)(struct evhttp_request *request, void *arg), void *arg);
/* With it go the connections, and requests of theirs that nobody has taken. */
void front_free(struct front *front);
/* Accepts from these and from no others; connections stay. The descriptors become the front's; one
 * whose name it has already is closed. */
void front_listen(struct front *front, const struct front_listener *listeners, size_t count);
bool front_is_listening(const struct front *front);
/* Is somebody connected whom nobody has accepted yet? */
bool front_has_waiting(const struct front *front);
