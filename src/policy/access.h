#pragma once

/* Who may talk to a daemon that holds a key. A web page in the user's browser must not: neither
 * through a name that it has rebound to the loopback address (Host), nor across sites (Origin,
 * Sec-Fetch-Site). Host is the check that rebinding cannot pass; the other two stop the rest. */

#include <stdbool.h>

enum access {
	ACCESS_ALLOWED,
	ACCESS_HOST_INVALID, /* no valid authority: 400 */
	ACCESS_HOST_DENIED,  /* valid, but not a name of this daemon: 403 */
	ACCESS_ORIGIN,       /* a web origin: 403 */
	ACCESS_CROSS_SITE,   /* Sec-Fetch-Site says so: 403 */
};

struct access_request {
	int hosts;                  /* how many Host fields */
	const char *host;           /* the first one */
	const char *origin;         /* NULL: none */
	const char *sec_fetch_site; /* NULL: none */
	const char *local_ip;       /* the address that the connection came in on; NULL: not IP */
};

/* `allow_hosts`: more names, separated by spaces; may be NULL. */
enum access access_decide(const struct access_request *request, const char *allow_hosts);

int access_status(enum access access);
/* What was wrong and which key changes it. */
const char *access_text(enum access access);
