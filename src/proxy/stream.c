#include "proxy/stream.h"

#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>

enum {
	EVENT_LIMIT = 64 << 10, /* a larger event goes out in pieces */
	JUDGED_BYTES = 256,     /* enough to tell events from something else */
};

static struct evbuffer *new_buffer(void)
{
	struct evbuffer *buffer = evbuffer_new();

	if (!buffer)
		abort();
	return buffer;
}

void stream_init(struct stream *stream, enum sse_dialect dialect)
{
	*stream = (struct stream){.dialect = dialect};
	stream->pending = new_buffer();
	stream->evidence = new_buffer();
}

void stream_fini(struct stream *stream)
{
	if (stream->pending)
		evbuffer_free(stream->pending);
	if (stream->evidence)
		evbuffer_free(stream->evidence);
}

static bool is_open(const struct stream *stream)
{
	return stream->state == STREAM_SILENT || stream->state == STREAM_SPEAKING;
}

static void fail(struct stream *stream, const char *event, size_t len)
{
	stream->state = STREAM_FAILED;
	sse_error_read(event, len, &stream->error);
	evbuffer_add(stream->evidence, event, len);
}

/* An event is whole; false if it must not go out. */
static bool take_event(struct stream *stream, const char *event, size_t len)
{
	enum sse_kind kind = stream->torn
				     ? stream->torn_kind
				     : sse_classify(stream->dialect, event, len, &stream->choices);

	if (stream->state == STREAM_SILENT && sse_judge_start(event, len) == SSE_START_OTHER) {
		stream->state = STREAM_OTHER;
		return false;
	}
	stream->torn = false;
	if (kind == SSE_ERROR) {
		fail(stream, event, len);
		return false;
	}
	if (kind == SSE_SILENT)
		return true;
	stream->spoken = true;
	stream->state = kind == SSE_TERMINAL ? STREAM_TERMINATED : STREAM_SPEAKING;
	return true;
}

/* Takes bytes of the stream. How many bytes of `pending`, these included, may go out. */
static size_t scan(struct stream *stream, const char *bytes, size_t len)
{
	size_t old = evbuffer_get_length(stream->pending), whole = 0, done = 0, event;

	evbuffer_add(stream->pending, bytes, len);
	while (is_open(stream) &&
		(event = sse_scan(&stream->scanner, bytes + done, len - done)) > 0) {
		size_t end = old + done + event;
		const char *all = (const char *)evbuffer_pullup(stream->pending, (ev_ssize_t)end);

		if (take_event(stream, all + whole, end - whole))
			whole = end;
		done += event;
	}
	return whole;
}

/* The begun event is too large to wait for its end; its name stands in its first part. */
static void tear(struct stream *stream)
{
	size_t len = evbuffer_get_length(stream->pending);
	const char *part = (const char *)evbuffer_pullup(stream->pending, -1);

	if (stream->state == STREAM_SILENT && sse_judge_start(part, len) == SSE_START_OTHER) {
		stream->state = STREAM_OTHER;
		return;
	}
	stream->torn_kind = sse_classify(stream->dialect, part, len, &stream->choices);
	if (stream->torn_kind == SSE_ERROR) {
		fail(stream, part, len);
		return;
	}
	stream->torn = stream->spoken = true;
	stream->state = STREAM_SPEAKING;
}

/* Nothing behind the last word is taken, but the rest of its own line end may not have come yet. */
static void drop_rest(struct stream *stream, const char *bytes, size_t len, struct evbuffer *ready)
{
	bool is_cut = stream->state == STREAM_TERMINATED && len > 0 && bytes[len - 1] == '\r' &&
		      evbuffer_get_length(stream->pending) == 0;

	evbuffer_drain(stream->pending, evbuffer_get_length(stream->pending));
	if (is_cut && memchr(bytes, '\n', len))
		evbuffer_add(ready, "\n", 1);
}

static void feed_bytes(struct stream *stream, const char *bytes, size_t len, struct evbuffer *ready)
{
	size_t whole = scan(stream, bytes, len);

	evbuffer_remove_buffer(stream->pending, ready, whole);
	if (is_open(stream) && !stream->torn && evbuffer_get_length(stream->pending) > EVENT_LIMIT)
		tear(stream);
	if (stream->state == STREAM_OTHER)
		evbuffer_add_buffer(stream->evidence, stream->pending);
	else if (!is_open(stream))
		drop_rest(stream, bytes, len, ready);
	else if (stream->torn)
		evbuffer_add_buffer(ready, stream->pending);
}

/* Before the first line is whole it may turn out that these are no events at all. */
static void judge_start(struct stream *stream)
{
	char start[JUDGED_BYTES];
	ev_ssize_t len = evbuffer_copyout(stream->pending, start, sizeof(start));

	if (len > 0 && sse_judge_start(start, (size_t)len) == SSE_START_OTHER) {
		stream->state = STREAM_OTHER;
		evbuffer_add_buffer(stream->evidence, stream->pending);
	}
}

void stream_feed(struct stream *stream, struct evbuffer *piece, struct evbuffer *ready)
{
	while (is_open(stream) && evbuffer_get_length(piece) > 0) {
		size_t len = evbuffer_get_contiguous_space(piece);
		bool silent = stream->state == STREAM_SILENT;

		feed_bytes(
			stream, (const char *)evbuffer_pullup(piece, (ev_ssize_t)len), len, ready);
		evbuffer_drain(piece, len);
		if (silent && stream->state == STREAM_SILENT)
			judge_start(stream);
	}
	if (stream->state == STREAM_OTHER)
		evbuffer_add_buffer(stream->evidence, piece);
	evbuffer_drain(piece, evbuffer_get_length(piece));
}

/* A dialect without a terminal event ends where HTTP ends. */
static bool is_whole(const struct stream *stream)
{
	return stream->state == STREAM_TERMINATED || stream->dialect == SSE_PLAIN ||
	       sse_choices_done(&stream->choices);
}

enum error stream_end(struct stream *stream, struct evbuffer *ready)
{
	size_t len = evbuffer_get_length(stream->pending);
	bool torn = stream->torn; /* then its end may be all that is missing */

	const char *last = len ? (const char *)evbuffer_pullup(stream->pending, -1) : "";
	bool cut = torn ? stream->scanner.in_line : len == 0 || sse_is_cut(last, len);

	if (is_open(stream) && !cut)
		take_event(stream, last, len);
	if (stream->state == STREAM_FAILED || stream->state == STREAM_OTHER)
		return ERROR_STREAM_ERROR;
	if (!is_whole(stream)) { /* nor does half of its last event go out */
		stream->torn = torn;
		return ERROR_STREAM_TRUNCATED;
	}
	evbuffer_add_buffer(ready, stream->pending);
	return ERROR_NONE;
}
