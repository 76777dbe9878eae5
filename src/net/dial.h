#pragma once

/* A TCP connection to one of several addresses, tried as RFC 8305 has it: families in turn, the
 * next address after 250 ms while the earlier ones go on, or at once when one fails. */

#include <stddef.h>

#include "base/address.h"
#include "policy/failure.h"

struct dial;
struct event_base;

struct dial_handler {
	/* A connection to this address was begun. */
	void (*on_try)(void *arg, const struct address *address);
	/* The first one that stands; the descriptor is the callee's. Ends the dial. */
	void (*on_connected)(void *arg, int fd, const struct address *address);
	/* None stands. The address whose failure tells most, and what the others met in the
	 * detail. Ends the dial. */
	void (*on_failure)(void *arg, const struct failure *failure, const struct address *address);
};

/* Starts with the first of `count` addresses (at least one), which are copied. Callbacks come
 * from the loop, never inside this call. It has no time limit: the caller cancels. */
struct dial *dial_start(struct event_base *base, const struct address *addresses, size_t count,
	const struct dial_handler *handler, void *arg);
void dial_cancel(struct dial *dial);
