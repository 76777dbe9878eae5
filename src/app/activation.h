#pragma once

/* The sockets that systemd passes. systemd keeps them when the process ends: what connects then
 * waits for the next one. They stay open here, too, and each listener that is made of one has a
 * duplicate; the file of a Unix socket is systemd's. */

#include "app/worker.h"
#include "config/config.h"
#include "net/listen.h"

struct activation {
	struct listener listeners[FRONT_MAX_LISTENERS];
	bool taken[FRONT_MAX_LISTENERS];
	size_t count;
};

/* Takes over what is passed. False, and an error is logged: one of them is no listening stream
 * socket. */
bool activation_open(struct activation *activation);
/* Before the addresses of a configuration are gone through: nobody has taken any. */
void activation_begin(struct activation *activation);
/* A listener of before, which may be made of a passed socket, is kept. */
void activation_keep(struct activation *activation, const struct address *address);
/* The passed socket that is bound to this address, else a new one, as listen_open() has it. */
int activation_listen(struct activation *activation, const struct address *address,
	mode_t unix_mode, struct listener *ret);
/* `listen = systemd`: all that nothing else has taken, save the one of the admin listener's
 * address. False, and an error is logged: there is none, or more than the room that there is, or
 * it is beyond loopback and clients need no token. */
bool activation_listen_all(struct activation *activation, const struct config *config,
	struct listener *listeners, size_t *count);
/* Warns of the sockets to which clients may connect although nobody answers. */
void activation_warn(const struct activation *activation);
void activation_close(struct activation *activation);
