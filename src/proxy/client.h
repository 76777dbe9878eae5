#pragma once

/* The client's side of one exchange: an evhttp request that waits for its answer, with the traps
 * of evhttp's server closed. It knows at once when the client leaves, how much of the answer
 * still waits, and how an answer is broken off so that no client takes it for whole. */

#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"
#include "net/fields.h"
#include "proxy/guard.h"

struct accepted_list;
struct client;
struct evbuffer;
struct evhttp_request;

/* Callbacks end with the first of on_gone and on_done, or with client_abort(). */
struct client_handler {
	/* The client left (FIN, half-close or RST), or took no byte for the send time-out. */
	void (*on_gone)(void *arg, const char *detail);
	/* Everything sent so far has been taken by the kernel. */
	void (*on_drained)(void *arg);
	/* The answer is out, or its broken end is. May come inside client_end(). */
	void (*on_done)(void *arg);
};

/* Takes over a request from evhttp's callback and watches its connection. */
struct client *client_new(struct evhttp_request *request, struct accepted_list *list,
	msec_t send_timeout_ms, const struct client_handler *handler, void *arg);

/* The request as the guard let it in; once. */
struct received client_take(struct client *client);
/* Answers to HEAD, 204 and 304 have no body, whatever their Content-Length says. */
bool client_takes_body(const struct client *client, int status);
/* Bytes of the answer that wait in memory. */
size_t client_queued(const struct client *client);

/* Sends status and fields. With a Content-Length among the fields the body is sent as it comes,
 * and the caller sees to its length; else it is chunked (HTTP/1.0: until the end of the
 * connection). `last`: the connection closes after this answer. */
void client_start(struct client *client, int status, const char *reason,
	const struct fields *fields, bool last);
/* Moves the bytes of `piece` into the answer. */
void client_send(struct client *client, struct evbuffer *piece);
void client_end(struct client *client);
/* Ends a begun answer so that it cannot pass for whole: these last bytes (may be empty), an
 * unfinished chunk, FIN; for HTTP/1.0 and answers with a length: RST. on_done follows. */
void client_break(struct client *client, const char *last_bytes);
/* Resets the connection. No callback follows; the client is gone for the caller. */
void client_abort(struct client *client);
