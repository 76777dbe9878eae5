#pragma once

/* A stream of server-sent events on its way from the upstream: cut into whole events, so that a
 * break leaves no half event in front of the client, and judged: what has been said, whether it is
 * an error, whether the stream has said its last word. Lives inside its attempt. */

#include <stdbool.h>
#include <stddef.h>

#include "policy/failure.h"
#include "policy/soft_error.h"
#include "policy/sse.h"

struct evbuffer;

/*   SILENT --> SPEAKING --> TERMINATED     (SILENT and SPEAKING) --> FAILED, OTHER */
enum stream_state {
	STREAM_SILENT,     /* no event yet, or comments only */
	STREAM_SPEAKING,   /* an event has come */
	STREAM_TERMINATED, /* the terminal event has come; nothing behind it is taken */
	STREAM_FAILED,     /* an error event has come; it and what follows is not taken */
	STREAM_OTHER,      /* what came first are no events */
};

struct stream {
	enum stream_state state;
	enum sse_dialect dialect;
	struct sse_scanner scanner;
	struct sse_choices choices;
	struct evbuffer *pending;  /* the begun event */
	bool spoken;               /* an event that is no error has come whole, or begun */
	bool torn;                 /* it was too large: a part of it was handed out */
	enum sse_kind torn_kind;   /* what that part said */
	struct soft_error error;   /* FAILED: what the event said */
	struct evbuffer *evidence; /* FAILED: the event itself; OTHER: all that came */
};

void stream_init(struct stream *stream, enum sse_dialect dialect);
/* Of a zeroed one, too. */
void stream_fini(struct stream *stream);
/* Takes all of `piece` and adds to `ready` what may go to the client: whole events, and pieces of
 * one that is too large to wait for its end. */
void stream_feed(struct stream *stream, struct evbuffer *piece, struct evbuffer *ready);
/* The upstream has ended the answer in an orderly way; the last event may lack its empty line and
 * is added to `ready`. ERROR_NONE if the stream is whole. */
enum error stream_end(struct stream *stream, struct evbuffer *ready);
