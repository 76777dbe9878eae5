#include "proxy/front.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/timer.h"
#include "proxy/accepted.h"

enum {
	METHODS = EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD | EVHTTP_REQ_PUT |
		  EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS | EVHTTP_REQ_PATCH,
	ACCEPT_PAUSE_MS = 200, /* out of descriptors */
};

struct front {
	struct evhttp *http;
	struct front_listener listeners[FRONT_MAX_LISTENERS];
	struct evhttp_bound_socket *bound[FRONT_MAX_LISTENERS]; /* of each of them */
	size_t count;
	struct timer *accept_again;
};

/* The error callback of a listener gets evhttp's argument, not ours. */
static _Thread_local struct front *this_front;

static void front_on_accept_again(void *arg)
{
	struct front *front = arg;

	for (size_t i = 0; i < front->count; i++)
		evconnlistener_enable(evhttp_bound_socket_get_listener(front->bound[i]));
}

/* Out of descriptors evhttp would spin: accepting pauses until one may be free. */
static void front_on_accept_error(struct evconnlistener *listener, void *arg)
{
	(void)arg;
	if (errno != EMFILE && errno != ENFILE)
		return;
	evconnlistener_disable(listener);
	timer_start(this_front->accept_again, ACCEPT_PAUSE_MS);
}

struct front *front_new(struct event_base *base, struct accepted_list *accepted,
	void (*on_request)(struct evhttp_request *request, void *arg), void *arg)
{
	struct front *front = xcalloc(1, sizeof(*front));

	front->http = evhttp_new(base);
	if (!front->http)
		abort();
	evhttp_set_bevcb(front->http, accepted_new_bufferevent, accepted);
	evhttp_set_gencb(front->http, on_request, arg);
	evhttp_set_allowed_methods(front->http, METHODS);
	evhttp_set_default_content_type(front->http, NULL);
	front->accept_again = timer_new(base, front_on_accept_again, front);
	this_front = front;
	return front;
}

void front_free(struct front *front)
{
	timer_free(front->accept_again);
	evhttp_free(front->http);
	free(front);
}

static bool is_among(int id, const struct front_listener *listeners, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (listeners[i].id == id)
			return true;
	}
	return false;
}

static void keep(struct front *front, const struct front_listener *listeners, size_t count)
{
	size_t kept = 0;

	for (size_t i = 0; i < front->count; i++) {
		if (is_among(front->listeners[i].id, listeners, count)) {
			front->listeners[kept] = front->listeners[i];
			front->bound[kept++] = front->bound[i];
		} else {
			evhttp_del_accept_socket(front->http, front->bound[i]);
		}
	}
	front->count = kept;
}

static void add(struct front *front, const struct front_listener *listener)
{
	struct evhttp_bound_socket *bound =
		evhttp_accept_socket_with_handle(front->http, listener->fd);

	if (!bound)
		abort();
	evconnlistener_set_error_cb(evhttp_bound_socket_get_listener(bound), front_on_accept_error);
	front->listeners[front->count] = *listener;
	front->bound[front->count++] = bound;
}

void front_listen(struct front *front, const struct front_listener *listeners, size_t count)
{
	keep(front, listeners, count);
	for (size_t i = 0; i < count; i++) {
		if (listeners[i].fd < 0)
			continue;
		if (front->count == FRONT_MAX_LISTENERS ||
			is_among(listeners[i].id, front->listeners, front->count))
			close(listeners[i].fd);
		else
			add(front, &listeners[i]);
	}
}

bool front_is_listening(const struct front *front)
{
	return front->count > 0;
}

bool front_has_waiting(const struct front *front)
{
	struct pollfd sockets[FRONT_MAX_LISTENERS];

	for (size_t i = 0; i < front->count; i++) {
		sockets[i].fd = front->listeners[i].fd;
		sockets[i].events = POLLIN;
	}
	return poll(sockets, front->count, 0) > 0;
}
