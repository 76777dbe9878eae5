#include "net/http1_head.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "policy/header.h"

bool http1_head_refuse(struct http1_fault *ret_fault, int status, const char *why)
{
	*ret_fault = (struct http1_fault){status, why};
	return false;
}

void http1_head_fini(struct http1_head *head)
{
	free(head->method);
	mem_wipe_free(head->target); /* a key may stand in the query */
	free(head->reason);
	fields_fini(&head->fields);
	*head = (struct http1_head){.fields = FIELDS_NULL};
}

/* ---- Lines */

bool http1_head_has_control(const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)bytes[i];

		if ((c < ' ' && c != '\t') || c == 0x7f)
			return true;
	}
	return false;
}

static size_t visible_span(const char *text)
{
	size_t len = 0;

	while (text[len] > ' ' && text[len] <= '~') /* a byte above 127 is above or below */
		len++;
	return len;
}

/* The digit behind `HTTP/1.` in a text of exactly that form; -1 of another HTTP version, -2 of
 * something else. */
static int minor_version(const char *text, size_t len)
{
	if (len != strlen("HTTP/1.1") || strncmp(text, "HTTP/", 5) != 0 ||
		!ascii_is_digit(text[5]) || text[6] != '.' || !ascii_is_digit(text[7]))
		return -2;
	return text[5] == '1' ? text[7] - '0' : -1;
}

bool http1_head_parse_request_line(
	const char *line, struct http1_head *ret, struct http1_fault *ret_fault)
{
	size_t method = header_token_span(line);
	const char *target = line + method + 1, *version;
	size_t target_len;
	int minor;

	if (method == 0 || line[method] != ' ')
		return http1_head_refuse(ret_fault, 400, "a request line without a method");
	target_len = visible_span(target);
	if (target_len == 0 || target[target_len] != ' ')
		return http1_head_refuse(ret_fault, 400, "a request line without a target");
	if (memchr(target, '#', target_len)) /* where the path ends is then anyone's guess */
		return http1_head_refuse(ret_fault, 400, "a target with a fragment");
	version = target + target_len + 1;
	minor = minor_version(version, strlen(version));
	if (minor < -1)
		return http1_head_refuse(ret_fault, 400, "a request line without a version");
	if (minor < 0 || minor > 1)
		return http1_head_refuse(ret_fault, 505, "a version other than HTTP/1.0 and 1.1");
	ret->minor = minor;
	ret->method = xstrndup(line, method);
	ret->target = xstrndup(target, target_len);
	return true;
}

/* The blank behind the status may be missing with the reason: many servers leave out both. */
bool http1_head_parse_status_line(
	const char *line, struct http1_head *ret, struct http1_fault *ret_fault)
{
	size_t version = strcspn(line, " ");
	int minor = minor_version(line, version), status = 0;
	const char *p = line + version;

	if (minor < 0 || *p != ' ')
		return http1_head_refuse(ret_fault, 400, "a first line that is not HTTP/1.x's");
	for (p++; ascii_is_digit(*p) && status < 1000; p++)
		status = status * 10 + (*p - '0');
	if (p != line + version + 4 || status < 100 || (*p && *p != ' '))
		return http1_head_refuse(ret_fault, 400, "a status that is no three-digit number");
	if (status == 101)
		return http1_head_refuse(ret_fault, 400, "a change of protocols, never asked for");
	ret->minor = minor;
	ret->status = status;
	ret->reason = xstrdup(*p ? p + 1 : "");
	return true;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Blanks before the colon have let two readers see two different fields; a response's are
 * removed, as 5.1 demands of a proxy, and a request's are no part of a token. */
bool http1_head_cut_field(enum http1_side side, char *line, const char **ret_name,
	const char **ret_value, struct http1_fault *ret_fault)
{
	char *colon = strchr(line, ':'), *end = colon;
	char *value = colon + 1 + strspn(colon + 1, HTTP1_BLANKS);
	size_t value_len = strlen(value);

	while (side == HTTP1_RESPONSE && end > line && is_blank(end[-1]))
		end--;
	if (end == line || header_token_span(line) != (size_t)(end - line))
		return http1_head_refuse(ret_fault, 400, "a field name that is no token");
	*end = '\0';
	while (value_len > 0 && is_blank(value[value_len - 1]))
		value_len--;
	value[value_len] = '\0';
	*ret_name = line;
	*ret_value = value;
	return true;
}

/* ---- Framing */

/* The next element of a list, without the blanks around it. An empty one is one too: in what
 * frames a message it is a doubt. False at the end, where `*cursor` is NULL. */
static bool next_item(const char **cursor, const char **ret_item, size_t *ret_len)
{
	const char *item = *cursor;
	size_t len;

	if (!item)
		return false;
	item += strspn(item, HTTP1_BLANKS);
	len = strcspn(item, ",");
	*cursor = item[len] ? item + len + 1 : NULL;
	while (len > 0 && is_blank(item[len - 1]))
		len--;
	*ret_item = item;
	*ret_len = len;
	return true;
}

/* Plain digits, and a value below 2^63, so that no one's signed number turns it over. */
static bool parse_length(const char *text, size_t len, uint64_t *ret_length)
{
	uint64_t length = 0;

	for (size_t i = 0; i < len; i++) {
		uint64_t digit = (uint64_t)(text[i] - '0');

		if (!ascii_is_digit(text[i]) || length > ((uint64_t)INT64_MAX - digit) / 10)
			return false;
		length = length * 10 + digit;
	}
	if (len == 0)
		return false;
	*ret_length = length;
	return true;
}

/* All lengths of all Content-Length fields, which must be the same. */
static bool find_length(
	const struct fields *fields, uint64_t *ret_length, struct http1_fault *ret_fault)
{
	uint64_t length, first = 0;
	size_t count = 0, len;
	const char *item;

	for (size_t i = 0; i < fields->count; i++) {
		const char *cursor = fields->list[i].value;

		if (!str_same_nocase(fields->list[i].name, "Content-Length"))
			continue;
		while (next_item(&cursor, &item, &len)) {
			if (!parse_length(item, len, &length))
				return http1_head_refuse(
					ret_fault, 400, "a Content-Length that is no length");
			if (count++ > 0 && length != first)
				return http1_head_refuse(
					ret_fault, 400, "two Content-Lengths that differ");
			first = length;
		}
	}
	*ret_length = first;
	return true;
}

/* The elements of all Transfer-Encoding fields; true if they come to one `chunked`. */
static bool is_just_chunked(const struct fields *fields)
{
	size_t chunked = 0, others = 0, len;
	const char *item;

	for (size_t i = 0; i < fields->count; i++) {
		const char *cursor = fields->list[i].value;

		if (!str_same_nocase(fields->list[i].name, "Transfer-Encoding"))
			continue;
		while (str_next_element(&cursor, ",", &item, &len)) {
			bool is_chunked = str_is_nocase(item, len, "chunked");

			chunked += is_chunked;
			others += !is_chunked;
		}
	}
	return chunked == 1 && others == 0;
}

bool http1_head_frame_response(
	struct http1_head *head, bool bodiless, struct http1_fault *ret_fault)
{
	const struct fields *fields = &head->fields;

	head->framing = HTTP1_NO_BODY;
	if (bodiless || head->status < 200 || head->status == 204 || head->status == 304)
		return true;
	if (fields_get(fields, "Transfer-Encoding")) {
		head->framing = HTTP1_CHUNKED;
		return is_just_chunked(fields) ||
		       http1_head_refuse(ret_fault, 400, "a Transfer-Encoding other than chunked");
	}
	head->framing = HTTP1_UNTIL_CLOSE;
	if (!fields_get(fields, "Content-Length"))
		return true;
	head->framing = HTTP1_LENGTH;
	return find_length(fields, &head->length, ret_fault);
}

/* 501 only where the framing itself is plain: `chunked`, once and last (RFC 9112, 6.1). */
static bool judge_request_coding(const char *list, struct http1_fault *ret_fault)
{
	size_t chunked = 0, others = 0, len;
	const char *item;
	bool last = false;

	while (next_item(&list, &item, &len)) {
		if (len == 0)
			return http1_head_refuse(
				ret_fault, 400, "a Transfer-Encoding with an empty element");
		last = str_is_nocase(item, len, "chunked");
		chunked += last;
		others += !last;
	}
	if (!last || chunked > 1)
		return http1_head_refuse(
			ret_fault, 400, "a Transfer-Encoding that is not chunked once and last");
	return others == 0 ||
	       http1_head_refuse(ret_fault, 501, "a transfer coding other than chunked");
}

/* Whatever two readers could frame in two ways is refused: it is how requests are smuggled. */
bool http1_head_frame_request(struct http1_head *head, struct http1_fault *ret_fault)
{
	const struct fields *fields = &head->fields;
	const char *coding = fields_get(fields, "Transfer-Encoding");
	const char *length = fields_get(fields, "Content-Length");

	if (fields_count(fields, "Transfer-Encoding") > 1)
		return http1_head_refuse(ret_fault, 400, "two Transfer-Encodings");
	if (fields_count(fields, "Content-Length") > 1)
		return http1_head_refuse(ret_fault, 400, "two Content-Lengths");
	if (coding && length)
		return http1_head_refuse(
			ret_fault, 400, "a Transfer-Encoding and a Content-Length");
	if (coding && head->minor == 0)
		return http1_head_refuse(ret_fault, 400, "a Transfer-Encoding in HTTP/1.0");
	if (length && !parse_length(length, strlen(length), &head->length))
		return http1_head_refuse(ret_fault, 400, "a Content-Length that is no length");
	head->framing = coding ? HTTP1_CHUNKED : length ? HTTP1_LENGTH : HTTP1_NO_BODY;
	return !coding || judge_request_coding(coding, ret_fault);
}

/* ---- Persistence */

static bool connection_has(const struct fields *fields, const char *option)
{
	for (size_t i = 0; i < fields->count; i++) {
		if (str_same_nocase(fields->list[i].name, "Connection") &&
			header_list_has(fields->list[i].value, option))
			return true;
	}
	return false;
}

/* A message that was framed against a second opinion is the connection's last one (6.1, 6.3). */
static bool is_framed_in_doubt(const struct http1_head *head)
{
	return head->framing == HTTP1_CHUNKED &&
	       (head->minor == 0 || fields_get(&head->fields, "Content-Length"));
}

bool http1_head_persists(const struct http1_head *head)
{
	if (head->framing == HTTP1_UNTIL_CLOSE || is_framed_in_doubt(head) ||
		connection_has(&head->fields, "close"))
		return false;
	return head->minor > 0 || connection_has(&head->fields, "keep-alive");
}
