#pragma once

/* What the person who starts andiron wants to know: where it listens, and what to change in an
 * SDK. */

#include <stdbool.h>

#include "app/listeners.h"
#include "config/config.h"

void hello_say(const struct config *config, const struct listeners *listeners,
	const struct listeners *admin, bool is_demo);
/* The first port; 0: there are only Unix sockets. */
unsigned hello_port(const struct listeners *listeners);
/* " http://127.0.0.1:8787 http://[::1]:8787" */
void hello_render_listeners(const struct listeners *listeners, struct str *out);
