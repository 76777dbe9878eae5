#include "config/load.h"

#include <string.h>

#include "base/mem.h"

/* ANDIRON_<SECTION>_<KEY>: upper case, every other character an underscore. */
static void render_name(const char *section, const char *key, struct str *out)
{
	str_clear(out);
	str_addf(out, "ANDIRON_%s_%s", section, key);
	for (char *p = out->data; *p; p++) {
		if (*p >= 'a' && *p <= 'z')
			*p = (char)(*p - 'a' + 'A');
		else if (!ascii_is_alpha(*p) && !ascii_is_digit(*p))
			*p = '_';
	}
}

/* Adds the entry if the variable belongs to a key of this section. */
static bool take_for_section(struct loader *loader, const struct option_table *table,
	const char *section, const char *variable, const char *value)
{
	_cleanup_str_ struct str name = STR_NULL;

	for (size_t i = 0; i < table->count; i++) {
		render_name(section, table->options[i].key, &name);
		if (str_same(str_text(&name), variable)) {
			ini_add(&loader->ini, section, table->options[i].key, value, variable);
			return true;
		}
	}
	return false;
}

static bool take_for_name(struct loader *loader, enum option_section section, const char *name,
	const char *variable, const char *value)
{
	const struct option_table *table = &option_tables[section];
	_cleanup_str_ struct str full = STR_NULL;

	str_addf(&full, "%s.%s", table->section, name);
	return take_for_section(loader, table, str_text(&full), variable, value);
}

/* Sections that the file names, and those that are there without it. */
static bool take(struct loader *loader, const char *variable, const char *value)
{
	size_t entries = loader->ini.count;

	for (size_t i = 0; load_builtin_profiles[i]; i++) {
		if (take_for_name(
			    loader, SECTION_PROFILE, load_builtin_profiles[i], variable, value))
			return true;
	}
	for (size_t i = 0; i < loader->config->upstream_count; i++) {
		if (take_for_name(loader, SECTION_UPSTREAM, loader->config->upstreams[i].name,
			    variable, value))
			return true;
	}
	for (size_t i = 0; i < entries; i++) {
		const char *section = loader->ini.entries[i].section;
		const char *dot = strchr(section, '.');

		if (loader->ini.entries[i].key || !dot)
			continue;
		if ((str_begins(section, "profile.") &&
			    take_for_name(loader, SECTION_PROFILE, dot + 1, variable, value)) ||
			(str_begins(section, "route.") &&
				take_for_name(loader, SECTION_ROUTE, dot + 1, variable, value)))
			return true;
	}
	return take_for_section(
		       loader, &option_tables[SECTION_SERVER], "server", variable, value) ||
	       take_for_section(loader, &option_tables[SECTION_LOG], "log", variable, value);
}

void load_environment(struct loader *loader)
{
	char *const *environment = loader->request->environment;

	for (; environment && *environment; environment++) {
		const char *equals = strchr(*environment, '=');
		_cleanup_free_ char *variable = NULL;

		if (!equals || !str_begins(*environment, "ANDIRON_") ||
			str_begins(*environment, "ANDIRON_CONFIG="))
			continue;
		variable = xstrndup(*environment, (size_t)(equals - *environment));
		if (!take(loader, variable, equals + 1))
			loader->on_message(loader->arg, false, variable,
				"this environment variable sets nothing that andiron knows");
	}
}
