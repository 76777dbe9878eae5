#pragma once

/* What a browser is told about which page may read an answer (the Fetch standard, "CORS
 * protocol"). Only andiron says it: an upstream's words are for its own pages. No credentials mode:
 * a page brings its key or token itself. */

#include <stdbool.h>

#include "net/fields.h"

/* Is this field of an answer one of the protocol's? */
bool cors_is_field(const char *name);
/* Tells the browser that pages of this origin may read the answer; `fields` has none of the
 * protocol's. */
void cors_allow(const char *origin, struct fields *fields);

/* Does a browser only ask whether a page may send a request? */
bool cors_is_preflight(const char *method, const struct fields *asked);
/* What the answer to it says, beside cors_allow(). */
void cors_answer_preflight(const struct fields *asked, struct fields *ret);
