#include "proxy/redact.h"

#include <stdbool.h>
#include <string.h>

#include "base/str.h"

enum { LEAST = 8, LEAST_OF_A_KIND = 16 };

/* ---- What the request carried. */

static void mask(char *text, const char *word, size_t len)
{
	size_t left = strlen(text);
	char *found;

	if (len < LEAST)
		return;
	while ((found = memmem(text, left, word, len))) {
		memset(found, '*', len);
		left -= (size_t)(found + len - text);
		text = found + len;
	}
}

/* The last word: without the scheme in front of it. */
static void mask_value(char *text, const char *value)
{
	const char *blank = strrchr(value, ' ');
	const char *word = blank ? blank + 1 : value;

	mask(text, word, strlen(word));
}

static bool is_key_field(const char *name)
{
	static const char *const names[] = {"Authorization", "x-api-key", "api-key", "Cookie"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (str_same_nocase(name, names[i]))
			return true;
	}
	return false;
}

/* `api_key`, `Authorization`, `access_token`, ... */
static bool is_key_parameter(const char *name, size_t len)
{
	static const char *const parts[] = {"key", "auth", "token", "secret", "password"};

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		size_t part = strlen(parts[i]);

		for (size_t at = 0; at + part <= len; at++) {
			if (str_is_nocase(name + at, part, parts[i]))
				return true;
		}
	}
	return false;
}

static void mask_query(char *text, const char *target)
{
	const char *query = target ? strchr(target, '?') : NULL, *pair;
	size_t len;

	if (!query)
		return;
	query++;
	while (str_next_element(&query, "&", &pair, &len)) {
		const char *equals = memchr(pair, '=', len);
		size_t name = equals ? (size_t)(equals - pair) : len;

		if (equals && is_key_parameter(pair, name))
			mask(text, equals + 1, len - name - 1);
	}
}

/* ---- What looks like a key. */

static bool is_key_char(char c)
{
	return ascii_is_alpha(c) || ascii_is_digit(c) || (c && strchr("-._~+/", c));
}

static void mask_kind(char *text, const char *prefix)
{
	char *found = text;

	while ((found = strstr(found, prefix))) {
		bool begins =
			found == text || !(ascii_is_alpha(found[-1]) || ascii_is_digit(found[-1]));
		size_t len = 0;

		found += strlen(prefix);
		while (is_key_char(found[len]))
			len++;
		if (begins && len >= LEAST_OF_A_KIND)
			memset(found, '*', len);
		found += len;
	}
}

void redact(char *text, const struct redact_sent *sent)
{
	static const char *const kinds[] = {"Bearer ", "fw_", "fpk_", "sk-"};

	for (size_t i = 0; sent->fields && i < sent->fields->count; i++) {
		const struct field *field = &sent->fields->list[i];

		if (is_key_field(field->name))
			mask_value(text, field->value);
	}
	mask_query(text, sent->target);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		mask_kind(text, kinds[i]);
}
