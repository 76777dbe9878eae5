#pragma once

/* Listening sockets. Each address has one, of which every worker takes a duplicate: SO_REUSEPORT
 * would let a second andiron bind unseen, and closing one socket of a group resets the
 * connections that wait in it. A Unix socket has a file, which goes with it. */

#include <stdbool.h>
#include <sys/types.h>

#include "base/address.h"

struct listener {
	int fd;
	struct address address; /* as bound: of port 0 the one that the kernel chose */
	dev_t device;           /* of a Unix socket's file, which others could replace: */
	ino_t inode;
	bool lent; /* another process has it, too: its file is that one's to remove */
};

/* Opens, binds and listens; non-blocking, closed on exec. 0, or -errno. A Unix socket's file gets
 * the permissions `unix_mode` and has never had wider ones; a file that a dead process left there
 * is removed, one that is no socket is -ENOTSOCK. */
int listen_open(const struct address *address, mode_t unix_mode, struct listener *ret);
/* Takes over a socket that listens already, and makes it non-blocking; the file of a Unix socket
 * stays somebody else's. 0, or -errno: EPROTOTYPE: it is no stream socket of a known family;
 * EINVAL: it does not listen. The name of an abstract Unix socket is written with a @. */
int listen_adopt(int fd, struct listener *ret);
/* Closes it and removes its file, unless that is another one by now, or somebody else's. */
void listen_close(const struct listener *listener);
