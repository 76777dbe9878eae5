#include "proxy/event.h"

#include <event2/buffer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"

enum { MAX_KEY = 4096 }; /* a secret at the end of what is shown of a body may be as long */

/* ---- Text that a client or an upstream wrote. */

static char *clean(const struct event *event, const char *text)
{
	char *copy = xstrdup(text);

	redact(copy, &event->sent);
	return copy;
}

/* ---- As JSON. */

static void add_text(struct str *out, const struct event *event, const char *key, const char *text)
{
	_cleanup_free_ char *copy = text ? clean(event, text) : NULL;

	json_add_string(out, key, copy);
}

static void add_facts(struct str *out, const struct transport_facts *facts)
{
	json_add_string(out, "address", *facts->address ? facts->address : NULL);
	json_add_bool(out, "reused", facts->reused);
	json_add_int(out, "dns_ms", facts->dns_ms);
	json_add_int(out, "connect_ms", facts->connect_ms);
	json_add_int(out, "tls_ms", facts->tls_ms);
	json_add_int(out, "write_ms", facts->write_ms);
	json_add_int(out, "first_byte_ms", facts->first_byte_ms);
	json_add_int(out, "bytes_in", (int64_t)facts->bytes_received);
	json_add_int(out, "bytes_out", (int64_t)facts->bytes_sent);
}

/* The fields that begin so, raw: their units are contradictory. */
static void add_raw_fields(
	struct str *out, const struct event *event, const char *key, const char *prefix)
{
	const struct fields *fields = event->answer_fields;
	bool any = false;

	for (size_t i = 0; fields && i < fields->count; i++) {
		if (!str_begins_nocase(fields->list[i].name, prefix))
			continue;
		if (!any)
			json_begin_object(out, key);
		any = true;
		add_text(out, event, fields->list[i].name, fields->list[i].value);
	}
	if (any)
		json_end(out);
}

static void add_failure(struct str *out, const struct event *event)
{
	const struct failure *failure = event->failure;

	json_add_string(out, "phase", phase_name(failure->phase));
	json_add_string(out, "error", error_name(failure->error));
	add_text(out, event, "detail", *failure->detail ? failure->detail : NULL);
}

/* The second part of version-traceid-parentid-flags. */
static void add_trace_id(struct str *out, const char *traceparent)
{
	char id[33];

	if (!traceparent)
		return;
	snprintf(id, sizeof(id), "%.32s", traceparent + strlen("00-"));
	json_add_string(out, "trace_id", id);
}

static void add_request(struct str *out, const struct event *event)
{
	add_text(out, event, "request_id", event->request_id);
	add_trace_id(out, event->traceparent);
	add_text(out, event, "upstream_request_id", event->upstream_request_id);
	json_add_string(out, "method", event->method);
	add_text(out, event, "path", event->path);
	add_text(out, event, "model", event->model);
	if (event->method)
		json_add_bool(out, "stream", event->stream);
	json_add_string(out, "profile", event->profile);
	json_add_string(out, "upstream", event->upstream);
	json_add_string(out, "class", event->request_class);
	json_add_int(out, "attempt", event->attempt ? event->attempt : -1);
	json_add_int(out, "attempts", event->attempts ? event->attempts : -1);
}

/* The beginning of an error's body; bytes that are no UTF-8 become U+FFFD. */
static void add_body(struct str *out, const struct event *event, size_t most)
{
	size_t len = event->body ? evbuffer_get_length(event->body) : 0;
	size_t read = len < most + MAX_KEY ? len : most + MAX_KEY;
	_cleanup_free_ char *bytes = most && len ? xcalloc(1, read + 1) : NULL;

	if (!bytes || evbuffer_copyout(event->body, bytes, read) <= 0)
		return;
	redact(bytes, &event->sent); /* before it is cut: half a key is not known for one */
	if (read > most)
		bytes[most] = '\0';
	json_add_string(out, "body", bytes);
}

void event_render_json(const struct event *event, size_t body_bytes, struct str *out)
{
	char ts[32];

	clock_render_rfc3339(clock_wall_us(), ts, sizeof(ts));
	json_begin(out);
	json_add_string(out, "ts", ts);
	json_add_string(out, "event", event->event);
	json_add_string(out, "level", event->level);
	json_add_string(out, "state", event->state);
	json_add_int(out, "worker", event->worker);
	add_request(out, event);
	if (event->failure)
		add_failure(out, event);
	json_add_string(out, "detail", event->detail);
	json_add_string(out, "dashboard", event->dashboard);
	json_add_string(out, "reason", event->reason);
	json_add_int(out, "status", event->status ? event->status : -1);
	add_text(out, event, "error_code", event->error_code);
	add_body(out, event, body_bytes);
	if (event->facts)
		add_facts(out, event->facts);
	json_add_int(out, "total_ms", event->total_ms);
	json_add_int(out, "wait_ms", event->wait_ms);
	json_add_int(out, "retry_in_ms", event->retry_in_ms);
	json_add_int(out, "sdk_retry", event->sdk_retry);
	add_raw_fields(out, event, "ratelimit", "x-ratelimit-");
	add_raw_fields(out, event, "fireworks", "fireworks-");
	json_end(out);
}

/* ---- As a line for a person. */

/* Text of a client's or an upstream's must not drive the terminal. */
static void add_plain(struct str *out, const struct event *event, const char *text)
{
	_cleanup_free_ char *copy = clean(event, text);

	for (const char *p = copy; *p; p++)
		str_add_char(out, (unsigned char)*p < ' ' || *p == 0x7f ? '?' : *p);
}

static void add_outcome(struct str *out, const struct event *event)
{
	const struct failure *failure = event->failure;

	if (event->status)
		str_addf(out, " %d", event->status);
	if (event->error_code) {
		str_add_char(out, ' ');
		add_plain(out, event, event->error_code);
	}
	if (failure && failure->error != ERROR_UPSTREAM_STATUS) {
		str_addf(out, " %s: %s", phase_name(failure->phase), error_text(failure->error));
		if (*failure->detail) {
			str_add(out, " (");
			add_plain(out, event, failure->detail);
			str_add_char(out, ')');
		}
	}
}

void event_render_text(const struct event *event, struct str *out)
{
	char ts[32];

	clock_render_rfc3339(clock_wall_us(), ts, sizeof(ts));
	str_addf(out, "%.8sZ %s", ts + strlen("2026-06-07T"), event->event);
	if (event->state)
		str_addf(out, " %s", event->state);
	if (event->attempt)
		str_addf(out, " %d", event->attempt);
	if (event->method) {
		str_addf(out, " %s ", event->method);
		add_plain(out, event, event->path ? event->path : "-");
	}
	add_outcome(out, event);
	if (event->detail) {
		str_add(out, ": ");
		add_plain(out, event, event->detail);
	}
	if (event->failure && event->dashboard)
		str_addf(out, "; dashboard: %s", event->dashboard);
	if (event->attempts)
		str_addf(out, "; %d attempt%s", event->attempts, event->attempts > 1 ? "s" : "");
	if (event->total_ms >= 0)
		str_addf(out, ", %lld ms", (long long)event->total_ms);
	if (event->retry_in_ms >= 0)
		str_addf(out, "; next in %lld ms", (long long)event->retry_in_ms);
}
