#pragma once

/* HTTP/1.x messages, read as their bytes come (RFC 9112), in both directions: bytes in, events
 * out; no I/O. Of a response it forgives what section 2.2 and 5 let a recipient forgive and what
 * leaves no doubt; of a request nothing. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/fields.h"

enum http1_side { HTTP1_REQUEST, HTTP1_RESPONSE };

struct http1_limits {
	size_t head_bytes; /* from the first byte to the empty line's end; trailers have as much */
	size_t fields;     /* field lines; trailers have as many */
};

enum http1_framing {
	HTTP1_NO_BODY,
	HTTP1_LENGTH,
	HTTP1_CHUNKED,
	HTTP1_UNTIL_CLOSE, /* of a response only */
};

struct http1_head {
	int minor;             /* HTTP/1.`minor` */
	char *method, *target; /* of a request */
	int status;            /* of a response */
	char *reason;          /* of a response; may be empty */
	struct fields fields;  /* as they came; values without the blanks around them */
	enum http1_framing framing;
	uint64_t length; /* HTTP1_LENGTH */
};

enum http1_event {
	HTTP1_MORE,  /* everything was used; the message goes on */
	HTTP1_HEAD,  /* http1_head() is whole */
	HTTP1_BODY,  /* a piece of the body */
	HTTP1_END,   /* the message is whole; what follows was not touched */
	HTTP1_WRONG, /* http1_error() says why; the reader gives nothing else any more */
};

struct http1_step {
	size_t used;       /* bytes that the caller takes off its input, whatever the event */
	const char *piece; /* HTTP1_BODY: points into the caller's bytes */
	size_t piece_len;
};

struct http1_reader;

struct http1_reader *http1_new(enum http1_side side, const struct http1_limits *limits);
void http1_free(struct http1_reader *reader);

/* Begins a message; what was known of the last one is gone. `bodiless`: the answer to a HEAD,
 * which has no body whatever its fields say. A new reader has begun. */
void http1_begin(struct http1_reader *reader, bool bodiless);

/* Takes bytes up to the next event. Bytes may come in pieces of any size; the caller calls again
 * with what is left, even if that is nothing, until HTTP1_MORE, HTTP1_END or HTTP1_WRONG: the end
 * of a message may be due without another byte. After HTTP1_END it calls http1_begin() first. An
 * interim answer (1xx) is a message of its own: HEAD, then END. Trailers are dropped. */
enum http1_event http1_read(
	struct http1_reader *reader, const char *bytes, size_t len, struct http1_step *ret);

/* Valid from HTTP1_HEAD until the next http1_begin(); its fields always, as far as they have come.
 */
const struct http1_head *http1_head(const struct http1_reader *reader);

/* The connection has ended in an orderly way: is the message whole with that? Not before its head,
 * nor before a last chunk and its trailers. */
bool http1_ends_with_close(const struct http1_reader *reader);
/* After HTTP1_HEAD: may the connection carry another message after this one (RFC 9112, 9.3)? Not
 * if there was a doubt about its length, either. */
bool http1_persists(const struct http1_reader *reader);

/* After HTTP1_WRONG: what is wrong, in words ("a chunk size that is no number"), and, for a
 * request, the status to answer with (400, 431, 501, 505). Else NULL and 0. */
const char *http1_error(const struct http1_reader *reader);
int http1_error_status(const struct http1_reader *reader);
