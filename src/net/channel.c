#include "net/channel.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <openssl/err.h>
#include <stdlib.h>

#include "base/mem.h"
#include "net/pool.h"
#include "net/socket.h"
#include "net/timer.h"

enum { RESCUE_BYTES = 64 << 10 };

/*   HANDSHAKING --> BUSY <--> WAITING
 *        |           |          |
 *        +-----------+----------+--> DOOMED --> (the undertaker frees)   */
enum channel_state {
	CHANNEL_HANDSHAKING, /* TLS is being agreed on */
	CHANNEL_BUSY,        /* a user has it */
	CHANNEL_WAITING,     /* in the pool */
	CHANNEL_DOOMED,      /* nobody's; freed in the next turn of the loop */
};

struct channel {
	struct pooled waiting; /* first: the pool hands this back */
	enum channel_state state;
	struct pool *pool;
	struct address address;
	struct bufferevent *bev;
	SSL *ssl; /* the bufferevent's; NULL: plain */
	struct timer *undertaker;
	const struct channel_user *user;
	void *arg;
	uint64_t bytes_sent, bytes_received;
	uint64_t records; /* bytes that TLS had written when we last heard of it */
	int write_errno;  /* of a failed write; 0: none */
};

static void channel_on_output(
	struct evbuffer *output, const struct evbuffer_cb_info *info, void *arg);

/* Under TLS, all its records. */
static uint64_t records_written(const struct channel *channel)
{
	return channel->ssl ? BIO_number_written(SSL_get_wbio(channel->ssl)) : 0;
}

/* libevent tells of a failed SSL_write() before it tells of those that went well in the same turn:
 * OpenSSL knows whether a byte has gone out. */
static void note_unheard_bytes(struct channel *channel)
{
	if (records_written(channel) > channel->records)
		channel->bytes_sent++;
	channel->records = records_written(channel);
}

static void channel_free(struct channel *channel)
{
	timer_free(channel->undertaker);
	/* Without a close_notify OpenSSL marks the session not resumable; bufferevents send none.
	 */
	if (channel->ssl && SSL_is_init_finished(channel->ssl))
		SSL_shutdown(channel->ssl);
	ERR_clear_error();
	bufferevent_free(channel->bev);
	free(channel);
}

static void channel_on_undertaker(void *arg)
{
	channel_free(arg);
}

void channel_doom(struct channel *channel)
{
	if (channel->state == CHANNEL_WAITING)
		pool_forget(channel->pool, &channel->waiting);
	if (channel->state != CHANNEL_DOOMED)
		pool_on_closed(channel->pool); /* when it is freed the pool may be gone */
	channel->state = CHANNEL_DOOMED;
	channel->user = NULL;
	evbuffer_remove_cb(bufferevent_get_output(channel->bev), channel_on_output, channel);
	bufferevent_setcb(channel->bev, NULL, NULL, NULL, NULL);
	/* What is left of a request would stand before a FIN; and the upstream must hear at once.
	 */
	if (evbuffer_get_length(bufferevent_get_output(channel->bev)) > 0)
		socket_reset(bufferevent_getfd(channel->bev));
	/* Reading on could keep a session in a pool that is gone. */
	bufferevent_disable(channel->bev, EV_READ | EV_WRITE);
	timer_start(channel->undertaker, 0);
}

static void close_waiting(struct pooled *waiting)
{
	struct channel *channel = (struct channel *)waiting;

	pool_on_closed(channel->pool);
	channel_free(channel);
}

/* ---- Events of the bufferevent. */

static void channel_on_output(
	struct evbuffer *output, const struct evbuffer_cb_info *info, void *arg)
{
	struct channel *channel = arg;

	(void)output;
	channel->bytes_sent += info->n_deleted;
	channel->records = records_written(channel);
	if (info->n_deleted && channel->user)
		channel->user->on_sent(channel->arg);
}

static void channel_on_input(struct evbuffer *input, const struct evbuffer_cb_info *info, void *arg)
{
	struct channel *channel = arg;

	(void)input;
	channel->bytes_received += info->n_added;
}

static void channel_on_read(struct bufferevent *bev, void *arg)
{
	struct channel *channel = arg;

	(void)bev;
	if (channel->state == CHANNEL_WAITING)
		channel_doom(channel); /* bytes that nobody asked for */
	else
		channel->user->on_input(channel->arg);
}

/* When a write fails, bufferevent_openssl stops reading, too; an early answer may stand there. */
static void rescue_input(struct channel *channel)
{
	struct evbuffer *input = bufferevent_get_input(channel->bev);
	char bytes[4096];
	int got = 1;

	while (got > 0 && evbuffer_get_length(input) < RESCUE_BYTES) {
		got = SSL_read(channel->ssl, bytes, sizeof(bytes));
		if (got > 0)
			evbuffer_add(input, bytes, (size_t)got);
	}
	ERR_clear_error();
}

/* libevent puts OpenSSL's own SSL_ERROR_* numbers among the codes; those say nothing, and of a
 * reset it leaves nothing else: errno has it. */
static unsigned long take_tls_code(const struct channel *channel)
{
	unsigned long code = 0;

	if (!channel->ssl)
		return 0;
	do
		code = bufferevent_get_openssl_error(channel->bev);
	while (code && ERR_GET_LIB(code) <= ERR_LIB_NONE);
	ERR_clear_error();
	return code;
}

static void channel_on_event(struct bufferevent *bev, short what, void *arg)
{
	struct channel *channel = arg;
	struct channel_end end = {.orderly = what & BEV_EVENT_EOF, .error_number = errno};

	(void)bev;
	if (what & BEV_EVENT_CONNECTED) {
		channel->state = CHANNEL_BUSY;
		channel->records = records_written(channel);
		channel->user->on_ready(channel->arg);
		return;
	}
	end.tls_code = take_tls_code(channel);
	if (channel->state == CHANNEL_WAITING) {
		channel_doom(channel);
		return;
	}
	if (what & BEV_EVENT_WRITING) {
		/* An answer may still be read. Else the reading ends next, and looks orderly: the
		 * write has taken the socket's error. */
		channel->write_errno = end.error_number;
		if (!channel->ssl)
			return;
		if (SSL_is_init_finished(channel->ssl)) {
			note_unheard_bytes(channel);
			rescue_input(channel);
		}
	} else if (channel->write_errno) {
		end.orderly = false;
		end.error_number = channel->write_errno;
	}
	if (end.orderly || end.tls_code)
		end.error_number = 0; /* what stands in errno is older */
	channel->user->on_end(channel->arg, &end);
}

/* ---- Life. */

struct channel *channel_new(struct pool *pool, int fd, const struct address *address,
	const struct channel_user *user, void *arg)
{
	struct channel *channel = xcalloc(1, sizeof(*channel));
	struct event_base *base = pool_base(pool);

	channel->waiting.close = close_waiting;
	channel->pool = pool;
	channel->address = *address;
	channel->user = user;
	channel->arg = arg;
	channel->ssl = pool_new_ssl(pool);
	channel->state = channel->ssl ? CHANNEL_HANDSHAKING : CHANNEL_BUSY;
	channel->bev = channel->ssl ? bufferevent_openssl_socket_new(base, fd, channel->ssl,
					      BUFFEREVENT_SSL_CONNECTING, BEV_OPT_CLOSE_ON_FREE)
				    : bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (!channel->bev)
		abort();
	channel->undertaker = timer_new(base, channel_on_undertaker, channel);
	evbuffer_add_cb(bufferevent_get_output(channel->bev), channel_on_output, channel);
	evbuffer_add_cb(bufferevent_get_input(channel->bev), channel_on_input, channel);
	bufferevent_setcb(channel->bev, channel_on_read, NULL, channel_on_event, channel);
	bufferevent_enable(channel->bev, EV_READ | EV_WRITE);
	pool_on_opened(pool);
	return channel;
}

struct channel *channel_acquire(
	struct pool *pool, msec_t max_idle_ms, const struct channel_user *user, void *arg)
{
	struct channel *channel;

	while ((channel = (struct channel *)pool_acquire(pool, max_idle_ms))) {
		channel->state = CHANNEL_BUSY;
		channel->user = user;
		channel->arg = arg;
		if (!socket_has_ended(bufferevent_getfd(channel->bev)))
			return channel;
		channel_doom(channel); /* before the loop has seen it */
	}
	return NULL;
}

void channel_release(struct channel *channel)
{
	channel->state = CHANNEL_WAITING;
	channel->user = NULL;
	channel_resume(channel);
	pool_release(channel->pool, &channel->waiting);
}

bool channel_is_ready(const struct channel *channel)
{
	return channel->state == CHANNEL_BUSY;
}

const struct address *channel_address(const struct channel *channel)
{
	return &channel->address;
}

struct evbuffer *channel_input(const struct channel *channel)
{
	return bufferevent_get_input(channel->bev);
}

struct evbuffer *channel_output(const struct channel *channel)
{
	return bufferevent_get_output(channel->bev);
}

uint64_t channel_bytes_sent(const struct channel *channel)
{
	return channel->bytes_sent;
}

uint64_t channel_bytes_received(const struct channel *channel)
{
	return channel->bytes_received;
}

void channel_pause(struct channel *channel)
{
	bufferevent_disable(channel->bev, EV_READ);
}

void channel_resume(struct channel *channel)
{
	bufferevent_enable(channel->bev, EV_READ);
}

void channel_stop_sending(struct channel *channel)
{
	bufferevent_disable(channel->bev, EV_WRITE);
}

void channel_describe_handshake(
	const struct channel *channel, const struct channel_end *end, struct failure *ret)
{
	tls_describe_failure(channel->ssl, end->tls_code, end->error_number, ret);
}
