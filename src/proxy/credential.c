#include "proxy/credential.h"

#include <string.h>

#include "base/str.h"

/* The key of an Authorization value, the scheme aside. */
static const char *strip_scheme(const char *value)
{
	if (!str_begins_nocase(value, "Bearer "))
		return value;
	value += strlen("Bearer ");
	return value + strspn(value, " ");
}

/* No key for Fireworks: none, the placeholder, or one of another provider. */
static bool is_placeholder(const char *key)
{
	return !key || !*key || str_same(key, "andiron") || str_begins(key, "sk-");
}

static bool client_has_own_key(const struct fields *fields)
{
	const char *authorization = fields_get(fields, "Authorization");
	const char *api_key = fields_get(fields, "x-api-key");

	return (authorization && !is_placeholder(strip_scheme(authorization))) ||
	       !is_placeholder(api_key);
}

static void replace(struct fields *fields, const char *key)
{
	_cleanup_str_ struct str bearer = STR_NULL;
	bool has_api_key = fields_get(fields, "x-api-key") != NULL;

	str_add(&bearer, "Bearer "); /* printf() would leave a part of the key on the stack */
	str_add(&bearer, key);
	if (has_api_key)
		fields_set(fields, "x-api-key", key);
	if (!has_api_key || fields_get(fields, "Authorization"))
		fields_set(fields, "Authorization", str_text(&bearer));
}

void credential_apply(struct fields *fields, const struct upstream_config *upstream, bool is_first)
{
	switch (upstream->key_source) {
	case KEY_OF_FILE:
		replace(fields, upstream->api_key);
		break;
	case KEY_OF_ENVIRONMENT:
		if (!is_first ||
			!client_has_own_key(fields)) /* it is for the first upstream only */
			replace(fields, upstream->api_key);
		break;
	case KEY_OF_CLIENT:
		if (!is_first) {
			fields_remove(fields, "Authorization");
			fields_remove(fields, "x-api-key");
		}
		break;
	}
}

const char *credential_of(const struct fields *fields)
{
	const char *authorization = fields_get(fields, "Authorization");

	return authorization ? strip_scheme(authorization) : fields_get(fields, "x-api-key");
}

void credential_replace(struct fields *fields, const struct upstream_config *upstream)
{
	if (upstream->api_key) {
		replace(fields, upstream->api_key);
		return;
	}
	fields_remove(fields, "Authorization");
	fields_remove(fields, "x-api-key");
}
