#pragma once

/* What is done with sockets by hand, behind libevent's back. */

#include <stdbool.h>

struct address;

/* An event or a small request must not wait for an ACK. */
void socket_set_nodelay(int fd);
/* Sends RST now and leaves the descriptor open. Only this way does a peer that is still sending
 * hear of it at once: close() after everything was read sends a FIN, and SO_LINGER comes after
 * the FIN that evhttp sends. libevent sees the end of the socket in its next turn. A Unix socket
 * knows no RST: its peer sees the end. */
void socket_reset(int fd);
/* A connection to an upstream: small requests are not held back, and a dead peer is noticed. */
void socket_set_upstream_options(int fd);
/* Has the peer ended this connection, as far as the kernel knows? */
bool socket_has_ended(int fd);
/* Do bytes wait that nobody has read yet? */
bool socket_has_input(int fd);
/* Who opened a connection to a Unix socket (SO_PEERCRED: as of its connect()). False if it is none.
 */
bool socket_peer_user(int fd, unsigned *ret_user);
/* Why no datagram can be sent to the address (ENETUNREACH, EMFILE, ...); 0 if the kernel has a
 * route. Sends nothing. */
int socket_route_errno(const struct address *address);
