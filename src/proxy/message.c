#include "proxy/message.h"

#include <stddef.h>

#include "base/json.h"
#include "policy/header.h"
#include "proxy/cors.h"

static bool is_named_by_connection(const struct fields *fields, const char *name)
{
	for (size_t i = 0; i < fields->count; i++) {
		if (str_same_nocase(fields->list[i].name, "Connection") &&
			header_list_has(fields->list[i].value, name))
			return true;
	}
	return false;
}

static bool is_of_connection(const struct fields *fields, const char *name)
{
	return header_is_hop_by_hop(name) || is_named_by_connection(fields, name);
}

static bool is_rewritten(const char *name)
{
	return str_same_nocase(name, "Host") || str_same_nocase(name, "Expect") ||
	       str_same_nocase(name, "Content-Length") || str_begins_nocase(name, "X-Andiron-");
}

void message_copy_request_fields(const struct fields *from, bool stream, struct fields *ret)
{
	for (size_t i = 0; i < from->count; i++) {
		const struct field *field = &from->list[i];

		if (!is_of_connection(from, field->name) && !is_rewritten(field->name))
			fields_add(ret, field->name, field->value);
	}
	if (stream)
		fields_set(ret, "Accept-Encoding", "identity");
}

void message_copy_response_fields(const struct fields *from, bool keep_length, struct fields *ret)
{
	/* Chunks win over a length beside them (RFC 9112, 6.3). */
	keep_length = keep_length && !fields_get(from, "Transfer-Encoding");
	for (size_t i = 0; i < from->count; i++) {
		const struct field *field = &from->list[i];

		if (is_of_connection(from, field->name) ||
			str_begins_nocase(field->name, "X-Andiron-") || cors_is_field(field->name))
			continue;
		if (str_same_nocase(field->name, "Content-Length") &&
			(!keep_length || fields_get(ret, "Content-Length")))
			continue;
		fields_add(ret, field->name, field->value);
	}
}

bool message_stops_sdk_retries(int status)
{
	return status == 408 || status == 409 || status == 429 || status >= 500;
}

static void add_error_object(
	struct str *out, const char *message, const char *type, const char *code)
{
	json_begin_object(out, "error");
	json_add_string(out, "message", message);
	json_add_string(out, "type", type);
	json_add_null(out, "param");
	json_add_string(out, "code", code);
	json_end(out);
}

void message_render_error(enum error error, const char *message, bool anthropic, struct str *ret)
{
	json_begin(ret);
	if (anthropic)
		json_add_string(ret, "type", "error");
	add_error_object(ret, message, "andiron_error", error_name(error));
	json_end(ret);
}

static const char *or_else(const char *text, const char *otherwise)
{
	return *text ? text : otherwise;
}

void message_render_error_event(
	enum error error, const char *message, const struct soft_error *said, struct str *ret)
{
	str_add(ret, "event: error\ndata: ");
	json_begin(ret);
	json_add_string(ret, "type", "error");
	add_error_object(ret, or_else(said->message, message), or_else(said->type, "andiron_error"),
		or_else(said->code, error_name(error)));
	json_end(ret);
	str_add(ret, "\n\n");
}

void message_render_upstream_error(const struct soft_error *said, struct str *ret)
{
	json_begin(ret);
	add_error_object(ret, said->message, or_else(said->type, "error"),
		or_else(said->code, error_name(ERROR_STREAM_ERROR)));
	json_end(ret);
}

const char *message_reason(int status)
{
	static const struct {
		int status;
		const char *reason;
	} reasons[] = {
		{200, "OK"},
		{204, "No Content"},
		{400, "Bad Request"},
		{401, "Unauthorized"},
		{402, "Payment Required"},
		{403, "Forbidden"},
		{404, "Not Found"},
		{405, "Method Not Allowed"},
		{408, "Request Timeout"},
		{409, "Conflict"},
		{412, "Precondition Failed"},
		{413, "Content Too Large"},
		{417, "Expectation Failed"},
		{422, "Unprocessable Content"},
		{429, "Too Many Requests"},
		{431, "Request Header Fields Too Large"},
		{499, "Client Closed Request"},
		{500, "Internal Server Error"},
		{501, "Not Implemented"},
		{502, "Bad Gateway"},
		{503, "Service Unavailable"},
		{504, "Gateway Timeout"},
		{505, "HTTP Version Not Supported"},
	};

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
		if (reasons[i].status == status)
			return reasons[i].reason;
	}
	return "Error";
}
