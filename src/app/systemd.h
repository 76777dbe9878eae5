#pragma once

/* What passes between systemd and a service, without libsystemd: datagrams to $NOTIFY_SOCKET
 * (sd_notify(3)) and sockets that are there at the start (sd_listen_fds(3)). Where nothing of that
 * is set, nothing happens. For the main thread. */

#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"

enum { SYSTEMD_FIRST_FD = 3 };

/* Is there somebody to tell? */
bool systemd_is_listening(void);
/* Sends assignments, one a line, as "READY=1\nSTATUS=fine". 0, or -errno; also 0 where nobody
 * listens. Never blocks for long: systemd reads. */
int systemd_notify(const char *assignments);
/* RELOADING=1 with the instant, which systemd 253 and later needs; READY=1 ends it. */
int systemd_notify_reloading(void);
/* How often at least this process must say WATCHDOG=1; 0: nobody asks for it. */
msec_t systemd_watchdog_ms(void);
/* How many descriptors are passed to this very process, from SYSTEMD_FIRST_FD on; 0: none, or those
 * that were meant for another one. From here on they are closed on exec, and no child sees the
 * variables. `ret_names`: their names with colons between them, for the caller to free; NULL: they
 * have none. */
size_t systemd_take_fds(char **ret_names);
