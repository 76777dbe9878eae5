#pragma once

/* What a reader of net/http1.h says of a message, as one line: the head with its framing, the body
 * between angle brackets, then `end`, `wrong ...` or nothing if the message goes on. However the
 * bytes were cut, the line is the same. For the unit tests and the fuzz target. */

#include "base/str.h"
#include "net/http1.h"

struct http1_log {
	struct str text;
	bool in_body;
	bool over;  /* END or WRONG has come */
	bool sound; /* what net/http1.h promises of every step held */
};

static inline void http1_log_head(struct http1_log *log, const struct http1_head *head)
{
	str_addf(&log->text, "1.%d ", head->minor);
	if (head->method)
		str_addf(&log->text, "%s %s", head->method, head->target);
	else
		str_addf(&log->text, "%d \"%s\"", head->status, head->reason);
	for (size_t i = 0; i < head->fields.count; i++)
		str_addf(&log->text, " [%s: %s]", head->fields.list[i].name,
			head->fields.list[i].value);
	if (head->framing == HTTP1_LENGTH)
		str_addf(&log->text, " length %llu", (unsigned long long)head->length);
	else if (head->framing == HTTP1_CHUNKED)
		str_add(&log->text, " chunked");
	else if (head->framing == HTTP1_UNTIL_CLOSE)
		str_add(&log->text, " until close");
}

static inline void http1_log_wrong(struct http1_log *log, const struct http1_reader *reader)
{
	if (log->text.len > 0)
		str_add_char(&log->text, ' ');
	str_add(&log->text, "wrong");
	if (http1_error_status(reader))
		str_addf(&log->text, " %d", http1_error_status(reader));
	str_addf(&log->text, ": %s", http1_error(reader));
}

static inline void http1_log_event(struct http1_log *log, const struct http1_reader *reader,
	enum http1_event event, const struct http1_step *step)
{
	bool in_body = event == HTTP1_BODY || (event == HTTP1_MORE && log->in_body);

	if (in_body != log->in_body)
		str_add(&log->text, in_body ? " <" : ">");
	log->in_body = in_body;
	log->over = event == HTTP1_END || event == HTTP1_WRONG;
	if (event == HTTP1_HEAD)
		http1_log_head(log, http1_head(reader));
	else if (event == HTTP1_BODY)
		str_add_bytes(&log->text, step->piece, step->piece_len);
	else if (event == HTTP1_END)
		str_add(&log->text, " end");
	else if (event == HTTP1_WRONG)
		http1_log_wrong(log, reader);
}

static inline bool http1_log_is_sound(
	enum http1_event event, const struct http1_step *step, const char *bytes, size_t len)
{
	if (step->used > len || (event == HTTP1_MORE && step->used != len))
		return false;
	if (event != HTTP1_BODY)
		return !step->piece && step->piece_len == 0;
	return step->piece_len > 0 && step->piece >= bytes &&
	       step->piece + step->piece_len == bytes + step->used;
}

/* Reads until the bytes or the message are at their end; how many were used. */
static inline size_t http1_log_read(
	struct http1_log *log, struct http1_reader *reader, const char *bytes, size_t len)
{
	size_t used = 0, idle = 0;
	enum http1_event event;
	struct http1_step step;

	do {
		event = http1_read(reader, bytes + used, len - used, &step);
		log->sound =
			log->sound && http1_log_is_sound(event, &step, bytes + used, len - used);
		idle = step.used == 0 ? idle + 1 : 0;
		used += step.used;
		http1_log_event(log, reader, event, &step);
	} while (event != HTTP1_MORE && !log->over && log->sound);
	log->sound = log->sound && idle <= 2; /* at most a head and an end without a byte */
	return used;
}
