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
