#pragma once

/* One worker's proxy: evhttp on the worker's loop, the pools of its upstreams and the exchanges
 * that are under way. Everything here belongs to one thread. */

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"
#include "proxy/event_log.h"

struct accepted_list;
struct budget;
struct event_base;
struct evhttp_request;
struct exchange;
struct mailbox;
struct metrics;
struct pool;
struct server;
struct upstream;

struct server_setup {
	struct event_base *base;
	struct config *config;   /* the server takes a reference of its own */
	SSL_CTX *const *tls;     /* one for each upstream of the configuration; NULL: plain */
	struct metrics *metrics; /* of this worker */
	struct event_log *log;
	struct budget *memory, *connections; /* of the whole process */
	struct upstream *const *upstreams;   /* likewise, one for each of the configuration */
	int worker;
	void (*on_empty)(void *arg); /* draining, and the last exchange has ended */
	void *arg;
};

struct server *server_new(const struct server_setup *setup);
/* Ends what still runs, without a word to the clients. The loop turns a few more times in here:
 * bufferevents, resolver and transports are put away by it. */
void server_free(struct server *server);

/* Accepts from this descriptor, which becomes the server's. */
void server_listen(struct server *server, int fd);
/* Closes the listeners and idle connections; on_empty follows when the last exchange has ended. */
void server_drain(struct server *server);
/* Ends all exchanges now; how many were cut short. */
size_t server_cut(struct server *server);

/* ---- For the exchanges. */

struct event_base *server_base(const struct server *server);
struct config *server_config(const struct server *server);
struct accepted_list *server_accepted(const struct server *server);
struct budget *server_memory(const struct server *server);
struct event_log *server_log(const struct server *server);
struct mailbox *server_mailbox(const struct server *server);
struct upstream *server_upstream(const struct server *server, size_t index);
struct metrics *server_metrics(const struct server *server);
struct pool *server_pool(const struct server *server, size_t upstream);
int server_worker(const struct server *server);
bool server_is_draining(const struct server *server);
/* Uniform in [0, 1). */
double server_random(struct server *server);
void server_on_exchange_begun(struct server *server, struct exchange *exchange);
void server_on_exchange_ended(struct server *server, struct exchange *exchange);
