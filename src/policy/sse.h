#pragma once

/* Server-sent events (WHATWG HTML, 9.2): where one ends, and what it means for the stream that it
 * stands in. Lines end with LF, CR or CRLF; an event ends with an empty line. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/soft_error.h"

/* Finds the ends of events in a stream that comes in pieces. */
struct sse_scanner {
	bool in_line;  /* bytes since the last line end */
	bool in_event; /* a line since the last empty one */
	bool after_cr; /* an LF now belongs to the CR before it */
};

/* How many of these bytes belong to the event that ends first among them; 0: none ends here. The
 * caller goes on behind them. */
size_t sse_scan(struct sse_scanner *scanner, const char *bytes, size_t len);

/* What ends a stream, by endpoint (CONTRACT, Streaming). */
enum sse_dialect {
	SSE_PLAIN,     /* nothing: its HTTP end is its end */
	SSE_CHAT,      /* /chat/completions, /completions: data: [DONE] */
	SSE_MESSAGES,  /* /messages: message_stop */
	SSE_RESPONSES, /* /responses: response.completed, .incomplete, .failed */
};

enum sse_dialect sse_dialect_of(const char *path);

enum sse_kind {
	SSE_SILENT, /* comments, blank lines, `id:` and `retry:`: no event for the client's code */
	SSE_ORDINARY,
	SSE_ERROR,    /* named so, or its data is a soft error, or of the type "error" */
	SSE_TERMINAL, /* the stream is whole */
};

/* The choices of a chat stream by their index; those from 63 on are one. */
struct sse_choices {
	uint64_t seen, finished;
};

/* Has every choice seen had its finish_reason? Then a clean end is one, also without [DONE]. */
bool sse_choices_done(const struct sse_choices *choices);

/* What a whole event is; `event` includes its empty line. `choices` (zeroed at the stream's
 * beginning) keeps what earlier events said. JSON that is spread over several lines is read up to
 * 4 KiB. */
enum sse_kind sse_classify(
	enum sse_dialect dialect, const char *event, size_t len, struct sse_choices *choices);

/* The words of an event that is SSE_ERROR; where its data is no JSON it is itself the message. */
void sse_error_read(const char *event, size_t len, struct soft_error *ret);

/* Of an event without its empty line: does it break off in its data, or before? Then its name alone
 * does not make it a last word. */
bool sse_is_cut(const char *event, size_t len);

/* The data of an event that has it on one line, where it stands; else NULL. */
const char *sse_data(const char *event, size_t len, size_t *ret_len);

enum sse_start {
	SSE_START_UNDECIDED, /* so far a BOM, blank lines, comments, or the beginning of a name */
	SSE_START_EVENTS,
	SSE_START_OTHER, /* HTML, JSON, text */
};

/* Do the first bytes of an answer look like an event stream's? */
enum sse_start sse_judge_start(const char *bytes, size_t len);
