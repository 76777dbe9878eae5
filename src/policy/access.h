#pragma once

/* Who may talk to a daemon that holds a key. A web page in the user's browser must not: neither
 * through a name that it has rebound to the loopback address (Host), nor across sites (Origin,
 * Sec-Fetch-Site), unless its origin is one that the user has listed. Host is the check that
 * rebinding cannot pass, and no list of origins lifts it; the other two stop the rest. */

#include <stdbool.h>
#include <stddef.h>

enum access {
	ACCESS_ALLOWED,
	ACCESS_HOST_INVALID, /* no valid authority: 400 */
	ACCESS_HOST_DENIED,  /* valid, but not a name of this daemon: 403 */
	ACCESS_ORIGIN,       /* a web origin that is not listed: 403 */
	ACCESS_CROSS_SITE,   /* Sec-Fetch-Site says so: 403 */
};

struct access_request {
	int hosts;                  /* how many Host fields */
	const char *host;           /* the first one */
	int origins;                /* how many Origin fields */
	const char *origin;         /* the first one */
	const char *sec_fetch_site; /* NULL: none */
	const char *local_ip;       /* the address that the connection came in on; NULL: not IP */
};

/* What the user allows beyond the defaults: lists, separated by spaces; may be NULL. */
struct access_rules {
	const char *hosts;   /* names beside the loopback ones */
	const char *origins; /* `scheme://host[:port]`, each as access_origin_fault() wants it */
};

enum access access_decide(const struct access_request *request, const struct access_rules *rules);
/* Is this Origin one of the list? To the byte, as browsers send it. */
bool access_origin_is_listed(const char *origin, const char *origins);
/* NULL if a browser can send this text as its Origin and it names one site; else why not. */
const char *access_origin_fault(const char *text);
/* May this user connect to a Unix socket? */
bool access_user_is_listed(unsigned user, const unsigned *users, size_t count);

int access_status(enum access access);
/* What was wrong and which key changes it. */
const char *access_text(enum access access);
