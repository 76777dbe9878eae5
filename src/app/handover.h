#pragma once

/* What a running andiron and the one that takes over from it say to each other, over a Unix socket
 * (SOCK_SEQPACKET) that the new one inherits. They may be of different versions: a message is a
 * word and a text.
 *
 *     the old one                  the new one
 *     listener, admin, passed ..                    a socket each
 *     end DEPTH                                     how many processes before it may live
 *                                  ready PID        all is made, nothing is accepted
 *     go                                            both accept
 *                                  serving          only the new one does, from here on
 *     yours                                         files of sockets, and systemd's attention
 *                                  drain            it has been told to end: the old one, too
 *     (the end of the socket)                       the old one has ended
 *
 * Until `serving` the old one goes on as it was when the new one ends; if it gives the new one up
 * after `go`, it tells it to `drain`. The new one ends when the old one does so before `go`. */

#include <sys/types.h>

#include "net/listen.h"

enum handover_word {
	HANDOVER_NOTHING,  /* nothing has come yet */
	HANDOVER_LISTENER, /* DEVICE INODE TEXT and a socket: of `listen`, as it is written there */
	HANDOVER_ADMIN,    /* the same, of `admin` */
	HANDOVER_PASSED,   /* the same, of systemd */
	HANDOVER_END,      /* DEPTH */
	HANDOVER_READY,    /* PID */
	HANDOVER_GO,
	HANDOVER_SERVING,
	HANDOVER_YOURS,
	HANDOVER_DRAIN,
	HANDOVER_CLOSED, /* the other one has ended, or says what nobody understands */
};

enum {
	HANDOVER_MAX_TEXT = 512,
	HANDOVER_FD = 3, /* where the new one finds the socket */
};

/* And the variable that tells it that there is one. */
#define HANDOVER_VARIABLE "ANDIRON_HANDOVER=3"

struct handover_message {
	enum handover_word word;
	char text[HANDOVER_MAX_TEXT];
	struct listener listener; /* the receiver's; its file still belongs to the sender */
	long long number;         /* a depth, a PID */
};

/* None waits. False: the other one has ended, or the socket is full. */
bool handover_send(int fd, enum handover_word word, const char *text);
bool handover_send_listener(
	int fd, enum handover_word word, const char *text, const struct listener *listener);
/* Does not wait, on a non-blocking socket. */
void handover_receive(int fd, struct handover_message *ret);
