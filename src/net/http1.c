#include "net/http1.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "net/http1_chunk.h"
#include "net/http1_head.h"

enum {
	CHUNK_LINE_BYTES = 4096, /* a size and its extensions, with the line's end */
	CHUNK_END_BYTES = 2,
	REQUEST_EMPTY_LINES = 1, /* before the start line (RFC 9112, 2.2) */
	RESPONSE_EMPTY_LINES = 4,
};

/* START_LINE --> FIELDS --+--> BODY --+--> WHOLE ------------+--> ENDED
 *                         |           ^                      ^
 *                         +-----------+ no body              |
 *                         |                                  |
 *                         +--> CHUNK_SIZE ----> TRAILERS ----+
 *                               |      ^
 *                       CHUNK_DATA --> CHUNK_END
 *
 * BODY has a known length, or goes on until the connection closes, and then WHOLE does not come.
 * WHOLE is the state of a message whose HTTP1_END is still to be given. WRONG follows any of those
 * before WHOLE; only http1_begin() leads out of ENDED and WRONG. */
enum state {
	START_LINE,
	FIELDS,
	BODY,
	CHUNK_SIZE,
	CHUNK_DATA,
	CHUNK_END,
	TRAILERS,
	WHOLE,
	ENDED,
	WRONG,
};

struct http1_reader {
	enum http1_side side;
	struct http1_limits limits;
	bool bodiless;
	enum state state;
	struct str line;    /* the line at work, as far as it has come */
	struct str field;   /* the last field line: the next line may go on with it (obs-fold) */
	size_t bytes_left;  /* of the head, the trailers, or the chunk's line */
	size_t fields_left; /* of the head or the trailers */
	int empty_lines;    /* before the start line */
	uint64_t body_left; /* of a body with a length, or of the chunk */
	struct http1_head head;
	struct http1_fault fault;
};

/* The one place that changes the state: each state begins with its limits. */
static void enter(struct http1_reader *reader, enum state state)
{
	reader->state = state;
	switch (state) {
	case START_LINE:
	case TRAILERS:
		reader->bytes_left = reader->limits.head_bytes;
		reader->fields_left = reader->limits.fields;
		break;
	case CHUNK_SIZE:
		reader->bytes_left = CHUNK_LINE_BYTES;
		break;
	case CHUNK_END:
		reader->bytes_left = CHUNK_END_BYTES;
		break;
	default:
		break;
	}
}

struct http1_reader *http1_new(enum http1_side side, const struct http1_limits *limits)
{
	struct http1_reader *reader = xcalloc(1, sizeof(*reader));

	reader->side = side;
	reader->limits = *limits;
	http1_begin(reader, false);
	return reader;
}

void http1_free(struct http1_reader *reader)
{
	if (!reader)
		return;
	http1_head_fini(&reader->head);
	str_fini(&reader->line);
	str_fini(&reader->field);
	free(reader);
}

void http1_begin(struct http1_reader *reader, bool bodiless)
{
	http1_head_fini(&reader->head);
	str_wipe(&reader->line); /* the last field may have been a key */
	str_wipe(&reader->field);
	reader->bodiless = bodiless;
	reader->empty_lines = 0;
	reader->fault = (struct http1_fault){0, NULL};
	enter(reader, START_LINE);
}

static enum http1_event go_wrong(struct http1_reader *reader)
{
	enter(reader, WRONG);
	return HTTP1_WRONG;
}

static enum http1_event refuse(struct http1_reader *reader, int status, const char *why)
{
	http1_head_refuse(&reader->fault, status, why);
	return go_wrong(reader);
}

/* ---- The head and the trailers */

static enum http1_event on_empty_start(struct http1_reader *reader)
{
	int most = reader->side == HTTP1_REQUEST ? REQUEST_EMPTY_LINES : RESPONSE_EMPTY_LINES;

	if (++reader->empty_lines <= most)
		return HTTP1_MORE;
	return refuse(reader, 400, "empty lines instead of a start line");
}

static enum http1_event on_start_line(struct http1_reader *reader)
{
	const char *line = str_text(&reader->line);
	bool holds;

	if (*line == '\0')
		return on_empty_start(reader);
	if (reader->side == HTTP1_REQUEST)
		holds = http1_head_parse_request_line(line, &reader->head, &reader->fault);
	else
		holds = http1_head_parse_status_line(line, &reader->head, &reader->fault);
	if (!holds)
		return go_wrong(reader);
	enter(reader, FIELDS);
	return HTTP1_MORE;
}

/* The field that waited for its continuation has none, or no more. */
static bool finish_field(struct http1_reader *reader)
{
	const char *name, *value;

	if (reader->field.len == 0)
		return true;
	if (!http1_head_cut_field(reader->side, reader->field.data, &name, &value, &reader->fault))
		return false;
	if (reader->state == FIELDS) /* trailers are dropped */
		fields_add(&reader->head.fields, name, value);
	str_clear(&reader->field);
	return true;
}

/* obs-fold: the line's end and the blanks around it become one blank (RFC 9112, 5.2). */
static bool fold(struct http1_reader *reader)
{
	const char *more = reader->line.data + strspn(reader->line.data, HTTP1_BLANKS);
	struct str *field = &reader->field;

	if (reader->side == HTTP1_REQUEST)
		return http1_head_refuse(&reader->fault, 400, "a folded field line");
	if (field->len == 0)
		return http1_head_refuse(&reader->fault, 400, "a blank before the first field");
	while (strchr(HTTP1_BLANKS, field->data[field->len - 1]))
		field->data[--field->len] = '\0';
	str_addf(field, " %s", more);
	return true;
}

static bool add_field_line(struct http1_reader *reader)
{
	const char *line = str_text(&reader->line);

	if (strspn(line, HTTP1_BLANKS) > 0)
		return fold(reader);
	if (!finish_field(reader))
		return false;
	if (!strchr(line, ':'))
		return http1_head_refuse(&reader->fault, 400, "a field line without a colon");
	if (reader->fields_left == 0)
		return http1_head_refuse(&reader->fault, 431, "more fields than are allowed");
	reader->fields_left--;
	str_add(&reader->field, line);
	/* Of a request no line goes on: it is known at once, also to whoever must refuse the rest.
	 */
	return reader->side == HTTP1_RESPONSE || finish_field(reader);
}

static enum http1_event on_head(struct http1_reader *reader)
{
	struct http1_head *head = &reader->head;
	bool holds;

	if (reader->side == HTTP1_REQUEST)
		holds = http1_head_frame_request(head, &reader->fault);
	else
		holds = http1_head_frame_response(head, reader->bodiless, &reader->fault);
	if (!holds)
		return go_wrong(reader);
	reader->body_left = head->framing == HTTP1_UNTIL_CLOSE ? UINT64_MAX : head->length;
	if (head->framing == HTTP1_CHUNKED)
		enter(reader, CHUNK_SIZE);
	else
		enter(reader, reader->body_left > 0 ? BODY : WHOLE);
	return HTTP1_HEAD;
}

static enum http1_event on_field_line(struct http1_reader *reader)
{
	if (reader->line.len > 0)
		return add_field_line(reader) ? HTTP1_MORE : go_wrong(reader);
	if (!finish_field(reader))
		return go_wrong(reader);
	if (reader->state == FIELDS)
		return on_head(reader);
	enter(reader, ENDED);
	return HTTP1_END;
}

/* ---- Chunks */

static enum http1_event on_chunk_size(struct http1_reader *reader)
{
	if (!http1_chunk_parse_size(
		    reader->side, str_text(&reader->line), &reader->body_left, &reader->fault))
		return go_wrong(reader);
	enter(reader, reader->body_left > 0 ? CHUNK_DATA : TRAILERS);
	return HTTP1_MORE;
}

static enum http1_event on_chunk_end(struct http1_reader *reader)
{
	if (reader->line.len > 0)
		return refuse(reader, 400, "chunk data without a line end behind it");
	enter(reader, CHUNK_SIZE);
	return HTTP1_MORE;
}

/* ---- Lines */

static enum http1_event on_line(struct http1_reader *reader)
{
	switch (reader->state) {
	case START_LINE:
		return on_start_line(reader);
	case CHUNK_SIZE:
		return on_chunk_size(reader);
	case CHUNK_END:
		return on_chunk_end(reader);
	default:
		return on_field_line(reader);
	}
}

/* Takes the line's end off. A CR that remains is a control byte like any other: no reader agrees
 * with the next about what it means. */
static bool cut_line_end(struct http1_reader *reader)
{
	struct str *line = &reader->line;

	line->data[--line->len] = '\0';
	if (line->len > 0 && line->data[line->len - 1] == '\r')
		line->data[--line->len] = '\0';
	else if (reader->side == HTTP1_REQUEST)
		return http1_head_refuse(&reader->fault, 400, "a line that ends without CR");
	return !http1_head_has_control(line->data, line->len) ||
	       http1_head_refuse(&reader->fault, 400, "a control byte");
}

static enum http1_event on_long_line(struct http1_reader *reader)
{
	switch (reader->state) {
	case CHUNK_SIZE:
		return refuse(reader, 400, "a chunk's line longer than is allowed");
	case CHUNK_END:
		return refuse(reader, 400, "chunk data without a line end behind it");
	case TRAILERS:
		return refuse(reader, 431, "trailers longer than is allowed");
	default:
		return refuse(reader, 431, "a head longer than is allowed");
	}
}

static enum http1_event read_line(
	struct http1_reader *reader, const char *bytes, size_t len, struct http1_step *ret)
{
	size_t most = len < reader->bytes_left ? len : reader->bytes_left;
	const char *end = memchr(bytes, '\n', most);
	size_t taken = end ? (size_t)(end - bytes) + 1 : most;
	enum http1_event event;

	str_add_bytes(&reader->line, bytes, taken);
	reader->bytes_left -= taken;
	ret->used += taken;
	if (!end)
		return taken < len ? on_long_line(reader) : HTTP1_MORE;
	event = cut_line_end(reader) ? on_line(reader) : go_wrong(reader);
	str_clear(&reader->line);
	return event;
}

/* ---- The body */

static enum http1_event read_body(
	struct http1_reader *reader, const char *bytes, size_t len, struct http1_step *ret)
{
	size_t taken = len < reader->body_left ? len : (size_t)reader->body_left;

	if (taken == 0)
		return HTTP1_MORE;
	ret->piece = bytes;
	ret->piece_len = taken;
	ret->used += taken;
	reader->body_left -= taken; /* 2^64 bytes until the connection closes never come */
	if (reader->body_left == 0)
		enter(reader, reader->state == CHUNK_DATA ? CHUNK_END : WHOLE);
	return HTTP1_BODY;
}

/* HTTP1_MORE says only that there is no event yet. */
static enum http1_event read_some(
	struct http1_reader *reader, const char *bytes, size_t len, struct http1_step *ret)
{
	switch (reader->state) {
	case BODY:
	case CHUNK_DATA:
		return read_body(reader, bytes, len, ret);
	case WHOLE:
		enter(reader, ENDED);
		return HTTP1_END;
	case WRONG:
		return HTTP1_WRONG;
	default:
		return read_line(reader, bytes, len, ret);
	}
}

enum http1_event http1_read(
	struct http1_reader *reader, const char *bytes, size_t len, struct http1_step *ret)
{
	enum http1_event event;

	assert(reader->state != ENDED); /* http1_begin() comes before the next message */
	*ret = (struct http1_step){.used = 0};
	if (!bytes)
		bytes = ""; /* no offset into NULL, and no memchr() there */
	do
		event = read_some(reader, bytes + ret->used, len - ret->used, ret);
	while (event == HTTP1_MORE && ret->used < len);
	return event;
}

/* ---- What is known */

const struct http1_head *http1_head(const struct http1_reader *reader)
{
	return &reader->head;
}

bool http1_ends_with_close(const struct http1_reader *reader)
{
	switch (reader->state) {
	case BODY:
		return reader->head.framing == HTTP1_UNTIL_CLOSE;
	case WHOLE:
	case ENDED:
		return true;
	default:
		return false;
	}
}

bool http1_persists(const struct http1_reader *reader)
{
	bool has_head = reader->state > FIELDS && reader->state != WRONG;

	return has_head && http1_head_persists(&reader->head);
}

const char *http1_error(const struct http1_reader *reader)
{
	return reader->fault.why;
}

int http1_error_status(const struct http1_reader *reader)
{
	return reader->side == HTTP1_REQUEST ? reader->fault.status : 0;
}
