#include "app/predecessor.h"

#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/handover.h"
#include "base/log.h"
#include "base/mem.h"

struct predecessor {
	const struct predecessor_handler *handler;
	void *arg;
	struct event *event;
	bool alive;
};

/* ---- The first step. */

bool predecessor_enter(void)
{
	static const char variable[] = HANDOVER_VARIABLE;
	_cleanup_free_ char *name = xstrndup(variable, strcspn(variable, "="));
	const char *value = getenv(name);
	bool is_there = value && strcmp(value, variable + strlen(name) + 1) == 0;
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
static bool take_all(
	struct listeners *listeners, struct listeners *admin, struct activation *activation)
{
	for (;;) {
		struct handover_message message;
		struct listeners *list = NULL;

		handover_receive(HANDOVER_FD, &message);
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

	if (!take_all(listeners, admin, activation)) {
		log_error("cannot take over: the process that has started this one hands over "
			  "nothing");
		return NULL;
	}
	predecessor = xcalloc(1, sizeof(*predecessor));
	predecessor->handler = handler;
	predecessor->arg = arg;
	predecessor->alive = true;
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

bool predecessor_is_alive(const struct predecessor *predecessor)
{
	return predecessor && predecessor->alive;
}
