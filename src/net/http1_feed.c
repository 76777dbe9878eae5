#include "net/http1_feed.h"

#include <event2/buffer.h>

enum http1_event http1_feed(
	struct http1_reader *reader, struct evbuffer *input, struct evbuffer *body)
{
	enum http1_event event;

	do {
		size_t len = evbuffer_get_contiguous_space(input);
		const char *bytes =
			len ? (const char *)evbuffer_pullup(input, (ev_ssize_t)len) : "";
		struct http1_step step;

		event = http1_read(reader, bytes, len, &step);
		if (event == HTTP1_BODY && body) {
			/* The piece stands at the end of what was used. */
			evbuffer_drain(input, step.used - step.piece_len);
			evbuffer_remove_buffer(input, body, step.piece_len);
		} else {
			evbuffer_drain(input, step.used);
		}
	} while (event == HTTP1_MORE && evbuffer_get_length(input) > 0);
	return event;
}
