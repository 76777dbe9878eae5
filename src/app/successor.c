#include "app/successor.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "app/handover.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/timer.h"

enum { READY_MS = 30 * 1000 };

struct successor {
	enum {
		SUCCESSOR_NONE,
		SUCCESSOR_STARTING, /* it has been started, and is not ready */
		SUCCESSOR_READY,    /* it has been told to serve, too */
		SUCCESSOR_SERVES,
	} state;
	struct successor_program program;
	const struct successor_handler *handler;
	void *arg;
	struct event_base *base;
	pid_t child;   /* ends at once: who takes over is its child (predecessor_enter()) */
	long long pid; /* of who takes over */
	int fd;        /* to it; -1: none */
	struct event *event;
	struct timer *patience;
};

/* ---- Its environment. */

static bool is_variable(const char *entry, const char *name)
{
	size_t len = strlen(name);

	return strncmp(entry, name, len) == 0 && entry[len] == '=';
}

/* This one's environment, with what has been taken out of it, and without what is meant for this
 * process only. The last two entries are the caller's to fill. */
static char **copy_environment(void)
{
	size_t count = 0, copied = 0;
	char **copy;

	while (environ[count])
		count++;
	copy = xcalloc(count + 3, sizeof(*copy));
	for (size_t i = 0; i < count; i++) {
		if (!is_variable(environ[i], "WATCHDOG_PID"))
			copy[copied++] = environ[i];
	}
	return copy;
}

static void add_variable(char **environment, char *entry)
{
	while (*environment)
		environment++;
	*environment = entry;
}

/* ---- Its start. */

/* Those that would end a process that does not hold them yet. */
static void hold_signals(posix_spawnattr_t *attributes)
{
	sigset_t held;

	sigemptyset(&held);
	sigaddset(&held, SIGHUP);
	sigaddset(&held, SIGUSR1);
	sigaddset(&held, SIGUSR2);
	posix_spawnattr_init(attributes);
	posix_spawnattr_setsigmask(attributes, &held);
	posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK);
}

/* 0, or an errno. */
static int spawn(struct successor *successor, int inherited)
{
	char number[] = HANDOVER_VARIABLE;
	_cleanup_str_ struct str key = STR_NULL;
	_cleanup_free_ char **environment = copy_environment();
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int error;

	add_variable(environment, number);
	if (successor->program.environment_key) {
		str_add(&key, "FIREWORKS_API_KEY=");
		str_add(&key, successor->program.environment_key);
		add_variable(environment, key.data);
	}
	hold_signals(&attributes);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, inherited, HANDOVER_FD); /* not CLOEXEC */
	error = posix_spawnp(&successor->child, successor->program.argv[0], &actions, &attributes,
		successor->program.argv, environment);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attributes);
	return error;
}

static bool hand_over(int fd, enum handover_word word, const struct listeners *listeners)
{
	bool sent = true;

	for (size_t i = 0; i < listeners->count; i++)
		sent &= handover_send_listener(
			fd, word, listeners->list[i].text, &listeners->list[i].listener);
	return sent;
}

static bool hand_over_passed(int fd, const struct activation *activation)
{
	bool sent = true;

	for (size_t i = 0; i < activation->count; i++)
		sent &= handover_send_listener(
			fd, HANDOVER_PASSED, "systemd", &activation->listeners[i]);
	return sent;
}

/* ---- Its life. */

/* Who takes over is not ours to wait for, but the process that made it is: it has ended, or is
 * about to, or hangs, or is a wrapper that stays. */
static void reap(struct successor *successor)
{
	if (successor->child <= 0)
		return;
	kill(successor->child, SIGKILL);
	while (waitpid(successor->child, NULL, 0) < 0 && errno == EINTR)
		;
	successor->child = 0;
}

static void stop_listening(struct successor *successor)
{
	timer_stop(successor->patience);
	if (successor->event)
		event_free(successor->event);
	successor->event = NULL;
}

static void hang_up(struct successor *successor)
{
	stop_listening(successor);
	if (successor->fd >= 0)
		close(successor->fd);
	successor->fd = -1;
}

static void fail(struct successor *successor, const char *why)
{
	if (successor->state == SUCCESSOR_READY) /* it may serve by now */
		handover_send(successor->fd, HANDOVER_DRAIN, "");
	successor->state = SUCCESSOR_NONE;
	hang_up(successor);
	reap(successor);
	successor->handler->on_failed(successor->arg, why);
}

static void on_ready(struct successor *successor, long long pid)
{
	reap(successor); /* from here on systemd is its parent, and will not take it for a stranger
			  */
	successor->pid = pid;
	successor->state = SUCCESSOR_READY;
	handover_send(successor->fd, HANDOVER_GO, "");
}

static void on_serving(struct successor *successor)
{
	timer_stop(successor->patience);
	successor->state = SUCCESSOR_SERVES;
	successor->handler->on_serving(successor->arg, successor->pid);
	handover_send(successor->fd, HANDOVER_YOURS, "");
}

static void successor_on_message(evutil_socket_t fd, short what, void *arg)
{
	struct successor *successor = arg;
	struct handover_message message;

	(void)what;
	handover_receive(fd, &message);
	if (message.word == HANDOVER_NOTHING)
		return;
	if (successor->state == SUCCESSOR_STARTING && message.word == HANDOVER_READY)
		on_ready(successor, message.number);
	else if (successor->state == SUCCESSOR_READY && message.word == HANDOVER_SERVING)
		on_serving(successor);
	else if (successor->state == SUCCESSOR_SERVES && message.word == HANDOVER_DRAIN)
		successor->handler->on_drain(successor->arg);
	else if (successor->state == SUCCESSOR_SERVES)
		hang_up(successor); /* it has ended; what runs here may do so in its own time */
	else
		fail(successor, "the new process has ended before it served; its own lines say "
				"why");
}

static void successor_on_patience(void *arg)
{
	fail(arg, "the new process did not serve within 30 s");
}

static void listen_to(struct successor *successor, int fd)
{
	successor->fd = fd;
	successor->event = event_new(
		successor->base, fd, EV_READ | EV_PERSIST, successor_on_message, successor);
	if (!successor->event || event_add(successor->event, NULL) != 0)
		abort();
	successor->state = SUCCESSOR_STARTING;
	timer_start(successor->patience, READY_MS);
}

struct successor *successor_new(struct event_base *base, const struct successor_program *program,
	const struct successor_handler *handler, void *arg)
{
	struct successor *successor = xcalloc(1, sizeof(*successor));

	*successor = (struct successor){
		.program = *program,
		.handler = handler,
		.arg = arg,
		.base = base,
		.fd = -1,
	};
	successor->patience = timer_new(base, successor_on_patience, successor);
	return successor;
}

/* The descriptor stays, for the kernel to close: to the other process its end is the end of this
 * one, last lines of the logs included, and systemd kills what is left when the other one ends. */
void successor_free(struct successor *successor)
{
	stop_listening(successor);
	timer_free(successor->patience);
	free(successor);
}

void successor_start(struct successor *successor, const struct listeners *listeners,
	const struct listeners *admin, const struct activation *activation, long long depth)
{
	char number[32];
	_cleanup_str_ struct str why = STR_NULL;
	int ends[2], error;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
		str_addf(&why, "there is no socket to hand over by: %s", strerror(errno));
		fail(successor, str_text(&why));
		return;
	}
	listen_to(successor, ends[0]);
	snprintf(number, sizeof(number), "%lld", depth);
	if (!hand_over(ends[0], HANDOVER_LISTENER, listeners) ||
		!hand_over(ends[0], HANDOVER_ADMIN, admin) ||
		!hand_over_passed(ends[0], activation) ||
		!handover_send(ends[0], HANDOVER_END, number)) {
		str_addf(&why, "the listening sockets cannot be handed over: %s", strerror(errno));
	} else if ((error = spawn(successor, ends[1])) != 0) {
		successor->child = 0;
		str_addf(&why, "%s cannot be started: %s", successor->program.argv[0],
			strerror(error));
	}
	close(ends[1]);
	if (why.len)
		fail(successor, str_text(&why));
}

bool successor_is_starting(const struct successor *successor)
{
	return successor->state == SUCCESSOR_STARTING || successor->state == SUCCESSOR_READY;
}

void successor_give_up(struct successor *successor, const char *why)
{
	if (successor_is_starting(successor))
		fail(successor, why);
}
