/* Fuzzes net/http1.h: every step keeps its promises, and what a reader says of a stream of messages
 * does not depend on where the stream was cut. How to build and run it: README.md. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "http1_log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first byte: what is read, and how it is cut. */
struct plan {
	enum http1_side side;
	bool bodiless;
	struct http1_limits limits;
	size_t cuts; /* 0 to 15 */
};

static struct plan plan_of(uint8_t byte)
{
	static const struct http1_limits limits[] = {{64, 2}, {256, 4}, {8192, 16}, {0, 0}};

	return (struct plan){
		.side = byte & 1 ? HTTP1_RESPONSE : HTTP1_REQUEST,
		.bodiless = byte & 2,
		.limits = limits[byte >> 2 & 3],
		.cuts = byte >> 4,
	};
}

static void require(bool holds, const char *what, const struct str *text)
{
	if (holds)
		return;
	fprintf(stderr, "%s\n%s\n", what, str_text(text));
	abort();
}

/* What is known at the end of a message, or of the bytes. */
static void log_state(struct http1_log *log, const struct http1_reader *reader)
{
	str_addf(&log->text, " persists %d, whole %d", http1_persists(reader),
		http1_ends_with_close(reader));
}

/* The next piece: all of it, one byte, or as many as the bytes at hand say. */
static size_t piece_len(const struct plan *plan, const char *bytes, size_t left)
{
	size_t len = plan->cuts ? 1 : left;

	if (plan->cuts > 1)
		len += ((unsigned char)bytes[0] * plan->cuts) % (plan->cuts * 3);
	return len < left ? len : left;
}

/* Reads one piece, which may end some messages; from a copy without a byte to spare. False if the
 * stream is wrong. */
static bool read_piece(struct http1_log *log, struct http1_reader *reader, const struct plan *plan,
	const char *piece, size_t len)
{
	_cleanup_free_ char *exact = xmalloc(len);
	size_t used = 0, messages = 0;

	memcpy(exact, piece, len);
	do {
		log->over = false;
		used += http1_log_read(log, reader, exact + used, len - used);
		require(log->sound, "a step broke its promise", &log->text);
		require(messages++ <= len, "no progress", &log->text);
		if (log->over && http1_error(reader))
			return false;
		if (log->over) {
			log_state(log, reader);
			str_add_char(&log->text, '\n');
			http1_begin(reader, plan->bodiless);
		}
	} while (used < len);
	return true;
}

static void read_stream(
	struct str *ret_text, const struct plan *plan, const char *bytes, size_t len)
{
	struct http1_reader *reader = http1_new(plan->side, &plan->limits);
	struct http1_log log = {.sound = true};
	size_t done = 0;
	bool holds = true;

	http1_begin(reader, plan->bodiless);
	while (holds && done < len) {
		size_t piece = piece_len(plan, bytes + done, len - done);

		holds = read_piece(&log, reader, plan, bytes + done, piece);
		done += piece;
	}
	log_state(&log, reader);
	http1_free(reader);
	*ret_text = log.text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct plan plan = plan_of(size ? data[0] : 0), whole = plan, bytewise = plan;
	const char *bytes = (const char *)data + 1;
	struct str want, got, by_bytes;

	if (size < 2)
		return 0;
	whole.cuts = 0;
	bytewise.cuts = 1;
	read_stream(&want, &whole, bytes, size - 1);
	read_stream(&got, &plan, bytes, size - 1);
	read_stream(&by_bytes, &bytewise, bytes, size - 1);
	require(want.len == got.len && memcmp(str_text(&want), str_text(&got), want.len) == 0,
		"the cut changed what was read", &got);
	require(want.len == by_bytes.len &&
			memcmp(str_text(&want), str_text(&by_bytes), want.len) == 0,
		"byte by byte it was read otherwise", &by_bytes);
	str_fini(&want);
	str_fini(&got);
	str_fini(&by_bytes);
	return 0;
}
