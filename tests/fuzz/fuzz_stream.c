/* Fuzzes proxy/stream.h and the event scanner below it: what goes out is what came in, in order and
 * in whole events, and neither it nor the verdict depends on how the stream was cut. */

#include <event2/buffer.h>

#include "fuzz.h"
#include "proxy/stream.h"

enum { SWOLLEN = 100000 };

struct outcome {
	struct str ready, evidence;
	enum stream_state state;
	enum error error;
	bool was_torn;
};

static void move_text(struct evbuffer *from, struct str *to)
{
	size_t len = evbuffer_get_length(from);

	if (len > 0)
		str_add_bytes(to, evbuffer_pullup(from, -1), len);
	evbuffer_drain(from, len);
}

static void outcome_fini(struct outcome *outcome)
{
	str_fini(&outcome->ready);
	str_fini(&outcome->evidence);
}

static struct outcome run(enum sse_dialect dialect, unsigned cuts, const uint8_t *bytes, size_t len)
{
	struct outcome outcome = {.was_torn = false};
	struct evbuffer *piece = evbuffer_new(), *ready = evbuffer_new();
	struct stream stream;
	size_t done = 0;

	stream_init(&stream, dialect);
	while (done < len) {
		size_t count = fuzz_piece(cuts, bytes + done, len - done);

		evbuffer_add(piece, bytes + done, count);
		stream_feed(&stream, piece, ready);
		REQUIRE(evbuffer_get_length(piece) == 0);
		move_text(ready, &outcome.ready);
		outcome.was_torn |= stream.torn;
		done += count;
	}
	outcome.error = stream_end(&stream, ready);
	move_text(ready, &outcome.ready);
	move_text(stream.evidence, &outcome.evidence);
	outcome.state = stream.state;
	stream_fini(&stream);
	evbuffer_free(piece);
	evbuffer_free(ready);
	return outcome;
}

/* How much of the input went out: the LF of a last CR LF may be given before it has come. */
static size_t given(const struct outcome *outcome, const uint8_t *bytes, size_t len)
{
	size_t ready = outcome->ready.len;
	bool lf = outcome->state == STREAM_TERMINATED && ready > 1 &&
		  str_ends(str_text(&outcome->ready), "\r\n");

	return lf && (ready > len || bytes[ready - 1] != '\n') ? ready - 1 : ready;
}

static void check(const struct outcome *outcome, const uint8_t *bytes, size_t len)
{
	size_t ready = given(outcome, bytes, len), evidence = outcome->evidence.len;

	REQUIRE(ready <= len && memcmp(str_text(&outcome->ready), bytes, ready) == 0);
	REQUIRE(ready + evidence <= len);
	if (evidence > 0)
		REQUIRE(memcmp(str_text(&outcome->evidence), bytes + ready, evidence) == 0);
	if (outcome->state == STREAM_OTHER)
		REQUIRE(ready + evidence == len);
	if (outcome->state != STREAM_OTHER && outcome->state != STREAM_FAILED)
		REQUIRE(evidence == 0);
	if (outcome->error == ERROR_NONE && outcome->state != STREAM_TERMINATED)
		REQUIRE(ready == len);
}

/* An event may end with a CR whose LF has not come yet; then the LF goes with what follows. */
static bool is_crlf_cut(const uint8_t *bytes, size_t len, size_t at)
{
	return at > 0 && at < len && bytes[at - 1] == '\r' && bytes[at] == '\n';
}

static void scan_by(unsigned cuts, const uint8_t *bytes, size_t len, struct str *ends)
{
	struct sse_scanner scanner = {.in_line = false};
	size_t done = 0;

	while (done < len) {
		size_t count = fuzz_piece(cuts, bytes + done, len - done), at = 0, event;

		while ((event = sse_scan(&scanner, (const char *)bytes + done + at, count - at)) >
			0) {
			REQUIRE(event <= count - at);
			at += event;
			str_addf(ends, "%zu ",
				done + at + (is_crlf_cut(bytes, len, done + at) ? 1 : 0));
		}
		done += count;
	}
}

static size_t end_of(const struct outcome *outcome, const struct str *bytes)
{
	size_t at = given(outcome, (const uint8_t *)bytes->data, bytes->len);

	return at + (is_crlf_cut((const uint8_t *)bytes->data, bytes->len, at) ? 1 : 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum sse_dialect dialect = size ? data[0] & 3 : 0;
	unsigned cuts = size ? data[0] >> 4 : 0;
	size_t swell = 1;
	struct str bytes = STR_NULL, ends[2] = {STR_NULL, STR_NULL};
	struct outcome whole, cut;

	if (size < 2)
		return 0;
	if (data[0] & 4) { /* beyond what is held of an event */
		swell = SWOLLEN / size;
		cuts = cuts ? 64 * cuts : 64;
	}
	for (size_t i = 0; i < swell; i++)
		str_add_bytes(&bytes, data + 1, size - 1);
	whole = run(dialect, 0, (const uint8_t *)bytes.data, bytes.len);
	cut = run(dialect, cuts ? cuts : 1, (const uint8_t *)bytes.data, bytes.len);
	check(&whole, (const uint8_t *)bytes.data, bytes.len);
	check(&cut, (const uint8_t *)bytes.data, bytes.len);
	if (!whole.was_torn && !cut.was_torn) {
		REQUIRE(whole.state == cut.state && whole.error == cut.error);
		REQUIRE(end_of(&whole, &bytes) == end_of(&cut, &bytes));
	}
	scan_by(0, (const uint8_t *)bytes.data, bytes.len, &ends[0]);
	scan_by(cuts ? cuts : 1, (const uint8_t *)bytes.data, bytes.len, &ends[1]);
	REQUIRE(str_same(str_text(&ends[0]), str_text(&ends[1])));
	for (size_t i = 0; i < 2; i++)
		str_fini(&ends[i]);
	outcome_fini(&whole);
	outcome_fini(&cut);
	str_fini(&bytes);
	return 0;
}
