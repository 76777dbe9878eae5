#include "policy/structured.h"

#include <string.h>

#include "base/str.h"

enum { MAX_INTEGER = 15, MAX_WHOLE = 12, MAX_FRACTION = 3 }; /* digits; RFC 9651, 3.3 */

static size_t count_digits(const char *text)
{
	return strspn(text, "0123456789");
}

/* Each skip_... takes one value and returns what stands behind it, or NULL if it is malformed. */

static const char *skip_integer(const char *at, int64_t *ret)
{
	bool negative = *at == '-';
	const char *digits = at + negative;
	size_t count = count_digits(digits);
	int64_t value = 0;

	if (count == 0 || count > MAX_INTEGER)
		return NULL;
	for (size_t i = 0; i < count; i++)
		value = value * 10 + (digits[i] - '0');
	*ret = negative ? -value : value;
	return digits + count;
}

static const char *skip_number(const char *at, struct structured_parameter *ret)
{
	const char *end = skip_integer(at, &ret->integer);
	size_t whole = end ? (size_t)(end - at) - (*at == '-') : 0, fraction;

	ret->is_integer = end && *end != '.';
	if (!end || ret->is_integer)
		return end;
	fraction = count_digits(end + 1);
	return whole <= MAX_WHOLE && fraction > 0 && fraction <= MAX_FRACTION ? end + 1 + fraction
									      : NULL;
}

static const char *skip_string(const char *at)
{
	for (at++; *at != '"'; at++) {
		bool escaped = *at == '\\';

		at += escaped;
		if (*at < ' ' || *at > '~' || (escaped && *at != '"' && *at != '\\'))
			return NULL;
	}
	return at + 1;
}

static const char *skip_token(const char *at)
{
	for (at++; ascii_is_alpha(*at) || ascii_is_digit(*at) ||
		   (*at && strchr("!#$%&'*+-.^_`|~:/", *at));
		at++)
		;
	return at;
}

static const char *skip_bytes(const char *at)
{
	for (at++; ascii_is_alpha(*at) || ascii_is_digit(*at) || (*at && strchr("+/=", *at)); at++)
		;
	return *at == ':' ? at + 1 : NULL;
}

static const char *skip_boolean(const char *at)
{
	return at[1] == '0' || at[1] == '1' ? at + 2 : NULL;
}

static const char *skip_date(const char *at)
{
	int64_t seconds;

	return skip_integer(at + 1, &seconds);
}

/* %"..." with %xx in lower case; whether that makes UTF-8 is not asked. */
static const char *skip_display_string(const char *at)
{
	if (at[1] != '"')
		return NULL;
	for (at += 2; *at != '"'; at++) {
		if (*at < ' ' || *at > '~')
			return NULL;
		if (*at == '%' && strspn(at + 1, "0123456789abcdef") < 2)
			return NULL;
	}
	return at + 1;
}

static const char *skip_value(const char *at, struct structured_parameter *ret)
{
	if (*at == '-' || ascii_is_digit(*at))
		return skip_number(at, ret);
	if (*at == '*' || ascii_is_alpha(*at))
		return skip_token(at);
	switch (*at) {
	case '"':
		return skip_string(at);
	case ':':
		return skip_bytes(at);
	case '?':
		return skip_boolean(at);
	case '@':
		return skip_date(at);
	case '%':
		return skip_display_string(at);
	default:
		return NULL;
	}
}

static size_t key_span(const char *at)
{
	static const char first[] = "*abcdefghijklmnopqrstuvwxyz";
	static const char others[] = "*abcdefghijklmnopqrstuvwxyz0123456789_-.";

	return *at && strchr(first, *at) ? strspn(at, others) : 0;
}

static bool fail(struct structured_list *list)
{
	list->malformed = true;
	return false;
}

void structured_list_init(struct structured_list *list, const char *text)
{
	*list = (struct structured_list){.at = text + strspn(text, " ")};
}

bool structured_next_parameter(struct structured_list *list, struct structured_parameter *ret)
{
	if (list->malformed || *list->at != ';')
		return false;
	list->at += 1 + strspn(list->at + 1, " ");
	*ret = (struct structured_parameter){.key = list->at, .key_len = key_span(list->at)};
	if (ret->key_len == 0)
		return fail(list);
	list->at += ret->key_len;
	if (*list->at != '=') /* a parameter without a value is true */
		return true;
	list->at = skip_value(list->at + 1, ret);
	return list->at || fail(list);
}

/* Behind the comma that follows an item; false: there is none, and it was the last item. */
static bool skip_comma(struct structured_list *list)
{
	list->at += strspn(list->at, " \t");
	if (*list->at == '\0')
		return false;
	if (*list->at != ',')
		return fail(list);
	list->at += 1 + strspn(list->at + 1, " \t");
	return *list->at ? true : fail(list);
}

bool structured_next_item(struct structured_list *list)
{
	struct structured_parameter skipped;

	while (list->begun && structured_next_parameter(list, &skipped))
		;
	if (list->malformed || *list->at == '\0' || (list->begun && !skip_comma(list)))
		return false;
	list->begun = true;
	list->at = skip_value(list->at, &skipped);
	return list->at || fail(list);
}
