#pragma once

/* Names to addresses, without blocking; one resolver for each event loop. /etc/hosts comes first,
 * then the name servers of /etc/resolv.conf; both files are read again when they have changed.
 * Search domains do not count (a proxy's upstream is always a full name). `localhost` and what
 * ends in `.localhost` is the loopback addresses and is never asked for (RFC 6761, 6.3).
 *
 * A and AAAA are asked for at the same time. Each is asked up to three times, 2 s each: the next
 * name server is asked after silence or an error such as SERVFAIL. */

#include <stddef.h>

#include "base/address.h"
#include "base/clock.h"
#include "policy/failure.h"

struct event_base;
struct resolver;
struct resolver_query;

enum { RESOLVER_MAX_ADDRESSES = 16 };

struct resolver_answer {
	/* IPv6 first (RFC 6724), unless the machine has no way there. */
	struct address addresses[RESOLVER_MAX_ADDRESSES];
	size_t count;           /* 0: `failure` says why */
	msec_t fresh_ms;        /* for how long the addresses may be used: the least TTL */
	unsigned generation;    /* and no longer than resolver_generation() is this */
	struct failure failure; /* phase dns; what each name server said */
};

typedef void resolver_on_answer(void *arg, const struct resolver_answer *answer);

struct resolver *resolver_new(struct event_base *base);
/* No query may be running. The loop must turn once more before its base is freed. */
void resolver_free(struct resolver *resolver);

/* Another number whenever /etc/hosts or /etc/resolv.conf have changed: addresses of before may be
 * another network's. Looks at the files at most every two seconds. */
unsigned resolver_generation(struct resolver *resolver);

/* Looks up a name or an IP literal. Ends in one call of `on_answer`, never inside this one, after
 * 6 s at the latest. */
struct resolver_query *resolver_start(struct resolver *resolver, const char *host,
	unsigned short port, resolver_on_answer *on_answer, void *arg);
/* No callback after this. */
void resolver_cancel(struct resolver_query *query);
