#pragma once

/* Where a request goes: the upstream's path for the path that the client asked for, and the
 * profile and upstream that a route chooses. */

#include <stdbool.h>
#include <stddef.h>

enum { ROUTE_MAX_PROFILE_NAME = 64 };

struct target_path {
	const char *prefix;                   /* to be put in front of `rest`: "/inference" or "" */
	const char *rest;                     /* points into the client's target, query included */
	char profile[ROUTE_MAX_PROFILE_NAME]; /* of /p/NAME/...; empty: none was named */
};

/* Maps a client's target (path and query) to the upstream's: /v1/... becomes /inference/v1/...,
 * doubled /v1/v1 becomes one, /v1/accounts, /training and /hot_load go through as they are.
 * False: no base URL leads here. */
bool path_map(const char *target, struct target_path *ret);

struct route {
	const char
		*path; /* shell glob on the upstream's path, `*` matches slashes too; NULL: any */
	const char *model; /* shell glob on the body's "model"; NULL: any, also none */
};

/* The first route that matches, or `count`. `model` may be NULL. */
size_t route_find(const struct route *routes, size_t count, const char *path, const char *model);
