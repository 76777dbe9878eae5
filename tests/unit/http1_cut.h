#pragma once

/* Tables of messages and of what a reader says of them (http1_log.h), each message whole, in two
 * pieces cut at every byte, and byte by byte. */

#include "base/mem.h"
#include "http1_log.h"
#include "test.h"

struct row {
	const char *message, *want; /* +N: bytes behind the message, which it leaves */
};

static const struct http1_limits roomy = {.head_bytes = 16384, .fields = 100};

/* Of a copy without a byte to spare, so that a read behind the end is seen. How many were used. */
static inline size_t read_exactly(
	struct http1_log *log, struct http1_reader *reader, const char *bytes, size_t len)
{
	_cleanup_free_ char *exact = xmalloc(len);

	memcpy(exact, bytes, len);
	return log->over ? 0 : http1_log_read(log, reader, exact, len);
}

static inline void check_log(struct http1_log *log, size_t unused, const char *want)
{
	if (unused > 0 && !strstr(str_text(&log->text), "wrong"))
		str_addf(&log->text, " +%zu", unused);
	CHECK_STR(str_text(&log->text), want);
	CHECK(log->sound);
	str_fini(&log->text);
}

static inline void check_in_two(struct http1_reader *reader, const struct row *row, size_t first)
{
	struct http1_log log = {.sound = true};
	size_t len = strlen(row->message);
	size_t used = read_exactly(&log, reader, row->message, first);

	used += read_exactly(&log, reader, row->message + first, len - first);
	check_log(&log, len - used, row->want);
}

static inline void check_by_bytes(struct http1_reader *reader, const struct row *row)
{
	struct http1_log log = {.sound = true};
	size_t len = strlen(row->message), used = 0;

	for (size_t at = 0; at < len; at++)
		used += read_exactly(&log, reader, row->message + at, 1);
	check_log(&log, len - used, row->want);
}

/* One reader for all rows: nothing of one message may be left for the next. */
static inline void check_rows(
	enum http1_side side, bool bodiless, const struct row *rows, size_t count)
{
	struct http1_reader *reader = http1_new(side, &roomy);

	for (size_t i = 0; i < count; i++) {
		for (size_t first = 0; first <= strlen(rows[i].message); first++) {
			ROW("%s, cut at %zu", rows[i].message, first);
			http1_begin(reader, bodiless);
			check_in_two(reader, &rows[i], first);
		}
		ROW("%s, byte by byte", rows[i].message);
		http1_begin(reader, bodiless);
		check_by_bytes(reader, &rows[i]);
	}
	http1_free(reader);
}
