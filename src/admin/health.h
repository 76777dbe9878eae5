#pragma once

/* What a supervisor asks: is the process alive, and should it get requests. Both return the status
 * of the answer; the text is a word or a line for a person. */

#include <stdbool.h>

#include "admin/admin.h"
#include "base/str.h"

int health_live(struct str *out);
/* `upstream`: is every upstream's path believed good, too? */
int health_ready(const struct admin_setup *setup, bool upstream, struct str *out);
