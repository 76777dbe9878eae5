#include "proxy/reply.h"

#include <event2/buffer.h>
#include <stdlib.h>

#include "proxy/message.h"
#include "proxy/own_fields.h"

static void make_fields(
	const struct record *record, const struct reply *reply, size_t len, struct fields *fields)
{
	_cleanup_str_ struct str length = STR_NULL, seconds = STR_NULL;

	str_addf(&length, "%zu", len);
	if (len > 0) {
		fields_add(fields, "Content-Type", "application/json");
		fields_add(fields, "Content-Length", str_text(&length));
	}
	fields_add(fields, "Cache-Control", "no-store");
	for (size_t i = 0; reply->fields && i < reply->fields->count; i++)
		fields_add(fields, reply->fields->list[i].name, reply->fields->list[i].value);
	own_fields_add(record, false, fields);
	if (reply->may_retry || reply->retry_after_ms > 0) {
		str_addf(&seconds, "%lld", (long long)(reply->retry_after_ms + 999) / 1000);
		fields_set(fields, "Retry-After",
			reply->retry_after_ms > 0 ? str_text(&seconds) : "1");
	}
	if (reply->may_retry)
		fields_set(fields, "x-should-retry", "true");
}

void reply_send(struct client *client, const struct record *record, const struct reply *reply)
{
	_cleanup_str_ struct str body = STR_NULL;
	struct fields fields = FIELDS_NULL;
	struct evbuffer *piece = evbuffer_new();

	if (!piece)
		abort();
	if (reply->status != 204)
		message_render_error(
			reply->error, reply->message, record->request->anthropic, &body);
	make_fields(record, reply, body.len, &fields);
	client_start(client, reply->status, message_reason(reply->status), &fields, reply->close);
	evbuffer_add(piece, body.data, body.len);
	if (client_takes_body(client, reply->status))
		client_send(client, piece);
	client_end(client);
	evbuffer_free(piece);
	fields_fini(&fields);
}

void reply_start_stream(struct client *client, const struct record *record, bool close)
{
	struct fields fields = FIELDS_NULL;

	fields_add(&fields, "Content-Type", "text/event-stream; charset=utf-8");
	fields_add(&fields, "Cache-Control", "no-cache");
	own_fields_add(record, false, &fields);
	client_start(client, 200, message_reason(200), &fields, close);
	fields_fini(&fields);
}
