#include "proxy/server.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "net/pool.h"
#include "net/resolver.h"
#include "net/timer.h"
#include "net/transport.h"
#include "proxy/accepted.h"
#include "proxy/exchange.h"
#include "proxy/mailbox.h"

enum {
	METHODS = EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD | EVHTTP_REQ_PUT |
		  EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS | EVHTTP_REQ_PATCH,
	MAX_LISTENERS = 16,
	ACCEPT_PAUSE_MS = 200, /* out of descriptors */
	DRAIN_LOOK_MS = 50,    /* how often a draining server looks for uploads that have ended */
	LAST_TURNS = 4,        /* of the loop, when the server ends */
};

struct server {
	struct server_setup setup;
	struct evhttp *http;
	struct evhttp_bound_socket *listeners[MAX_LISTENERS];
	size_t listener_count;
	struct timer *accept_again;
	struct accepted_list *accepted;
	struct resolver *resolver;
	struct pool **pools; /* one for each upstream */
	struct mailbox *mailbox;
	struct exchange_list running, ended;
	struct timer *reaper;
	bool draining, closing;
};

static void server_on_request(struct evhttp_request *request, void *arg)
{
	struct server *server = arg;

	if (!server->closing) /* else evhttp_free() puts the request away */
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
	if (!server->draining || !TAILQ_EMPTY(&server->running))
		return;
	if (accepted_reading(server->accepted))
		timer_start(server->reaper, DRAIN_LOOK_MS);
	else
		server->setup.on_empty(server->setup.arg);
}

static void server_on_accept_again(void *arg)
{
	struct server *server = arg;

	for (size_t i = 0; i < server->listener_count; i++)
		evconnlistener_enable(evhttp_bound_socket_get_listener(server->listeners[i]));
}

/* The error callback of a listener gets evhttp's argument, not ours; a thread has one server. */
static _Thread_local struct server *this_server;

/* Out of descriptors evhttp would spin: accepting pauses until one may be free. */
static void server_on_accept_error(struct evconnlistener *listener, void *arg)
{
	struct server *server = this_server;

	(void)arg;
	if (errno != EMFILE && errno != ENFILE)
		return;
	evconnlistener_disable(listener);
	timer_start(server->accept_again, ACCEPT_PAUSE_MS);
}

static struct evhttp *new_http(struct server *server)
{
	struct evhttp *http = evhttp_new(server->setup.base);

	if (!http)
		abort();
	evhttp_set_bevcb(http, accepted_new_bufferevent, server->accepted);
	evhttp_set_gencb(http, server_on_request, server);
	evhttp_set_allowed_methods(http, METHODS);
	evhttp_set_default_content_type(http, NULL);
	return http;
}

static const struct transport_type *transport_of(int kind)
{
	return kind == TRANSPORT_EVHTTP ? &transport_evhttp : &transport_native;
}

static void new_pools(struct server *server)
{
	const struct config *config = server->setup.config;

	server->pools = xcalloc(config->upstream_count, sizeof(struct pool *));
	for (size_t i = 0; i < config->upstream_count; i++) {
		struct pool_options options = {
			.name = config->upstreams[i].name,
			.metrics = server->setup.metrics,
			.base = server->setup.base,
			.resolver = server->resolver,
			.host = config->upstreams[i].host,
			.port = config->upstreams[i].port,
			.tls = server->setup.tls[i],
			.idle_ms = config->upstreams[i].options.pool_idle,
			.transport = transport_of(config->upstreams[i].options.transport),
		};

		server->pools[i] = pool_new(&options);
	}
}

static struct accepted_list *new_accepted(const struct server *server)
{
	const struct server_options *options = &server->setup.config->server;
	struct accepted_options accepted = {
		.base = server->setup.base,
		.idle_ms = options->idle_timeout,
		.guarded = true,
		.guard =
			{
				.max_head = (size_t)options->max_header,
				.max_body = (size_t)options->max_body,
				.timeout_ms = options->header_timeout,
				.memory = server->setup.memory,
				.users = server->setup.config->unix_users,
				.user_count = server->setup.config->unix_user_count,
			},
		.connections = server->setup.connections,
	};

	return accepted_list_new(&accepted);
}

struct server *server_new(const struct server_setup *setup)
{
	struct server *server = xcalloc(1, sizeof(*server));
	struct event_base *base = setup->base;

	server->setup = *setup;
	config_ref(setup->config);
	TAILQ_INIT(&server->running);
	TAILQ_INIT(&server->ended);
	server->accepted = new_accepted(server);
	server->resolver = resolver_new(base);
	server->mailbox = mailbox_new(base);
	server->reaper = timer_new(base, server_on_reaper, server);
	server->accept_again = timer_new(base, server_on_accept_again, server);
	server->http = new_http(server);
	new_pools(server);
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
	evhttp_free(server->http);
	accepted_list_free(server->accepted);
	for (size_t i = 0; i < server->setup.config->upstream_count; i++)
		pool_free(server->pools[i]);
	resolver_free(server->resolver);
	mailbox_free(server->mailbox);
	turn_loop(server);
	timer_free(server->reaper);
	timer_free(server->accept_again);
	config_unref(server->setup.config);
	free(server->pools);
	free(server);
}

void server_listen(struct server *server, int fd)
{
	struct evhttp_bound_socket *bound;

	if (server->listener_count == MAX_LISTENERS) {
		close(fd);
		return;
	}
	this_server = server;
	bound = evhttp_accept_socket_with_handle(server->http, fd);
	if (!bound)
		abort();
	evconnlistener_set_error_cb(
		evhttp_bound_socket_get_listener(bound), server_on_accept_error);
	server->listeners[server->listener_count++] = bound;
}

void server_drain(struct server *server)
{
	msec_t until = clock_mono() + server->setup.config->server.drain_timeout;
	struct exchange *exchange;

	server->draining = true;
	timer_stop(server->accept_again);
	for (size_t i = 0; i < server->listener_count; i++)
		evhttp_del_accept_socket(server->http, server->listeners[i]);
	server->listener_count = 0;
	accepted_drain(server->accepted);
	for (exchange = TAILQ_FIRST(&server->running); exchange; exchange = exchange_next(exchange))
		exchange_drain(exchange, until);
	timer_start(server->reaper, 0);
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

struct config *server_config(const struct server *server)
{
	return server->setup.config;
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

struct upstream *server_upstream(const struct server *server, size_t index)
{
	return server->setup.upstreams[index];
}

struct metrics *server_metrics(const struct server *server)
{
	return server->setup.metrics;
}

struct pool *server_pool(const struct server *server, size_t upstream)
{
	return server->pools[upstream];
}

int server_worker(const struct server *server)
{
	return server->setup.worker;
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
