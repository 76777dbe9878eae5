#include "net/buffer.h"

#include <event2/buffer.h>
#include <stdlib.h>

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
