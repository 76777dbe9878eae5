#pragma once

/* What config_load() is made of: collecting entries (environment, flags) and checking what the
 * options table cannot say. Internal to config/. */

#include "config/config.h"
#include "config/ini.h"

struct loader {
	const struct config_request *request;
	config_on_message *on_message;
	void *arg;
	struct ini ini;
	struct config *config;
	bool failed;
};

/* The profiles that are there without a file, `default` first; ends with NULL. */
extern const char *const load_builtin_profiles[];

void load_error(struct loader *loader, const char *place, const char *message);
void load_errorf(struct loader *loader, const char *place, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Adds an entry for each ANDIRON_<SECTION>_<KEY> of the environment; warns of unknown ones. */
void load_environment(struct loader *loader);

/* What the table cannot check: addresses, URLs, keys, files, names that must exist. */
void load_check_server(struct loader *loader);
void load_check_upstream(struct loader *loader, struct upstream_config *upstream);
void load_check_profile(struct loader *loader, struct profile_config *profile);
void load_check_names(struct loader *loader);
