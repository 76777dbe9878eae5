#include "proxy/client.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "net/socket.h"
#include "net/timer.h"
#include "policy/header.h"
#include "proxy/accepted.h"

/*   WAITING --> ANSWERING --> ENDING ----> OVER      ENDING: all is handed to evhttp
 *      |           |   +----> BREAKING --> OVER      BREAKING: the last bytes drain
 *      +-----------+--------------------> OVER       OVER: nobody's; freed in the next turn */
enum client_state { CLIENT_WAITING, CLIENT_ANSWERING, CLIENT_ENDING, CLIENT_BREAKING, CLIENT_OVER };

struct client {
	enum client_state state;
	struct evhttp_request *request;
	struct evhttp_connection *connection; /* NULL: evhttp has freed it, or will without us */
	struct bufferevent *bev;              /* kept alive by its accepted record */
	struct accepted *accepted;
	const struct client_handler *handler;
	void *arg;
	struct timer *turn;  /* work that must not be done inside evhttp's callbacks */
	struct timer *stall; /* the client takes nothing */
	msec_t send_timeout_ms, last_progress;
	bool framed_by_length, reset;
};

static void client_on_output(
	struct evbuffer *output, const struct evbuffer_cb_info *info, void *arg);
static void client_on_close(struct evhttp_connection *connection, void *arg);

/* From here on nobody hears of this client; its memory goes in the next turn of the loop. */
static void leave(struct client *client)
{
	client->state = CLIENT_OVER;
	client->handler = NULL;
	timer_stop(client->stall);
	evbuffer_remove_cb(bufferevent_get_output(client->bev), client_on_output, client);
	timer_start(client->turn, 0);
}

/* Ends the connection without a word to ourselves. Never inside evhttp's own callbacks. */
static void free_connection(struct client *client)
{
	struct evhttp_connection *connection = client->connection;

	client->connection = NULL;
	if (!connection)
		return;
	evhttp_connection_set_closecb(connection, NULL, NULL);
	if (client->reset)
		socket_reset(bufferevent_getfd(client->bev));
	evhttp_connection_free(connection); /* frees the request, too */
}

static void client_free(struct client *client)
{
	free_connection(client);
	accepted_release(client->accepted);
	timer_free(client->turn);
	timer_free(client->stall);
	free(client);
}

static void client_on_turn(void *arg)
{
	struct client *client = arg;

	if (client->state == CLIENT_BREAKING) {
		const struct client_handler *handler = client->handler;

		leave(client);
		handler->on_done(client->arg);
	} else if (client->state == CLIENT_OVER) {
		client_free(client);
	}
}

static void client_on_stall(void *arg)
{
	struct client *client = arg;
	const struct client_handler *handler = client->handler;
	msec_t left = client->last_progress + client->send_timeout_ms - clock_mono();

	if (!client_queued(client))
		return;
	if (left > 0) {
		timer_start(client->stall, left);
		return;
	}
	client->reset = true;
	leave(client);
	handler->on_gone(client->arg, "the client took no byte for send_timeout");
}

static void client_on_output(
	struct evbuffer *output, const struct evbuffer_cb_info *info, void *arg)
{
	struct client *client = arg;

	if (!info->n_deleted)
		return;
	client->last_progress = clock_mono();
	if (evbuffer_get_length(output) > 0)
		return;
	timer_stop(client->stall);
	if (client->state == CLIENT_BREAKING)
		timer_start(client->turn, 0); /* freeing earlier would drop what was queued */
	else if (client->handler)
		client->handler->on_drained(client->arg);
}

/* The connection is going down; runs inside evhttp. */
static void client_on_close(struct evhttp_connection *connection, void *arg)
{
	struct client *client = arg;
	const struct client_handler *handler = client->handler;

	(void)connection;
	client->connection = NULL;
	/* Detached: evhttp found the end by itself and left the request to us; this frees it. */
	if (evhttp_request_get_connection(client->request) == NULL)
		evhttp_send_reply_end(client->request);
	if (!handler)
		return;
	leave(client);
	handler->on_gone(client->arg, "the client closed the connection");
}

/* The answer has been written; evhttp frees the request after this, and perhaps the connection,
 * which must not be freed in here. */
static void client_on_complete(struct evhttp_request *request, void *arg)
{
	struct client *client = arg;
	const struct client_handler *handler = client->handler;

	(void)request;
	if (client->connection)
		evhttp_connection_set_closecb(client->connection, NULL, NULL);
	client->connection = NULL;
	accepted_next(client->accepted);
	if (!handler)
		return;
	leave(client);
	handler->on_done(client->arg);
}

/* evhttp stops reading while an answer is pending and so misses a client that leaves. Reading is
 * turned on again, without a read callback: with evhttp's own one a pipelined byte would end the
 * process ("illegal connection state"). */
static void watch(struct client *client)
{
	bufferevent_data_cb read_cb, write_cb;
	bufferevent_event_cb event_cb;
	void *arg;

	bufferevent_getcb(client->bev, &read_cb, &write_cb, &event_cb, &arg);
	bufferevent_setcb(client->bev, NULL, write_cb, event_cb, arg);
	evhttp_connection_set_closecb(client->connection, client_on_close, client);
	bufferevent_enable(client->bev, EV_READ);
}

struct client *client_new(struct evhttp_request *request, struct accepted_list *list,
	msec_t send_timeout_ms, const struct client_handler *handler, void *arg)
{
	struct client *client = xcalloc(1, sizeof(*client));
	struct event_base *base;

	client->request = request;
	client->connection = evhttp_request_get_connection(request);
	client->bev = evhttp_connection_get_bufferevent(client->connection);
	client->accepted = accepted_acquire(list, client->bev);
	client->send_timeout_ms = send_timeout_ms;
	client->handler = handler;
	client->arg = arg;
	base = bufferevent_get_base(client->bev);
	client->turn = timer_new(base, client_on_turn, client);
	client->stall = timer_new(base, client_on_stall, client);
	evhttp_request_set_on_complete_cb(request, client_on_complete, client);
	evbuffer_add_cb(bufferevent_get_output(client->bev), client_on_output, client);
	watch(client);
	return client;
}

struct received client_take(struct client *client)
{
	return accepted_take(client->accepted);
}

bool client_takes_body(const struct client *client, int status)
{
	return client->request->type != EVHTTP_REQ_HEAD && status != 204 && status != 304;
}

static bool client_is_http_1_0(const struct client *client)
{
	return client->request->major == 1 && client->request->minor == 0;
}

size_t client_queued(const struct client *client)
{
	return evbuffer_get_length(bufferevent_get_output(client->bev));
}

/* evhttp understands `close` only as the whole value. */
static bool client_wants_close(const struct client *client)
{
	const struct evkeyvalq *headers = client->request->input_headers;
	const char *connection = evhttp_find_header(headers, "Connection");

	return connection && header_list_has(connection, "close");
}

/* Bytes are about to be queued: from now on the client must take some. */
static void expect_progress(struct client *client)
{
	if (client_queued(client))
		return; /* it runs already */
	client->last_progress = clock_mono();
	timer_start(client->stall, client->send_timeout_ms);
}

void client_start(struct client *client, int status, const char *reason,
	const struct fields *fields, bool last)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(client->request);

	for (size_t i = 0; i < fields->count; i++)
		evhttp_add_header(headers, fields->list[i].name, fields->list[i].value);
	if (last || client_wants_close(client))
		evhttp_add_header(headers, "Connection", "close");
	/* To a kept-alive HTTP/1.0 connection evhttp would say `Content-Length: 0` and send a body.
	 */
	if (client_is_http_1_0(client))
		evhttp_remove_header(client->request->input_headers, "Connection");
	client->framed_by_length = fields_get(fields, "Content-Length") != NULL;
	client->state = CLIENT_ANSWERING;
	expect_progress(client);
	evhttp_send_reply_start(client->request, status, reason);
}

void client_send(struct client *client, struct evbuffer *piece)
{
	expect_progress(client);
	evhttp_send_reply_chunk(client->request, piece);
}

void client_end(struct client *client)
{
	client->state = CLIENT_ENDING;
	expect_progress(client);
	evhttp_send_reply_end(client->request); /* may complete, and free the request, in here */
}

void client_break(struct client *client, const char *last_bytes)
{
	struct evbuffer *output = bufferevent_get_output(client->bev);
	struct evbuffer *piece = evbuffer_new();

	client->reset = client->framed_by_length || client_is_http_1_0(client);
	client->state = CLIENT_BREAKING;
	expect_progress(client);
	if (!piece)
		abort();
	if (*last_bytes && !client->framed_by_length) {
		evbuffer_add(piece, last_bytes, strlen(last_bytes));
		client_send(client, piece);
	}
	evbuffer_free(piece);
	/* One more chunk is opened and left unfinished: the one ending that no client takes for
	 * whole. */
	if (!client->reset)
		evbuffer_add(output, "2\r\n:", 4);
	if (evbuffer_get_length(output) == 0)
		timer_start(client->turn, 0);
}

void client_abort(struct client *client)
{
	client->reset = true;
	leave(client);
}
