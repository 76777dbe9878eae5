#pragma once

/* Reading an evbuffer where it lies, without moving or joining its chains. */

#include <stddef.h>

#include "base/json.h"

struct evbuffer;

typedef void buffer_on_bytes(void *arg, const void *bytes, size_t len);

/* Calls `on_bytes` for each contiguous piece, in order. */
void buffer_each(struct evbuffer *buffer, buffer_on_bytes *on_bytes, void *arg);

/* Peeks at a whole buffer of JSON for these keys (base/json.h). */
void buffer_peek_json(struct evbuffer *buffer, struct json_peek *peek, const char *const *keys);
