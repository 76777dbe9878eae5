#include "proxy/token.h"

#include <stddef.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

static const char *bearer_of(const char *authorization)
{
	static const char scheme[] = "Bearer ";

	if (!authorization || !str_begins_nocase(authorization, scheme))
		return NULL;
	authorization += strlen(scheme);
	return authorization + strspn(authorization, " ");
}

static bool is_token(const struct config *config, const char *text)
{
	return text && mem_same_secret(config->client_token, text);
}

static bool takes_bearer(const struct config *config, const struct upstream_config *upstream)
{
	if (upstream)
		return upstream->key_source == KEY_OF_FILE;
	for (size_t i = 0; i < config->upstream_count; i++) {
		if (config->upstreams[i].key_source == KEY_OF_FILE)
			return true;
	}
	return false;
}

bool token_is_shown(const struct config *config, const struct upstream_config *upstream,
	const struct fields *fields)
{
	if (!config->client_token || is_token(config, fields_get(fields, "X-Andiron-Token")))
		return true;
	return takes_bearer(config, upstream) &&
	       is_token(config, bearer_of(fields_get(fields, "Authorization")));
}

bool token_is_given(const struct config *config, const struct fields *fields)
{
	return config->client_token &&
	       (is_token(config, fields_get(fields, "X-Andiron-Token")) ||
		       is_token(config, bearer_of(fields_get(fields, "Authorization"))));
}

/* The value that stands where a key would, whatever its scheme. */
static bool holds_token(const struct config *config, const struct field *field)
{
	if (str_same_nocase(field->name, "x-api-key"))
		return is_token(config, field->value);
	return str_same_nocase(field->name, "Authorization") &&
	       (is_token(config, bearer_of(field->value)) || is_token(config, field->value));
}

void token_remove(const struct config *config, struct fields *fields)
{
	for (size_t i = 0; config->client_token && i < fields->count;) {
		if (holds_token(config, &fields->list[i]))
			fields_remove_at(fields, i);
		else
			i++;
	}
}
