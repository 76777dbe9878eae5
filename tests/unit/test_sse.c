#include "policy/sse.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/str.h"
#include "test.h"

enum { SSE_FINISH = 99 }; /* of this test: the choices are done */

/* ---- The scanner */

/* Streams in which | stands behind each event. */
static const char *const streams[] = {
	"",
	"\n",
	"\r\n\r\n",
	"data: a",
	"data: a\n",
	"data: a\n\n|",
	"data: a\n\n|data: b\n\n|",
	"data: a\r\n\r\n|data: b\r\n\r\n|",
	"data: a\r\r|data: b\r\r|",
	"data: a\n\n|data: b\n\n|data: c\n",
	/* line ends of all kinds */
	"data: a\n\r\n|data: b\r\n\n|data: c\r\n\r|",
	"data: a\r\r\n|data: b\r\r|data: c\n\r|data: d\n\n|",
	"a\rb\nc\r\nd\r\n\r\n|e\n\n|",
	"data: a\r\n\r|data: b\r\n\r\n|",
	"data: a\r\r|data: b\n\n|data: c\r\n\r\n|",
	/* several lines, comments, names without values */
	"event: x\nid: 1\ndata: a\ndata: b\n\n|",
	": comment\n\n|data: a\n\n|",
	":\n\n|data\n\n|",
	"retry: 10\n\n|data: a\n\n|",
	/* what is not empty is a line */
	"data: a\n \n\n|",
	"data: a\n\t\ndata: b\n\n|",
	/* empty lines between events belong to the next one */
	"\n\n\ndata: a\n\n|\n\ndata: b\n\n|\n",
	"\r\n\r\ndata: a\r\n\r\n|\r\n\r\ndata: b\r\n\r\n|",
	"\r\rdata: a\r\r|\r\n\n\rdata: b\r\r|",
	/* bytes above 127, a BOM */
	"\xef\xbb\xbf"
	"data: \xc3\xa9\xff\n\n|data: \x80\n\n|",
};

enum { MAX_ENDS = 8, MAX_STREAM = 128 };

struct ends {
	size_t at[MAX_ENDS], count;
};

/* The stream without its marks, and where they stood. */
static size_t unmark(const char *marked, char *ret_stream, struct ends *ret_ends)
{
	size_t len = 0;

	ret_ends->count = 0;
	for (; *marked; marked++) {
		if (*marked == '|')
			ret_ends->at[ret_ends->count++] = len;
		else
			ret_stream[len++] = *marked;
	}
	return len;
}

/* Scans one piece, which begins at `offset` of the stream, to its end. */
static void scan_piece(struct sse_scanner *scanner, const char *piece, size_t len, size_t offset,
	struct ends *ends)
{
	_cleanup_free_ char *exact = xmalloc(len);
	size_t done = 0, event;

	memcpy(exact, piece, len); /* a read behind the end is seen */
	while ((event = sse_scan(scanner, exact + done, len - done)) > 0 &&
		ends->count < MAX_ENDS) {
		done += event;
		ends->at[ends->count++] = offset + done;
	}
}

/* The ends are where they were marked; an LF that comes later than its CR may count for the next
 * event, as nobody can wait for it. */
static void check_ends(
	const char *stream, size_t len, const struct ends *got, const struct ends *want)
{
	if (!CHECK_INT(got->count, want->count))
		return;
	for (size_t i = 0; i < want->count; i++) {
		size_t at = got->at[i];
		bool cut = at + 1 == want->at[i] && at < len && stream[at] == '\n' &&
			   stream[at - 1] == '\r';

		CHECK_INT(cut ? at + 1 : at, want->at[i]);
	}
}

static void scan_in_three(
	const char *stream, size_t len, size_t first, size_t second, const struct ends *want)
{
	struct sse_scanner scanner = {.in_line = false};
	struct ends got = {.count = 0};

	scan_piece(&scanner, stream, first, 0, &got);
	scan_piece(&scanner, stream + first, second - first, first, &got);
	scan_piece(&scanner, stream + second, len - second, second, &got);
	check_ends(stream, len, &got, want);
}

static void finds_the_ends_of_events(void)
{
	char stream[MAX_STREAM];

	for (size_t i = 0; i < COUNT_OF(streams); i++) {
		struct sse_scanner scanner = {.in_line = false};
		struct ends want, got = {.count = 0};
		size_t len = unmark(streams[i], stream, &want);

		ROW("stream %zu, whole", i);
		scan_piece(&scanner, stream, len, 0, &got);
		CHECK_INT(got.count, want.count);
		for (size_t end = 0; end < want.count && end < got.count; end++)
			CHECK_INT(got.at[end], want.at[end]);
	}
}

static void finds_them_however_the_stream_is_cut(void)
{
	char stream[MAX_STREAM];

	for (size_t i = 0; i < COUNT_OF(streams); i++) {
		struct sse_scanner scanner = {.in_line = false};
		struct ends want, got = {.count = 0};
		size_t len = unmark(streams[i], stream, &want);

		ROW("stream %zu, byte by byte", i);
		for (size_t at = 0; at < len; at++)
			scan_piece(&scanner, stream + at, 1, at, &got);
		check_ends(stream, len, &got, &want);
		for (size_t first = 0; first <= len; first++) {
			for (size_t second = first; second <= len; second++) {
				ROW("stream %zu, cut at %zu and %zu", i, first, second);
				scan_in_three(stream, len, first, second, &want);
			}
		}
	}
}

static void a_long_event_is_one(void)
{
	enum { LEN = 300000 };
	_cleanup_free_ char *event = xmalloc(LEN);
	struct sse_scanner scanner = {.in_line = false};
	size_t ends = 0, last = 0;

	memset(event, 'x', LEN);
	memcpy(event + LEN - 4, "\r\n\r\n", 4);
	for (size_t at = 0; at < LEN; at += 1000) {
		size_t end = sse_scan(&scanner, event + at, 1000);

		if (end) {
			ends++;
			last = at + end;
		}
	}
	CHECK_INT(ends, 1);
	CHECK_INT(last, LEN);
}

/* ---- What an event means */

static void knows_the_dialect_of_a_path(void)
{
	static const struct {
		const char *path;
		enum sse_dialect want;
	} rows[] = {
		{"/inference/v1/chat/completions", SSE_CHAT},
		{"/inference/v1/completions", SSE_CHAT},
		{"/training/v1/serverless/inference/v1/completions", SSE_CHAT},
		{"/inference/v1/messages", SSE_MESSAGES},
		{"/inference/v1/responses", SSE_RESPONSES},
		{"/inference/v1/messages/count_tokens", SSE_PLAIN},
		{"/inference/v1/responses/resp_1", SSE_PLAIN},
		{"/inference/v1/audio/transcriptions", SSE_PLAIN},
		{"/inference/v1/completionsx", SSE_PLAIN},
		{"/v1/accounts/a/deployments", SSE_PLAIN},
		{"/", SSE_PLAIN},
		{"", SSE_PLAIN},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		ROW("%s", rows[i].path);
		CHECK_INT(sse_dialect_of(rows[i].path), rows[i].want);
	}
}

#define CHUNK(choice)                                                                              \
	"data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":[" choice "]}\n\n"

static const struct {
	enum sse_dialect dialect;
	const char *event;
	int want;
} events[] = {
	/* chat and completions */
	{SSE_CHAT, "data: [DONE]\n\n", SSE_TERMINAL},
	{SSE_CHAT, "data:[DONE]\n\n", SSE_TERMINAL},
	{SSE_CHAT, "data: [DONE]\r\n\r\n", SSE_TERMINAL},
	{SSE_CHAT, "data: [DONE]\r\r", SSE_TERMINAL},
	{SSE_CHAT, "data: [DONE]", SSE_TERMINAL},
	{SSE_CHAT, "\n\ndata: [DONE]\n\n", SSE_TERMINAL},
	{SSE_CHAT, ": comment\nid: 7\ndata: [DONE]\n\n", SSE_TERMINAL},
	{SSE_CHAT, "event: message\ndata: [DONE]\n\n", SSE_TERMINAL},
	{SSE_CHAT, ": data: [DONE]\n\n", SSE_SILENT},
	{SSE_CHAT, "data: \"[DONE]\"\n\n", SSE_ORDINARY},
	{SSE_CHAT, "xdata: [DONE]\n\n", SSE_ORDINARY},
	{SSE_CHAT, " data: [DONE]\n\n", SSE_ORDINARY},
	{SSE_CHAT, "datas: [DONE]\n\n", SSE_ORDINARY},
	{SSE_CHAT, "info: [DONE]\n\n", SSE_ORDINARY},
	{SSE_CHAT, "Data: [DONE]\n\n", SSE_ORDINARY},
	{SSE_CHAT, "data [DONE]\n\n", SSE_ORDINARY},
	{SSE_CHAT, "data: DONE\n\n", SSE_ORDINARY},
	{SSE_CHAT, "event: [DONE]\n\n", SSE_ORDINARY},
	{SSE_CHAT, "data: {\"delta\":\"[DONE]\"}\n\n", SSE_ORDINARY},
	{SSE_CHAT, "data:\n\n", SSE_ORDINARY},
	{SSE_CHAT, "data\n\n", SSE_ORDINARY},
	{SSE_CHAT,
		"\xef\xbb\xbf"
		"data: [DONE]\n\n",
		SSE_TERMINAL},
	{SSE_CHAT,
		"data: [DONE]\n\xef\xbb\xbf"
		"data: x\n\n",
		SSE_TERMINAL},
	{SSE_CHAT,
		"x\xef\xbb\xbf"
		"data: [DONE]\n\n",
		SSE_ORDINARY},
	{SSE_CHAT, "data:  [DONE]\n\n", SSE_ORDINARY},
	{SSE_CHAT, CHUNK("{\"index\":0,\"delta\":{\"content\":\"x\"}}"), SSE_ORDINARY},
	{SSE_CHAT, CHUNK("{\"delta\":{},\"finish_reason\":null}"), SSE_ORDINARY},
	{SSE_CHAT, CHUNK("{\"delta\":{},\"finish_reason\": null}"), SSE_ORDINARY},
	{SSE_CHAT, CHUNK("{\"delta\":{},\"finish_reason\":\"stop\"}"), SSE_FINISH},
	{SSE_CHAT, CHUNK("{\"delta\":{},\"finish_reason\" : \"length\"}"), SSE_FINISH},
	{SSE_CHAT, CHUNK("{\"finish_reason\":\"tool_calls\",\"delta\":{}}"), SSE_FINISH},
	{SSE_CHAT, "data:{\"choices\":[{\"text\":\"\",\"finish_reason\":\"stop\"}]}\r\n\r\n",
		SSE_FINISH},
	{SSE_CHAT, "data: {\"choices\":[{\"finish_reason\":\"stop\"}]}", SSE_FINISH},
	{SSE_CHAT, CHUNK("{\"finish_reason\":\"length\"},{\"finish_reason\":\"stop\"}"),
		SSE_FINISH},
	/* one choice still goes on: an end here would cut it off */
	{SSE_CHAT, CHUNK("{\"finish_reason\":null},{\"finish_reason\":\"stop\"}"), SSE_ORDINARY},
	{SSE_CHAT, CHUNK("{\"finish_reason\":\"stop\"},{\"finish_reason\":null}"), SSE_ORDINARY},
	{SSE_CHAT, "id: 1\ndata: {\"choices\":[{\"finish_reason\":\"stop\"}]}\nevent: message\n\n",
		SSE_FINISH},
	{SSE_CHAT, "data: {\"finish_reason\":\"stop\"}\ndata: [DONE]\n\n", SSE_TERMINAL},
	/* words of the model that look like it */
	{SSE_CHAT, CHUNK("{\"delta\":{\"content\":\"\\\"finish_reason\\\":\\\"stop\\\"\"}}"),
		SSE_ORDINARY},
	{SSE_CHAT, CHUNK("{\"delta\":{\"content\":\"finish_reason\"}}"), SSE_ORDINARY},
	{SSE_CHAT, CHUNK("{\"delta\":{\"content\":\"finish_reason: \\\"stop\\\"\"}}"),
		SSE_ORDINARY},
	{SSE_CHAT, CHUNK("{\"my_finish_reason\":\"stop\",\"finish_reasons\":\"stop\"}"),
		SSE_ORDINARY},
	{SSE_CHAT, CHUNK("{\"delta\":{\"content\":\"finish_reason\",\"role\":\"x\"}}"),
		SSE_ORDINARY},
	{SSE_CHAT,
		CHUNK("{\"delta\":{\"content\":\"\\\"finish_reason\\\":\\\"stop\\\"\"},"
		      "\"finish_reason\":\"stop\"}"),
		SSE_FINISH},
	{SSE_CHAT, "event: message_stop\ndata: {}\n\n", SSE_ORDINARY},
	{SSE_CHAT, "event: response.completed\ndata: {}\n\n", SSE_ORDINARY},
	/* messages */
	{SSE_MESSAGES, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n", SSE_TERMINAL},
	{SSE_MESSAGES, "event:message_stop\r\ndata: {}\r\n\r\n", SSE_TERMINAL},
	{SSE_MESSAGES, "data: {\"type\":\"message_stop\"}\nevent: message_stop\n\n", SSE_TERMINAL},
	{SSE_MESSAGES, "\r\n: x\rid: 1\revent: message_stop\rdata: {}\r\r", SSE_TERMINAL},
	{SSE_MESSAGES, "event: message_stop", SSE_TERMINAL},
	{SSE_MESSAGES, "event: message_start\ndata: {}\n\n", SSE_ORDINARY},
	{SSE_MESSAGES, "event: message_delta\ndata: {\"delta\":{\"stop_reason\":\"x\"}}\n\n",
		SSE_ORDINARY},
	{SSE_MESSAGES, "event: message_stops\ndata: {}\n\n", SSE_ORDINARY},
	{SSE_MESSAGES, "event: message_sto\ndata: {}\n\n", SSE_ORDINARY},
	{SSE_MESSAGES, "event: ping\ndata: {\"type\": \"ping\"}\n\n", SSE_ORDINARY},
	{SSE_MESSAGES, "event: error\ndata: {\"type\":\"error\"}\n\n", SSE_ERROR},
	{SSE_MESSAGES, ": event: message_stop\n\n", SSE_SILENT},
	{SSE_MESSAGES, "event: message_stop\nevent: ping\n\n", SSE_ORDINARY}, /* the last one */
	{SSE_MESSAGES, "event: ping\nevent: message_stop\n\n", SSE_TERMINAL},
	{SSE_MESSAGES, "Event: message_stop\n\n", SSE_ORDINARY},
	{SSE_MESSAGES, "data: event: message_stop\n\n", SSE_ORDINARY},
	{SSE_MESSAGES, "event: content_block_delta\ndata: message_stop\n\n", SSE_ORDINARY},
	{SSE_MESSAGES, "data: [DONE]\n\n", SSE_ORDINARY},
	{SSE_MESSAGES, "event: response.completed\ndata: {}\n\n", SSE_ORDINARY},
	{SSE_MESSAGES, "data: {\"finish_reason\":\"stop\"}\n\n", SSE_ORDINARY},
	/* responses */
	{SSE_RESPONSES, "event: response.completed\ndata: {}\n\n", SSE_TERMINAL},
	{SSE_RESPONSES, "event: response.incomplete\ndata: {}\n\n", SSE_TERMINAL},
	{SSE_RESPONSES, "event: response.failed\ndata: {}\n\n", SSE_TERMINAL},
	{SSE_RESPONSES, "data: {}\r\nevent: response.completed\r\n\r\n", SSE_TERMINAL},
	{SSE_RESPONSES, "event: response.created\ndata: {}\n\n", SSE_ORDINARY},
	{SSE_RESPONSES, "event: response.output_text.done\ndata: {}\n\n", SSE_ORDINARY},
	{SSE_RESPONSES, "event: response.complete\ndata: {}\n\n", SSE_ORDINARY},
	{SSE_RESPONSES, "event: response.completed.x\ndata: {}\n\n", SSE_ORDINARY},
	{SSE_RESPONSES, "data: response.completed\n\n", SSE_ORDINARY},
	{SSE_RESPONSES, "event: message_stop\ndata: {}\n\n", SSE_ORDINARY},
	{SSE_RESPONSES, "data: [DONE]\n\n", SSE_ORDINARY},
	{SSE_RESPONSES,
		"event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":"
		"{\"error\":{\"code\":\"server_error\",\"message\":\"m\"}}}\n\n",
		SSE_TERMINAL},
	/* what no client's code gets to see */
	{SSE_CHAT, "", SSE_SILENT},
	{SSE_CHAT, "\n", SSE_SILENT},
	{SSE_CHAT, "\r\n\r\n\n\r", SSE_SILENT},
	{SSE_CHAT, ":\n\n", SSE_SILENT},
	{SSE_CHAT, ": andiron: attempt 2 of 5\n\n", SSE_SILENT},
	{SSE_CHAT, ": comment\r\n:\r\n\r\n", SSE_SILENT},
	{SSE_CHAT, "id: 7\nretry: 3000\n\n", SSE_SILENT},
	{SSE_CHAT, "id\nretry\n\n", SSE_SILENT},
	{SSE_CHAT, "\xef\xbb\xbf: comment\n\n", SSE_SILENT},
	{SSE_CHAT, "\xef\xbb\xbf", SSE_SILENT},
	{SSE_PLAIN, ": comment", SSE_SILENT},
	{SSE_MESSAGES, "id: 7\n\n", SSE_SILENT},
	{SSE_RESPONSES, "\n: x\n\n", SSE_SILENT},
	{SSE_CHAT, ": comment\ndata: x\n\n", SSE_ORDINARY},
	{SSE_CHAT, "id: 7\nevent: ping\n\n", SSE_ORDINARY},
	{SSE_CHAT, "event\n\n", SSE_ORDINARY},
	{SSE_CHAT, "ids: 7\n\n", SSE_ORDINARY},
	{SSE_CHAT, " id: 7\n\n", SSE_ORDINARY},
	{SSE_CHAT, "Retry: 7\n\n", SSE_ORDINARY},
	{SSE_CHAT, "<html>\n\n", SSE_ORDINARY},
	{SSE_CHAT, "x:\n\n", SSE_ORDINARY},
	/* errors by name, whatever they hold */
	{SSE_CHAT, "event: error\ndata: {}\n\n", SSE_ERROR},
	{SSE_CHAT, "event:error\r\ndata: it broke\r\n\r\n", SSE_ERROR},
	{SSE_CHAT, "data: it broke\revent: error\r\r", SSE_ERROR},
	{SSE_CHAT, "event: error\n\n", SSE_ERROR},
	{SSE_CHAT, "event: error\ndata: [DONE]\n\n", SSE_ERROR},
	{SSE_CHAT, "event: error\ndata: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n",
		SSE_ERROR},
	{SSE_CHAT,
		"\xef\xbb\xbf"
		"event: error\ndata: x\n\n",
		SSE_ERROR},
	{SSE_PLAIN, "event: error\ndata: x\n\n", SSE_ERROR},
	{SSE_RESPONSES, "event: error\ndata: x\n\n", SSE_ERROR},
	{SSE_CHAT, "event: errors\ndata: x\n\n", SSE_ORDINARY},
	{SSE_CHAT, "event: Error\ndata: x\n\n", SSE_ORDINARY},
	{SSE_CHAT, "event:  error\ndata: x\n\n", SSE_ORDINARY},
	{SSE_CHAT, "event: error\nevent: x\ndata: x\n\n", SSE_ORDINARY},
	{SSE_CHAT, "data: error\n\n", SSE_ORDINARY},
	{SSE_CHAT, ": event: error\n\n", SSE_SILENT},
	/* errors by what they hold */
	{SSE_CHAT, "data: {\"error\":{\"message\":\"m\"}}\n\n", SSE_ERROR},
	{SSE_CHAT, "data:{\"error\":\"m\"}\r\n\r\n", SSE_ERROR},
	{SSE_CHAT, "data: {\"message\":\"m\",\"code\":5}", SSE_ERROR},
	{SSE_CHAT, "event: message\nid: 1\ndata: {\"error\":\"m\"}\n: x\n\n", SSE_ERROR},
	{SSE_CHAT, "data: {\ndata: \"error\":\ndata:\"m\"\ndata\ndata: }\n\n", SSE_ERROR},
	{SSE_MESSAGES, "data: {\"type\":\"error\",\"error\":{\"type\":\"x\"}}\n\n", SSE_ERROR},
	{SSE_PLAIN, "data: {\"error\":\"m\"}\n\n", SSE_ERROR},
	{SSE_CHAT, "data: {\"error\":null}\n\n", SSE_ORDINARY},
	{SSE_CHAT, "data: {\"error\":{\"message\":\"m\"},\"choices\":[]}\n\n", SSE_ORDINARY},
	{SSE_CHAT, "data: {\"detail\":\"m\"}\n\n", SSE_ORDINARY},
	{SSE_CHAT, "data: {\"error\":\"m\"\n\n", SSE_ORDINARY},
	{SSE_CHAT, "data: {\"error\":\"m\"}\ndata: {\"error\":\"m\"}\n\n", SSE_ORDINARY},
	{SSE_CHAT, "id: {\"error\":\"m\"}\n\n", SSE_SILENT},
	{SSE_CHAT, CHUNK("{\"delta\":{\"content\":\"{\\\"error\\\":\\\"m\\\"}\"}}"), SSE_ORDINARY},
	/* by their type, where every event has one */
	{SSE_RESPONSES,
		"data: {\"type\":\"error\",\"code\":\"x\",\"message\":\"m\",\"param\":null,"
		"\"sequence_number\":3}\n\n",
		SSE_ERROR},
	{SSE_RESPONSES, "data: {\"sequence_number\":3, \"type\" : \"error\"}\n\n", SSE_ERROR},
	{SSE_RESPONSES, "data: {\"type\":\"error\"}\n\n", SSE_ERROR},
	{SSE_RESPONSES, "data: {\"type\":\"error\",\"x\":\"cut", SSE_ERROR},
	{SSE_MESSAGES,
		"data: {\"type\":\"error\",\"error\":{\"message\":\"m\"},\"request_id\":\"r\"}"
		"\n\n",
		SSE_ERROR},
	{SSE_CHAT, "data: {\"type\":\"error\",\"x\":1}\n\n", SSE_ORDINARY},
	{SSE_PLAIN, "data: {\"type\":\"error\",\"x\":1}\n\n", SSE_ORDINARY},
	{SSE_RESPONSES, "data: {\"type\":\"errors\"}\n\n", SSE_ORDINARY},
	{SSE_RESPONSES, "data: {\"type\":\"response.x\",\"item\":{\"type\":\"error\"}}\n\n",
		SSE_ORDINARY},
	{SSE_RESPONSES, "data: {\"x\":\"error\"}\n\n", SSE_ORDINARY},
	/* elsewhere nothing ends a stream but its end */
	{SSE_PLAIN, "data: [DONE]\n\n", SSE_ORDINARY},
	{SSE_PLAIN, "event: message_stop\ndata: {}\n\n", SSE_ORDINARY},
	{SSE_PLAIN, "event: response.completed\ndata: {}\n\n", SSE_ORDINARY},
	{SSE_PLAIN, "data: {\"finish_reason\":\"stop\"}\n\n", SSE_ORDINARY},
};

/* Of the first event of a stream: terminal, or all of its choices finished, or neither. */
static int classify(enum sse_dialect dialect, const char *event, size_t len)
{
	struct sse_choices choices = {0, 0};
	enum sse_kind kind = sse_classify(dialect, event, len, &choices);

	return kind == SSE_ORDINARY && sse_choices_done(&choices) ? SSE_FINISH : (int)kind;
}

/* Each choice needs its own finish_reason, whichever event brings it. */
static void choices_finish_one_by_one(void)
{
	static const struct {
		const char *event;
		bool done;
	} rows[] = {
		{"data: {\"choices\":[{\"index\":0,\"delta\":{}}]}\n\n", false},
		{"data: {\"choices\":[{\"index\":1,\"delta\":{}}]}\n\n", false},
		{"data: {\"choices\":[{\"index\":0,\"finish_reason\":\"stop\"}]}\n\n", false},
		{": a comment\n\n", false},
		{"data: {\"choices\":[{\"index\":1,\"finish_reason\":\"length\"}]}\n\n", true},
		{": a comment\n\n", true},
		{"data: {\"choices\":[],\"usage\":{}}\n\n", true},
		{"data: {\"choices\":[{\"index\":70,\"delta\":{}}]}\n\n", false},
	};
	struct sse_choices choices = {0, 0};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		ROW("event %zu", i);
		sse_classify(SSE_CHAT, rows[i].event, strlen(rows[i].event), &choices);
		CHECK_INT(sse_choices_done(&choices), rows[i].done);
	}
}

static void classifies(void)
{
	for (size_t i = 0; i < COUNT_OF(events); i++) {
		size_t len = strlen(events[i].event);
		_cleanup_free_ char *exact = xmalloc(len);

		ROW("dialect %d, %s", events[i].dialect, events[i].event);
		memcpy(exact, events[i].event, len);
		CHECK_INT(classify(events[i].dialect, exact, len), events[i].want);
	}
}

/* An event is classified when it is whole; no beginning of it says more than the whole. */
static void a_beginning_is_not_terminal(void)
{
	static const char event[] = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
	static const char done[] = "data: [DONE]\n\n";

	for (size_t len = 0; len < strlen("event: message_stop"); len++) {
		ROW("%zu bytes", len);
		CHECK_INT(sse_classify(SSE_MESSAGES, event, len, &(struct sse_choices){0, 0}),
			len ? SSE_ORDINARY : SSE_SILENT);
	}
	for (size_t len = 0; len < strlen("data: [DONE]"); len++) {
		ROW("%zu bytes", len);
		CHECK_INT(sse_classify(SSE_CHAT, done, len, &(struct sse_choices){0, 0}),
			len ? SSE_ORDINARY : SSE_SILENT);
	}
}

/* A choice whose chunk is spread over lines counts; an error says nothing of any. */
static void choices_are_read_from_all_lines(void)
{
	static const struct {
		const char *event;
		bool done;
	} rows[] = {
		{"data: {\"choices\":[\ndata: {\"index\":0}]}\n\n", false},
		{"event: error\ndata: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n", false},
		{"data: {\"choices\":[{\"index\":0,\ndata: \"finish_reason\":\"stop\"}]}\n\n",
			true},
	};
	struct sse_choices choices = {0, 0};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		ROW("event %zu", i);
		sse_classify(SSE_CHAT, rows[i].event, strlen(rows[i].event), &choices);
		CHECK_INT(sse_choices_done(&choices), rows[i].done);
	}
}

/* Data of several lines is joined up to a limit, however long they are. */
static void long_lines_of_data_are_cut(void)
{
	enum { LIMIT = 4096 };

	for (size_t filler = LIMIT - 40; filler < LIMIT + 40; filler++) {
		_cleanup_str_ struct str event = STR_NULL;
		struct sse_choices choices = {0, 0};
		size_t joined;

		str_addf(&event, "data: {\"error\":\"%0*d\"\ndata: }\n\n", (int)filler, 1);
		joined = strlen("{\"error\":\"\"\n}") + filler;
		ROW("%zu bytes", joined);
		CHECK_INT(sse_classify(SSE_CHAT, event.data, event.len, &choices),
			joined <= LIMIT ? SSE_ERROR : SSE_ORDINARY);
		str_add(&event, "data: more\ndata: [DONE]\n\n");
		CHECK_INT(sse_classify(SSE_CHAT, event.data, event.len, &choices), SSE_TERMINAL);
	}
}

/* ---- What an error says */

static void reads_errors(void)
{
	static const struct {
		const char *event;
		int status;
		bool named;
		const char *message, *type, *code;
	} rows[] = {
		{"event: error\ndata: "
		 "{\"error\":{\"message\":\"m\",\"type\":\"t\",\"code\":429}}\n\n",
			429, true, "m", "t", "429"},
		{"data: {\"error\":{\"message\":\"m\",\"type\":\"api_error\"}}\r\n\r\n", 500, true,
			"m", "api_error", ""},
		{"data: {\"error\":\"it broke\"}\n\n", 502, false, "it broke", "", ""},
		{"event: error\ndata: {\"message\":\"m\"}\n\n", 502, false, "m", "", ""},
		{"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\","
		 "\"message\":\"Overloaded\"},\"request_id\":\"r\"}\n\n",
			503, true, "Overloaded", "overloaded_error", ""},
		{"data: {\"type\":\"error\",\"code\":\"rate_limit_exceeded\",\"message\":\"m\","
		 "\"param\":null,\"sequence_number\":1}\n\n",
			429, true, "m", "error", "rate_limit_exceeded"},
		{"event: error\ndata: it broke\n\n", 502, false, "it broke", "", ""},
		{"data:  it broke \nevent: error\n\n", 502, false, "it broke", "", ""},
		{"event: error\ndata: it\ndata: broke\n\n", 502, false, "it\nbroke", "", ""},
		{"event: error\rdata: {\"message\":\rdata: \"m\"}\r\r", 502, false, "m", "", ""},
		{"\xef\xbb\xbf"
		 "data: {\"error\":\"m\",\"code\":\"NOT_FOUND\"}\n\n",
			404, true, "m", "", "NOT_FOUND"},
		{"event: error\ndata: {\"detail\":\"m\"}\n\n", 502, false, "m", "", ""},
		{"event: error\ndata: {\"x\":1}\n\n", 502, false, "{\"x\":1}", "", ""},
		{"event: error\ndata: {}\n\n", 502, false, "", "", ""},
		{"event: error\ndata:\n\n", 502, false, "", "", ""},
		{"event: error\n\n", 502, false, "", "", ""},
		{"", 502, false, "", "", ""},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		size_t len = strlen(rows[i].event);
		_cleanup_free_ char *exact = xmalloc(len);
		struct soft_error got;

		ROW("event %zu", i);
		memset(&got, 'x', sizeof(got));
		memcpy(exact, rows[i].event, len);
		sse_error_read(exact, len, &got);
		CHECK_INT(got.status, rows[i].status);
		CHECK_INT(got.named, rows[i].named);
		CHECK_STR(got.message, rows[i].message);
		CHECK_STR(got.type, rows[i].type);
		CHECK_STR(got.code, rows[i].code);
	}
}

/* ---- The beginning of an answer */

enum { EVENTS = SSE_START_EVENTS, OTHER = SSE_START_OTHER };

static const struct {
	const char *bytes;
	size_t decided; /* with how many bytes it is decided; 0: not yet */
	int want;
} starts[] = {
	{"", 0, 0},
	{"data: {}\n\n", 5, EVENTS},
	{"data:", 5, EVENTS},
	{"data\n", 5, EVENTS},
	{"data\r\n", 5, EVENTS},
	{"data", 0, 0},
	{"event: x\n", 6, EVENTS},
	{"event\r", 6, EVENTS},
	{"id: 7\n", 3, EVENTS},
	{"id\n", 3, EVENTS},
	{"retry: 3\n", 6, EVENTS},
	{"retry\n", 6, EVENTS},
	{"retr", 0, 0},
	{"e", 0, 0},
	/* behind what says nothing */
	{"\n\r\n\rdata: x", 9, EVENTS},
	{": comment\ndata: x", 15, EVENTS},
	{":\r:\r\n\n: data: x\n\nid:", 20, EVENTS},
	{": comment without an end, data: x", 0, 0},
	{"\n\n", 0, 0},
	{":", 0, 0},
	{"\xef\xbb\xbf"
	 "data: x",
		8, EVENTS},
	{"\xef\xbb\xbf: x\n\nevent:", 14, EVENTS},
	{"\xef\xbb\xbf", 0, 0},
	{"\xef\xbb", 0, 0},
	/* something else */
	{"<html>", 1, OTHER},
	{"\n<!DOCTYPE html>", 2, OTHER},
	{"{\"error\":\"m\"}", 1, OTHER},
	{"[1]", 1, OTHER},
	{"502 Bad Gateway", 1, OTHER},
	{": x\n{\"error\":\"m\"}", 5, OTHER},
	{"\xef\xbb\xbf{}", 4, OTHER},
	{"\xef\xbb\xbf\xef\xbb\xbf"
	 "data:",
		4, OTHER},
	{"\xef\xbbxdata:", 3, OTHER},
	{"\xefx", 2, OTHER},
	{" data: x", 1, OTHER},
	{"\tdata: x", 1, OTHER},
	{"Data: x", 1, OTHER},
	{"dating", 4, OTHER},
	{"datas: x", 5, OTHER},
	{"data x", 5, OTHER},
	{"database is locked", 5, OTHER},
	{"error", 2, OTHER},
	{"events: x", 6, OTHER},
	{"identity", 3, OTHER},
	{"d:", 2, OTHER},
	{"dat\n", 4, OTHER},
	{"retries", 5, OTHER},
	{"\xff", 1, OTHER},
	{"x", 1, OTHER},
};

static void judges_the_start(void)
{
	for (size_t i = 0; i < COUNT_OF(starts); i++) {
		for (size_t len = 0; len <= strlen(starts[i].bytes); len++) {
			bool decided = starts[i].decided && len >= starts[i].decided;
			_cleanup_free_ char *exact = xmalloc(len);

			ROW("start %zu, %s, %zu bytes", i, starts[i].bytes, len);
			memcpy(exact, starts[i].bytes, len);
			CHECK_INT(sse_judge_start(exact, len),
				decided ? starts[i].want : (int)SSE_START_UNDECIDED);
		}
	}
	CHECK_INT(sse_judge_start(NULL, 0), SSE_START_UNDECIDED);
	CHECK_INT(sse_judge_start("data\0:", 6), SSE_START_OTHER);
	CHECK_INT(sse_judge_start("d\0", 2), SSE_START_OTHER);
}

TEST_MAIN(TEST(finds_the_ends_of_events), TEST(finds_them_however_the_stream_is_cut),
	TEST(a_long_event_is_one), TEST(knows_the_dialect_of_a_path),
	TEST(choices_finish_one_by_one), TEST(classifies), TEST(a_beginning_is_not_terminal),
	TEST(choices_are_read_from_all_lines), TEST(long_lines_of_data_are_cut), TEST(reads_errors),
	TEST(judges_the_start))
