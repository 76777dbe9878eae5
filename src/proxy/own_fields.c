#include "proxy/own_fields.h"

#include <stdio.h>

#include "base/mem.h"
#include "proxy/cors.h"
#include "proxy/message.h"

static void add_duration(struct str *out, const char *name, msec_t ms)
{
	if (ms >= 0)
		str_addf(out, "%s%s;dur=%lld", out->len ? ", " : "", name, (long long)ms);
}

/* Where the time went, of the attempt that counted; `queue` is what it waited for its turns,
 * `retry` all else that came before it. */
static void add_server_timing(const struct record *record, struct fields *fields)
{
	const struct transport_facts *facts = &record->facts;
	_cleanup_str_ struct str timing = STR_NULL;

	add_duration(&timing, "queue", record->queue_ms);
	if (record->tried) {
		add_duration(&timing, "dns", facts->dns_ms);
		add_duration(&timing, "connect", facts->connect_ms);
		add_duration(&timing, "tls", facts->tls_ms);
		add_duration(&timing, "ttfb", facts->first_byte_ms);
		add_duration(
			&timing, "retry", record->attempt_began - record->began - record->queue_ms);
	}
	fields_add(fields, "Server-Timing", str_text(&timing));
}

/* A string of RFC 9651, 3.3.3: printable ASCII, `"` and `\` escaped. */
static void add_quoted(struct str *out, const char *key, const char *text)
{
	if (!*text)
		return;
	str_addf(out, "; %s=\"", key);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			str_add_char(out, '\\');
		str_add_char(out, *text < ' ' || *text > '~' ? '?' : *text);
	}
	str_add_char(out, '"');
}

/* The last thing that failed, also where a later attempt went well. */
static void add_proxy_status(const struct record *record, struct fields *fields)
{
	const struct mishap *mishap = &record->mishap;
	enum error error = mishap->failure.error;
	_cleanup_str_ struct str status = STR_NULL;

	if (error == ERROR_NONE)
		return;
	str_add(&status, "andiron");
	if (error != ERROR_UPSTREAM_STATUS)
		str_addf(&status, "; error=%s", error_name(error));
	if (mishap->status)
		str_addf(&status, "; received-status=%d", mishap->status);
	add_quoted(&status, "next-hop", mishap->address);
	add_quoted(&status, "details", mishap->failure.detail);
	fields_add(fields, "Proxy-Status", str_text(&status));
}

static void add_ids(const struct request *request, struct fields *fields)
{
	const char *id = fields_get(fields, "X-Request-Id");
	_cleanup_free_ char *kept = xstrdup(id ? id : request->id);

	fields_set(fields, "X-Request-Id", kept); /* never two, whatever the upstream sent */
	if (request->anthropic && !fields_get(fields, "request-id"))
		fields_set(fields, "request-id", fields_get(fields, "X-Request-Id"));
}

void own_fields_add(const struct record *record, bool from_upstream, struct fields *fields)
{
	char attempts[16];

	snprintf(attempts, sizeof(attempts), "%d", record->attempts);
	fields_set(fields, "X-Andiron-Attempts", attempts);
	fields_set(fields, "X-Andiron-Source", from_upstream ? "upstream" : "andiron");
	if (record->request->fallback)
		fields_set(fields, "X-Andiron-Fallback", record->request->fallback);
	add_ids(record->request, fields);
	add_server_timing(record, fields);
	add_proxy_status(record, fields);
	if (message_stops_sdk_retries(record->status))
		fields_set(fields, "x-should-retry", "false");
	if (record->request->origin)
		cors_allow(record->request->origin, fields);
}
