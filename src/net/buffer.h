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

/* A JSON object with another string as the value of its top-level member `key`; the rest is the
 * same to the byte, and the same memory: `body` must not be changed any more, but may be freed.
 * NULL if it is no object that comes to its end, or has no such member, two of them (readers do not
 * agree which one counts), or one that is no string; or if `body` was made by
 * evbuffer_add_buffer_reference(). The caller frees it. */
struct evbuffer *buffer_replace_json_string(
	struct evbuffer *body, const char *key, const char *value);
