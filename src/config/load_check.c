#include "config/load.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "config/url.h"

const char *load_place(
	const struct loader *loader, const char *kind, const char *name, const char *key)
{
	_cleanup_str_ struct str section = STR_NULL;
	const struct ini_entry *entry;

	str_add(&section, kind);
	if (name)
		str_addf(&section, ".%s", name);
	entry = ini_find(&loader->ini, str_text(&section), key);
	if (!entry)
		entry = ini_find(&loader->ini, str_text(&section), NULL);
	return entry ? entry->place : NULL;
}

void load_check_log(struct loader *loader)
{
	const char *events = loader->config->log.events;

	if (!str_same(events, "stderr") && !str_same(events, "stdout") &&
		!str_same(events, "off") && events[0] != '/')
		load_errorf(loader, load_place(loader, "log", NULL, "events"),
			"events: \"%s\" is not known here; it takes stderr, stdout, off or an "
			"absolute "
			"path%s",
			events, str_same(events, "journald") ? "; journald is not built yet" : "");
}

void load_check_upstream(struct loader *loader, struct upstream_config *upstream)
{
	const char *name = upstream->name;
	const char *text = upstream->options.url, *ca_file = upstream->options.ca_file;
	const char *wrong;
	struct url url;

	wrong = *text ? url_parse(text, &url) : "the upstream has no url";
	if (wrong) {
		load_errorf(loader, load_place(loader, "upstream", name, "url"), "url: %s", wrong);
		return;
	}
	upstream->tls = url.tls;
	upstream->host = xstrdup(url.host);
	upstream->port = url.port;
	upstream->authority = xstrdup(url.authority);
	if (*ca_file && access(ca_file, R_OK) != 0)
		load_errorf(loader, load_place(loader, "upstream", name, "ca_file"),
			"ca_file: cannot read %s: %m", ca_file);
	load_check_self(loader, upstream, load_place(loader, "upstream", name, "url"));
	load_key(loader, upstream, load_place(loader, "upstream", name, "api_key_file"));
}

static bool parse_statuses(const char *list, int *ret)
{
	const char *element;
	size_t len, count = 0;

	while (str_next_element(&list, " ,\t", &element, &len)) {
		int status = len == 3 ? atoi(element) : 0;

		if (status < 400 || status > 599 || count == RETRY_MAX_STATUSES - 1)
			return false;
		ret[count++] = status;
	}
	ret[count] = 0;
	return true;
}

void load_check_profile(struct loader *loader, struct profile_config *profile)
{
	struct profile_options *options = &profile->options;
	struct retry_policy *retry = &profile->retry;

	retry->max_attempts = (int)options->max_attempts;
	retry->backoff.base_ms = options->backoff_base;
	retry->backoff.cap_ms = options->backoff_cap;
	retry->backoff.jitter = (enum jitter)options->jitter;
	retry->retry_after_cap_ms = options->retry_after_cap;
	retry->scale_up_wait_ms = options->scale_up_wait;
	if (parse_statuses(options->retry_statuses, retry->statuses))
		return;
	load_errorf(loader, load_place(loader, "profile", profile->name, "retry_statuses"),
		"retry_statuses: it takes up to %d status codes from 400 to 599",
		RETRY_MAX_STATUSES - 1);
	options->retry_statuses[0] = '\0'; /* said once, not again for each that inherits it */
}

/* The index of a name that another section must define; -1 for an empty one. */
static int resolve(struct loader *loader, const char *place, const char *key, const char *name,
	int (*find)(const struct config *, const char *))
{
	int index = *name ? find(loader->config, name) : -1;

	if (*name && index < 0)
		load_errorf(loader, place, "%s: there is no %s named %s", key, key, name);
	return index;
}

static bool has_control(const char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < ' ' || *text == '\x7f')
			return true;
	}
	return false;
}

/* A key goes to its own upstream only, and the client's to the one that it was sent for. */
static void check_fallback_key(
	struct loader *loader, const char *place, const struct route_config *route)
{
	const struct upstream_config *to = &loader->config->upstreams[route->fallback_upstream];

	/* a key file that cannot be read has been complained of */
	if (route->fallback_upstream != route->upstream && to->key_source == KEY_OF_CLIENT &&
		!*to->options.api_key_file)
		load_errorf(loader, place,
			"fallback: upstream %s needs an api_key_file (or a credential) of its own: "
			"the client's key is not for it",
			to->name);
}

/* MODEL or UPSTREAM:MODEL. Models have colons, too, but no name in front of the first one: a path
 * such as accounts/A/models/M stands there. */
static void check_fallback(struct loader *loader, struct route_config *route)
{
	const char *text = route->options.fallback;
	const char *place = load_place(loader, "route", route->name, "fallback");
	size_t len = strcspn(text, ":");
	bool named = text[len] == ':' && load_is_name(text, len);
	const char *model = named ? text + len + 1 : text;
	_cleanup_free_ char *name = named ? xstrndup(text, len) : NULL;

	if (!*text)
		return;
	if (has_control(text) || !*model || *model == ':') {
		load_errorf(loader, place,
			"fallback: there is no model in it; it takes MODEL or UPSTREAM:MODEL%s",
			has_control(text) ? ", without control bytes" : "");
		return;
	}
	route->fallback_model = xstrdup(model);
	if (!named)
		return;
	route->fallback_upstream = config_find_upstream(loader->config, name);
	if (route->fallback_upstream >= 0)
		check_fallback_key(loader, place, route);
	else
		load_errorf(loader, place, "fallback: there is no upstream named %s", name);
}

void load_check_names(struct loader *loader)
{
	struct config *config = loader->config;

	for (size_t i = 0; i < config->upstream_count; i++) {
		struct upstream_config *upstream = &config->upstreams[i];

		upstream->profile =
			resolve(loader, load_place(loader, "upstream", upstream->name, "profile"),
				"profile", upstream->options.profile, config_find_profile);
	}
	for (size_t i = 0; i < config->route_count; i++) {
		struct route_config *route = &config->routes[i];
		int upstream = resolve(loader, load_place(loader, "route", route->name, "upstream"),
			"upstream", route->options.upstream, config_find_upstream);

		route->upstream = upstream < 0 ? 0 : upstream;
		route->profile =
			resolve(loader, load_place(loader, "route", route->name, "profile"),
				"profile", route->options.profile, config_find_profile);
		check_fallback(loader, route);
	}
}
