#pragma once

/* Names to addresses, without blocking, by evdns; one resolver for each event loop. /etc/hosts
 * counts; search domains do not (a proxy's upstream is always a full name); `localhost` is the
 * loopback addresses and is never asked for (RFC 6761, 6.3). */

#include <stddef.h>

#include "base/address.h"
#include "policy/failure.h"

struct event_base;
struct resolver;
struct resolver_query;

enum { RESOLVER_MAX_ADDRESSES = 16 };

struct resolver_answer {
	struct address addresses[RESOLVER_MAX_ADDRESSES];
	size_t count;           /* 0: `failure` says why */
	struct failure failure; /* phase dns */
};

typedef void resolver_on_answer(void *arg, const struct resolver_answer *answer);

struct resolver *resolver_new(struct event_base *base);
/* No query may be running. The loop must turn once more before its base is freed. */
void resolver_free(struct resolver *resolver);

/* Looks up a name or an IP literal. Ends in one call of `on_answer`, never inside this one. It has
 * no time limit of its own that a caller could rely on: evdns may never answer when all name
 * servers are down, so the caller runs a timer and cancels. */
struct resolver_query *resolver_start(struct resolver *resolver, const char *host,
	unsigned short port, resolver_on_answer *on_answer, void *arg);
void resolver_cancel(struct resolver_query *query);
