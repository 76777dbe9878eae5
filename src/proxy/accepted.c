#include "proxy/accepted.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "base/budget.h"
#include "base/mem.h"
#include "net/socket.h"
#include "net/timer.h"

enum {
	SWEEP_MS = 500,
	IDLE_ENOUGH_MS = 5000, /* to make room for another connection */
	FRESH_MS = 1000,       /* so long a drain waits for the next request of a connection */
	LINGER_MS = 2000,      /* what was refused early stays readable while the rest comes in */
};

struct accepted {
	TAILQ_ENTRY(accepted) entry, check_entry;
	struct accepted_list *list;
	struct bufferevent *bev; /* one reference is ours */
	int exchanges; /* of a pipelining client the next may begin before the last is put away */
	struct guard *guard; /* NULL: the list is not guarded */
	bool to_check;
	bool beyond_limit; /* one connection too many */
	msec_t last_activity;
	msec_t let_go_at; /* 0: evhttp has not let go of it, as far as is known */
};

struct accepted_list {
	TAILQ_HEAD(accepted_all, accepted) head;
	TAILQ_HEAD(accepted_checks, accepted)
	checks; /* their exchange has just ended: looked at in the next turn */
	size_t count;
	struct accepted_options options;
	bool draining;
	struct timer *sweep, *check;
	struct accepted **by_fd; /* a descriptor is one connection's as long as its record lives */
	size_t by_fd_size;
};

/* evhttp takes its callbacks off when it frees its connection. */
static bool evhttp_let_go(const struct accepted *accepted)
{
	bufferevent_data_cb read_cb, write_cb;
	bufferevent_event_cb event_cb;
	void *arg;

	bufferevent_getcb(accepted->bev, &read_cb, &write_cb, &event_cb, &arg);
	return event_cb == NULL;
}

static void accepted_on_input(
	struct evbuffer *input, const struct evbuffer_cb_info *info, void *arg);

static void accepted_free(struct accepted *accepted)
{
	struct accepted_list *list = accepted->list;
	evutil_socket_t fd = bufferevent_getfd(accepted->bev);

	if (fd >= 0 && (size_t)fd < list->by_fd_size && list->by_fd[fd] == accepted)
		list->by_fd[fd] = NULL;
	if (accepted->to_check)
		TAILQ_REMOVE(&list->checks, accepted, check_entry);
	TAILQ_REMOVE(&list->head, accepted, entry);
	list->count--;
	evbuffer_remove_cb(bufferevent_get_input(accepted->bev), accepted_on_input, accepted);
	if (accepted->guard)
		guard_free(accepted->guard);
	if (list->options.connections && !accepted->beyond_limit)
		budget_give(list->options.connections, 1);
	bufferevent_decref(accepted->bev);
	free(accepted);
}

/* evhttp sees the end of the socket and frees its side of the connection by itself. */
static void hang_up(struct accepted *accepted)
{
	shutdown(bufferevent_getfd(accepted->bev), SHUT_RDWR);
}

/* Closing while the rest of a refused request comes in would reset the connection, and the client
 * might never see why. */
static bool lingers(struct accepted *accepted, msec_t now)
{
	if (!accepted->let_go_at)
		accepted->let_go_at = now;
	return accepted->guard && guard_has_refused(accepted->guard) &&
	       now - accepted->let_go_at < LINGER_MS &&
	       !socket_has_ended(bufferevent_getfd(accepted->bev));
}

static bool is_reading(const struct accepted *accepted)
{
	return accepted->guard && guard_is_reading(accepted->guard) && !accepted->exchanges &&
	       !evhttp_let_go(accepted);
}

/* The client may take it for kept, and so would not know whether the request on its way there has
 * been taken. */
static bool is_expected(const struct accepted *accepted, msec_t now)
{
	return !accepted->beyond_limit && !evhttp_let_go(accepted) &&
	       (now - accepted->last_activity < FRESH_MS ||
		       socket_has_input(bufferevent_getfd(accepted->bev)));
}

static void look_at(struct accepted *accepted, msec_t now)
{
	const struct accepted_list *list = accepted->list;
	msec_t idle_ms = accepted->beyond_limit ? LINGER_MS : list->options.idle_ms;
	bool over =
		list->draining ? !is_reading(accepted) : now - accepted->last_activity > idle_ms;

	if (accepted->exchanges)
		return;
	if (evhttp_let_go(accepted)) {
		if (!lingers(accepted, now))
			accepted_free(accepted);
	} else if (over && !is_expected(accepted, now)) {
		hang_up(accepted);
	}
}

/* One connection too many is told so without being read, and hung up on. */
static void turn_away(struct accepted *accepted)
{
	static const char answer[] =
		"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"
		"x-should-retry: true\r\nContent-Type: application/json\r\n"
		"X-Andiron-Source: andiron\r\nContent-Length: 159\r\n\r\n"
		"{\"error\":{\"message\":\"andiron: there are max_connections client connections; "
		"try again.\",\"type\":\"andiron_error\",\"param\":null,"
		"\"code\":\"connection_limit_reached\"}}";
	int fd = bufferevent_getfd(accepted->bev);

	(void)!send(fd, answer, sizeof(answer) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	shutdown(fd, SHUT_WR);
}

static void list_on_sweep(void *arg)
{
	struct accepted_list *list = arg;
	struct accepted *accepted = TAILQ_FIRST(&list->head);
	msec_t now = clock_mono();

	while (accepted) {
		struct accepted *next = TAILQ_NEXT(accepted, entry);

		look_at(accepted, now);
		accepted = next;
	}
	if (list->count)
		timer_start(list->sweep, SWEEP_MS);
}

static void list_on_check(void *arg)
{
	struct accepted_list *list = arg;
	msec_t now = clock_mono();

	while (!TAILQ_EMPTY(&list->checks)) {
		struct accepted *accepted = TAILQ_FIRST(&list->checks);

		TAILQ_REMOVE(&list->checks, accepted, check_entry);
		accepted->to_check = false;
		if (accepted->beyond_limit && !evhttp_let_go(accepted))
			turn_away(accepted);
		else
			look_at(accepted, now);
	}
}

struct accepted_list *accepted_list_new(const struct accepted_options *options)
{
	struct accepted_list *list = xcalloc(1, sizeof(*list));

	TAILQ_INIT(&list->head);
	TAILQ_INIT(&list->checks);
	list->options = *options;
	list->sweep = timer_new(options->base, list_on_sweep, list);
	list->check = timer_new(options->base, list_on_check, list);
	return list;
}

void accepted_list_configure(struct accepted_list *list, const struct accepted_options *options)
{
	list->options = *options;
}

void accepted_list_free(struct accepted_list *list)
{
	if (!list)
		return;
	while (!TAILQ_EMPTY(&list->head))
		accepted_free(TAILQ_FIRST(&list->head));
	timer_free(list->sweep);
	timer_free(list->check);
	free(list->by_fd);
	free(list);
}

size_t accepted_count(const struct accepted_list *list)
{
	return list->count;
}

void accepted_drain(struct accepted_list *list)
{
	list->draining = true;
	list_on_sweep(list);
}

size_t accepted_reading(const struct accepted_list *list)
{
	size_t reading = 0;
	msec_t now = clock_mono();

	for (const struct accepted *accepted = TAILQ_FIRST(&list->head); accepted;
		accepted = TAILQ_NEXT(accepted, entry))
		reading += is_reading(accepted) || is_expected(accepted, now);
	return reading;
}

size_t accepted_cut(struct accepted_list *list)
{
	size_t cut = 0;

	for (struct accepted *accepted = TAILQ_FIRST(&list->head); accepted;
		accepted = TAILQ_NEXT(accepted, entry)) {
		if (!is_reading(accepted))
			continue;
		hang_up(accepted);
		cut++;
	}
	return cut;
}

/* With the first bytes of a request; in the bevcb the descriptor is not known. */
static void remember_fd(struct accepted *accepted)
{
	struct accepted_list *list = accepted->list;
	size_t fd = (size_t)bufferevent_getfd(accepted->bev);
	size_t size = list->by_fd_size ? list->by_fd_size : 64;

	while (size <= fd)
		size *= 2;
	if (size > list->by_fd_size) {
		list->by_fd = xrealloc(list->by_fd, size * sizeof(struct accepted *));
		for (size_t i = list->by_fd_size; i < size; i++)
			list->by_fd[i] = NULL;
		list->by_fd_size = size;
	}
	list->by_fd[fd] = accepted;
	socket_set_nodelay((int)fd);
}

static void accepted_on_input(
	struct evbuffer *input, const struct evbuffer_cb_info *info, void *arg)
{
	struct accepted *accepted = arg;
	evutil_socket_t fd = bufferevent_getfd(accepted->bev);

	if (!info->n_added || fd < 0)
		return;
	if (!accepted->beyond_limit) /* else it would stay as long as it sends */
		accepted->last_activity = clock_mono();
	if ((size_t)fd >= accepted->list->by_fd_size || accepted->list->by_fd[fd] != accepted)
		remember_fd(accepted);
	/* A refused upload goes on coming until the connection is closed: nobody wants it. */
	if (evhttp_let_go(accepted))
		evbuffer_drain(input, evbuffer_get_length(input));
	else if (accepted->guard && !guard_on_input(accepted->guard))
		socket_reset(fd); /* too much behind a request that waits */
}

static void check_soon(struct accepted *accepted)
{
	struct accepted_list *list = accepted->list;

	if (!accepted->to_check)
		TAILQ_INSERT_TAIL(&list->checks, accepted, check_entry);
	accepted->to_check = true;
	timer_start(list->check, 0);
}

/* Silent ones must not keep others out: a newcomer beyond the limit takes the place of the one that
 * has been idle longest, if any has been so for a while. False: there is none. */
static bool take_idle_place(const struct accepted_list *list)
{
	struct accepted *idlest = NULL;

	for (struct accepted *accepted = TAILQ_FIRST(&list->head); accepted;
		accepted = TAILQ_NEXT(accepted, entry)) {
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it loses sight of TAILQ_REMOVE */
		bool idle = !accepted->exchanges && !accepted->beyond_limit &&
			    !is_reading(accepted) &&
			    (!idlest || accepted->last_activity < idlest->last_activity);

		if (idle && !socket_has_input(bufferevent_getfd(accepted->bev)))
			idlest = accepted;
	}
	if (!idlest || clock_mono() - idlest->last_activity < IDLE_ENOUGH_MS)
		return false;
	idlest->beyond_limit = true; /* its place in the budget is the newcomer's now */
	hang_up(idlest);
	return true;
}

/* False: it is one connection too many. */
static bool take_place(struct accepted_list *list)
{
	struct budget *connections = list->options.connections;

	if (!connections || budget_take(connections, 1))
		return true;
	list_on_sweep(list); /* those that have ended since the last time give theirs back */
	return budget_take(connections, 1) || take_idle_place(list);
}

struct bufferevent *accepted_new_bufferevent(struct event_base *base, void *arg)
{
	struct accepted_list *list = arg;
	struct accepted *accepted = xcalloc(1, sizeof(*accepted));

	accepted->list = list;
	accepted->last_activity = clock_mono();
	/* CLOSE_ON_FREE: else evhttp closes the descriptor while libevent still has events on it.
	 */
	accepted->bev = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
	if (!accepted->bev)
		abort();
	bufferevent_incref(accepted->bev);
	evbuffer_add_cb(bufferevent_get_input(accepted->bev), accepted_on_input, accepted);
	if (list->options.guarded)
		accepted->guard = guard_new(accepted->bev, &list->options.guard);
	accepted->beyond_limit = !take_place(list); /* it has no callbacks: not in the list yet */
	TAILQ_INSERT_TAIL(&list->head, accepted, entry);
	if (list->count++ == 0)
		timer_start(list->sweep, SWEEP_MS);
	if (accepted->beyond_limit) {
		/* Its first bytes may be read before the next turn. */
		if (accepted->guard)
			guard_shut(accepted->guard);
		check_soon(accepted); /* here the descriptor is not known */
	}
	return accepted->bev;
}

struct accepted *accepted_acquire(struct accepted_list *list, struct bufferevent *bev)
{
	struct accepted *accepted = list->by_fd[bufferevent_getfd(bev)];

	accepted->exchanges++;
	return accepted;
}

void accepted_release(struct accepted *accepted)
{
	accepted->exchanges--;
	accepted->last_activity = clock_mono();
	check_soon(accepted); /* evhttp decides on the connection after this */
}

struct received accepted_take(struct accepted *accepted)
{
	return guard_take(accepted->guard);
}

void accepted_next(struct accepted *accepted)
{
	if (accepted->guard)
		guard_next(accepted->guard);
}
