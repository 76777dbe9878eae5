#pragma once

/* One exchange: a client's request from its arrival to the last byte of its answer, through as
 * many attempts as that takes. It owns the client's side, the current attempt and the relay, and
 * belongs to its server's list until it has ended; the server's reaper frees it. */

#include <stdbool.h>
#include <sys/queue.h>

#include "base/clock.h"

struct evhttp_request;
struct exchange;
struct server;

/* Takes over a request from evhttp and sees it through. */
void exchange_new(struct server *server, struct evhttp_request *request);
/* For the reaper, after exchange_new()'s server was told of the end. */
void exchange_free(struct exchange *exchange);

/* The worker drains: nothing new may begin after this instant. */
void exchange_drain(struct exchange *exchange, msec_t until);
/* Ends it now: a begun stream with an error event, a waiting request with a 503. True if a
 * request was cut short by that. */
bool exchange_cut(struct exchange *exchange);
/* Ends it without a word: the client's connection is reset. */
void exchange_abort(struct exchange *exchange);

/* The server's lists. */
TAILQ_HEAD(exchange_list, exchange);
struct exchange *exchange_next(struct exchange *exchange);
void exchange_insert(struct exchange_list *list, struct exchange *exchange);
void exchange_remove(struct exchange_list *list, struct exchange *exchange);
