#pragma once

/* /metrics: what the workers have counted, and what stands in gauges now, as Prometheus reads it.
 */

#include "admin/admin.h"
#include "base/str.h"

/* `sum` is kept from one call to the next, so that what is `other` in it stays so. */
void metrics_page_render(const struct admin_setup *setup, struct metrics *sum, struct str *out);
