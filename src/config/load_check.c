#include "config/load.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/address.h"
#include "base/mem.h"
#include "config/key_file.h"
#include "config/url.h"

/* Where a value stands: its entry, else its section's header, else nowhere. */
static const char *place_of(
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

static void check_listen_address(struct loader *loader, const char *place, const char *text)
{
	struct address address;

	if (str_begins(text, "unix:") || str_same(text, "systemd"))
		load_errorf(loader, place, "listen: %s is not built yet in this version", text);
	else if (!address_parse(text, &address))
		load_errorf(loader, place,
			"listen: \"%s\" is no address; write it as 127.0.0.1:8787 or [::1]:8787",
			text);
	else if (!address_is_loopback(&address))
		load_errorf(loader, place,
			"listen: %s is beyond loopback; that needs client_token_file, which is not "
			"built yet in this version",
			text);
}

void load_check_server(struct loader *loader)
{
	const struct config *config = loader->config;
	const char *place = place_of(loader, "server", NULL, "listen");
	const char *cursor = config->server.listen, *element;
	const char *events = config->log.events;
	size_t len, count = 0;

	loader->config->listen_is_default = !ini_find(&loader->ini, "server", "listen");
	while (str_next_element(&cursor, " \t", &element, &len)) {
		_cleanup_free_ char *text = xstrndup(element, len);

		check_listen_address(loader, place, text);
		count++;
	}
	if (!count)
		load_error(loader, place, "listen: there is no address to listen on");
	if (!str_same(events, "stderr") && !str_same(events, "stdout") &&
		!str_same(events, "off") && events[0] != '/')
		load_errorf(loader, place_of(loader, "log", NULL, "events"),
			"events: \"%s\" is not known here; it takes stderr, stdout, off or an "
			"absolute "
			"path%s",
			events, str_same(events, "journald") ? "; journald is not built yet" : "");
}

/* Finds the environment variable NAME=... among the request's. */
static const char *environment_value(const struct loader *loader, const char *name)
{
	char *const *environment = loader->request->environment;
	size_t len = strlen(name);

	for (; environment && *environment; environment++) {
		if (strncmp(*environment, name, len) == 0 && (*environment)[len] == '=')
			return *environment + len + 1;
	}
	return NULL;
}

/* systemd's LoadCredential=NAME_api_key:..., if there is one. */
static char *read_credential(
	const struct loader *loader, const char *upstream, struct str *ret_error)
{
	const char *directory = environment_value(loader, "CREDENTIALS_DIRECTORY");
	_cleanup_str_ struct str path = STR_NULL;

	if (!directory)
		return NULL;
	str_addf(&path, "%s/%s_api_key", directory, upstream);
	if (access(str_text(&path), F_OK) != 0)
		return NULL;
	return key_file_read_credential(str_text(&path), ret_error);
}

/* File and credential replace every key; the environment's only a missing or foreign one. */
static void read_key(struct loader *loader, struct upstream_config *upstream)
{
	const char *variable = environment_value(loader, "FIREWORKS_API_KEY");
	const char *file = upstream->options.api_key_file;
	_cleanup_str_ struct str error = STR_NULL;

	upstream->api_key = *file ? key_file_read(file, &error)
				  : read_credential(loader, upstream->name, &error);
	if (error.len)
		load_errorf(loader, place_of(loader, "upstream", upstream->name, "api_key_file"),
			"api_key_file: %s", str_text(&error));
	if (upstream->api_key) {
		upstream->key_source = KEY_OF_FILE;
	} else if (variable && *variable && str_same(upstream->name, "fireworks")) {
		upstream->api_key = key_parse(variable, strlen(variable));
		upstream->key_source = KEY_OF_ENVIRONMENT;
		if (!upstream->api_key)
			load_error(
				loader, "FIREWORKS_API_KEY", "this is no key: it is not one word");
	}
}

void load_check_upstream(struct loader *loader, struct upstream_config *upstream)
{
	const char *name = upstream->name;
	const char *text = upstream->options.url, *ca_file = upstream->options.ca_file;
	const char *wrong;
	struct url url;

	wrong = *text ? url_parse(text, &url) : "the upstream has no url";
	if (wrong) {
		load_errorf(loader, place_of(loader, "upstream", name, "url"), "url: %s", wrong);
		return;
	}
	upstream->tls = url.tls;
	upstream->host = xstrdup(url.host);
	upstream->port = url.port;
	upstream->authority = xstrdup(url.authority);
	if (*ca_file && access(ca_file, R_OK) != 0)
		load_errorf(loader, place_of(loader, "upstream", name, "ca_file"),
			"ca_file: cannot read %s: %m", ca_file);
	read_key(loader, upstream);
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
	if (parse_statuses(options->retry_statuses, retry->statuses))
		return;
	load_errorf(loader, place_of(loader, "profile", profile->name, "retry_statuses"),
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

void load_check_names(struct loader *loader)
{
	struct config *config = loader->config;

	for (size_t i = 0; i < config->upstream_count; i++) {
		struct upstream_config *upstream = &config->upstreams[i];

		upstream->profile =
			resolve(loader, place_of(loader, "upstream", upstream->name, "profile"),
				"profile", upstream->options.profile, config_find_profile);
	}
	for (size_t i = 0; i < config->route_count; i++) {
		struct route_config *route = &config->routes[i];
		int upstream = resolve(loader, place_of(loader, "route", route->name, "upstream"),
			"upstream", route->options.upstream, config_find_upstream);

		route->upstream = upstream < 0 ? 0 : upstream;
		route->profile = resolve(loader, place_of(loader, "route", route->name, "profile"),
			"profile", route->options.profile, config_find_profile);
	}
}
