#include "proxy/answer.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"
#include "net/buffer.h"
#include "proxy/message.h"
#include "proxy/stream.h"

enum { MAX_ERROR_BYTES = 64 << 10 }; /* no error object is larger */

void answer_init(struct answer *answer)
{
	*answer = (struct answer){.status = 0};
	answer->held = evbuffer_new();
	if (!answer->held)
		abort();
}

void answer_fini(struct answer *answer)
{
	evbuffer_free(answer->held);
	fields_fini(&answer->fields);
	free(answer->reason);
}

void answer_take_head(struct answer *answer, const struct transport_head *head)
{
	answer->status = answer->received_status = head->status;
	answer->reason = xstrdup(head->reason ? head->reason : "");
	for (size_t i = 0; i < head->fields->count; i++)
		fields_add(
			&answer->fields, head->fields->list[i].name, head->fields->list[i].value);
}

bool answer_is_encoded(const struct answer *answer)
{
	const char *coding = fields_get(&answer->fields, "Content-Encoding");

	return coding && !str_same_nocase(coding, "identity");
}

static bool has_type(const struct answer *answer, const char *type)
{
	const char *value = fields_get(&answer->fields, "Content-Type");

	return value && str_begins_nocase(value, type);
}

bool answer_is_cut(const struct answer *answer, const struct answer_expectation *expected)
{
	size_t len = evbuffer_get_length(answer->held);
	bool framed = fields_get(&answer->fields, "Content-Length") ||
		      fields_get(&answer->fields, "Transfer-Encoding");
	const char *json = len ? (const char *)evbuffer_pullup(answer->held, -1) : "";

	return expected->inference && answer->status == 200 && !framed &&
	       !answer_is_encoded(answer) && has_type(answer, "application/json") && *json == '{' &&
	       !json_is_whole_object(json, len);
}

/* `error.code` of an OpenAI-shaped error, else the next best name in it. */
static void read_error_code(struct answer *answer)
{
	static const char *const keys[] = {"error.code", "error.type", "code", "error", NULL};
	struct json_peek peek;
	const char *found = NULL;

	buffer_peek_json(answer->held, &peek, keys);
	for (size_t i = 0; keys[i] && !found; i++) {
		const struct json_value *value = json_peek_value(&peek, keys[i]);
		bool scalar = value->type == JSON_STRING || value->type == JSON_LITERAL;

		found = scalar && !str_same(value->text, "null") ? value->text : NULL;
	}
	if (found)
		snprintf(answer->error_code, sizeof(answer->error_code), "%.63s", found);
}

/* The body as JSON, if it is whole and an error's. */
static bool holds_error(struct answer *answer, struct soft_error *ret)
{
	size_t len = evbuffer_get_length(answer->held);

	return answer->complete && len <= MAX_ERROR_BYTES && !answer_is_encoded(answer) &&
	       soft_error_read((const char *)evbuffer_pullup(answer->held, -1), len, ret);
}

static void set_status(struct answer *answer, const struct soft_error *error)
{
	answer->status = error->status;
	answer->own_status = !error->named;
	free(answer->reason);
	answer->reason = xstrdup(message_reason(error->status));
}

void answer_judge(struct answer *answer, const struct answer_expectation *expected)
{
	struct soft_error error = {.status = 502};
	bool fine = answer->status >= 200 && answer->status < 300;
	bool is_error = (!fine || expected->inference) && holds_error(answer, &error);
	/* Every SDK would take it for an empty stream, or for a text; HTML is an edge's. */
	bool is_other = (expected->events && !answer->event_stream) ||
			(expected->inference && has_type(answer, "text/html"));

	if (fine && (is_error || (is_other && !answer_is_encoded(answer))))
		set_status(answer, &error);
	if (answer->status < 400)
		return;
	if (is_error)
		answer->said = error;
	read_error_code(answer);
}

/* The event's data where that is JSON, else an error made of its words. */
static void hold_event(struct answer *answer, struct stream *stream)
{
	size_t len = evbuffer_get_length(stream->evidence);
	const char *event = (const char *)evbuffer_pullup(stream->evidence, -1);
	size_t data_len;
	const char *data = sse_data(event, len, &data_len);
	_cleanup_str_ struct str body = STR_NULL;

	if (data && json_is_whole_object(data, data_len)) {
		evbuffer_add(answer->held, data, data_len);
		return;
	}
	message_render_upstream_error(&stream->error, &body);
	evbuffer_add(answer->held, body.data, body.len);
}

void answer_become_error(struct answer *answer, struct stream *stream)
{
	struct soft_error error = {.status = 502};

	evbuffer_drain(answer->held, evbuffer_get_length(answer->held));
	answer->event_stream = false;
	answer->complete = true;
	if (stream->state == STREAM_FAILED) {
		error = stream->error;
		hold_event(answer, stream);
	} else {
		evbuffer_add_buffer(answer->held, stream->evidence);
		holds_error(answer, &error);
	}
	if (error.named || stream->state == STREAM_FAILED)
		fields_set(&answer->fields, "Content-Type", "application/json");
	answer->said = error;
	set_status(answer, &error);
}
