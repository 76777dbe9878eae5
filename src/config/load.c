#include "config/load.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

const struct builtin_row load_builtin_rows[] = {
	{"interactive", "first_byte_timeout", "30s"},
	{"interactive", "idle_timeout", "30s"},
	{"interactive", "total_timeout", "60s"},
	{"interactive", "max_attempts", "3"},
	{"interactive", "backoff_base", "500ms"},
	{"interactive", "outage_wait", "15s"},
	{"agentic", "first_byte_timeout", "10m"},
	{"agentic", "idle_timeout", "5m"},
	{"agentic", "total_timeout", "30m"},
	{"agentic", "max_attempts", "5"},
	{"agentic", "scale_up_wait", "10m"},
	{"agentic", "outage_wait", "10m"},
	{"agentic", "pool_timeout", "10m"},
	{"large", "first_byte_timeout", "30m"},
	{"large", "idle_timeout", "10m"},
	{"large", "total_timeout", "30m"},
	{"large", "max_attempts", "5"},
	{"large", "scale_up_wait", "26m"},
	{"large", "outage_wait", "10m"},
	{"large", "pool_timeout", "10m"},
	{"batch", "first_byte_timeout", "60s"},
	{"batch", "idle_timeout", "60s"},
	{"batch", "total_timeout", "60s"},
	{"batch", "max_attempts", "5"},
	{"control", "first_byte_timeout", "15s"},
	{"control", "idle_timeout", "15s"},
	{"control", "total_timeout", "20s"},
	{"control", "max_attempts", "3"},
	{NULL, NULL, NULL},
};

const char *const load_builtin_profiles[] = {
	"default", "interactive", "agentic", "large", "batch", "control", NULL};

void load_error(struct loader *loader, const char *place, const char *message)
{
	loader->failed = true;
	loader->on_message(loader->arg, true, place, message);
}

void load_errorf(struct loader *loader, const char *place, const char *format, ...)
{
	_cleanup_str_ struct str message = STR_NULL;
	va_list args;

	va_start(args, format);
	str_addv(&message, format, args);
	va_end(args);
	load_error(loader, place, str_text(&message));
}

static void on_ini_error(void *arg, const char *place, const char *message)
{
	load_error(arg, place, message);
}

/* The NAME of [table.NAME], or NULL if the section is none of this table. */
static const char *name_in_section(const struct option_table *table, const char *section)
{
	size_t len = strlen(table->section);

	if (!str_begins(section, table->section))
		return NULL;
	if (!table->named)
		return section[len] == '\0' ? "" : NULL;
	return section[len] == '.' ? section + len + 1 : NULL;
}

bool load_is_name(const char *name, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (!ascii_is_alpha(name[i]) && !ascii_is_digit(name[i]) && name[i] != '_' &&
			name[i] != '-')
			return false;
	}
	return len > 0;
}

static const struct option_table *table_of_section(const char *section, const char **ret_name)
{
	for (size_t i = 0; i < SECTION_COUNT; i++) {
		*ret_name = name_in_section(&option_tables[i], section);
		if (*ret_name)
			return &option_tables[i];
	}
	return NULL;
}

/* Sections and keys that nothing knows; their values are judged where they are used. */
static void check_entry_names(struct loader *loader, const struct ini_entry *entry)
{
	const char *name;
	const struct option_table *table = table_of_section(entry->section, &name);

	if (entry->key) {
		if (table && !option_find(table, entry->key))
			load_errorf(loader, entry->place, "there is no key %s in [%s]", entry->key,
				entry->section);
	} else if (!table) {
		load_errorf(loader, entry->place,
			"there is no section [%s]; there are server, log, upstream.NAME, "
			"profile.NAME and route.NAME",
			entry->section);
	} else if (table->named && !load_is_name(name, strlen(name))) {
		load_errorf(loader, entry->place,
			"\"%s\" is no name; it takes letters, digits, _ and -", name);
	}
}

/* Sets what the entries say of one section. */
static void apply(
	struct loader *loader, const struct option_table *table, const char *name, void *options)
{
	for (size_t i = 0; i < loader->ini.count; i++) {
		const struct ini_entry *entry = &loader->ini.entries[i];
		const char *entry_name = name_in_section(table, entry->section);
		const struct config_option *option =
			entry->key ? option_find(table, entry->key) : NULL;
		_cleanup_str_ struct str error = STR_NULL;

		if (option && entry_name && str_same(entry_name, name) &&
			!option_set(option, options, entry->value, &error))
			load_errorf(loader, entry->place, "%s: %s", entry->key, str_text(&error));
	}
}

/* Calls `add` for each name of the sections of this table, in the order of the file. */
static void for_each_name(struct loader *loader, enum option_section section,
	void (*add)(struct loader *, const char *))
{
	for (size_t i = 0; i < loader->ini.count; i++) {
		const struct ini_entry *entry = &loader->ini.entries[i];
		const char *name = name_in_section(&option_tables[section], entry->section);

		if (name && !entry->key && load_is_name(name, strlen(name)))
			add(loader, name);
	}
}

static void add_upstream(struct loader *loader, const char *name)
{
	struct config *config = loader->config;
	struct upstream_config *upstream;

	config->upstreams = xrealloc(
		config->upstreams, (config->upstream_count + 1) * sizeof(*config->upstreams));
	upstream = &config->upstreams[config->upstream_count++];
	*upstream = (struct upstream_config){.name = xstrdup(name), .profile = -1};
	option_init_section(&option_tables[SECTION_UPSTREAM], &upstream->options);
	if (str_same(name, "fireworks")) {
		free(upstream->options.url);
		upstream->options.url = xstrdup("https://api.fireworks.ai");
	}
}

static void set_builtin_row(struct profile_config *profile)
{
	const struct option_table *table = &option_tables[SECTION_PROFILE];
	_cleanup_str_ struct str error = STR_NULL;

	for (const struct builtin_row *row = load_builtin_rows; row->name; row++) {
		if (str_same(row->name, profile->name))
			option_set(option_find(table, row->key), &profile->options, row->value,
				&error);
	}
}

static void add_profile(struct loader *loader, const char *name)
{
	const struct option_table *table = &option_tables[SECTION_PROFILE];
	struct config *config = loader->config;
	struct profile_config *profile;

	if (config_find_profile(config, name) >= 0)
		return;
	config->profiles =
		xrealloc(config->profiles, (config->profile_count + 1) * sizeof(*config->profiles));
	profile = &config->profiles[config->profile_count++];
	*profile = (struct profile_config){.name = xstrdup(name)};
	if (config->profile_count == 1)
		option_init_section(table, &profile->options);
	else
		option_copy_section(table, &profile->options, &config->profiles[0].options);
	set_builtin_row(profile);
	apply(loader, table, name, &profile->options);
	load_check_profile(loader, profile);
}

static void add_route(struct loader *loader, const char *name)
{
	const struct option_table *table = &option_tables[SECTION_ROUTE];
	struct config *config = loader->config;
	struct route_config *route;
	size_t count = config->route_count + 1;

	config->routes = xrealloc(config->routes, count * sizeof(*config->routes));
	route = &config->routes[config->route_count++];
	*route = (struct route_config){
		.name = xstrdup(name), .profile = -1, .fallback_upstream = -1};
	option_init_section(table, &route->options);
	apply(loader, table, name, &route->options);
}

static void make_globs(struct config *config)
{
	config->route_globs = xcalloc(config->route_count, sizeof(*config->route_globs));
	for (size_t i = 0; i < config->route_count; i++) {
		struct route_options *options = &config->routes[i].options;

		config->route_globs[i].path = *options->path ? options->path : NULL;
		config->route_globs[i].model = *options->model ? options->model : NULL;
	}
}

static void read_file(struct loader *loader)
{
	const char *file = loader->request->file;

	if (!file)
		return;
	loader->config->file = xstrdup(file);
	if (!ini_read(&loader->ini, file, on_ini_error, loader))
		load_errorf(loader, file, "cannot read the configuration: %s", strerror(errno));
}

static void add_flags(struct loader *loader)
{
	const struct config_flag *flag = loader->request->flags;
	_cleanup_str_ struct str first = STR_NULL;

	str_addf(&first, "upstream.%s", loader->config->upstreams[0].name);
	for (; flag && flag->flag; flag++)
		ini_add(&loader->ini, flag->section ? flag->section : str_text(&first), flag->key,
			flag->value, flag->flag);
}

static void build(struct loader *loader)
{
	struct config *config = loader->config;

	option_init_section(&option_tables[SECTION_SERVER], &config->server);
	option_init_section(&option_tables[SECTION_LOG], &config->log);
	for_each_name(loader, SECTION_UPSTREAM, add_upstream);
	if (config->upstream_count == 0)
		add_upstream(loader, "fireworks");
	load_environment(loader);
	add_flags(loader);
	for (size_t i = 0; i < loader->ini.count; i++)
		check_entry_names(loader, &loader->ini.entries[i]);
	apply(loader, &option_tables[SECTION_SERVER], "", &config->server);
	apply(loader, &option_tables[SECTION_LOG], "", &config->log);
	for (size_t i = 0; load_builtin_profiles[i]; i++)
		add_profile(loader, load_builtin_profiles[i]);
	for_each_name(loader, SECTION_PROFILE, add_profile);
	for_each_name(loader, SECTION_ROUTE, add_route);
	make_globs(config);
	load_check_front(loader);
	load_check_log(loader);
	for (size_t i = 0; i < config->upstream_count; i++) {
		apply(loader, &option_tables[SECTION_UPSTREAM], config->upstreams[i].name,
			&config->upstreams[i].options);
		load_check_upstream(loader, &config->upstreams[i]);
	}
	load_check_names(loader);
}

struct config *config_load(
	const struct config_request *request, config_on_message *on_message, void *arg)
{
	struct loader loader = {.request = request, .on_message = on_message, .arg = arg};

	loader.config = xcalloc(1, sizeof(*loader.config));
	loader.config->references = 1;
	read_file(&loader);
	build(&loader);
	ini_fini(&loader.ini);
	if (loader.failed) {
		config_unref(loader.config);
		return NULL;
	}
	return loader.config;
}
