#include "base/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void str_fini(struct str *str)
{
	str_wipe(str);
	free(str->data);
	*str = STR_NULL;
}

const char *str_text(const struct str *str)
{
	return str->data ? str->data : "";
}

char *str_steal(struct str *str)
{
	char *data = str->data ? str->data : xstrdup("");

	*str = STR_NULL;
	return data;
}

void str_clear(struct str *str)
{
	str->len = 0;
	if (str->data)
		str->data[0] = '\0';
}

void str_wipe(struct str *str)
{
	if (str->data)
		mem_wipe(str->data, str->cap);
	str->len = 0;
}

/* Not by realloc(), which leaves what it moves. */
static void grow(struct str *str, size_t cap)
{
	char *data = xmalloc(cap);

	data[0] = '\0';
	if (str->data) {
		memcpy(data, str->data, str->len + 1);
		mem_wipe(str->data, str->cap);
	}
	free(str->data);
	str->data = data;
	str->cap = cap;
}

static void make_room(struct str *str, size_t more)
{
	size_t need = str->len + more + 1;
	size_t cap = str->cap ? str->cap : 64;

	if (need <= str->cap)
		return;
	while (cap < need)
		cap *= 2;
	grow(str, cap);
}

void str_add_bytes(struct str *str, const void *bytes, size_t len)
{
	make_room(str, len);
	if (len)
		memcpy(str->data + str->len, bytes, len);
	str->len += len;
	str->data[str->len] = '\0';
}

void str_add(struct str *str, const char *text)
{
	str_add_bytes(str, text, strlen(text));
}

void str_add_char(struct str *str, char c)
{
	str_add_bytes(str, &c, 1);
}

void str_addv(struct str *str, const char *format, va_list args)
{
	va_list again;
	int len;

	va_copy(again, args);
	len = vsnprintf(NULL, 0, format, again);
	va_end(again);
	if (len <= 0)
		return;
	make_room(str, (size_t)len);
	vsnprintf(str->data + str->len, (size_t)len + 1, format, args);
	str->len += (size_t)len;
}

void str_addf(struct str *str, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	str_addv(str, format, args);
	va_end(args);
}

char ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool ascii_is_alpha(char c)
{
	return ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z';
}

bool ascii_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

int ascii_hex_digit(char c)
{
	char lower = ascii_lower(c);

	if (ascii_is_digit(c))
		return c - '0';
	return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

bool str_same(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

bool str_is(const char *text, size_t len, const char *word)
{
	for (size_t i = 0; i < len; i++) {
		if (!word[i] || text[i] != word[i])
			return false;
	}
	return word[len] == '\0';
}

bool str_is_nocase(const char *text, size_t len, const char *word)
{
	for (size_t i = 0; i < len; i++) {
		if (!word[i] || ascii_lower(text[i]) != ascii_lower(word[i]))
			return false;
	}
	return word[len] == '\0';
}

bool str_same_nocase(const char *a, const char *b)
{
	return str_is_nocase(a, strlen(a), b);
}

bool str_begins(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool str_begins_nocase(const char *text, const char *prefix)
{
	size_t len = strlen(prefix);

	return strlen(text) >= len && str_is_nocase(text, len, prefix);
}

bool str_ends(const char *text, const char *suffix)
{
	size_t len = strlen(text), tail = strlen(suffix);

	return len >= tail && str_same(text + len - tail, suffix);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

bool str_next_element(
	const char **cursor, const char *separators, const char **ret_start, size_t *ret_len)
{
	const char *p = *cursor;
	const char *end;

	while (*p && (is_blank(*p) || strchr(separators, *p)))
		p++;
	if (!*p)
		return false;
	end = p + strcspn(p, separators);
	*cursor = end;
	while (end > p && is_blank(end[-1]))
		end--;
	*ret_start = p;
	*ret_len = (size_t)(end - p);
	return true;
}

size_t utf8_sequence(const unsigned char *p, size_t len)
{
	size_t need = p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;

	if (!need || need > len)
		return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
		(p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	for (size_t i = 1; i < need; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	return need;
}
