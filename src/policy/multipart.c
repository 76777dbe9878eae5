#include "policy/multipart.h"

#include <string.h>

#include "base/str.h"
#include "policy/header.h"

/* ---- Parameters of a field: `; name=token` or `; name="quoted"`. */

struct parameter {
	const char *name;
	size_t name_len;
	char value[MULTIPART_MAX_VALUE];
	bool cut; /* the value is longer */
};

static const char *skip_blanks(const char *at)
{
	return at + strspn(at, " \t");
}

static void keep(struct parameter *parameter, size_t *len, char c)
{
	if (*len == sizeof(parameter->value) - 1) {
		parameter->cut = true;
		return;
	}
	parameter->value[(*len)++] = c;
	parameter->value[*len] = '\0';
}

/* Behind the quoted string that begins here, or NULL. */
static const char *take_quoted(const char *at, struct parameter *ret)
{
	size_t len = 0;

	for (at++; *at != '"'; at++) {
		at += *at == '\\';
		if (*at == '\0')
			return NULL;
		keep(ret, &len, *at);
	}
	return at + 1;
}

/* The next parameter of `*cursor`, which stands before its semicolon. False at the end, or where
 * there is none; then `*cursor` is not at the text's end. A value without quotes may have more than
 * a token has: `boundary=a/b=` is common. */
static bool next_parameter(const char **cursor, struct parameter *ret)
{
	const char *at = skip_blanks(*cursor);
	size_t len = 0;

	if (*at != ';')
		return false;
	at = skip_blanks(at + 1);
	*ret = (struct parameter){.name = at, .name_len = header_token_span(at)};
	if (ret->name_len == 0 || at[ret->name_len] != '=')
		return false;
	at += ret->name_len + 1;
	if (*at == '"') {
		at = take_quoted(at, ret);
	} else {
		for (; !strchr("; \t\"", *at); at++) /* its NUL is one of them, too */
			keep(ret, &len, *at);
	}
	if (!at)
		return false;
	*cursor = skip_blanks(at);
	return true;
}

/* ---- What the heads say. */

static bool is_boundary(const char *text)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i++) {
		if (!ascii_is_alpha(text[i]) && !ascii_is_digit(text[i]) &&
			!strchr("'()+_,-./:=? ", text[i]))
			return false;
	}
	return len > 0 && len <= MULTIPART_MAX_BOUNDARY && text[len - 1] != ' ';
}

bool multipart_init(struct multipart *form, const char *content_type, const char *name)
{
	static const char kind[] = "multipart/form-data";
	struct parameter parameter;
	const char *cursor;

	memset(form, 0, sizeof(*form));
	if (!content_type || !str_begins_nocase(content_type, kind))
		return false;
	cursor = content_type + strlen(kind);
	while (next_parameter(&cursor, &parameter)) {
		if (!str_is_nocase(parameter.name, parameter.name_len, "boundary"))
			continue;
		if (parameter.cut || form->delimiter_len || !is_boundary(parameter.value))
			return false;
		form->delimiter_len = 4 + strlen(parameter.value);
		memcpy(form->delimiter, "\r\n--", 4);
		memcpy(form->delimiter + 4, parameter.value, form->delimiter_len - 4);
	}
	form->name = name;
	form->part = MULTIPART_OTHER;
	form->matched = 2; /* the first delimiter needs no CR LF before it */
	return form->delimiter_len > 0 && *cursor == '\0';
}

/* Is it form-data of the wanted name, and no file? */
static bool is_wanted(const struct multipart *form, const char *disposition)
{
	static const char kind[] = "form-data";
	struct parameter parameter;
	bool wanted = false;
	const char *cursor;

	disposition = skip_blanks(disposition);
	if (!str_begins_nocase(disposition, kind))
		return false;
	cursor = disposition + strlen(kind);
	while (next_parameter(&cursor, &parameter)) {
		if (str_is_nocase(parameter.name, parameter.name_len, "filename") ||
			str_is_nocase(parameter.name, parameter.name_len, "filename*"))
			return false;
		if (!str_is_nocase(parameter.name, parameter.name_len, "name"))
			continue;
		if (wanted || parameter.cut || !str_same(parameter.value, form->name))
			return false;
		wanted = true;
	}
	return wanted && *cursor == '\0';
}

/* A line of a part's head, without its end. */
static void read_line(struct multipart *form)
{
	static const char disposition[] = "Content-Disposition:";

	if (memchr(form->line, '\0', form->line_len)) {
		form->part = MULTIPART_OTHER;
		return;
	}
	form->line[form->line_len] = '\0';
	if (!str_begins_nocase(form->line, disposition))
		return;
	form->part =
		form->part == MULTIPART_UNNAMED && is_wanted(form, form->line + strlen(disposition))
			? MULTIPART_WANTED
			: MULTIPART_OTHER;
}

/* ---- The body, byte by byte. */

static void begin_head(struct multipart *form)
{
	form->state = MULTIPART_HEAD;
	form->part = MULTIPART_UNNAMED;
	form->line_len = 0;
}

static void on_head_byte(struct multipart *form, char c)
{
	if (c != '\n') {
		if (form->line_len == MULTIPART_MAX_LINE - 1) {
			form->part = MULTIPART_OTHER;
			form->line_len--; /* the last byte is kept: it may be the CR */
		}
		form->line[form->line_len++] = c;
	} else if (form->line_len == 0 || form->line[--form->line_len] != '\r') {
		form->state = MULTIPART_FAILED;
	} else if (form->line_len > 0) {
		read_line(form);
		form->line_len = 0;
	} else {
		form->state = MULTIPART_CONTENT;
		form->matched = 0;
	}
}

/* The delimiter behind a part is whole; `last`: it ends the form. */
static void end_part(struct multipart *form, bool last)
{
	if (form->part == MULTIPART_WANTED)
		form->state = form->value_len > 0 ? MULTIPART_FOUND : MULTIPART_FAILED;
	else if (last)
		form->state = MULTIPART_FAILED;
	else
		begin_head(form);
}

/* Of the wanted field: false if it cannot be what is looked for. */
static bool keep_value(struct multipart *form, char c)
{
	if ((unsigned char)c < ' ' || c == '\x7f' || form->value_len == MULTIPART_MAX_VALUE - 1)
		return false;
	form->value[form->value_len++] = c;
	form->value[form->value_len] = '\0';
	return true;
}

/* No boundary has a CR in it, so what does not go on can only begin anew with this very byte. */
static void on_content_byte(struct multipart *form, char c)
{
	bool wanted = form->part == MULTIPART_WANTED;

	if (c == form->delimiter[form->matched]) {
		if (++form->matched == form->delimiter_len)
			form->state = MULTIPART_BEHIND;
	} else if (wanted && (form->matched > 0 || !keep_value(form, c))) {
		form->state = MULTIPART_FAILED;
	} else {
		form->matched = c == '\r';
	}
}

static void on_byte(struct multipart *form, char c)
{
	switch (form->state) {
	case MULTIPART_CONTENT:
		on_content_byte(form, c);
		break;
	case MULTIPART_BEHIND:
		if (c != ' ' && c != '\t')
			form->state = c == '\r'  ? MULTIPART_LINE_END
				      : c == '-' ? MULTIPART_CLOSING
						 : MULTIPART_FAILED;
		break;
	case MULTIPART_LINE_END:
	case MULTIPART_CLOSING:
		if (c == (form->state == MULTIPART_CLOSING ? '-' : '\n'))
			end_part(form, form->state == MULTIPART_CLOSING);
		else
			form->state = MULTIPART_FAILED;
		break;
	case MULTIPART_HEAD:
		on_head_byte(form, c);
		break;
	case MULTIPART_FOUND:
	case MULTIPART_FAILED:
		break;
	}
}

/* Most bytes of an upload stand in a file: up to the next CR none of them matters. */
static size_t uninteresting(const struct multipart *form, const char *bytes, size_t len)
{
	const char *found;

	if (form->state != MULTIPART_CONTENT || form->matched > 0 || form->part == MULTIPART_WANTED)
		return 0;
	found = memchr(bytes, '\r', len);
	return found ? (size_t)(found - bytes) : len;
}

void multipart_feed(struct multipart *form, const void *bytes, size_t len)
{
	const char *p = bytes;

	for (size_t i = 0;
		i < len && form->state != MULTIPART_FOUND && form->state != MULTIPART_FAILED; i++) {
		i += uninteresting(form, p + i, len - i);
		if (i < len)
			on_byte(form, p[i]);
	}
}

const char *multipart_value(const struct multipart *form)
{
	return form->state == MULTIPART_FOUND ? form->value : NULL;
}
