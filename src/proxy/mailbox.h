#pragma once

/* Letters from any thread to the loop of one worker. */

#include <stdbool.h>
#include <sys/queue.h>

struct event_base;
struct mailbox;

/* Lives inside what it is about. */
struct letter {
	TAILQ_ENTRY(letter) entry;
	void (*on_delivery)(void *arg); /* from the worker's loop, never inside mailbox_post() */
	void *arg;
	bool posted; /* under the mailbox's lock */
};

struct mailbox *mailbox_new(struct event_base *base);
void mailbox_free(struct mailbox *mailbox);
/* A letter that is on its way already stays where it is. */
void mailbox_post(struct mailbox *mailbox, struct letter *letter);
/* Only from the worker's own thread: it is not delivered any more. */
void mailbox_withdraw(struct mailbox *mailbox, struct letter *letter);
