#include "net/http1_chunk.h"

#include <string.h>

#include "base/str.h"
#include "policy/header.h"

static int hex_digit(char c)
{
	if (ascii_is_digit(c))
		return c - '0';
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool skip_token(const char **cursor)
{
	size_t len = header_token_span(*cursor);

	*cursor += len;
	return len > 0;
}

static bool skip_quoted(const char **cursor)
{
	const char *p = *cursor;

	for (p++; *p && *p != '"'; p++) {
		if (*p == '\\' && *++p == '\0')
			return false;
	}
	*cursor = p + 1;
	return *p == '"';
}

static const char *behind_blanks(const char *text)
{
	return text + strspn(text, HTTP1_BLANKS);
}

/* An extension's value, which may be missing; blanks belong to it only before its `=`. */
static bool skip_value(const char **cursor)
{
	const char *p = behind_blanks(*cursor);

	if (*p != '=')
		return true;
	*cursor = behind_blanks(p + 1);
	return **cursor == '"' ? skip_quoted(cursor) : skip_token(cursor);
}

static bool are_extensions(const char *text)
{
	while (*text) {
		text = behind_blanks(text);
		if (*text != ';')
			return false;
		text = behind_blanks(text + 1);
		if (!skip_token(&text) || !skip_value(&text))
			return false;
	}
	return true;
}

static bool may_be_skipped(const char *text)
{
	text = behind_blanks(text);
	return *text == '\0' || *text == ';';
}

bool http1_chunk_parse_size(
	enum http1_side side, const char *line, uint64_t *ret_size, struct http1_fault *ret_fault)
{
	uint64_t size = 0;
	const char *p;

	for (p = line; hex_digit(*p) >= 0; p++) {
		if (size > (uint64_t)INT64_MAX >> 4)
			return http1_head_refuse(ret_fault, 400, "a chunk size beyond 2^63");
		size = size << 4 | (uint64_t)hex_digit(*p);
	}
	if (p == line || (*p && !strchr("; \t", *p)))
		return http1_head_refuse(ret_fault, 400, "a chunk size that is no number");
	if (!(side == HTTP1_REQUEST ? are_extensions(p) : may_be_skipped(p)))
		return http1_head_refuse(ret_fault, 400, "a chunk extension that is none");
	*ret_size = size;
	return true;
}
