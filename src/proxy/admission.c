#include "proxy/admission.h"

#include <string.h>
#include <sys/socket.h>

#include "base/address.h"
#include "base/mem.h"
#include "base/str.h"
#include "policy/access.h"
#include "proxy/cors.h"
#include "proxy/guard.h"
#include "proxy/token.h"

const char *admission_origin(const struct received *from, const struct config *config)
{
	const char *origin = from->fields ? fields_get(from->fields, "Origin") : NULL;

	if (!origin || fields_count(from->fields, "Origin") > 1 ||
		!access_origin_is_listed(origin, config->server.allow_origins))
		return NULL;
	return origin;
}

void admission_take_refusal(const struct received *from, struct refusal *ret)
{
	refusal_set(ret, from->status, from->error, "andiron: %s.", from->why);
	ret->close = true;
	ret->may_retry = from->status == 503;
}

char *admission_take_authority(const char **target)
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

/* Empty of a Unix socket. */
static void local_ip(int fd, char *ret, size_t size)
{
	struct address address = {.len = sizeof(address.local)};

	ret[0] = '\0';
	if (getsockname(fd, &address.any, &address.len) == 0 &&
		(address.any.sa_family == AF_INET || address.any.sa_family == AF_INET6))
		address_render_ip(&address, ret, size);
}

static bool check_access(const struct received *from, const char *authority,
	const struct config *config, struct refusal *refusal)
{
	const struct fields *fields = &from->head->fields;
	char ip[ADDRESS_TEXT_SIZE];
	struct access_request asked = {
		.hosts = (int)fields_count(fields, "Host"),
		.host = authority ? authority : fields_get(fields, "Host"),
		.origins = (int)fields_count(fields, "Origin"),
		.origin = fields_get(fields, "Origin"),
		.sec_fetch_site = fields_get(fields, "Sec-Fetch-Site"),
		.local_ip = ip,
	};
	struct access_rules rules = {
		.hosts = config->server.allow_hosts,
		.origins = config->server.allow_origins,
	};
	enum access access;

	local_ip(from->fd, ip, sizeof(ip));
	access = access_decide(&asked, &rules);
	if (access == ACCESS_ALLOWED)
		return true;
	refusal->close = access == ACCESS_HOST_INVALID; /* two readers may see two requests */
	return refusal_set(refusal, access_status(access),
		access == ACCESS_HOST_INVALID ? ERROR_HTTP_REQUEST_ERROR
					      : ERROR_HTTP_REQUEST_DENIED,
		"andiron: %s.", access_text(access));
}

/* Behind check_access(): its origin is one of the list. The browser shows no token in it, and asks
 * nothing of an upstream. */
static bool answer_preflight(const struct received *from, struct refusal *refusal)
{
	if (!cors_is_preflight(from->head->method, &from->head->fields))
		return true;
	cors_answer_preflight(&from->head->fields, &refusal->fields);
	return refusal_set(refusal, 204, ERROR_NONE, "%s", "");
}

bool admission_check_page(const struct received *from, const char *authority,
	const struct config *config, struct refusal *refusal)
{
	return check_access(from, authority, config, refusal) && answer_preflight(from, refusal);
}

bool admission_check_upstream(const struct received *from, const struct config *config,
	const struct upstream_config *upstream, struct refusal *refusal)
{
	if (token_is_shown(config, upstream, &from->head->fields))
		return true;
	fields_add(&refusal->fields, "WWW-Authenticate", "Bearer realm=\"andiron\"");
	return refusal_set(refusal, 401, ERROR_HTTP_REQUEST_DENIED,
		"andiron: this needs the client token (client_token_file in [server]): in the "
		"header X-Andiron-Token, or, where andiron has the upstream's key in api_key_file, "
		"as the SDK's API key (Authorization: Bearer).");
}

bool admission_check(const struct received *from, const char *authority,
	const struct config *config, struct refusal *refusal)
{
	return admission_check_page(from, authority, config, refusal) &&
	       admission_check_upstream(from, config, NULL, refusal);
}
