#pragma once

/* A connection to an upstream from the moment that TCP stands: plain or TLS, with libevent's
 * buffers, one user after another. It waits in its pool between them and is never freed inside
 * its own callbacks. */

#include <stdbool.h>
#include <stdint.h>

#include "base/address.h"
#include "base/clock.h"
#include "policy/failure.h"

struct channel;
struct evbuffer;
struct pool;

/* How a connection ended. */
struct channel_end {
	bool orderly;           /* FIN, under TLS after a close_notify */
	int error_number;       /* the socket's; 0: none */
	unsigned long tls_code; /* OpenSSL's; 0: none */
};

struct channel_user {
	/* TLS stands; a plain channel is ready from the beginning and does not call this. */
	void (*on_ready)(void *arg);
	void (*on_sent)(void *arg);  /* bytes have left the output */
	void (*on_input)(void *arg); /* bytes have come; the user takes them from the input */
	/* Nothing more comes; what stands in the input is still the user's. */
	void (*on_end)(void *arg, const struct channel_end *end);
};

/* Takes over a connected socket of the pool's upstream and begins the TLS handshake where there
 * is TLS. */
struct channel *channel_new(struct pool *pool, int fd, const struct address *address,
	const struct channel_user *user, void *arg);
/* The waiting channel that was used last, not longer ago than that, or NULL. */
struct channel *channel_acquire(
	struct pool *pool, msec_t max_idle_ms, const struct channel_user *user, void *arg);
/* The user is done with it, and it can serve another one. */
void channel_release(struct channel *channel);
/* Lets it go from anywhere: no callback follows, it closes in the next turn of the loop. */
void channel_doom(struct channel *channel);

bool channel_is_ready(const struct channel *channel);
const struct address *channel_address(const struct channel *channel);
struct evbuffer *channel_input(const struct channel *channel);
/* Bytes put in here are sent. */
struct evbuffer *channel_output(const struct channel *channel);
/* Of its whole life. */
uint64_t channel_bytes_sent(const struct channel *channel);
uint64_t channel_bytes_received(const struct channel *channel);

/* Stops and goes on reading. */
void channel_pause(struct channel *channel);
void channel_resume(struct channel *channel);
/* What has not been sent will not be. */
void channel_stop_sending(struct channel *channel);

/* Why the TLS handshake failed. */
void channel_describe_handshake(
	const struct channel *channel, const struct channel_end *end, struct failure *ret);
