#pragma once

/* What config_load() is made of: collecting entries (environment, flags) and checking what the
 * options table cannot say. Internal to config/. */

#include "base/address.h"
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
/* What each has of its own, the rest is default's; ends with NULL. Also for docs/man. */
extern const struct builtin_row {
	const char *name, *key, *value;
} load_builtin_rows[];

void load_error(struct loader *loader, const char *place, const char *message);
void load_errorf(struct loader *loader, const char *place, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Adds an entry for each ANDIRON_<SECTION>_<KEY> of the environment; warns of unknown ones. */
void load_environment(struct loader *loader);

/* Where a value stands: its entry, else its section's header, else nowhere (NULL). `name` NULL: the
 * section has none. */
const char *load_place(
	const struct loader *loader, const char *kind, const char *name, const char *key);

/* What a section may be named: letters, digits, _ and -. */
bool load_is_name(const char *name, size_t len);

/* What the table cannot check: addresses, URLs, keys, files, names that must exist. */
void load_check_front(struct loader *loader); /* who may come in, and where; load_front.c */
void load_check_log(struct loader *loader);
void load_check_upstream(struct loader *loader, struct upstream_config *upstream);
/* An upstream that is one of andiron's own listeners; `place`: of its url. */
void load_check_self(
	struct loader *loader, const struct upstream_config *upstream, const char *place);
/* The upstream's key: of its file, of systemd's credential, of FIREWORKS_API_KEY. */
void load_key(struct loader *loader, struct upstream_config *upstream, const char *place);
void load_check_profile(struct loader *loader, struct profile_config *profile);
void load_check_names(struct loader *loader);
