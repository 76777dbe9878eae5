#include "policy/soft_error.h"

#include <string.h>

#include "base/json.h"
#include "base/str.h"

enum { UNNAMED_STATUS = 502 };

/* Fireworks' own names, those of OpenAI's and Anthropic's error types and codes, of gRPC's codes
 * (google/rpc/code.proto) and of HTTP's reason phrases. */
static const struct {
	const char *name;
	int status;
} statuses[] = {
	{"invalid_request_error", 400},
	{"invalid_request", 400},
	{"bad_request", 400},
	{"bad_request_error", 400},
	{"invalid_argument", 400},
	{"invalid_prompt", 400},
	{"failed_precondition", 400},
	{"out_of_range", 400},
	{"context_length_exceeded", 400},
	{"content_policy_violation", 400},
	{"content_filter", 400},
	{"authentication_error", 401},
	{"unauthorized", 401},
	{"unauthenticated", 401},
	{"invalid_api_key", 401},
	{"billing_error", 402},
	{"payment_required", 402},
	{"permission_error", 403},
	{"permission_denied", 403},
	{"permission_denied_error", 403},
	{"forbidden", 403},
	{"not_found", 404},
	{"not_found_error", 404},
	{"model_not_found", 404},
	{"method_not_allowed", 405},
	{"request_timeout", 408},
	{"conflict", 409},
	{"conflict_error", 409},
	{"already_exists", 409},
	{"aborted", 409},
	{"precondition_failed", 412},
	{"request_too_large", 413},
	{"payload_too_large", 413},
	{"content_too_large", 413},
	{"request_entity_too_large", 413},
	{"unprocessable_entity", 422},
	{"unprocessable_entity_error", 422},
	{"validation_error", 422},
	{"too_early", 425},
	{"rate_limit_error", 429},
	{"rate_limit_exceeded", 429},
	{"too_many_requests", 429},
	{"resource_exhausted", 429},
	{"insufficient_quota", 429},
	{"quota_exceeded", 429},
	{"api_error", 500},
	{"internal_server_error", 500},
	{"internal_error", 500},
	{"internal", 500},
	{"server_error", 500},
	{"not_implemented", 501},
	{"unimplemented", 501},
	{"bad_gateway", 502},
	{"service_unavailable", 503},
	{"service_unavailable_error", 503},
	{"unavailable", 503},
	{"deployment_scaling_up", 503},
	{"overloaded_error", 503},
	{"overloaded", 503},
	{"server_overloaded", 503},
	{"service_overloaded", 503},
	{"engine_overloaded", 503},
	{"engine_overloaded_error", 503},
	{"gateway_timeout", 504},
	{"timeout_error", 504},
	{"deadline_exceeded", 504},
};

static const char *skip_joints(const char *p)
{
	return p + strspn(p, " -_");
}

static bool is_same_name(const char *a, const char *b)
{
	for (a = skip_joints(a), b = skip_joints(b); *a && *b; a = skip_joints(a + 1)) {
		if (ascii_lower(*a) != ascii_lower(*b))
			return false;
		b = skip_joints(b + 1);
	}
	return !*a && !*b;
}

int soft_error_status(const char *name)
{
	bool digits = strlen(name) == 3 && strspn(name, "0123456789") == 3;

	if (digits && name[0] >= '4' && name[0] <= '5')
		return (name[0] - '0') * 100 + (name[1] - '0') * 10 + (name[2] - '0');
	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
		if (is_same_name(name, statuses[i].name))
			return statuses[i].status;
	}
	return 0;
}

/* ---- Words */

/* An object that stands in a text; empty: there is none. */
struct part {
	const char *text;
	size_t len;
};

static bool is_number(const char *value)
{
	return ascii_is_digit(*value) || *value == '-';
}

/* A string, or a number as it stands there. False: neither, or an empty one. */
static bool read_member(const struct part *object, const char *key, char *ret, size_t size)
{
	const char *value;
	size_t len;

	if (!json_member(object->text, object->len, key, &value, &len))
		return false;
	if (json_unquote(value, len, ret, size))
		return *ret != '\0';
	if (!is_number(value) || len >= size)
		return false;
	memcpy(ret, value, len);
	ret[len] = '\0';
	return true;
}

static void set_status(int status, struct soft_error *error)
{
	error->named = status != 0;
	error->status = status ? status : UNNAMED_STATUS;
}

static int named_status(const struct part *inner, const struct part *outer, const char *reason)
{
	static const char *const keys[] = {"status", "code", "type"};
	char name[64]; /* longer than any in the table */
	int status = 0;

	for (size_t i = 0; i < 6 && !status; i++) {
		if (read_member(i < 3 ? inner : outer, keys[i % 3], name, sizeof(name)))
			status = soft_error_status(name);
	}
	return status ? status : soft_error_status(reason);
}

/* `error` may be an object with all of it, or a short reason beside a message, or all there is. */
static void read_words(const char *json, size_t len, struct soft_error *ret)
{
	struct part inner = {"", 0}, outer = {json, len};
	char reason[sizeof(ret->message)] = "";

	memset(ret, 0, sizeof(*ret));
	json_member(json, len, "error", &inner.text, &inner.len);
	json_unquote(inner.text, inner.len, reason, sizeof(reason));
	set_status(named_status(&inner, &outer, reason), ret);
	if (!read_member(&inner, "type", ret->type, sizeof(ret->type)))
		read_member(&outer, "type", ret->type, sizeof(ret->type));
	if (!read_member(&inner, "code", ret->code, sizeof(ret->code)))
		read_member(&outer, "code", ret->code, sizeof(ret->code));
	if (read_member(&inner, "message", ret->message, sizeof(ret->message)))
		return;
	if (!read_member(&outer, "message", ret->message, sizeof(ret->message)) &&
		!read_member(&outer, "detail", ret->message, sizeof(ret->message)))
		memcpy(ret->message, reason, sizeof(reason));
	else if (!*ret->code && strlen(reason) < sizeof(ret->code))
		memcpy(ret->code, reason, strlen(reason) + 1);
}

/* ---- What is an error */

static bool is_filled(const char *value, size_t len)
{
	if (*value == '"' || *value == '{' || *value == '[')
		return len > 2;
	return str_is(value, len, "true") || (is_number(value) && !str_is(value, len, "0"));
}

/* Not null, nor empty, nor an object of which all members are. */
static bool says_something(const char *value, size_t len)
{
	size_t cursor = 0;
	struct json_pair pair;
	bool something = false;

	if (*value != '{')
		return is_filled(value, len);
	while (json_next_member(value, len, &cursor, &pair))
		something |= is_filled(pair.value, pair.value_len);
	return something && cursor == len;
}

bool soft_error_read(const char *json, size_t len, struct soft_error *ret)
{
	size_t cursor = 0;
	struct json_pair pair;
	bool speaks = false;

	while (json_next_member(json, len, &cursor, &pair)) {
		if (str_is(pair.key, pair.key_len, "error"))
			speaks |= says_something(pair.value, pair.value_len);
		else if (str_is(pair.key, pair.key_len, "message"))
			speaks |= *pair.value == '"' && pair.value_len > 2;
		else if (!str_is(pair.key, pair.key_len, "type") &&
			 !str_is(pair.key, pair.key_len, "code"))
			return false;
	}
	if (!speaks || cursor != len)
		return false;
	read_words(json, len, ret);
	return true;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* A JSON string's text, or the text itself, cut between two characters. */
static void copy_text(const char *text, size_t len, char *ret, size_t size)
{
	if (json_unquote(text, len, ret, size))
		return;
	if (len >= size) {
		len = size - 1;
		while (len > 0 && (text[len] & 0xc0) == 0x80)
			len--;
	}
	memcpy(ret, text, len);
	ret[len] = '\0';
}

void soft_error_read_any(const char *text, size_t len, struct soft_error *ret)
{
	size_t cursor = 0;
	struct json_pair pair;

	for (; len > 0 && is_space(text[0]); len--)
		text++;
	while (len > 0 && is_space(text[len - 1]))
		len--;
	read_words(text, len, ret);
	if (*ret->message || *ret->type || *ret->code)
		return;
	if (!json_next_member(text, len, &cursor, &pair) && cursor == len)
		return; /* {} */
	copy_text(text, len, ret->message, sizeof(ret->message));
	set_status(soft_error_status(ret->message), ret);
}
