#pragma once

/* Whose key a request carries to the upstream: andiron's or the client's, never both. */

#include <stdbool.h>

#include "config/config.h"
#include "net/fields.h"

/* Applies the upstream's rule to the fields of a request. A client's own key goes to the first
 * upstream only; towards another one without a key of its own it is removed. */
void credential_apply(struct fields *fields, const struct upstream_config *upstream, bool is_first);
