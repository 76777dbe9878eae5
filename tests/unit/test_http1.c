#include "net/http1.h"

#include <stdint.h>
#include <stdlib.h>

#include "http1_cut.h"

/* What is not said message by message; those are in test_http1_request.c and _response.c. */

#define OK      "HTTP/1.1 200 OK\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n"
#define GET     "GET / HTTP/1.1\r\n"
#define UPLOAD  "POST / HTTP/1.1\r\n" CHUNKED "\r\n"

/* The line that a reader with these limits logs. */
static void log_message(struct str *ret_text, struct http1_reader *reader, const char *bytes)
{
	struct http1_log log = {.sound = true};

	http1_log_read(&log, reader, bytes, strlen(bytes));
	CHECK(log.sound);
	*ret_text = log.text;
}

/* ---- Limits */

#define TOO_LONG "a head longer than is allowed"
#define TOO_MANY "more fields than are allowed"
#define TRAILERS "trailers longer than is allowed"

/* A message that its limit just allows, and what it is told when it is one beyond. */
static const struct {
	enum http1_side side;
	struct http1_limits limits;
	const char *message, *want;
} edges[] = {
	{HTTP1_REQUEST, {18, 9}, GET "\r\n", TOO_LONG},
	{HTTP1_REQUEST, {20, 9}, "\r\n" GET "\r\n", TOO_LONG},
	{HTTP1_REQUEST, {24, 9}, GET "A: 1\r\n\r\n", TOO_LONG},
	{HTTP1_REQUEST, {47, 9}, UPLOAD "0\r\nA: 1\r\n\r\n", TOO_LONG},
	{HTTP1_REQUEST, {50, 9},
		UPLOAD "0\r\nA: 3456789 123456789 123456789 123456789 12345\r\n\r\n", TRAILERS},
	{HTTP1_RESPONSE, {17, 9}, "HTTP/1.1 204 \r\n\r\n", TOO_LONG},
	{HTTP1_RESPONSE, {27, 9}, "\n\r\nHTTP/1.1 204\nA: 1\n 234\n\n", TOO_LONG},
	{HTTP1_RESPONSE, {49, 9},
		OK CHUNKED "\r\n0\r\nA: 3456789 123456789 123456789 123456789 1234\r\n\r\n",
		TRAILERS},
	{HTTP1_REQUEST, {999, 1}, GET "A: 1\r\n\r\n", TOO_MANY},
	{HTTP1_REQUEST, {999, 3}, GET "A: 1\r\nA: 1\r\nB: 2\r\n\r\n", TOO_MANY},
	{HTTP1_REQUEST, {999, 2}, UPLOAD "0\r\nA: 1\r\nB: 2\r\n\r\n", TOO_MANY},
	{HTTP1_RESPONSE, {999, 2}, OK "A: 1\r\n 2\r\nContent-Length: 0\r\n\r\n", TOO_MANY},
	{HTTP1_RESPONSE, {999, 2}, OK CHUNKED "\r\n0\r\nA: 1\r\n 2\r\nB: 2\r\n\r\n", TOO_MANY},
};

static void check_edge(size_t i, struct http1_limits limits, const char *want)
{
	struct http1_reader *reader = http1_new(edges[i].side, &limits);
	struct str text;

	ROW("%s, %zu bytes and %zu fields", edges[i].message, limits.head_bytes, limits.fields);
	log_message(&text, reader, edges[i].message);
	CHECK_STR(http1_error(reader), want);
	CHECK_INT(http1_error_status(reader), want && edges[i].side == HTTP1_REQUEST ? 431 : 0);
	CHECK_INT(str_ends(str_text(&text), " end"), !want);
	str_fini(&text);
	http1_free(reader);
}

static void limits_hold_at_their_edge(void)
{
	for (size_t i = 0; i < COUNT_OF(edges); i++) {
		struct http1_limits beyond = edges[i].limits;

		check_edge(i, edges[i].limits, NULL);
		*(beyond.head_bytes < 999 ? &beyond.head_bytes : &beyond.fields) -= 1;
		check_edge(i, beyond, edges[i].want);
	}
}

static void check_chunk_line(enum http1_side side, const char *head, int len, bool holds)
{
	struct http1_reader *reader = http1_new(side, &roomy);
	struct str message = STR_NULL, text;

	ROW("side %d, a chunk's line of %d bytes", (int)side, len);
	str_addf(&message, "%s%0*d;%0*d\r\n\r\n", head, 100, 0, len - 103, 1);
	log_message(&text, reader, str_text(&message));
	CHECK_STR(http1_error(reader), holds ? NULL : "a chunk's line longer than is allowed");
	CHECK_INT(http1_error_status(reader), holds || side == HTTP1_RESPONSE ? 0 : 400);
	str_fini(&message);
	str_fini(&text);
	http1_free(reader);
}

static void a_chunk_line_has_4096_bytes(void)
{
	check_chunk_line(HTTP1_REQUEST, UPLOAD, 4096, true);
	check_chunk_line(HTTP1_REQUEST, UPLOAD, 4097, false);
	check_chunk_line(HTTP1_RESPONSE, OK CHUNKED "\r\n", 4096, true);
	check_chunk_line(HTTP1_RESPONSE, OK CHUNKED "\r\n", 4097, false);
}

/* Nothing but the limit stops a line that never ends. */
static void an_endless_line_is_refused(void)
{
	struct http1_reader *reader = http1_new(HTTP1_REQUEST, &roomy);
	struct http1_step step;
	size_t taken = 0;

	while (http1_read(reader, "x", 1, &step) == HTTP1_MORE && taken < 99999)
		taken++;
	CHECK_INT(taken, roomy.head_bytes);
	CHECK_INT(http1_error_status(reader), 431);
	http1_free(reader);
}

/* ---- Every byte in every place */

enum class {
	TOKEN,
	NAME,      /* of a field: a colon ends it */
	EXTENSION, /* of a chunk: may be followed by a value or by another one */
	VALUE,
	QUOTED,
	VISIBLE, /* of a target: no fragment */
};

/* The byte at @ is to be judged. */
static const struct {
	enum http1_side side;
	enum class class;
	const char *message;
} places[] = {
	{HTTP1_REQUEST, TOKEN, "G@T / HTTP/1.1\r\n\r\n"},
	{HTTP1_REQUEST, VISIBLE, "GET /@x HTTP/1.1\r\n\r\n"},
	{HTTP1_REQUEST, NAME, GET "A@A: 1\r\n\r\n"},
	{HTTP1_REQUEST, VALUE, GET "A: x@x\r\n\r\n"},
	{HTTP1_REQUEST, EXTENSION, UPLOAD "0;a@a\r\n\r\n"},
	{HTTP1_REQUEST, QUOTED, UPLOAD "0;a=\"x@x\"\r\n\r\n"},
	{HTTP1_REQUEST, VALUE, UPLOAD "0;a=\"\\@\"\r\n\r\n"},
	{HTTP1_REQUEST, NAME, UPLOAD "0\r\nA@A: 1\r\n\r\n"},
	{HTTP1_REQUEST, VALUE, UPLOAD "0\r\nA: x@x\r\n\r\n"},
	{HTTP1_RESPONSE, VALUE, "HTTP/1.1 204 x@x\r\n\r\n"},
	{HTTP1_RESPONSE, NAME, "HTTP/1.1 204\r\nA@A: 1\r\n\r\n"},
	{HTTP1_RESPONSE, VALUE, "HTTP/1.1 204\r\nA: x@x\r\n\r\n"},
	{HTTP1_RESPONSE, VALUE, "HTTP/1.1 204\r\nA: x\r\n x@x\r\n\r\n"},
	{HTTP1_RESPONSE, VALUE, OK CHUNKED "\r\n0;a@a\r\n\r\n"},
	{HTTP1_RESPONSE, VALUE, OK CHUNKED "\r\n0\r\nA: x@x\r\n\r\n"},
};

static bool may_stand(enum class class, int c)
{
	bool token = c && strchr("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
				 "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
				  c);
	bool value = c == '\t' || (c >= ' ' && c != 0x7f);

	switch (class) {
	case TOKEN:
		return token;
	case NAME:
		return token || c == ':';
	case EXTENSION:
		return token || c == '=' || c == ';';
	case VALUE:
		return value;
	case QUOTED:
		return value && c != '"';
	case VISIBLE:
		return c > ' ' && c < 0x7f && c != '#';
	}
	return false;
}

static void check_place(size_t i, int c)
{
	_cleanup_free_ char *message = xstrdup(places[i].message);
	struct http1_reader *reader = http1_new(places[i].side, &roomy);
	struct http1_log log = {.sound = true};
	size_t len = strlen(message);

	ROW("%s, with %d", places[i].message, c);
	*strchr(message, '@') = (char)c;
	http1_log_read(&log, reader, message, len);
	CHECK(log.over && log.sound);
	CHECK_INT(http1_error(reader) == NULL, may_stand(places[i].class, c));
	str_fini(&log.text);
	http1_free(reader);
}

static void every_byte_has_its_places(void)
{
	for (size_t i = 0; i < COUNT_OF(places); i++) {
		for (int c = 0; c < 256; c++)
			check_place(i, c);
	}
}

/* ---- Bodies */

/* Five gigabytes cost as many calls as they come in pieces, and no copy. */
static void a_large_chunk_passes_by_pointer(void)
{
	static const char head[] = OK CHUNKED "\r\n140000000\r\n", tail[] = "\r\n0\r\n\r\n";
	enum { PIECE = 1 << 16, PIECES = 5 << 14 };
	_cleanup_free_ char *bytes = xcalloc(1, PIECE);
	struct http1_reader *reader = http1_new(HTTP1_RESPONSE, &roomy);
	struct http1_step step;
	int whole = 0;

	CHECK_INT(http1_read(reader, head, strlen(head), &step), HTTP1_HEAD);
	CHECK_INT(step.used, strlen(head) - strlen("140000000\r\n"));
	CHECK_INT(http1_read(reader, head + step.used, strlen("140000000\r\n"), &step), HTTP1_MORE);
	for (int i = 0; i < PIECES; i++)
		whole += http1_read(reader, bytes, PIECE, &step) == HTTP1_BODY &&
			 step.piece == bytes && step.piece_len == PIECE && step.used == PIECE;
	CHECK_INT(whole, PIECES);
	CHECK_INT(http1_read(reader, tail, strlen(tail), &step), HTTP1_END);
	CHECK_INT(step.used, strlen(tail));
	http1_free(reader);
}

static void trailers_are_dropped(void)
{
	struct http1_reader *reader = http1_new(HTTP1_RESPONSE, &roomy);
	struct str text;

	log_message(&text, reader, OK CHUNKED "\r\n0\r\nContent-Length: 5\r\nB: 2\r\n\r\n");
	CHECK(str_ends(str_text(&text), " end"));
	CHECK_INT(http1_head(reader)->fields.count, 1);
	CHECK(http1_persists(reader));
	str_fini(&text);
	http1_free(reader);
}

static void a_body_may_hold_any_byte(void)
{
	static const char *const heads[] = {
		OK "Content-Length: 256\r\n\r\n", OK CHUNKED "\r\n100\r\n", OK "\r\n"};

	for (size_t i = 0; i < COUNT_OF(heads); i++) {
		struct http1_reader *reader = http1_new(HTTP1_RESPONSE, &roomy);
		struct http1_log log = {.sound = true};
		char bytes[256];

		ROW("%s", heads[i]);
		for (int c = 0; c < 256; c++)
			bytes[c] = (char)c;
		http1_log_read(&log, reader, heads[i], strlen(heads[i]));
		http1_log_read(&log, reader, bytes, sizeof(bytes));
		CHECK(log.sound);
		CHECK(memmem(str_text(&log.text), log.text.len, bytes, sizeof(bytes)) != NULL);
		str_fini(&log.text);
		http1_free(reader);
	}
}

/* ---- One message after another */

static void messages_follow_each_other(void)
{
	static const char stream[] =
		"HTTP/1.1 100 Go on\r\n\r\n" OK CHUNKED "\r\n1\r\na\r\n0\r\n\r\n" OK
		"Content-Length: 1\r\n\r\nb" OK "\r\nc";
	static const char *const wants[] = {"1.1 100 \"Go on\" end",
		"1.1 200 \"OK\" [Transfer-Encoding: chunked] chunked <a> end",
		"1.1 200 \"OK\" [Content-Length: 1] length 1 <b> end",
		"1.1 200 \"OK\" until close <c"};
	struct http1_reader *reader = http1_new(HTTP1_RESPONSE, &roomy);
	size_t used = 0;

	for (size_t i = 0; i < COUNT_OF(wants); i++) {
		struct http1_log log = {.sound = true};

		ROW("message %zu", i);
		http1_begin(reader, false);
		used += http1_log_read(&log, reader, stream + used, strlen(stream) - used);
		check_log(&log, 0, wants[i]);
	}
	CHECK_INT(used, strlen(stream));
	http1_free(reader);
}

static void what_is_wrong_stays_wrong(void)
{
	struct http1_reader *reader = http1_new(HTTP1_REQUEST, &roomy);
	struct http1_step step;

	CHECK_INT(http1_read(reader, "?\r\n", 3, &step), HTTP1_WRONG);
	CHECK_INT(http1_read(reader, GET "\r\n", 18, &step), HTTP1_WRONG);
	CHECK_INT(step.used, 0);
	CHECK_INT(http1_error_status(reader), 400);
	http1_begin(reader, false);
	CHECK_STR(http1_error(reader), NULL);
	CHECK_INT(http1_error_status(reader), 0);
	CHECK_INT(http1_read(reader, GET "\r\n", 18, &step), HTTP1_HEAD);
	http1_free(reader);
}

static void a_message_begun_forgets_the_last_one(void)
{
	struct http1_reader *reader = http1_new(HTTP1_REQUEST, &roomy);
	struct http1_step step;

	CHECK_INT(http1_read(reader, UPLOAD "5;", strlen(UPLOAD "5;"), &step), HTTP1_HEAD);
	CHECK_INT(http1_read(reader, "5;", 2, &step), HTTP1_MORE);
	http1_begin(reader, false);
	CHECK_STR(http1_head(reader)->method, NULL);
	CHECK_INT(http1_head(reader)->fields.count, 0);
	CHECK_INT(http1_read(reader, GET "\r\n", 18, &step), HTTP1_HEAD);
	CHECK_STR(http1_head(reader)->method, "GET");
	CHECK_INT(http1_head(reader)->framing, HTTP1_NO_BODY);
	CHECK_INT(http1_read(reader, NULL, 0, &step), HTTP1_END);
	http1_begin(reader, false);
	CHECK_INT(http1_read(reader, NULL, 0, &step), HTTP1_MORE);
	http1_free(reader);
	http1_free(NULL);
}

/* ---- The connection */

static const struct {
	enum http1_side side;
	bool persists, whole; /* whole: if the connection closes here */
	const char *message;
} lives[] = {
	{HTTP1_RESPONSE, true, true, OK "Content-Length: 0\r\n\r\n"},
	{HTTP1_RESPONSE, true, true, OK "Content-Length: 1\r\n\r\nx"},
	{HTTP1_RESPONSE, true, false, OK "Content-Length: 2\r\n\r\nx"},
	{HTTP1_RESPONSE, true, false, OK "Content-Length: 2\r\n\r\n"},
	{HTTP1_RESPONSE, true, true, "HTTP/1.1 204\r\n\r\n"},
	{HTTP1_RESPONSE, true, true, "HTTP/1.1 304\r\nContent-Length: 5\r\n\r\n"},
	{HTTP1_RESPONSE, true, true, "HTTP/1.2 204\r\n\r\n"},
	{HTTP1_RESPONSE, true, true, OK CHUNKED "\r\n0\r\n\r\n"},
	{HTTP1_RESPONSE, true, false, OK CHUNKED "\r\n0\r\n\r"},
	{HTTP1_RESPONSE, true, false, OK CHUNKED "\r\n0\r\n"},
	{HTTP1_RESPONSE, true, false, OK CHUNKED "\r\n0\r\nA: 1\r\n"},
	{HTTP1_RESPONSE, true, false, OK CHUNKED "\r\n2\r\nx"},
	{HTTP1_RESPONSE, true, false, OK CHUNKED "\r\n1\r\nx"},
	{HTTP1_RESPONSE, true, false, OK CHUNKED "\r\n"},
	{HTTP1_RESPONSE, false, true, OK "\r\nx"},
	{HTTP1_RESPONSE, false, true, OK "\r\n"},
	{HTTP1_RESPONSE, false, true, OK "Connection: keep-alive\r\n\r\n"},
	{HTTP1_RESPONSE, false, false, ""},
	{HTTP1_RESPONSE, false, false, "\r\n"},
	{HTTP1_RESPONSE, false, false, OK},
	{HTTP1_RESPONSE, false, false, OK "Content-Length: 0\r\n"},
	{HTTP1_RESPONSE, false, false, OK "Content-Length: x\r\n\r\n"},
	{HTTP1_RESPONSE, false, false, OK CHUNKED "\r\nx\r\n"},
	{HTTP1_RESPONSE, false, true, OK "Content-Length: 1\r\n" CHUNKED "\r\n0\r\n\r\n"},
	{HTTP1_RESPONSE, false, true, OK "Content-Length: 0\r\nConnection: close\r\n\r\n"},
	{HTTP1_RESPONSE, false, true, OK "Content-Length: 0\r\nconnection: a, CLOSE\r\n\r\n"},
	{HTTP1_RESPONSE, false, true,
		OK "Content-Length: 0\r\nConnection: keep-alive\r\nConnection: ,close ,\r\n\r\n"},
	{HTTP1_RESPONSE, true, true, OK "Content-Length: 0\r\nConnection: closed, x\r\n\r\n"},
	{HTTP1_RESPONSE, true, true, OK "Content-Length: 0\r\nX-Connection: close\r\n\r\n"},
	{HTTP1_RESPONSE, false, true, "HTTP/1.0 204\r\n\r\n"},
	{HTTP1_RESPONSE, true, true, "HTTP/1.0 204\r\nConnection: Keep-Alive\r\n\r\n"},
	{HTTP1_RESPONSE, true, true,
		"HTTP/1.0 204\r\nConnection: x\r\nConnection: y,keep-alive\r\n\r\n"},
	{HTTP1_RESPONSE, false, true, "HTTP/1.0 204\r\nConnection: keep-alive, close\r\n\r\n"},
	{HTTP1_RESPONSE, false, true, "HTTP/1.0 204\r\nKeep-Alive: timeout=5\r\n\r\n"},
	{HTTP1_RESPONSE, false, true,
		"HTTP/1.0 200\r\nConnection: keep-alive\r\n" CHUNKED "\r\n0\r\n\r\n"},
	{HTTP1_REQUEST, true, true, GET "\r\n"},
	{HTTP1_REQUEST, false, true, GET "Connection: close\r\n\r\n"},
	{HTTP1_REQUEST, false, true, "GET / HTTP/1.0\r\n\r\n"},
	{HTTP1_REQUEST, true, true, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"},
	{HTTP1_REQUEST, true, false, UPLOAD},
	{HTTP1_REQUEST, true, true, UPLOAD "0\r\n\r\n"},
	{HTTP1_REQUEST, false, false, UPLOAD "0\n"},
	{HTTP1_REQUEST, false, false, GET},
};

static void knows_what_the_connection_may_do(void)
{
	for (size_t i = 0; i < COUNT_OF(lives); i++) {
		struct http1_reader *reader = http1_new(lives[i].side, &roomy);
		struct str text;

		ROW("%s", lives[i].message);
		log_message(&text, reader, lives[i].message);
		CHECK_INT(http1_persists(reader), lives[i].persists);
		CHECK_INT(http1_ends_with_close(reader), lives[i].whole);
		str_fini(&text);
		http1_free(reader);
	}
}

TEST_MAIN(TEST(limits_hold_at_their_edge), TEST(a_chunk_line_has_4096_bytes),
	TEST(an_endless_line_is_refused), TEST(every_byte_has_its_places),
	TEST(a_large_chunk_passes_by_pointer), TEST(trailers_are_dropped),
	TEST(a_body_may_hold_any_byte), TEST(messages_follow_each_other),
	TEST(what_is_wrong_stays_wrong), TEST(a_message_begun_forgets_the_last_one),
	TEST(knows_what_the_connection_may_do))
