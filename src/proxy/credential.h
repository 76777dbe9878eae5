#pragma once

/* Whose key a request carries to the upstream: andiron's or the client's, never both. */

#include <stdbool.h>

#include "config/config.h"
#include "net/fields.h"

/* Applies the upstream's rule to the fields of a request. A client's own key goes to the first
 * upstream only; towards another one without a key of its own it is removed. */
void credential_apply(struct fields *fields, const struct upstream_config *upstream, bool is_first);
/* The key that these fields carry, however they do it; NULL: none. */
const char *credential_of(const struct fields *fields);
/* The upstream's own key takes the place of whatever is there: another upstream's, which must not
 * get to this one. */
void credential_replace(struct fields *fields, const struct upstream_config *upstream);
