#include "config/config.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/secret.h"

struct config *config_ref(struct config *config)
{
	__atomic_add_fetch(&config->references, 1, __ATOMIC_RELAXED);
	return config;
}

static void upstream_fini(struct upstream_config *upstream)
{
	option_fini_section(&option_tables[SECTION_UPSTREAM], &upstream->options);
	secret_free(upstream->api_key);
	free(upstream->authority);
	free(upstream->host);
	free(upstream->name);
}

static void config_free(struct config *config)
{
	for (size_t i = 0; i < config->upstream_count; i++)
		upstream_fini(&config->upstreams[i]);
	for (size_t i = 0; i < config->profile_count; i++) {
		option_fini_section(&option_tables[SECTION_PROFILE], &config->profiles[i].options);
		free(config->profiles[i].name);
	}
	for (size_t i = 0; i < config->route_count; i++) {
		option_fini_section(&option_tables[SECTION_ROUTE], &config->routes[i].options);
		free(config->routes[i].fallback_model);
		free(config->routes[i].name);
	}
	option_fini_section(&option_tables[SECTION_SERVER], &config->server);
	option_fini_section(&option_tables[SECTION_LOG], &config->log);
	secret_free(config->client_token);
	free(config->unix_users);
	free(config->upstreams);
	free(config->profiles);
	free(config->routes);
	free(config->route_globs);
	free(config->file);
	free(config);
}

void config_unref(struct config *config)
{
	if (config && __atomic_sub_fetch(&config->references, 1, __ATOMIC_ACQ_REL) == 0)
		config_free(config);
}

int config_find_profile(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->profile_count; i++) {
		if (str_same(config->profiles[i].name, name))
			return (int)i;
	}
	return -1;
}

int config_find_upstream(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->upstream_count; i++) {
		if (str_same(config->upstreams[i].name, name))
			return (int)i;
	}
	return -1;
}

enum { MAX_PADDED = 160 }; /* a longer value needs the whole line, which ini.c limits */

static void render_section(
	enum option_section section, const char *name, const void *options, struct str *out)
{
	const struct option_table *table = &option_tables[section];

	str_addf(out, "%s[%s%s%s]\n", out->len ? "\n" : "", table->section, name ? "." : "",
		name ? name : "");
	for (size_t i = 0; i < table->count; i++) {
		_cleanup_str_ struct str value = STR_NULL;

		option_render(&table->options[i], options, &value);
		if (value.len > MAX_PADDED)
			str_addf(out, "%s=%s\n", table->options[i].key, str_text(&value));
		else
			str_addf(out, "%-18s =%s%s\n", table->options[i].key, value.len ? " " : "",
				str_text(&value));
	}
}

void config_render(const struct config *config, struct str *out)
{
	render_section(SECTION_SERVER, NULL, &config->server, out);
	render_section(SECTION_LOG, NULL, &config->log, out);
	for (size_t i = 0; i < config->upstream_count; i++)
		render_section(SECTION_UPSTREAM, config->upstreams[i].name,
			&config->upstreams[i].options, out);
	for (size_t i = 0; i < config->profile_count; i++)
		render_section(SECTION_PROFILE, config->profiles[i].name,
			&config->profiles[i].options, out);
	for (size_t i = 0; i < config->route_count; i++)
		render_section(
			SECTION_ROUTE, config->routes[i].name, &config->routes[i].options, out);
}
