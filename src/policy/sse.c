#include "policy/sse.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"

#define BOM "\xef\xbb\xbf" /* of UTF-8; a stream may begin with it */

enum { LAST_CHOICE = 63 };

/* True if this line end ends an event. */
static bool on_line_end(struct sse_scanner *scanner)
{
	bool ends = !scanner->in_line && scanner->in_event;

	scanner->in_event = scanner->in_line;
	scanner->in_line = false;
	return ends;
}

size_t sse_scan(struct sse_scanner *scanner, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		bool was_cr = scanner->after_cr;

		scanner->after_cr = bytes[i] == '\r';
		if (bytes[i] == '\n' && was_cr)
			continue;
		if (bytes[i] != '\n' && bytes[i] != '\r')
			scanner->in_line = true;
		else if (on_line_end(scanner))
			return i + 1 + (bytes[i] == '\r' && i + 1 < len && bytes[i + 1] == '\n');
	}
	return 0;
}

enum sse_dialect sse_dialect_of(const char *path)
{
	if (str_ends(path, "/completions"))
		return SSE_CHAT;
	if (str_ends(path, "/messages"))
		return SSE_MESSAGES;
	return str_ends(path, "/responses") ? SSE_RESPONSES : SSE_PLAIN;
}

/* The next line of an event, without its end; false at the end. */
static bool next_line(const char **cursor, const char *end, const char **ret_line, size_t *ret_len)
{
	const char *p = *cursor;

	if (p >= end)
		return false;
	while (p < end && *p != '\n' && *p != '\r')
		p++;
	*ret_line = *cursor;
	*ret_len = (size_t)(p - *cursor);
	p += p + 1 < end && p[0] == '\r' && p[1] == '\n' ? 2 : 1;
	*cursor = p;
	return true;
}

/* ---- An event's fields */

struct sse_text {
	bool speaks;      /* a line that is none of a silent event's */
	bool done;        /* a line `data: [DONE]` */
	bool cut;         /* the data has several lines and is longer than `joined` */
	const char *name; /* of the event */
	const char *data;
	size_t name_len, data_len;
	int data_lines;
	char joined[4096]; /* the data if it has several lines */
};

static void join(struct sse_text *text, const char *bytes, size_t len)
{
	size_t room = sizeof(text->joined) - text->data_len;

	text->cut |= len > room;
	len = len < room ? len : room;
	memcpy(text->joined + text->data_len, bytes, len);
	text->data_len += len;
}

static void add_data(struct sse_text *text, const char *value, size_t len)
{
	const char *first = text->data;
	size_t first_len = text->data_len;

	text->done |= str_is(value, len, "[DONE]");
	if (text->data_lines++ == 0) {
		text->data = value;
		text->data_len = len;
		return;
	}
	if (first != text->joined) {
		text->data = text->joined;
		text->data_len = 0;
		join(text, first, first_len);
	}
	join(text, "\n", 1);
	join(text, value, len);
}

static void add_field(
	struct sse_text *text, const char *name, size_t name_len, const char *value, size_t len)
{
	bool is_silent =
		name_len == 0 || str_is(name, name_len, "id") || str_is(name, name_len, "retry");

	text->speaks |= !is_silent;
	if (str_is(name, name_len, "data")) {
		add_data(text, value, len);
	} else if (str_is(name, name_len, "event")) {
		text->name = value;
		text->name_len = len;
	}
}

static size_t skip_bom(const char *bytes, size_t len)
{
	return len >= 3 && memcmp(bytes, BOM, 3) == 0 ? 3 : 0;
}

static void read_event(const char *event, size_t len, struct sse_text *ret)
{
	const char *cursor = event + skip_bom(event, len), *line, *value;
	size_t line_len, name_len;

	ret->speaks = ret->done = ret->cut = false;
	ret->name = ret->data = "";
	ret->name_len = ret->data_len = 0;
	ret->data_lines = 0;
	while (next_line(&cursor, event + len, &line, &line_len)) {
		value = memchr(line, ':', line_len);
		name_len = value ? (size_t)(value - line) : line_len;
		value = line + name_len + (value != NULL);
		if (value < line + line_len && *value == ' ')
			value++;
		add_field(ret, line, name_len, value, (size_t)(line + line_len - value));
	}
}

/* ---- What it means */

static void note_choice(
	struct sse_choices *choices, unsigned position, const char *choice, size_t len)
{
	const char *value;
	size_t value_len;
	unsigned long index = position;

	if (json_member(choice, len, "index", &value, &value_len) && ascii_is_digit(*value))
		index = strtoul(value, NULL, 10);
	index = index < LAST_CHOICE ? index : LAST_CHOICE;
	choices->seen |= UINT64_C(1) << index;
	if (json_member(choice, len, "finish_reason", &value, &value_len) && *value == '"' &&
		value_len > 2)
		choices->finished |= UINT64_C(1) << index;
}

static void note_choices(struct sse_choices *choices, const char *json, size_t len)
{
	const char *array, *choice;
	size_t array_len, choice_len, cursor = 0;
	unsigned position = 0;

	if (!json_member(json, len, "choices", &array, &array_len))
		return;
	while (json_element(array, array_len, &cursor, &choice, &choice_len))
		note_choice(choices, position++, choice, choice_len);
}

bool sse_choices_done(const struct sse_choices *choices)
{
	return choices->seen && choices->seen == choices->finished;
}

static bool names_terminal(enum sse_dialect dialect, const char *name, size_t len)
{
	static const char *const ends[] = {
		"response.completed", "response.incomplete", "response.failed"};

	if (dialect == SSE_MESSAGES && str_is(name, len, "message_stop"))
		return true;
	for (size_t i = 0; dialect == SSE_RESPONSES && i < 3; i++) {
		if (str_is(name, len, ends[i]))
			return true;
	}
	return false;
}

/* By its name, or, where the server gives its events none, by the type in its data. */
static bool is_terminal(enum sse_dialect dialect, const struct sse_text *text)
{
	const char *type;
	size_t len;

	if (dialect == SSE_CHAT)
		return text->done;
	if (text->name_len)
		return names_terminal(dialect, text->name, text->name_len);
	return dialect != SSE_PLAIN &&
	       json_member(text->data, text->data_len, "type", &type, &len) && len > 2 &&
	       names_terminal(dialect, type + 1, len - 2);
}

/* The `error` events of the responses and messages streams have other keys beside the error. */
static bool is_of_type_error(enum sse_dialect dialect, const struct sse_text *text)
{
	const char *type;
	size_t len;

	return (dialect == SSE_RESPONSES || dialect == SSE_MESSAGES) &&
	       json_member(text->data, text->data_len, "type", &type, &len) &&
	       str_is(type, len, "\"error\"");
}

static bool is_error(enum sse_dialect dialect, const struct sse_text *text)
{
	struct soft_error error;

	return str_is(text->name, text->name_len, "error") ||
	       soft_error_read(text->data, text->data_len, &error) ||
	       is_of_type_error(dialect, text);
}

enum sse_kind sse_classify(
	enum sse_dialect dialect, const char *event, size_t len, struct sse_choices *choices)
{
	struct sse_text text;

	read_event(event, len, &text);
	if (!text.speaks)
		return SSE_SILENT;
	if (text.cut)
		text.data_len = 0; /* it might be taken for what it is the beginning of */
	if (is_error(dialect, &text))
		return SSE_ERROR;
	if (is_terminal(dialect, &text))
		return SSE_TERMINAL;
	if (dialect == SSE_CHAT)
		note_choices(choices, text.data, text.data_len);
	return SSE_ORDINARY;
}

void sse_error_read(const char *event, size_t len, struct soft_error *ret)
{
	struct sse_text text;

	read_event(event, len, &text);
	soft_error_read_any(text.data, text.data_len, ret);
}

bool sse_is_cut(const char *event, size_t len)
{
	struct sse_text text;

	read_event(event, len, &text);
	if (text.data_len == 0)
		return true;
	return !text.cut && *text.data == '{' && !json_is_whole_object(text.data, text.data_len);
}

const char *sse_data(const char *event, size_t len, size_t *ret_len)
{
	struct sse_text text;

	read_event(event, len, &text);
	if (text.data_lines != 1)
		return NULL;
	*ret_len = text.data_len;
	return text.data;
}

/* ---- The beginning of a stream */

/* What a line that is no comment begins with. */
static enum sse_start judge_name(const char *line, size_t len)
{
	static const char *const names[] = {"data", "event", "id", "retry"};
	size_t name = 0;

	while (name < len && line[name] != ':' && line[name] != '\n' && line[name] != '\r')
		name++;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (name < len && str_is(line, name, names[i]))
			return SSE_START_EVENTS;
		if (name == len && strncmp(line, names[i], len) == 0)
			return SSE_START_UNDECIDED;
	}
	return SSE_START_OTHER;
}

enum sse_start sse_judge_start(const char *bytes, size_t len)
{
	const char *cursor = bytes + skip_bom(bytes, len), *line;
	size_t line_len;

	if (len == 0 || (len < 3 && memcmp(bytes, BOM, len) == 0))
		return SSE_START_UNDECIDED;
	while (next_line(&cursor, bytes + len, &line, &line_len)) {
		if (line_len > 0 && *line != ':')
			return judge_name(line, (size_t)(bytes + len - line));
	}
	return SSE_START_UNDECIDED;
}
