#pragma once

/* A reader of HTTP/1 messages fed from an evbuffer, without copying bodies. */

#include "net/http1.h"

struct evbuffer;

/* One step of the reader over `input`, from which it takes what it has read; also without a byte,
 * since a message may end so. A piece of a body (HTTP1_BODY) is moved into `body`; NULL: dropped.
 * HTTP1_MORE: everything was taken. */
enum http1_event http1_feed(
	struct http1_reader *reader, struct evbuffer *input, struct evbuffer *body);
