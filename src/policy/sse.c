#include "policy/sse.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"

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

/* The value of a line `name: value`, or NULL. */
static const char *field_value(const char *line, size_t *len, const char *name)
{
	size_t skip = strlen(name);

	if (*len <= skip || !str_is(line, skip, name) || line[skip] != ':')
		return NULL;
	skip += skip + 1 < *len && line[skip + 1] == ' ' ? 2 : 1;
	*len -= skip;
	return line + skip;
}

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

enum sse_kind sse_classify(
	enum sse_dialect dialect, const char *event, size_t len, struct sse_choices *choices)
{
	const char *cursor = event, *line, *value;
	enum sse_kind kind = SSE_ORDINARY;
	size_t line_len, value_len;

	while (kind != SSE_TERMINAL && next_line(&cursor, event + len, &line, &line_len)) {
		value_len = line_len;
		value = field_value(line, &value_len, "event");
		if (value && names_terminal(dialect, value, value_len))
			kind = SSE_TERMINAL;
		value_len = line_len;
		value = dialect == SSE_CHAT ? field_value(line, &value_len, "data") : NULL;
		if (value && str_is(value, value_len, "[DONE]"))
			kind = SSE_TERMINAL;
		else if (value)
			note_choices(choices, value, value_len);
	}
	return kind;
}
