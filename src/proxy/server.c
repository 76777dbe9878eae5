#include "proxy/server.h"

#include <event2/event.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "net/resolver.h"
#include "net/timer.h"
#include "proxy/accepted.h"
#include "proxy/backends.h"
#include "proxy/exchange.h"
#include "proxy/front.h"
#include "proxy/mailbox.h"

enum {
	ACCEPT_LAST_MS = 1000, /* so long a draining server accepts what waits for that */
	DRAIN_LOOK_MS = 50,    /* how often it looks for that, and for uploads that have ended */
	LAST_TURNS = 4,        /* of the loop, when the server ends */
};

struct server {
	struct server_setup setup;
	struct front *front;
	struct timer *accept_last;
	msec_t accepts_until, drains_until; /* draining */
	struct accepted_list *accepted;
	struct resolver *resolver;
	struct backends *backends;         /* of the newest generation */
	struct backends_list all_backends; /* and older ones, while requests need them */
	struct mailbox *mailbox;
	struct exchange_list running, ended;
	struct timer *reaper;
	bool draining, closing;
	bool retiring; /* and its connections may take their time */
};

static void server_on_request(struct evhttp_request *request, void *arg)
{
	struct server *server = arg;

	if (!server->closing) /* else front_free() puts the request away */
		exchange_new(server, request);
}

/* Once in a loop turn: nothing is freed inside its own callbacks. */
static void server_on_reaper(void *arg)
{
	struct server *server = arg;
	struct exchange *exchange;

	while ((exchange = TAILQ_FIRST(&server->ended))) {
		exchange_remove(&server->ended, exchange);
		exchange_free(exchange);
	}
	if (!server->draining || front_is_listening(server->front) ||
		!TAILQ_EMPTY(&server->running))
		return;
	if (server->retiring ? accepted_count(server->accepted)
			     : accepted_reading(server->accepted))
		timer_start(server->reaper, DRAIN_LOOK_MS);
	else
		server->setup.on_empty(server->setup.arg);
}

static void stop_accepting(struct server *server)
{
	front_listen(server->front, NULL, 0);
	timer_start(server->reaper, 0);
}

/* When the last duplicate of a listener is closed, those who wait in the kernel are reset. */
static void server_on_accept_last(void *arg)
{
	struct server *server = arg;

	if (front_has_waiting(server->front) && clock_mono() < server->accepts_until)
		timer_start(server->accept_last, DRAIN_LOOK_MS);
	else
		stop_accepting(server);
}

static const struct config *config_of(const struct server *server)
{
	return backends_config(server->backends);
}

static struct accepted_options accepted_options(const struct server *server)
{
	const struct server_options *options = &config_of(server)->server;

	return (struct accepted_options){
		.base = server->setup.base,
		.idle_ms = options->idle_timeout,
		.guarded = true,
		.guard =
			{
				.max_head = (size_t)options->max_header,
				.max_body = (size_t)options->max_body,
				.timeout_ms = options->header_timeout,
				.memory = server->setup.memory,
				.config = backends_config(server->backends),
			},
		.connections = server->setup.connections,
	};
}

static struct backends *new_backends(struct server *server, struct generation *generation)
{
	struct backends_setup setup = {
		.base = server->setup.base,
		.resolver = server->resolver,
		.metrics = server->setup.metrics,
		.list = &server->all_backends,
	};

	return backends_new(&setup, generation);
}

struct server *server_new(const struct server_setup *setup)
{
	struct server *server = xcalloc(1, sizeof(*server));
	struct event_base *base = setup->base;
	struct accepted_options accepted;

	server->setup = *setup;
	TAILQ_INIT(&server->running);
	TAILQ_INIT(&server->ended);
	TAILQ_INIT(&server->all_backends);
	server->resolver = resolver_new(base);
	server->backends = new_backends(server, setup->generation);
	accepted = accepted_options(server);
	server->accepted = accepted_list_new(&accepted);
	server->mailbox = mailbox_new(base);
	server->reaper = timer_new(base, server_on_reaper, server);
	server->accept_last = timer_new(base, server_on_accept_last, server);
	server->front = front_new(base, server->accepted, server_on_request, server);
	return server;
}

static void turn_loop(struct server *server)
{
	for (int i = 0; i < LAST_TURNS; i++)
		event_base_loop(server->setup.base, EVLOOP_NONBLOCK);
}

void server_free(struct server *server)
{
	struct exchange *exchange;

	if (!server)
		return;
	server->closing = true; /* the loop turns on below, and clients may go on asking */
	while ((exchange = TAILQ_FIRST(&server->running)))
		exchange_abort(exchange);
	server->draining = false; /* nobody needs to hear of it any more */
	turn_loop(server);
	timer_stop(server->accept_last);
	front_free(server->front);
	accepted_list_free(server->accepted);
	backends_free_all(&server->all_backends);
	resolver_free(server->resolver);
	mailbox_free(server->mailbox);
	turn_loop(server);
	timer_free(server->reaper);
	timer_free(server->accept_last);
	free(server);
}

void server_listen(struct server *server, const struct front_listener *listeners, size_t count)
{
	front_listen(server->front, listeners, count);
}

void server_reload(struct server *server, struct generation *generation)
{
	struct accepted_options accepted;

	if (backends_generation(server->backends) == generation)
		return; /* the news are of listeners only, as at the start */
	backends_unref(server->backends);
	server->backends = new_backends(server, generation);
	accepted = accepted_options(server);
	accepted_list_configure(server->accepted, &accepted);
}

void server_retire(struct server *server)
{
	server->draining = true; /* answers say Connection: close */
	server->retiring = true;
	stop_accepting(server); /* other workers have duplicates: nobody who waits is reset */
}

void server_drain(struct server *server)
{
	msec_t now = clock_mono(), until = now + config_of(server)->server.drain_timeout;
	struct exchange *exchange;

	server->draining = true;
	server->retiring = false;
	server->drains_until = until;
	server->accepts_until = now + ACCEPT_LAST_MS;
	server_on_accept_last(server);
	accepted_drain(server->accepted);
	for (exchange = TAILQ_FIRST(&server->running); exchange; exchange = exchange_next(exchange))
		exchange_drain(exchange, until);
}

size_t server_cut(struct server *server)
{
	struct exchange *exchange = TAILQ_FIRST(&server->running);
	size_t cut = accepted_cut(server->accepted);

	while (exchange) {
		struct exchange *next = exchange_next(exchange);

		cut += exchange_cut(exchange);
		exchange = next;
	}
	return cut;
}

struct event_base *server_base(const struct server *server)
{
	return server->setup.base;
}

struct backends *server_backends(const struct server *server)
{
	return server->backends;
}

struct accepted_list *server_accepted(const struct server *server)
{
	return server->accepted;
}

struct budget *server_memory(const struct server *server)
{
	return server->setup.memory;
}

struct event_log *server_log(const struct server *server)
{
	return server->setup.log;
}

struct mailbox *server_mailbox(const struct server *server)
{
	return server->mailbox;
}

struct metrics *server_metrics(const struct server *server)
{
	return server->setup.metrics;
}

int server_worker(const struct server *server)
{
	return server->setup.worker;
}

msec_t server_drains_until(const struct server *server)
{
	return server->drains_until ? server->drains_until : MSEC_NEVER;
}

bool server_is_draining(const struct server *server)
{
	return server->draining;
}

double server_random(struct server *server)
{
	(void)server;
	return random_unit();
}

void server_on_exchange_begun(struct server *server, struct exchange *exchange)
{
	exchange_insert(&server->running, exchange);
}

void server_on_exchange_ended(struct server *server, struct exchange *exchange)
{
	exchange_remove(&server->running, exchange);
	exchange_insert(&server->ended, exchange);
	timer_start(server->reaper, 0);
}
