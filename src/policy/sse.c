#include "policy/sse.h"

#include <string.h>

#include "base/str.h"

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

/* Does the JSON text hold the member `"key":"..."`? A quoted copy inside a string does not count:
 * its quotes are escaped. */
static bool has_string_member(const char *json, size_t len, const char *quoted_key)
{
	const char *end = json + len;
	const char *found = json;
	size_t key = strlen(quoted_key);

	while ((found = memmem(found, (size_t)(end - found), quoted_key, key))) {
		const char *p = found + key;

		if (found == json || found[-1] != '\\') {
			while (p < end && (*p == ' ' || *p == ':'))
				p++;
			if (p < end && *p == '"')
				return true;
		}
		found += key;
	}
	return false;
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

enum sse_kind sse_classify(enum sse_dialect dialect, const char *event, size_t len)
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
		else if (value && has_string_member(value, value_len, "\"finish_reason\""))
			kind = SSE_FINISH;
	}
	return kind;
}
