#pragma once

/* The client token (client_token_file): what a client shows to be let in. It is compared in
 * constant time, and goes no further than here. */

#include <stdbool.h>

#include "config/config.h"
#include "net/fields.h"

/* Does the request show the token, or is none needed? X-Andiron-Token always counts;
 * `Authorization: Bearer` only where andiron's key replaces what is in it: towards this upstream,
 * or, with `upstream` NULL, towards any of them. */
bool token_is_shown(const struct config *config, const struct upstream_config *upstream,
	const struct fields *fields);
/* Is it in one of the two fields? For what goes to no upstream; false if none is configured. */
bool token_is_given(const struct config *config, const struct fields *fields);
/* Takes the token out of the fields for an upstream that would get the client's key. */
void token_remove(const struct config *config, struct fields *fields);
