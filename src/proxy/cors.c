#include "proxy/cors.h"

#include <stddef.h>

#include "base/str.h"
#include "policy/header.h"

bool cors_is_field(const char *name)
{
	return str_begins_nocase(name, "Access-Control-");
}

static bool is_told_by_prefix(const char *name)
{
	static const char *const prefixes[] = {
		"X-Andiron-", "X-RateLimit-", "Fireworks-", "X-Fireworks-", NULL};

	for (size_t i = 0; prefixes[i]; i++) {
		if (str_begins_nocase(name, prefixes[i]))
			return true;
	}
	return false;
}

/* What a page's SDK reads beside the fields that every page may (a `*` would not do for all
 * browsers). */
static void add_exposed(struct fields *fields)
{
	_cleanup_str_ struct str names = STR_NULL;

	str_add(&names, "X-Request-Id, request-id, Retry-After, retry-after-ms, x-should-retry, "
			"Server-Timing, Proxy-Status, WWW-Authenticate");
	for (size_t i = 0; i < fields->count; i++) {
		if (is_told_by_prefix(fields->list[i].name))
			str_addf(&names, ", %s", fields->list[i].name);
	}
	fields_add(fields, "Access-Control-Expose-Headers", str_text(&names));
}

static bool varies_by_origin(const struct fields *fields)
{
	for (size_t i = 0; i < fields->count; i++) {
		const struct field *field = &fields->list[i];

		if (str_same_nocase(field->name, "Vary") &&
			(header_list_has(field->value, "Origin") ||
				header_list_has(field->value, "*")))
			return true;
	}
	return false;
}

void cors_allow(const char *origin, struct fields *fields)
{
	fields_add(fields, "Access-Control-Allow-Origin", origin);
	if (!varies_by_origin(fields))
		fields_add(fields, "Vary", "Origin");
	add_exposed(fields);
}

bool cors_is_preflight(const char *method, const struct fields *asked)
{
	return str_same(method, "OPTIONS") && fields_get(asked, "Origin") &&
	       fields_get(asked, "Access-Control-Request-Method");
}

/* The names that were asked for, those that are none left out. */
static void allow_headers(const char *names, struct fields *ret)
{
	_cleanup_str_ struct str allowed = STR_NULL;
	const char *name;
	size_t len;

	while (names && str_next_element(&names, ",", &name, &len)) {
		if (!header_is_token(name, len))
			continue;
		str_add(&allowed, allowed.len ? ", " : "");
		str_add_bytes(&allowed, name, len);
	}
	if (allowed.len)
		fields_add(ret, "Access-Control-Allow-Headers", str_text(&allowed));
}

void cors_answer_preflight(const struct fields *asked, struct fields *ret)
{
	const char *private_network = fields_get(asked, "Access-Control-Request-Private-Network");

	fields_add(ret, "Access-Control-Allow-Methods",
		"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
	allow_headers(fields_get(asked, "Access-Control-Request-Headers"), ret);
	fields_add(ret, "Access-Control-Max-Age", "600");
	if (private_network && str_same(private_network, "true"))
		fields_add(ret, "Access-Control-Allow-Private-Network", "true");
	fields_add(ret, "Vary",
		"Origin, Access-Control-Request-Method, Access-Control-Request-Headers, "
		"Access-Control-Request-Private-Network");
}
