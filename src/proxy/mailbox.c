#include "proxy/mailbox.h"

#include <event2/event.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"

TAILQ_HEAD(letter_list, letter);

struct mailbox {
	int fd;
	struct event *event;
	pthread_mutex_t lock;
	struct letter_list letters;
};

static struct letter *take_first(struct mailbox *mailbox)
{
	struct letter *letter;

	pthread_mutex_lock(&mailbox->lock);
	letter = TAILQ_FIRST(&mailbox->letters);
	if (letter) {
		TAILQ_REMOVE(&mailbox->letters, letter, entry);
		letter->posted = false;
	}
	pthread_mutex_unlock(&mailbox->lock);
	return letter;
}

static void mailbox_on_post(evutil_socket_t fd, short what, void *arg)
{
	struct mailbox *mailbox = arg;
	struct letter *letter;
	eventfd_t count;

	(void)what;
	eventfd_read(fd, &count);
	while ((letter = take_first(mailbox)))
		letter->on_delivery(letter->arg);
}

struct mailbox *mailbox_new(struct event_base *base)
{
	struct mailbox *mailbox = xcalloc(1, sizeof(*mailbox));

	TAILQ_INIT(&mailbox->letters);
	pthread_mutex_init(&mailbox->lock, NULL);
	mailbox->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	mailbox->event =
		event_new(base, mailbox->fd, EV_READ | EV_PERSIST, mailbox_on_post, mailbox);
	if (mailbox->fd < 0 || !mailbox->event)
		abort();
	event_add(mailbox->event, NULL);
	return mailbox;
}

void mailbox_free(struct mailbox *mailbox)
{
	if (!mailbox)
		return;
	event_free(mailbox->event);
	close(mailbox->fd);
	pthread_mutex_destroy(&mailbox->lock);
	free(mailbox);
}

void mailbox_post(struct mailbox *mailbox, struct letter *letter)
{
	bool was_posted;

	pthread_mutex_lock(&mailbox->lock);
	was_posted = letter->posted;
	if (!was_posted)
		TAILQ_INSERT_TAIL(&mailbox->letters, letter, entry);
	letter->posted = true;
	pthread_mutex_unlock(&mailbox->lock);
	if (!was_posted)
		eventfd_write(mailbox->fd, 1);
}

void mailbox_withdraw(struct mailbox *mailbox, struct letter *letter)
{
	pthread_mutex_lock(&mailbox->lock);
	if (letter->posted)
		TAILQ_REMOVE(&mailbox->letters, letter, entry);
	letter->posted = false;
	pthread_mutex_unlock(&mailbox->lock);
}
