#pragma once

/* What this program is made of, and whether the libevent below it has the security fixes of 2026
 * (libevent 2.1.13, or a distribution's package that carries them). Nothing in andiron depends on
 * them; they are said where they are known to be missing. */

#include "base/str.h"

enum libevent_fixes { LIBEVENT_FIXED, LIBEVENT_LACKS, LIBEVENT_UNKNOWN };

/* `number` as event_get_version_number() has it; `package`: the version of Debian's package
 * libevent-2.1-7, or NULL where there is none. */
enum libevent_fixes libevent_fixes(unsigned number, const char *package);

/* The text of `andiron --version`. */
void version_render(struct str *out);
