#pragma once

/* Who may ask: what is judged before anything else is looked at, and in this order: Host, Origin
 * and Sec-Fetch-Site, a browser's preflight (which is answered here), the client token. */

#include <stdbool.h>

#include "config/config.h"
#include "proxy/refusal.h"

struct received;

/* The origin of the web page that asks, if its pages may read the answer; NULL: no page asks, or
 * none that may. Of a request that the guard refused, as far as it has come. */
const char *admission_origin(const struct received *from, const struct config *config);
/* `authority`: of an absolute-form target, in the Host field's place; else NULL. False: `refusal`
 * has the answer. */
bool admission_check(const struct received *from, const char *authority,
	const struct config *config, struct refusal *refusal);
/* The same of the token, once it is known where the request goes. */
bool admission_check_upstream(const struct received *from, const struct config *config,
	const struct upstream_config *upstream, struct refusal *refusal);
