#include "net/buffer.h"

#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void buffer_each(struct evbuffer *buffer, buffer_on_bytes *on_bytes, void *arg)
{
	int count = evbuffer_peek(buffer, -1, NULL, NULL, 0);
	struct evbuffer_iovec *pieces;

	if (count <= 0)
		return;
	pieces = xcalloc((size_t)count, sizeof(*pieces));
	evbuffer_peek(buffer, -1, NULL, pieces, count);
	for (int i = 0; i < count; i++)
		on_bytes(arg, pieces[i].iov_base, pieces[i].iov_len);
	free(pieces);
}

static void feed_peek(void *peek, const void *bytes, size_t len)
{
	json_peek_feed(peek, bytes, len);
}

void buffer_peek_json(struct evbuffer *buffer, struct json_peek *peek, const char *const *keys)
{
	json_peek_init(peek, keys);
	buffer_each(buffer, feed_peek, peek);
}

/* ---- Replacing. */

/* Keeps memory that others refer to. Not evbuffer_add_buffer_reference() alone: libevent does not
 * make a reference to what is itself one, and a body is sent as one for each attempt. */
struct pin {
	struct evbuffer *source;
	size_t references;
};

static void unpin(const void *bytes, size_t len, void *arg)
{
	struct pin *pin = arg;

	(void)bytes;
	(void)len;
	if (--pin->references > 0)
		return;
	evbuffer_free(pin->source);
	free(pin);
}

/* NULL: the buffer is itself a reference. */
static struct pin *pin_new(struct evbuffer *buffer)
{
	struct evbuffer *source = evbuffer_new();
	struct pin *pin;

	if (!source)
		abort();
	if (evbuffer_add_buffer_reference(source, buffer) != 0) {
		evbuffer_free(source);
		return NULL;
	}
	pin = xcalloc(1, sizeof(*pin));
	pin->source = source;
	pin->references = 1; /* its maker's */
	return pin;
}

/* Copies the bytes from `begin` to `end` by reference. */
struct slice {
	struct pin *pin;
	struct evbuffer *to;
	size_t begin, end, at;
};

static void add_slice(void *arg, const void *bytes, size_t len)
{
	struct slice *slice = arg;
	size_t from = slice->begin > slice->at ? slice->begin - slice->at : 0;
	size_t until = slice->end > slice->at ? slice->end - slice->at : 0;

	slice->at += len;
	if (until > len)
		until = len;
	if (from >= until)
		return;
	slice->pin->references++;
	if (evbuffer_add_reference(
		    slice->to, (const char *)bytes + from, until - from, unpin, slice->pin) != 0)
		abort();
}

static void add_by_reference(struct evbuffer *to, struct pin *pin, size_t begin, size_t end)
{
	struct slice slice = {.pin = pin, .to = to, .begin = begin, .end = end};

	buffer_each(pin->source, add_slice, &slice);
}

struct evbuffer *buffer_replace_json_string(
	struct evbuffer *body, const char *key, const char *value)
{
	const char *const keys[] = {key, NULL};
	struct json_peek peek;
	const struct json_value *old = &peek.values[0];
	_cleanup_str_ struct str quoted = STR_NULL;
	struct evbuffer *made;
	struct pin *pin;

	buffer_peek_json(body, &peek, keys);
	if (!json_peek_is_whole(&peek) || old->type != JSON_STRING || !old->whole || old->seen != 1)
		return NULL;
	pin = pin_new(body);
	if (!pin)
		return NULL;
	json_quote(&quoted, value, strlen(value));
	made = evbuffer_new();
	if (!made)
		abort();
	add_by_reference(made, pin, 0, old->begin);
	if (evbuffer_add(made, quoted.data, quoted.len) != 0)
		abort();
	add_by_reference(made, pin, old->end, evbuffer_get_length(body));
	unpin(NULL, 0, pin);
	return made;
}
