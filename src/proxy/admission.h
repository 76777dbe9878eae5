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
/* What the guard has refused, as an answer. */
void admission_take_refusal(const struct received *from, struct refusal *ret);
/* The authority of an absolute-form target ("http://localhost:8787/v1/..."), which stands for the
 * Host field (RFC 9112, 3.2.2), to be freed; takes it off the target. NULL: the target is in origin
 * form. */
char *admission_take_authority(const char **target);
/* `authority`: what that gave. False: `refusal` has the answer. */
bool admission_check(const struct received *from, const char *authority,
	const struct config *config, struct refusal *refusal);
/* The same without the token: for pages that decide by themselves whom they ask for it. */
bool admission_check_page(const struct received *from, const char *authority,
	const struct config *config, struct refusal *refusal);
/* The same of the token alone, once it is known where the request goes. */
bool admission_check_upstream(const struct received *from, const struct config *config,
	const struct upstream_config *upstream, struct refusal *refusal);
