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
#include "base/thread.h"
#include "proxy/generation.h"
#include "proxy/server.h"

struct worker {
	struct worker_setup setup;
	pthread_t thread;
	int wake_fd;
	atomic_int commands; /* bits that are still to be seen by the worker */
	atomic_bool turned, ended;
	pthread_mutex_t lock;
	struct worker_news news; /* the last; its generation NULL: taken */
	size_t cut;
	struct event_base *base;
	struct server *server;
};

static void worker_on_empty(void *arg)
{
	struct worker *worker = arg;

	event_base_loopbreak(worker->base);
}

/* ---- Its news, with descriptors of its own. */

/* In the main thread: by the time that the worker sees them, the daemon may be draining already and
 * the numbers of its descriptors be others'. */
static void own_news(struct worker_news *news)
{
	generation_ref(news->generation);
	for (size_t i = 0; i < news->listener_count; i++)
		news->listeners[i].fd = fcntl(news->listeners[i].fd, F_DUPFD_CLOEXEC, 0);
}

static void drop_news(struct worker_news *news)
{
	if (!news->generation)
		return;
	for (size_t i = 0; i < news->listener_count; i++) {
		if (news->listeners[i].fd >= 0)
			close(news->listeners[i].fd);
	}
	generation_unref(news->generation);
}

/* All of it under the lock: who asks whether it has been taken means that it is done. */
static void take_news(struct worker *worker)
{
	struct worker_news *news = &worker->news;

	pthread_mutex_lock(&worker->lock);
	if (news->generation) {
		server_reload(worker->server, news->generation);
		server_listen(worker->server, news->listeners, news->listener_count);
		generation_unref(news->generation);
		news->generation = NULL;
	}
	pthread_mutex_unlock(&worker->lock);
}

/* ---- Its life. */

static void worker_on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct worker *worker = arg;
	eventfd_t count;
	int commands;

	(void)what;
	eventfd_read(fd, &count);
	commands = atomic_exchange(&worker->commands, 0);
	if (commands & WORKER_TURN)
		worker->turned = true;
	if (commands & WORKER_NEWS) {
		take_news(worker);
		eventfd_write(worker->setup.done_fd, 1);
	}
	if (commands & WORKER_RETIRE)
		server_retire(worker->server);
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
		.generation = worker->setup.news.generation,
		.metrics = worker->setup.metrics,
		.log = worker->setup.log,
		.memory = worker->setup.memory,
		.connections = worker->setup.connections,
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
	server_listen(
		worker->server, worker->setup.news.listeners, worker->setup.news.listener_count);
	event_base_dispatch(worker->base);
	event_free(wake);
	server_free(worker->server);
	event_base_free(worker->base);
	generation_unref(worker->setup.news.generation);
	worker->ended = true;
	eventfd_write(worker->setup.done_fd, 1);
	return NULL;
}

struct worker *worker_start(const struct worker_setup *setup)
{
	struct worker *worker = xcalloc(1, sizeof(*worker));
	char name[16];

	worker->setup = *setup;
	own_news(&worker->setup.news);
	pthread_mutex_init(&worker->lock, NULL);
	worker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (worker->wake_fd < 0 || thread_start(&worker->thread, worker_run, worker) != 0) {
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

void worker_reload(struct worker *worker, const struct worker_news *news)
{
	pthread_mutex_lock(&worker->lock);
	drop_news(&worker->news); /* never taken */
	worker->news = *news;
	own_news(&worker->news);
	pthread_mutex_unlock(&worker->lock);
	worker_command(worker, WORKER_NEWS);
}

void worker_ask_to_turn(struct worker *worker)
{
	worker->turned = false;
	worker_command(worker, WORKER_TURN);
}

bool worker_has_turned(const struct worker *worker)
{
	return worker->turned || worker->ended;
}

bool worker_has_news(struct worker *worker)
{
	bool has;

	pthread_mutex_lock(&worker->lock);
	has = worker->news.generation != NULL;
	pthread_mutex_unlock(&worker->lock);
	return has;
}

bool worker_has_ended(const struct worker *worker)
{
	return worker->ended;
}

size_t worker_join(struct worker *worker)
{
	size_t cut;

	pthread_join(worker->thread, NULL);
	drop_news(&worker->news);
	pthread_mutex_destroy(&worker->lock);
	close(worker->wake_fd);
	cut = worker->cut;
	free(worker);
	return cut;
}
