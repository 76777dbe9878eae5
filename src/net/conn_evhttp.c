#include "net/conn.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "net/pool.h"
#include "net/socket.h"
#include "net/timer.h"

enum {
	MAX_HEAD_BYTES = 256 << 10,
	EARLY_LIMIT = 512 << 10, /* of an answer that comes while the request is being sent */
	EVHTTP_TIMEOUT_S = 30 * 24 * 3600, /* ours run; 0 would mean evhttp's own defaults */
};

/*   FRESH --> DIALLING --> BUSY <--> WAITING
 *                |          |           |
 *                +----------+-----------+--> DOOMED --> (the undertaker frees)   */
enum conn_state {
	CONN_FRESH,    /* nothing dialled yet */
	CONN_DIALLING, /* TCP or TLS under way for the first request */
	CONN_BUSY,     /* a request is on it */
	CONN_WAITING,  /* kept alive in the pool */
	CONN_DOOMED,   /* nobody's; freed in the next turn of the loop */
};

struct conn {
	struct pooled waiting; /* first: the pool hands this back */
	enum conn_state state;
	struct pool *pool;
	struct address address;
	struct evhttp_connection *evcon;
	struct bufferevent *bev;
	SSL *ssl; /* the bufferevent's; NULL: plain */
	struct timer *undertaker;
	const struct conn_user *user; /* NULL: nobody listens */
	void *arg;
	struct conn_facts facts;
	bool last, shut_down;
	bool unasked; /* bytes came before the request had gone out */
	/* evhttp's own event callback, while ours stands in front of it */
	bufferevent_event_cb evhttp_event_cb;
	void *evhttp_event_arg;
	int error_number;       /* of the socket, when it failed */
	unsigned long tls_code; /* OpenSSL's, when TLS failed */
	int evhttp_error;       /* enum evhttp_request_error, or -1 */
};

static void conn_enter(struct conn *conn, enum conn_state next)
{
	if (next == CONN_DOOMED && conn->state != CONN_DOOMED)
		pool_on_closed(conn->pool); /* when it is freed the pool may be gone */
	conn->state = next;
}

static void conn_on_undertaker(void *arg)
{
	conn_free(arg);
}

static bool is_closed(const struct conn *conn)
{
	return bufferevent_getfd(conn->bev) < 0;
}

/* ---- What evhttp does not tell: seen on the buffers of its bufferevent. */

static void conn_on_output(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *arg)
{
	struct conn *conn = arg;

	if (info->n_added && conn->state == CONN_DIALLING) {
		conn_enter(conn, CONN_BUSY); /* the first byte is queued once TCP and TLS stand */
		conn->facts.connected = true;
		if (conn->user)
			conn->user->on_connected(conn->arg);
	}
	if (!info->n_deleted || conn->state != CONN_BUSY || is_closed(conn))
		return; /* closing, evhttp throws away what was not sent: that is not sending */
	conn->facts.bytes_sent += info->n_deleted;
	conn->facts.sent_all = evbuffer_get_length(buffer) == 0;
	if (conn->user)
		conn->user->on_sent(conn->arg, conn->facts.sent_all);
}

static void conn_on_input(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *arg)
{
	struct conn *conn = arg;

	if (!info->n_added || conn->state != CONN_BUSY)
		return;
	/* What comes before a byte of the request has gone out answers some other one. */
	if (conn->facts.reused && !conn->facts.bytes_sent)
		conn->unasked = true;
	if (conn->unasked)
		return;
	/* evhttp reads, but does not parse, while it still sends; it turns reading on again then.
	 */
	if (!conn->facts.sent_all && evbuffer_get_length(buffer) > EARLY_LIMIT)
		conn_pause(conn);
	conn->facts.bytes_received += info->n_added;
	if (conn->user)
		conn->user->on_received(conn->arg);
}

/* Stands in front of evhttp's callback while it dials, because evhttp drops the errno. */
static void conn_on_dial_event(struct bufferevent *bev, short what, void *arg)
{
	struct conn *conn = arg;
	int error_number = errno;

	if (!(what & BEV_EVENT_CONNECTED)) {
		conn->error_number = error_number;
		if (conn->ssl)
			conn->tls_code = bufferevent_get_openssl_error(bev);
	}
	errno = error_number; /* evhttp asks it, too */
	conn->evhttp_event_cb(bev, what, conn->evhttp_event_arg);
}

static void stand_in_front(struct conn *conn)
{
	bufferevent_data_cb read_cb, write_cb;

	bufferevent_getcb(
		conn->bev, &read_cb, &write_cb, &conn->evhttp_event_cb, &conn->evhttp_event_arg);
	/* The argument is shared: safe only because evhttp sets no data callbacks while it dials.
	 */
	bufferevent_setcb(conn->bev, NULL, NULL, conn_on_dial_event, conn);
}

/* ---- evhttp's callbacks. */

/* The socket is about to be closed, by the server or by us. */
static void conn_on_close(struct evhttp_connection *evcon, void *arg)
{
	struct conn *conn = arg;

	(void)evcon;
	conn->last = true;
	/* Without a close_notify OpenSSL marks the session not resumable; evhttp sends none. */
	if (conn->ssl && !conn->shut_down && SSL_is_init_finished(conn->ssl)) {
		conn->shut_down = true;
		SSL_shutdown(conn->ssl);
		ERR_clear_error();
	}
	if (conn->state == CONN_WAITING) {
		pool_forget(conn->pool, &conn->waiting);
		conn_doom(conn); /* freeing it here is a use after free in evhttp */
	}
}

static int conn_on_head(struct evhttp_request *request, void *arg)
{
	struct conn *conn = arg;

	if (conn->unasked)
		return -1;
	conn->facts.head_seen = true;
	/* Neither cancelling nor freeing is safe in here; -1 ends the request. */
	return conn->user && conn->user->on_head(conn->arg, request) ? 0 : -1;
}

static void conn_on_body(struct evhttp_request *request, void *arg)
{
	struct conn *conn = arg;

	if (conn->user)
		conn->user->on_body(conn->arg, evhttp_request_get_input_buffer(request));
}

static void conn_on_error(enum evhttp_request_error error, void *arg)
{
	struct conn *conn = arg;

	conn->evhttp_error = (int)error;
	if (!conn->error_number)
		conn->error_number = errno;
	if (conn->ssl && !conn->tls_code)
		conn->tls_code = bufferevent_get_openssl_error(conn->bev);
}

static void describe_dial_failure(const struct conn *conn, struct failure *failure)
{
	if (conn->ssl && conn_dial_phase(conn) == PHASE_TLS) {
		tls_describe_failure(conn->ssl, conn->tls_code, conn->error_number, failure);
		return;
	}
	failure_set(failure, PHASE_CONNECT, error_of_connect_errno(conn->error_number),
		conn->error_number ? strerror(conn->error_number) : "");
}

static void describe_failure(const struct conn *conn, struct failure *failure)
{
	bool head_seen = conn->facts.head_seen;
	bool eof = conn->evhttp_error == EVREQ_HTTP_EOF;
	const char *reason = conn->tls_code ? ERR_reason_error_string(conn->tls_code) : NULL;
	enum phase phase = head_seen              ? PHASE_BODY
			   : conn->facts.sent_all ? PHASE_FIRST_BYTE
						  : PHASE_WRITE;
	enum error error = head_seen ? ERROR_HTTP_RESPONSE_INCOMPLETE : ERROR_CONNECTION_TERMINATED;

	if (!eof && !conn->unasked)
		error = ERROR_HTTP_PROTOCOL_ERROR;
	if (conn->unasked)
		reason = "the server had sent bytes that nobody asked for";
	if (!reason && eof)
		reason = conn->error_number ? strerror(conn->error_number) : "closed by the server";
	failure_set(failure, phase, error, reason ? reason : "not HTTP as evhttp reads it");
}

/* The end of a request: with an answer, or (NULL, or no status) without one. */
static void conn_on_done(struct evhttp_request *request, void *arg)
{
	struct conn *conn = arg;
	const struct conn_user *user = conn->user;
	bool answered = request && evhttp_request_get_response_code(request) != 0;
	struct failure failure;

	if (!user)
		return; /* let go in the meantime */
	conn->user = NULL;
	if (!answered) {
		if (conn->facts.connected)
			describe_failure(conn, &failure);
		else
			describe_dial_failure(conn, &failure);
		conn_doom(conn);
		user->on_failure(conn->arg, &failure);
		return;
	}
	/* Bytes behind the answer would be taken for the next one. */
	if (conn->last || evbuffer_get_length(bufferevent_get_input(conn->bev)) > 0) {
		conn_doom(conn);
	} else {
		conn_enter(conn, CONN_WAITING);
		pool_release(conn->pool, &conn->waiting);
	}
	user->on_end(conn->arg);
}

/* ---- Life. */

static void close_waiting(struct pooled *waiting)
{
	conn_free((struct conn *)waiting);
}

struct conn *conn_new(struct pool *pool, const struct address *address)
{
	struct conn *conn = xcalloc(1, sizeof(*conn));
	struct event_base *base = pool_base(pool);
	char ip[ADDRESS_TEXT_SIZE];

	conn->waiting.close = close_waiting;
	conn->pool = pool;
	conn->address = *address;
	conn->ssl = pool_new_ssl(pool);
	conn->bev = conn->ssl ? bufferevent_openssl_socket_new(base, -1, conn->ssl,
					BUFFEREVENT_SSL_CONNECTING, BEV_OPT_CLOSE_ON_FREE)
			      : bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
	address_render_ip(address, ip, sizeof(ip));
	conn->evcon = evhttp_connection_base_bufferevent_new(
		base, NULL, conn->bev, ip, address_port(address));
	if (!conn->bev || !conn->evcon)
		abort();
	evhttp_connection_set_timeout(conn->evcon, EVHTTP_TIMEOUT_S);
	evhttp_connection_set_max_headers_size(conn->evcon, MAX_HEAD_BYTES);
	evhttp_connection_set_closecb(conn->evcon, conn_on_close, conn);
	evbuffer_add_cb(bufferevent_get_output(conn->bev), conn_on_output, conn);
	evbuffer_add_cb(bufferevent_get_input(conn->bev), conn_on_input, conn);
	conn->undertaker = timer_new(base, conn_on_undertaker, conn);
	pool_on_opened(pool);
	return conn;
}

void conn_free(struct conn *conn)
{
	conn->user = NULL;
	conn_enter(conn, CONN_DOOMED);
	timer_free(conn->undertaker);
	evhttp_connection_free(conn->evcon); /* runs conn_on_close; frees the request and the bev */
	free(conn);
}

void conn_doom(struct conn *conn)
{
	conn->user = NULL;
	conn_enter(conn, CONN_DOOMED);
	timer_start(conn->undertaker, 0);
}

struct evhttp_request *conn_new_request(struct conn *conn)
{
	struct evhttp_request *request = evhttp_request_new(conn_on_done, conn);

	if (!request)
		abort();
	evhttp_request_set_header_cb(request, conn_on_head);
	evhttp_request_set_chunked_cb(request, conn_on_body);
	evhttp_request_set_error_cb(request, conn_on_error);
	return request;
}

void conn_send(struct conn *conn, const struct conn_user *user, void *arg,
	struct evhttp_request *request, enum evhttp_cmd_type method, const char *target)
{
	bool reused = conn->state == CONN_WAITING;

	conn_enter(conn, reused ? CONN_BUSY : CONN_DIALLING);
	conn->user = user;
	conn->arg = arg;
	conn->facts = (struct conn_facts){.connected = reused, .reused = reused};
	conn->error_number = 0;
	conn->tls_code = 0;
	conn->evhttp_error = -1;
	errno = 0;
	/* An unreachable network fails inside this call; nothing of the connection is freed
	 * before the loop turns. */
	if (evhttp_make_request(conn->evcon, request, method, target) != 0)
		abort(); /* only when memory or bind() fails */
	if (!reused && conn->state == CONN_DIALLING) {
		socket_set_upstream_options(bufferevent_getfd(conn->bev));
		stand_in_front(conn);
	}
}

const struct conn_facts *conn_facts(const struct conn *conn)
{
	return &conn->facts;
}

const struct address *conn_address(const struct conn *conn)
{
	return &conn->address;
}

/* One of those that only connect() gives. */
static bool is_connect_errno(int error_number)
{
	return error_number && error_of_connect_errno(error_number) != ERROR_CONNECTION_TERMINATED;
}

enum phase conn_dial_phase(const struct conn *conn)
{
	evutil_socket_t fd = bufferevent_getfd(conn->bev);
	struct tcp_info info;
	socklen_t len = sizeof(info);

	/* OpenSSL's callbacks fire before TCP stands; the kernel knows. */
	if (!conn->ssl || is_connect_errno(conn->error_number))
		return PHASE_CONNECT;
	if (conn->tls_code || SSL_get_verify_result(conn->ssl) != X509_V_OK)
		return PHASE_TLS;
	if (fd < 0 || getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
		return PHASE_CONNECT;
	return info.tcpi_state == TCP_SYN_SENT || info.tcpi_state == TCP_CLOSE ? PHASE_CONNECT
									       : PHASE_TLS;
}

void conn_pause(struct conn *conn)
{
	bufferevent_disable(conn->bev, EV_READ);
}

void conn_resume(struct conn *conn)
{
	bufferevent_enable(conn->bev, EV_READ);
}

void conn_set_last(struct conn *conn)
{
	conn->last = true;
}

struct conn *conn_acquire(struct pool *pool, msec_t max_idle_ms)
{
	return (struct conn *)pool_acquire(pool, max_idle_ms);
}
