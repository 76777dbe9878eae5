#pragma once

/* What is done to connected TCP sockets by hand, behind libevent's back. */

/* An event or a small request must not wait for an ACK. */
void socket_set_nodelay(int fd);
/* Sends RST now and leaves the descriptor open. Only this way does a peer that is still sending
 * hear of it at once: close() after everything was read sends a FIN, and SO_LINGER comes after
 * the FIN that evhttp sends. libevent sees the end of the socket in its next turn. */
void socket_reset(int fd);
