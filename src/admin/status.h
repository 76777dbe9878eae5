#pragma once

/* /status: one JSON object from which a person can see why a request waits. */

#include "admin/admin.h"
#include "base/clock.h"
#include "base/str.h"

void status_render(const struct admin_setup *setup, msec_t uptime_ms, struct str *out);
