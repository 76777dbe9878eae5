#pragma once

/* `andiron check --live`: is the daemon of this configuration alive? For health checks in places
 * without a shell or another HTTP client. */

#include "config/config.h"

/* Asks its admin listener for /healthz, for a few seconds at most, and says what came of it. */
bool live_check(const struct config *config);
