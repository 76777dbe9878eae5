#include "app/predecessor.h"

#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/handover.h"
#include "base/log.h"
#include "base/mem.h"

struct predecessor {
	const struct predecessor_handler *handler;
	void *arg;
	struct event *event;
	bool alive;
	long long depth;
};

/* ---- The first step. */

/* Or what somebody else has opened? */
static bool is_ours(void)
{
	int type = 0, family = 0;
	socklen_t len = sizeof(type);

	return getsockopt(HANDOVER_FD, SOL_SOCKET, SO_TYPE, &type, &len) == 0 &&
	       getsockopt(HANDOVER_FD, SOL_SOCKET, SO_DOMAIN, &family, &len) == 0 &&
	       type == SOCK_SEQPACKET && family == AF_UNIX;
}

bool predecessor_enter(void)
{
	static const char variable[] = HANDOVER_VARIABLE;
	_cleanup_free_ char *name = xstrndup(variable, strcspn(variable, "="));
	const char *value = getenv(name);
	bool is_there = value && strcmp(value, variable + strlen(name) + 1) == 0 && is_ours();
	pid_t child;

	unsetenv(name);
	if (!is_there || fcntl(HANDOVER_FD, F_SETFD, FD_CLOEXEC) != 0)
		return false;
	child = fork();
	if (child < 0)
		perror("andiron: cannot take over");
	if (child != 0)
		_exit(child < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
	return true;
}

/* ---- What it hands over. */

static bool has_room(const struct listeners *list, const struct activation *activation)
{
	return list ? list->count < FRONT_MAX_LISTENERS : activation->count < FRONT_MAX_LISTENERS;
}

/* `list` NULL: it goes to the activation. */
static bool take(const struct handover_message *message, struct listeners *list,
	struct activation *activation)
{
	if (!has_room(list, activation)) {
		close(message->listener.fd);
		return false;
	}
	if (list)
		listeners_add(list, message->text, &message->listener);
	else
		activation->listeners[activation->count++] = message->listener;
	return true;
}

/* All of it was sent before this process began. */
static bool take_all(struct listeners *listeners, struct listeners *admin,
	struct activation *activation, long long *ret_depth)
{
	for (;;) {
		struct handover_message message;
		struct listeners *list = NULL;

		handover_receive(HANDOVER_FD, &message);
		*ret_depth = message.number;
		if (message.word == HANDOVER_END)
			return true;
		if (message.word == HANDOVER_LISTENER)
			list = listeners;
		else if (message.word == HANDOVER_ADMIN)
			list = admin;
		else if (message.word != HANDOVER_PASSED)
			return false;
		if (!take(&message, list, activation))
			return false;
	}
}

/* ---- Its life. */

static void die(struct predecessor *predecessor)
{
	event_del(predecessor->event);
	predecessor->alive = false;
	predecessor->handler->on_end(predecessor->arg);
}

static void predecessor_on_message(evutil_socket_t fd, short what, void *arg)
{
	struct predecessor *predecessor = arg;
	struct handover_message message;

	(void)what;
	handover_receive(fd, &message);
	if (message.word == HANDOVER_GO) {
		predecessor->handler->on_go(predecessor->arg);
		handover_send(fd, HANDOVER_SERVING, "");
	} else if (message.word == HANDOVER_DRAIN) {
		predecessor->handler->on_called_off(predecessor->arg);
	} else if (message.word == HANDOVER_YOURS) {
		predecessor->handler->on_yours(predecessor->arg);
	} else if (message.word != HANDOVER_NOTHING) {
		die(predecessor);
	}
}

struct predecessor *predecessor_new(struct event_base *base,
	const struct predecessor_handler *handler, void *arg, struct listeners *listeners,
	struct listeners *admin, struct activation *activation)
{
	struct predecessor *predecessor;
	long long depth;

	if (!take_all(listeners, admin, activation, &depth)) {
		log_error("cannot take over: the process that has started this one hands over "
			  "nothing");
		return NULL;
	}
	predecessor = xcalloc(1, sizeof(*predecessor));
	predecessor->handler = handler;
	predecessor->arg = arg;
	predecessor->alive = true;
	predecessor->depth = depth;
	predecessor->event = event_new(
		base, HANDOVER_FD, EV_READ | EV_PERSIST, predecessor_on_message, predecessor);
	if (!predecessor->event || event_add(predecessor->event, NULL) != 0)
		abort();
	return predecessor;
}

void predecessor_free(struct predecessor *predecessor)
{
	if (!predecessor)
		return;
	event_free(predecessor->event);
	close(HANDOVER_FD);
	free(predecessor);
}

void predecessor_tell_ready(const struct predecessor *predecessor)
{
	char pid[32];

	snprintf(pid, sizeof(pid), "%lld", (long long)getpid());
	if (predecessor_is_alive(predecessor))
		handover_send(HANDOVER_FD, HANDOVER_READY, pid);
}

void predecessor_drain(struct predecessor *predecessor)
{
	if (predecessor_is_alive(predecessor))
		handover_send(HANDOVER_FD, HANDOVER_DRAIN, "");
}

long long predecessor_depth(const struct predecessor *predecessor)
{
	return predecessor_is_alive(predecessor) ? predecessor->depth : 0;
}

bool predecessor_is_alive(const struct predecessor *predecessor)
{
	return predecessor && predecessor->alive;
}
