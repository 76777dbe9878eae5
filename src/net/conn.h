#pragma once

/* A connection of libevent's HTTP client (evhttp_connection), made safe: one request at a time,
 * what it says about itself exact, and never freed inside its own callbacks. A request on it
 * belongs to a transport (net/transport_evhttp.c), which hears of its events. */

#include <event2/http.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/address.h"
#include "base/clock.h"
#include "policy/failure.h"

struct conn;
struct pool;

/* What a transport hears from the connection that it uses. */
struct conn_user {
	void (*on_connected)(void *arg);
	void (*on_sent)(void *arg, bool all); /* bytes went out; `all`: none is left */
	void (*on_received)(void *arg);       /* bytes came in */
	/* From evhttp: the head (false: stop here), a piece of the body, the end. */
	bool (*on_head)(void *arg, struct evhttp_request *request);
	void (*on_body)(void *arg, struct evbuffer *piece);
	void (*on_end)(void *arg);
	void (*on_failure)(void *arg, const struct failure *failure);
};

/* What has happened on the connection since its request began. */
struct conn_facts {
	bool connected, reused;
	uint64_t bytes_sent, bytes_received;
	bool sent_all;
	bool head_seen;
};

/* A connection to one address; nothing is dialled before its first request. */
struct conn *conn_new(struct pool *pool, const struct address *address);
/* Only from a timer or when the loop has ended; never from a callback of the connection. */
void conn_free(struct conn *conn);
/* Lets the connection go from anywhere: the user hears nothing more, it closes in the next turn
 * of the loop. */
void conn_doom(struct conn *conn);

/* Sends a request, dialling first where needed; takes over `request`, whose callback argument
 * must be the connection. May call the user back before it returns. */
void conn_send(struct conn *conn, const struct conn_user *user, void *arg,
	struct evhttp_request *request, enum evhttp_cmd_type method, const char *target);
/* A request whose events go to the connection's user. */
struct evhttp_request *conn_new_request(struct conn *conn);

const struct conn_facts *conn_facts(const struct conn *conn);
const struct address *conn_address(const struct conn *conn);
/* While it is being made: TCP or already TLS? */
enum phase conn_dial_phase(const struct conn *conn);
void conn_pause(struct conn *conn);
void conn_resume(struct conn *conn);
/* The answer was framed by the end of the connection, or said so: it carries no other request. */
void conn_set_last(struct conn *conn);

/* A waiting connection of the pool, or NULL (pool_acquire()). */
struct conn *conn_acquire(struct pool *pool, msec_t max_idle_ms);
