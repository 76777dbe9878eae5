#pragma once

/* Listening sockets. Each address has one, of which every worker takes a duplicate: SO_REUSEPORT
 * would let a second andiron bind unseen, and closing one socket of a group resets the
 * connections that wait in it. */

#include "base/address.h"

/* Opens, binds and listens; non-blocking, closed on exec. A descriptor, or -errno. With port 0
 * the kernel chooses one; `ret_bound` has the address as bound. */
int listen_open(const struct address *address, struct address *ret_bound);
