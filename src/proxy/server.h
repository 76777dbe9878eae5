#pragma once

/* One worker's proxy: evhttp on the worker's loop, the pools of its upstreams and the exchanges
 * that are under way. Everything here belongs to one thread. */

#include <stdbool.h>
#include <stddef.h>

#include "proxy/event_log.h"

struct accepted_list;
struct backends;
struct budget;
struct event_base;
struct evhttp_request;
struct exchange;
struct generation;
struct mailbox;
struct metrics;
struct front_listener;
struct server;

struct server_setup {
	struct event_base *base;
	struct generation *generation; /* the server takes a reference of its own */
	struct metrics *metrics;       /* of this worker */
	struct event_log *log;
	struct budget *memory, *connections; /* of the whole process */
	int worker;
	void (*on_empty)(void *arg); /* draining, and the last exchange has ended */
	void *arg;
};

struct server *server_new(const struct server_setup *setup);
/* Ends what still runs, without a word to the clients. The loop turns a few more times in here:
 * bufferevents, resolver and transports are put away by it. */
void server_free(struct server *server);

/* Accepts from these and from no others, as front_listen() has it. */
void server_listen(struct server *server, const struct front_listener *listeners, size_t count);
/* A new configuration for the requests that come from now on; those under way keep theirs. */
void server_reload(struct server *server, struct generation *generation);
/* Accepts no more; connections end with their next answer, or when they have been idle for long
 * enough; on_empty follows when the last one has ended. */
void server_retire(struct server *server);
/* Accepts those who have connected already, then closes the listeners; closes idle connections;
 * on_empty follows when the last exchange has ended. */
void server_drain(struct server *server);
/* Ends all exchanges now; how many were cut short. */
size_t server_cut(struct server *server);

/* ---- For the exchanges. */

struct event_base *server_base(const struct server *server);
/* Those for a request that begins now. */
struct backends *server_backends(const struct server *server);
struct accepted_list *server_accepted(const struct server *server);
struct budget *server_memory(const struct server *server);
struct event_log *server_log(const struct server *server);
struct mailbox *server_mailbox(const struct server *server);
struct metrics *server_metrics(const struct server *server);
int server_worker(const struct server *server);
/* MSEC_NEVER: it does not. */
msec_t server_drains_until(const struct server *server);
bool server_is_draining(const struct server *server);
/* Uniform in [0, 1). */
double server_random(struct server *server);
void server_on_exchange_begun(struct server *server, struct exchange *exchange);
void server_on_exchange_ended(struct server *server, struct exchange *exchange);
