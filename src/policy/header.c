#include "policy/header.h"

#include <stddef.h>
#include <string.h>
#include <time.h>

#include "base/str.h"
#include "policy/structured.h"

bool header_is_hop_by_hop(const char *name)
{
	static const char *const names[] = {"Connection", "Keep-Alive", "Proxy-Connection",
		"Proxy-Authenticate", "Proxy-Authorization", "TE", "Trailer", "Transfer-Encoding",
		"Upgrade", "HTTP2-Settings", NULL};

	for (size_t i = 0; names[i]; i++) {
		if (str_same_nocase(name, names[i]))
			return true;
	}
	return false;
}

bool header_list_has(const char *list, const char *token)
{
	const char *element;
	size_t len;

	while (str_next_element(&list, ",", &element, &len)) {
		if (str_is_nocase(element, len, token))
			return true;
	}
	return false;
}

static bool is_token_char(char c)
{
	return ascii_is_alpha(c) || ascii_is_digit(c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

size_t header_token_span(const char *text)
{
	size_t len = 0;

	while (is_token_char(text[len]))
		len++;
	return len;
}

bool header_is_token(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (!is_token_char(text[i]))
			return false;
	}
	return len > 0;
}

int64_t header_parse_decimal(const char *text, int64_t scale)
{
	int64_t value = 0, fraction = scale;

	if (!ascii_is_digit(*text))
		return -1;
	for (; ascii_is_digit(*text); text++) {
		if (value < INT64_MAX / 1000000)
			value = value * 10 + (*text - '0');
	}
	value *= scale;
	if (*text == '.') {
		for (text++; ascii_is_digit(*text); text++) {
			fraction /= 10;
			value += (*text - '0') * fraction;
		}
	}
	while (*text == ' ' || *text == '\t')
		text++;
	return *text ? -1 : value;
}

/* The three date forms of RFC 9110, 5.6.7; seconds since the epoch, or -1. */
static int64_t parse_http_date(const char *text)
{
	static const char *const formats[] = {"%a, %d %b %Y %H:%M:%S GMT",
		"%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y", NULL};

	for (size_t i = 0; formats[i]; i++) {
		struct tm date;
		const char *end;

		memset(&date, 0, sizeof(date));
		end = strptime(text, formats[i], &date);
		if (end && *end == '\0')
			return timegm(&date);
	}
	return -1;
}

int64_t header_retry_after_ms(
	const char *retry_after, const char *retry_after_ms, int64_t wall_now_us)
{
	int64_t wait = retry_after_ms ? header_parse_decimal(retry_after_ms, 1) : -1;
	int64_t date;

	if (wait < 0 && retry_after)
		wait = header_parse_decimal(retry_after, 1000);
	if (wait >= 0 || !retry_after)
		return wait;
	date = parse_http_date(retry_after);
	if (date < 0)
		return -1;
	wait = date * 1000 - wall_now_us / 1000;
	return wait > 0 ? wait : 0;
}

/* The quota and the seconds of one policy, -1 where it does not say. False: one of them is no
 * count. Of a parameter that stands twice the last one holds (RFC 9651, 4.2.3.2). */
static bool read_policy(struct structured_list *list, int64_t *ret_left, int64_t *ret_seconds)
{
	struct structured_parameter parameter;

	*ret_left = *ret_seconds = -1;
	while (structured_next_parameter(list, &parameter)) {
		bool is_left = str_is(parameter.key, parameter.key_len, "r");

		if (!is_left && !str_is(parameter.key, parameter.key_len, "t"))
			continue;
		if (!parameter.is_integer || parameter.integer < 0)
			return false;
		*(is_left ? ret_left : ret_seconds) = parameter.integer;
	}
	return true;
}

/* False: the field is malformed, and to be ignored. */
static bool read_ratelimit(const char *field, msec_t *ret_wait_ms)
{
	struct structured_list list;
	int64_t left, seconds, longest = -1;

	structured_list_init(&list, field);
	while (structured_next_item(&list)) {
		if (!read_policy(&list, &left, &seconds))
			return false;
		if (left == 0 && seconds > longest)
			longest = seconds;
	}
	if (list.malformed)
		return false;
	*ret_wait_ms = longest < 0 ? -1 : longest * 1000;
	return true;
}

msec_t header_ratelimit_wait_ms(const char *ratelimit, const char *remaining, const char *reset)
{
	msec_t wait_ms;

	if (ratelimit && *ratelimit && read_ratelimit(ratelimit, &wait_ms))
		return wait_ms;
	/* whole numbers only: what has a point would be no delay-seconds */
	if (!remaining || !reset || strchr(remaining, '.') || strchr(reset, '.') ||
		header_parse_decimal(remaining, 1) != 0)
		return -1;
	return header_parse_decimal(reset, 1000);
}

/* `len` lower-case hexadecimal digits that are not all 0. */
static bool is_trace_id(const char *text, size_t len)
{
	return strspn(text, "0123456789abcdef") >= len && strspn(text, "0") < len;
}

bool header_is_traceparent(const char *value)
{
	return strlen(value) == 55 && str_begins(value, "00-") && is_trace_id(value + 3, 32) &&
	       value[35] == '-' && is_trace_id(value + 36, 16) && value[52] == '-' &&
	       strspn(value + 53, "0123456789abcdef") == 2;
}

bool header_is_event_stream(const char *content_type)
{
	size_t len = content_type ? strcspn(content_type, "; \t") : 0;

	return content_type && str_is_nocase(content_type, len, "text/event-stream");
}
