#include "proxy/request.h"

#include <assert.h>
#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>

#include "base/budget.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/random.h"
#include "net/buffer.h"
#include "policy/client_limit.h"
#include "policy/header.h"
#include "policy/multipart.h"
#include "policy/route.h"
#include "proxy/admission.h"
#include "proxy/credential.h"
#include "proxy/guard.h"
#include "proxy/message.h"
#include "proxy/token.h"

enum { MAX_ID = 128, MAX_PATH = 4096 };

/* ---- Where it goes. */

/* Behind the `?`; NULL: there is none. */
static const char *query_of(const char *target)
{
	const char *mark = strchr(target, '?');

	return mark ? mark + 1 : NULL;
}

static bool map_target(struct request *request, const char *target, const char *host,
	struct target_path *ret_mapped, struct refusal *refusal)
{
	char path[MAX_PATH];
	struct str full = STR_NULL;

	if (!path_map(target, ret_mapped)) {
		request->path = xstrndup(target, strcspn(target, "?"));
		return refusal_set(refusal, 404, ERROR_DESTINATION_NOT_FOUND,
			"andiron: nothing is served at this path. The base URL is http://%s/v1 for "
			"an "
			"OpenAI SDK and http://%s for an Anthropic or Fireworks SDK.",
			host, host);
	}
	str_add(&full, ret_mapped->prefix);
	str_add(&full, ret_mapped->rest);
	request->target = str_steal(&full);
	request->request_class = CLASS_GUARDED;
	if (path_decode(request->target, path, sizeof(path))) {
		request->path = xstrdup(path);
		request->request_class = class_of(request->method, path, query_of(request->target));
	} else {
		request->path = xstrndup(request->target, strcspn(request->target, "?"));
	}
	request->anthropic = str_begins(request->path, "/inference/v1/messages");
	request->dialect = sse_dialect_of(request->path);
	return true;
}

static void feed_form(void *form, const void *bytes, size_t len)
{
	multipart_feed(form, bytes, len);
}

/* An upload names its model in a field, before or after the file. */
static void read_form(struct request *request, const char *content_type)
{
	struct multipart form;

	if (!multipart_init(&form, content_type, "model"))
		return;
	buffer_each(request->body, feed_form, &form);
	if (multipart_value(&form))
		request->model = xstrdup(multipart_value(&form));
}

static void read_body(struct request *request, const struct received *from)
{
	static const char *const keys[] = {"model", "stream", NULL};
	struct json_peek peek;

	request->body = evbuffer_new();
	if (!request->body)
		abort();
	evbuffer_add_buffer(request->body, from->body);
	buffer_peek_json(request->body, &peek, keys);
	if (json_peek_string(&peek, "model"))
		request->model = xstrdup(json_peek_string(&peek, "model"));
	else
		read_form(request, fields_get(&from->head->fields, "Content-Type"));
	request->stream = json_peek_true(&peek, "stream");
}

/* ---- With which limits. */

static void list_profiles(const struct config *config, struct str *out)
{
	for (size_t i = 0; i < config->profile_count; i++)
		str_addf(out, "%s%s", i ? ", " : "", config->profiles[i].name);
}

static int profile_by_path(const struct request *request, const struct config *config)
{
	bool is_get = str_same(request->method, "GET");

	if (!path_is_control_plane(request->path))
		return config_find_profile(config, "default");
	return config_find_profile(config, is_get ? "control" : "batch");
}

/* Header, base URL, route, upstream, path: the first that names a profile. */
static bool choose_profile(struct request *request, const struct config *config,
	const struct fields *fields, const struct target_path *mapped, struct refusal *refusal)
{
	const char *header = fields_get(fields, "X-Andiron-Profile");
	const char *name = header ? header : *mapped->profile ? mapped->profile : NULL;
	size_t route =
		route_find(config->route_globs, config->route_count, request->path, request->model);
	int profile = -1;

	request->route = route < config->route_count ? &config->routes[route] : NULL;
	request->upstream_index = request->route ? (size_t)request->route->upstream : 0;
	request->upstream = &config->upstreams[request->upstream_index];
	if (name) {
		profile = config_find_profile(config, name);
	} else {
		if (request->route)
			profile = request->route->profile;
		if (profile < 0)
			profile = request->upstream->profile;
		if (profile < 0)
			profile = profile_by_path(request, config);
	}
	if (profile >= 0) {
		request->profile = &config->profiles[profile];
		return true;
	}
	refusal_set(refusal, 400, ERROR_HTTP_REQUEST_ERROR,
		"andiron: there is no profile named \"%.64s\"; there are: ", name);
	list_profiles(config, &refusal->message);
	return false;
}

static void set_signs(struct request *request, const struct client_limits *limits)
{
	const struct profile_options *profile = &request->profile->options;
	struct signs *signs = &request->signs;
	bool events = request->stream && request->dialect != SSE_PLAIN;

	*signs = (struct signs){MSEC_NEVER, MSEC_NEVER, MSEC_NEVER};
	if (events && profile->patience) {
		signs->first_ms = client_limit_patience_ms(limits->first_byte_ms);
		signs->waiting_ms = client_limit_filler_ms(limits->silence_ms);
		signs->running_ms = signs->waiting_ms;
	}
	if (events && profile->heartbeat)
		signs->running_ms = profile->heartbeat;
}

/* The profile's limit and the client's own, whichever is earlier; a stream's client is kept patient
 * instead. X-Andiron-Timeout (`timeout_ms` > 0) stands for both. */
static void set_limits(struct request *request, const struct fields *fields, msec_t timeout_ms)
{
	struct client_announcement announced = {
		.timeout = fields_get(fields, "X-Stainless-Timeout"),
		.read_timeout = fields_get(fields, "X-Stainless-Read-Timeout"),
		.lang = fields_get(fields, "X-Stainless-Lang"),
		.user_agent = fields_get(fields, "User-Agent"),
	};
	struct client_limits known = client_limits_of(&announced), taken;
	msec_t answer_ms = client_limit_answer_ms(known.first_byte_ms);

	announced.stream = request->stream;
	taken = client_limits_of(&announced);
	request->total_ms = request->profile->options.total_timeout;
	request->total_name = "total_timeout";
	if (timeout_ms > 0) {
		request->total_ms = timeout_ms;
		request->total_name = "X-Andiron-Timeout";
		taken.first_byte_ms = MSEC_NEVER; /* it waits at least that long */
		answer_ms = MSEC_NEVER;
	}
	set_signs(request, &taken);
	if (answer_ms < request->total_ms && request->signs.first_ms == MSEC_NEVER) {
		request->total_ms = answer_ms;
		request->total_name = "the time that the client waits";
	}
}

static bool read_overrides(
	struct request *request, const struct fields *fields, struct refusal *refusal)
{
	const char *timeout = fields_get(fields, "X-Andiron-Timeout");
	const char *attempts = fields_get(fields, "X-Andiron-Max-Attempts");
	const char *sdk_retry = fields_get(fields, "x-stainless-retry-count");
	msec_t timeout_ms = timeout ? duration_parse(timeout) : 0;
	char *end;

	request->retry = request->profile->retry;
	request->sdk_retry = sdk_retry && ascii_is_digit(*sdk_retry) ? atoi(sdk_retry) : -1;
	if (timeout && (timeout_ms <= 0 || timeout_ms > 24LL * 3600 * 1000))
		return refusal_set(refusal, 400, ERROR_HTTP_REQUEST_ERROR,
			"andiron: X-Andiron-Timeout takes a duration above 0 and up to 24h, as "
			"500ms, 45s, 10m or 1h.");
	set_limits(request, fields, timeout_ms);
	if (attempts) {
		long count = strtol(attempts, &end, 10);

		if (!ascii_is_digit(*attempts) || *end || count < 1 || count > 64)
			return refusal_set(refusal, 400, ERROR_HTTP_REQUEST_ERROR,
				"andiron: X-Andiron-Max-Attempts takes a number from 1 to 64.");
		request->retry.max_attempts = (int)count;
	}
	return true;
}

/* ---- What the upstream gets. */

static bool is_usable_id(const char *id)
{
	size_t len = strlen(id);

	for (size_t i = 0; i < len; i++) {
		if (id[i] <= ' ' || id[i] > '~')
			return false;
	}
	return len > 0 && len <= MAX_ID;
}

/* A random UUID (RFC 9562, 5.4). */
static char *new_id(void)
{
	unsigned char b[16];
	struct str id = STR_NULL;

	random_bytes(b, sizeof(b));
	b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
	b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
	for (size_t i = 0; i < sizeof(b); i++)
		str_addf(&id, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", b[i]);
	return str_steal(&id);
}

/* A new trace of one span, sampled (W3C Trace Context). */
static char *new_trace(void)
{
	unsigned char b[24];
	struct str trace = STR_NULL;

	random_bytes(b, sizeof(b));
	b[0] |= 1; /* neither id may be all zero */
	b[16] |= 1;
	str_add(&trace, "00-");
	for (size_t i = 0; i < sizeof(b); i++)
		str_addf(&trace, "%s%02x", i == 16 ? "-" : "", b[i]);
	str_add(&trace, "-01");
	return str_steal(&trace);
}

static void choose_trace(struct request *request, const struct fields *fields)
{
	const char *trace = fields_get(fields, "traceparent");
	bool usable = fields_count(fields, "traceparent") == 1 && header_is_traceparent(trace);

	request->trace = usable ? xstrdup(trace) : new_trace();
}

static void choose_id(struct request *request, const struct fields *fields)
{
	const char *id = fields_get(fields, "X-Request-Id");

	request->id = id && is_usable_id(id) ? xstrdup(id) : new_id();
}

/* A request that could have one says how long it is, were it empty (RFC 9110, 8.6). */
static bool has_body(const struct request *request, const struct received *from)
{
	return from->has_body || str_same(request->method, "POST") ||
	       str_same(request->method, "PUT") || str_same(request->method, "PATCH");
}

static void make_fields(struct request *request, const struct received *from,
	const struct config *config, struct refusal *refusal)
{
	const struct fields *fields = &from->head->fields;
	_cleanup_str_ struct str length = STR_NULL;

	fields_add(&request->fields, "Host", request->upstream->authority);
	message_copy_request_fields(fields, request->stream, &request->fields);
	token_remove(config, &request->fields);
	credential_apply(&request->fields, request->upstream, request->upstream_index == 0);
	fields_set(&request->fields, "X-Request-Id", request->id);
	fields_set(&request->fields, "traceparent", request->trace);
	str_addf(&length, "%zu", evbuffer_get_length(request->body));
	if (has_body(request, from))
		fields_add(&request->fields, "Content-Length", str_text(&length));
	/* The guard lets none of it in; what writes the head relies on it, too. */
	if (!fields_are_sendable(&request->fields))
		refusal_set(refusal, 400, ERROR_HTTP_REQUEST_ERROR,
			"andiron: a header field cannot be passed on: its name is no token, or its "
			"value has a control byte.");
}

static void fill(struct request *request, const struct received *from, const struct config *config,
	struct refusal *refusal)
{
	const struct fields *fields = &from->head->fields;
	const char *target = from->head->target;
	_cleanup_free_ char *authority = admission_take_authority(&target);
	const char *host = authority ? authority : fields_get(fields, "Host");
	struct target_path mapped;

	if (!admission_check(from, authority, config, refusal) ||
		!map_target(request, target, host, &mapped, refusal))
		return;
	read_body(request, from);
	if (choose_profile(request, config, fields, &mapped, refusal) &&
		admission_check_upstream(from, config, request->upstream, refusal) &&
		read_overrides(request, fields, refusal))
		make_fields(request, from, config, refusal);
}

void request_init(struct request *request, const struct received *from, const struct config *config,
	struct budget *memory, struct refusal *ret_refusal)
{
	static const struct fields none = FIELDS_NULL;
	const struct fields *fields = from->head ? &from->head->fields : &none;
	const char *origin = admission_origin(from, config);

	*ret_refusal = (struct refusal){.status = 0};
	request->method = xstrdup(from->head ? from->head->method : "-");
	request->memory = memory;
	request->reserved = from->reserved;
	request->sdk_retry = -1;
	choose_id(request, fields);
	choose_trace(request, fields);
	request->origin = origin ? xstrdup(origin) : NULL;
	assert(from->head || from->status); /* what is let in is whole */
	if (from->status)
		admission_take_refusal(from, ret_refusal);
	else
		fill(request, from, config, ret_refusal);
	if (!request->path && from->head)
		request->path = xstrndup(from->head->target, strcspn(from->head->target, "?"));
}

char *request_created_target(const struct request *request, struct fields *ret_fields)
{
	char path[MAX_PATH];

	if (request->request_class != CLASS_CREATE_WITH_ID ||
		!class_created_path(request->path, query_of(request->target), path, sizeof(path)))
		return NULL;
	for (size_t i = 0; i < request->fields.count; i++) {
		const struct field *field = &request->fields.list[i];

		if (!str_begins_nocase(field->name, "Content-"))
			fields_add(ret_fields, field->name, field->value);
	}
	return xstrdup(path);
}

bool request_has_fallback(const struct request *request)
{
	return request->route && request->route->fallback_model && !request->fallback &&
	       request->request_class == CLASS_REPLAYABLE && request->retry.max_attempts > 1;
}

size_t request_fallback_upstream(const struct request *request)
{
	int upstream = request->route->fallback_upstream;

	return upstream < 0 ? request->upstream_index : (size_t)upstream;
}

static void change_upstream(struct request *request, const struct config *config, size_t index)
{
	if (index == request->upstream_index)
		return;
	request->upstream_index = index;
	request->upstream = &config->upstreams[index];
	fields_set(&request->fields, "Host", request->upstream->authority);
	credential_replace(&request->fields, request->upstream);
}

bool request_fall_back(struct request *request, const struct config *config)
{
	const struct route_config *route = request->route;
	_cleanup_str_ struct str length = STR_NULL;
	struct evbuffer *body;

	if (!request_has_fallback(request))
		return false;
	body = buffer_replace_json_string(request->body, "model", route->fallback_model);
	if (!body)
		return false;
	evbuffer_free(request->body);
	request->body = body;
	str_addf(&length, "%zu", evbuffer_get_length(body));
	fields_set(&request->fields, "Content-Length", str_text(&length));
	free(request->model);
	request->model = xstrdup(route->fallback_model);
	request->fallback = route->options.fallback;
	change_upstream(request, config, request_fallback_upstream(request));
	return true;
}

void request_drop_body(struct request *request)
{
	if (request->body)
		evbuffer_free(request->body);
	request->body = NULL;
	budget_give(request->memory, (int64_t)request->reserved);
	request->reserved = 0;
}

void request_fini(struct request *request)
{
	request_drop_body(request);
	fields_fini(&request->fields);
	free(request->method);
	free(request->path);
	mem_wipe_free(request->target); /* a key may stand in the query */
	free(request->id);
	free(request->trace);
	free(request->model);
	free(request->origin);
}
