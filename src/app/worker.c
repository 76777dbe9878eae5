#include "app/worker.h"

#include <event2/event.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/listen.h"
#include "proxy/server.h"

struct worker {
	struct worker_setup setup;
	pthread_t thread;
	int listeners[WORKER_MAX_LISTENERS]; /* the server's once the thread runs */
	size_t listener_count;
	int wake_fd;
	atomic_int commands; /* bits that are still to be seen by the worker */
	size_t cut;
	struct event_base *base;
	struct server *server;
};

static void worker_on_empty(void *arg)
{
	struct worker *worker = arg;

	event_base_loopbreak(worker->base);
}

static void worker_on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct worker *worker = arg;
	eventfd_t count;
	int commands;

	(void)what;
	eventfd_read(fd, &count);
	commands = atomic_exchange(&worker->commands, 0);
	if (commands & WORKER_DRAIN)
		server_drain(worker->server);
	if (commands & WORKER_CUT)
		worker->cut += server_cut(worker->server);
	if (commands & WORKER_STOP)
		event_base_loopbreak(worker->base);
}

static void *worker_run(void *arg)
{
	struct worker *worker = arg;
	struct server_setup setup = {
		.config = worker->setup.config,
		.tls = worker->setup.tls,
		.metrics = worker->setup.metrics,
		.log = worker->setup.log,
		.memory = worker->setup.memory,
		.connections = worker->setup.connections,
		.upstreams = worker->setup.upstreams,
		.worker = worker->setup.index,
		.on_empty = worker_on_empty,
		.arg = worker,
	};
	struct event *wake;

	worker->base = setup.base = event_base_new();
	if (!worker->base)
		abort();
	worker->server = server_new(&setup);
	wake = event_new(
		worker->base, worker->wake_fd, EV_READ | EV_PERSIST, worker_on_wake, worker);
	event_add(wake, NULL);
	for (size_t i = 0; i < worker->listener_count; i++)
		server_listen(worker->server, worker->listeners[i]);
	event_base_dispatch(worker->base);
	event_free(wake);
	server_free(worker->server);
	event_base_free(worker->base);
	eventfd_write(worker->setup.done_fd, 1);
	return NULL;
}

/* Before the thread starts: by the time that it runs, the daemon may be draining already and the
 * numbers of its descriptors be others'. */
static void duplicate_listeners(struct worker *worker)
{
	for (size_t i = 0; i < worker->setup.listener_count; i++) {
		int fd = fcntl(worker->setup.listeners[i].fd, F_DUPFD_CLOEXEC, 0);

		if (fd >= 0)
			worker->listeners[worker->listener_count++] = fd;
	}
}

struct worker *worker_start(const struct worker_setup *setup)
{
	struct worker *worker = xcalloc(1, sizeof(*worker));
	char name[16];

	worker->setup = *setup;
	duplicate_listeners(worker);
	worker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (worker->wake_fd < 0 || pthread_create(&worker->thread, NULL, worker_run, worker) != 0) {
		perror("andiron: cannot start a worker");
		exit(EXIT_FAILURE);
	}
	snprintf(name, sizeof(name), "worker %d", setup->index);
	pthread_setname_np(worker->thread, name);
	return worker;
}

void worker_command(struct worker *worker, enum worker_command command)
{
	atomic_fetch_or(&worker->commands, (int)command);
	eventfd_write(worker->wake_fd, 1);
}

size_t worker_join(struct worker *worker)
{
	size_t cut;

	pthread_join(worker->thread, NULL);
	close(worker->wake_fd);
	cut = worker->cut;
	free(worker);
	return cut;
}
