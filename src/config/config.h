#pragma once

/* The configuration: one immutable snapshot, made of built-in defaults, the file, the environment
 * and the flags, in rising order of precedence. A request holds a reference to the snapshot that
 * it began with; the last reference frees it and wipes the keys. */

#include <stdbool.h>
#include <stddef.h>

#include "config/option.h"
#include "policy/retry.h"
#include "policy/route.h"

enum key_source {
	KEY_OF_CLIENT,      /* none configured: the client's own goes through */
	KEY_OF_FILE,        /* api_key_file or the systemd credential: replaces every key */
	KEY_OF_ENVIRONMENT, /* FIREWORKS_API_KEY: replaces a missing or foreign key */
};

struct upstream_config {
	char *name;
	struct upstream_options options;
	bool tls;
	char *host; /* without brackets */
	unsigned short port;
	char *authority; /* for the Host field: the port only where it is not the scheme's own */
	char *api_key;   /* base/secret.h; NULL: none */
	enum key_source key_source;
	int profile; /* index, or -1: by path */
};

struct profile_config {
	char *name;
	struct profile_options options;
	struct retry_policy retry;
};

struct route_config {
	char *name;
	struct route_options options;
	int profile, upstream; /* indices; profile -1: not chosen here */
	char *fallback_model;  /* tried when the attempts are used up; NULL: none */
	int fallback_upstream; /* -1: the same one */
};

struct config {
	int references; /* touched by config_ref and config_unref only */
	char *file;     /* NULL: none was read */
	struct server_options server;
	bool listen_is_default; /* nobody wrote it down: a missing address family is no error */
	bool admin_is_default;  /* likewise */
	char *client_token;     /* a secret; NULL: none is needed */
	unsigned unix_mode;
	unsigned *unix_users; /* never none */
	size_t unix_user_count;
	struct log_options log;
	struct upstream_config *upstreams;
	struct profile_config *profiles;
	struct route_config *routes;
	struct route *route_globs; /* the same routes, for route_find() */
	size_t upstream_count, profile_count, route_count;
};

/* A value given on the command line: `--listen` sets listen in [server]. */
struct config_flag {
	const char *flag;
	const char *section; /* NULL: the first upstream */
	const char *key;
	const char *value;
};

struct config_request {
	const char *file;                /* NULL: none */
	const struct config_flag *flags; /* ends with .flag = NULL; may be NULL */
	char *const *environment;        /* as environ; may be NULL */
	/* FIREWORKS_API_KEY, if the caller has taken it out of the environment; NULL: it is looked
	 * for there. */
	const char *environment_key;
};

/* Called for every mistake (`fatal`) and every warning, with its place: FILE:LINE, a flag, or an
 * environment variable; NULL if there is none. */
typedef void config_on_message(void *arg, bool fatal, const char *place, const char *message);

/* A new snapshot with one reference, or NULL after at least one fatal message. */
struct config *config_load(
	const struct config_request *request, config_on_message *on_message, void *arg);
struct config *config_ref(struct config *config);
void config_unref(struct config *config);

/* Indices by name, or -1. */
int config_find_profile(const struct config *config, const char *name);
int config_find_upstream(const struct config *config, const char *name);

/* The whole effective configuration as an INI text. Keys are not part of it. */
void config_render(const struct config *config, struct str *out);
