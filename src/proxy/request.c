#include "proxy/request.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/address.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/random.h"
#include "net/buffer.h"
#include "policy/access.h"
#include "policy/client_limit.h"
#include "policy/header.h"
#include "policy/route.h"
#include "proxy/credential.h"
#include "proxy/message.h"

enum { MAX_ID = 128, MAX_PATH = 4096 };

static bool refuse(struct refusal *refusal, int status, enum error error, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* Always false, so that it can end a check. */
static bool refuse(struct refusal *refusal, int status, enum error error, const char *format, ...)
{
	va_list args;

	refusal->status = status;
	refusal->error = error;
	va_start(args, format);
	str_addv(&refusal->message, format, args);
	va_end(args);
	return false;
}

static const char *method_name(struct evhttp_request *from)
{
	switch (evhttp_request_get_command(from)) {
	case EVHTTP_REQ_GET:
		return "GET";
	case EVHTTP_REQ_HEAD:
		return "HEAD";
	case EVHTTP_REQ_POST:
		return "POST";
	case EVHTTP_REQ_PUT:
		return "PUT";
	case EVHTTP_REQ_PATCH:
		return "PATCH";
	case EVHTTP_REQ_DELETE:
		return "DELETE";
	case EVHTTP_REQ_OPTIONS:
		return "OPTIONS";
	case EVHTTP_REQ_TRACE:
		return "TRACE";
	default:
		return "CONNECT";
	}
}

static void copy_fields(struct evhttp_request *from, struct fields *ret)
{
	struct evkeyvalq *headers = evhttp_request_get_input_headers(from);

	for (struct evkeyval *header = headers->tqh_first; header; header = header->next.tqe_next)
		fields_add(ret, header->key, header->value);
}

/* ---- Who may ask. */

static void local_ip(struct evhttp_request *from, char *ret, size_t size)
{
	struct evhttp_connection *connection = evhttp_request_get_connection(from);
	struct address address = {.len = sizeof(address.v6)};
	int fd = bufferevent_getfd(evhttp_connection_get_bufferevent(connection));

	ret[0] = '\0';
	if (getsockname(fd, &address.any, &address.len) == 0 &&
		(address.any.sa_family == AF_INET || address.any.sa_family == AF_INET6))
		address_render_ip(&address, ret, size);
}

/* The authority of an absolute-form target ("http://localhost:8787/v1/..."), which stands for the
 * Host field (RFC 9112, 3.2.2); takes it off the target. NULL: the target is in origin form. */
static char *take_authority(const char **target)
{
	const char *start;
	size_t len;

	if (!str_begins_nocase(*target, "http://"))
		return NULL;
	start = *target + strlen("http://");
	len = strcspn(start, "/?");
	*target = start[len] ? start + len : "/";
	return xstrndup(start, len);
}

static bool check_access(struct evhttp_request *from, const struct fields *fields,
	const char *authority, const struct config *config, struct refusal *refusal)
{
	char ip[ADDRESS_TEXT_SIZE];
	struct access_request asked = {
		.hosts = (int)fields_count(fields, "Host"),
		.host = authority ? authority : fields_get(fields, "Host"),
		.origin = fields_get(fields, "Origin"),
		.sec_fetch_site = fields_get(fields, "Sec-Fetch-Site"),
		.local_ip = ip,
	};
	enum access access;

	local_ip(from, ip, sizeof(ip));
	access = access_decide(&asked, config->server.allow_hosts);
	if (access == ACCESS_ALLOWED)
		return true;
	return refuse(refusal, access_status(access),
		access == ACCESS_HOST_INVALID ? ERROR_HTTP_REQUEST_ERROR
					      : ERROR_HTTP_REQUEST_DENIED,
		"andiron: %s.", access_text(access));
}

/* ---- Where it goes. */

static bool check_method(
	struct request *request, const struct fields *fields, struct refusal *refusal)
{
	if (str_same(request->method, "TRACE") || str_same(request->method, "CONNECT")) {
		refusal->close = true;
		return refuse(refusal, 405, ERROR_HTTP_REQUEST_ERROR,
			"andiron: %s is not a method that a proxy for an API serves.",
			request->method);
	}
	/* evhttp reads no body of a HEAD: it would be taken for the next request. */
	if (str_same(request->method, "HEAD") &&
		(fields_get(fields, "Transfer-Encoding") ||
			(fields_get(fields, "Content-Length") &&
				!str_same(fields_get(fields, "Content-Length"), "0")))) {
		refusal->close = true;
		return refuse(refusal, 400, ERROR_HTTP_REQUEST_ERROR,
			"andiron: a HEAD request cannot have a body.");
	}
	return true;
}

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
		return refuse(refusal, 404, ERROR_DESTINATION_NOT_FOUND,
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

static void read_body(struct request *request, struct evhttp_request *from)
{
	static const char *const keys[] = {"model", "stream", NULL};
	struct json_peek peek;

	request->body = evbuffer_new();
	if (!request->body)
		abort();
	evbuffer_add_buffer(request->body, evhttp_request_get_input_buffer(from));
	buffer_peek_json(request->body, &peek, keys);
	if (json_peek_string(&peek, "model"))
		request->model = xstrdup(json_peek_string(&peek, "model"));
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

	request->upstream_index =
		route < config->route_count ? (size_t)config->routes[route].upstream : 0;
	request->upstream = &config->upstreams[request->upstream_index];
	if (name) {
		profile = config_find_profile(config, name);
	} else {
		if (route < config->route_count)
			profile = config->routes[route].profile;
		if (profile < 0)
			profile = request->upstream->profile;
		if (profile < 0)
			profile = profile_by_path(request, config);
	}
	if (profile >= 0) {
		request->profile = &config->profiles[profile];
		return true;
	}
	refuse(refusal, 400, ERROR_HTTP_REQUEST_ERROR,
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
		return refuse(refusal, 400, ERROR_HTTP_REQUEST_ERROR,
			"andiron: X-Andiron-Timeout takes a duration above 0 and up to 24h, as "
			"500ms, 45s, 10m or 1h.");
	set_limits(request, fields, timeout_ms);
	if (attempts) {
		long count = strtol(attempts, &end, 10);

		if (!ascii_is_digit(*attempts) || *end || count < 1 || count > 64)
			return refuse(refusal, 400, ERROR_HTTP_REQUEST_ERROR,
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

static bool has_body(const struct request *request, const struct fields *fields)
{
	return evbuffer_get_length(request->body) > 0 || fields_get(fields, "Content-Length") ||
	       fields_get(fields, "Transfer-Encoding") || str_same(request->method, "POST") ||
	       str_same(request->method, "PUT") || str_same(request->method, "PATCH");
}

static void make_fields(struct request *request, const struct fields *fields)
{
	_cleanup_str_ struct str length = STR_NULL;

	fields_add(&request->fields, "Host", request->upstream->authority);
	message_copy_request_fields(fields, request->stream, &request->fields);
	credential_apply(&request->fields, request->upstream, request->upstream_index == 0);
	fields_set(&request->fields, "X-Request-Id", request->id);
	fields_set(&request->fields, "traceparent", request->trace);
	str_addf(&length, "%zu", evbuffer_get_length(request->body));
	if (has_body(request, fields))
		fields_add(&request->fields, "Content-Length", str_text(&length));
}

static void fill(struct request *request, struct evhttp_request *from, const struct fields *fields,
	const struct config *config, struct refusal *refusal)
{
	const char *target = evhttp_request_get_uri(from);
	_cleanup_free_ char *authority = take_authority(&target);
	const char *host = authority ? authority : fields_get(fields, "Host");
	struct target_path mapped;

	if (!check_access(from, fields, authority, config, refusal) ||
		!check_method(request, fields, refusal) ||
		!map_target(request, target, host, &mapped, refusal))
		return;
	read_body(request, from);
	if (choose_profile(request, config, fields, &mapped, refusal) &&
		read_overrides(request, fields, refusal))
		make_fields(request, fields);
}

void request_init(struct request *request, struct evhttp_request *from, const struct config *config,
	struct refusal *ret_refusal)
{
	struct fields fields = FIELDS_NULL;

	*ret_refusal = (struct refusal){.status = 0};
	request->method = method_name(from);
	request->sdk_retry = -1;
	copy_fields(from, &fields);
	choose_id(request, &fields);
	choose_trace(request, &fields);
	fill(request, from, &fields, config, ret_refusal);
	if (!request->path)
		request->path = xstrndup(
			evhttp_request_get_uri(from), strcspn(evhttp_request_get_uri(from), "?"));
	fields_fini(&fields);
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

void request_fini(struct request *request)
{
	if (request->body)
		evbuffer_free(request->body);
	fields_fini(&request->fields);
	free(request->path);
	free(request->target);
	free(request->id);
	free(request->trace);
	free(request->model);
}
