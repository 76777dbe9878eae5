#include "net/dial.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/socket.h"
#include "net/timer.h"

enum { ATTEMPT_DELAY_MS = 250 }; /* RFC 8305, 5: Connection Attempt Delay */

struct trial {
	struct dial *dial;
	struct address address;
	int fd;              /* -1: not begun, or over */
	struct event *event; /* NULL likewise */
	int error_number;    /* why it failed; 0: it has not */
};

struct dial {
	struct event_base *base;
	const struct dial_handler *handler;
	void *arg;
	struct timer *timer; /* the next address, or the end */
	size_t begun, count;
	struct trial trials[];
};

static void close_trial(struct trial *trial)
{
	if (trial->event)
		event_free(trial->event); /* before its descriptor: the number may be used anew */
	if (trial->fd >= 0)
		close(trial->fd);
	trial->event = NULL;
	trial->fd = -1;
}

void dial_cancel(struct dial *dial)
{
	for (size_t i = 0; i < dial->begun; i++)
		close_trial(&dial->trials[i]);
	timer_free(dial->timer);
	free(dial);
}

static bool is_pending(const struct dial *dial)
{
	for (size_t i = 0; i < dial->begun; i++) {
		if (dial->trials[i].fd >= 0)
			return true;
	}
	return false;
}

/* The failure that tells most: a machine without IPv6 has no route to any such address, which
 * says nothing about the upstream. */
static const struct trial *telling(const struct dial *dial)
{
	const struct trial *found = &dial->trials[0];

	for (size_t i = 1; i < dial->count; i++) {
		enum error error = error_of_connect_errno(dial->trials[i].error_number);

		if (error != ERROR_DESTINATION_IP_UNROUTABLE ||
			error_of_connect_errno(found->error_number) == error)
			found = &dial->trials[i];
	}
	return found;
}

static void describe(const struct dial *dial, const struct trial *told, struct failure *ret)
{
	char detail[sizeof(ret->detail)], text[ADDRESS_TEXT_SIZE];
	int len = snprintf(detail, sizeof(detail), "%s", strerror(told->error_number));

	for (size_t i = 0; i < dial->count && len < (int)sizeof(detail); i++) {
		const struct trial *other = &dial->trials[i];

		if (other == told)
			continue;
		address_render(&other->address, text, sizeof(text));
		len += snprintf(detail + len, sizeof(detail) - (size_t)len, "; %s: %s", text,
			strerror(other->error_number));
	}
	failure_set(ret, PHASE_CONNECT, error_of_connect_errno(told->error_number), detail);
}

static void fail(struct dial *dial)
{
	const struct trial *told = telling(dial);
	const struct dial_handler *handler = dial->handler;
	void *arg = dial->arg;
	struct address address = told->address;
	struct failure failure;

	describe(dial, told, &failure);
	dial_cancel(dial);
	handler->on_failure(arg, &failure, &address);
}

static void succeed(struct dial *dial, struct trial *trial)
{
	const struct dial_handler *handler = dial->handler;
	void *arg = dial->arg;
	struct address address = trial->address;
	int fd = trial->fd;

	event_free(trial->event);
	trial->event = NULL;
	trial->fd = -1; /* the callee's now */
	dial_cancel(dial);
	handler->on_connected(arg, fd, &address);
}

static void dial_on_event(evutil_socket_t fd, short what, void *arg)
{
	struct trial *trial = arg;
	struct dial *dial = trial->dial;
	socklen_t len = sizeof(trial->error_number);

	(void)what;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &trial->error_number, &len) != 0)
		trial->error_number = errno;
	if (!trial->error_number) {
		succeed(dial, trial);
		return;
	}
	close_trial(trial);
	if (dial->begun < dial->count || !is_pending(dial))
		timer_start(dial->timer, 0);
}

/* False if it failed at once: an unreachable network does. */
static bool begin_trial(struct trial *trial)
{
	int family = trial->address.any.sa_family;

	trial->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (trial->fd >= 0)
		socket_set_upstream_options(trial->fd);
	if (trial->fd < 0 || (connect(trial->fd, &trial->address.any, trial->address.len) != 0 &&
				     errno != EINPROGRESS)) {
		trial->error_number = errno;
		close_trial(trial);
		return false;
	}
	trial->event = event_new(trial->dial->base, trial->fd, EV_WRITE, dial_on_event, trial);
	if (!trial->event || event_add(trial->event, NULL) != 0)
		abort();
	return true;
}

/* The next address that does not fail at once. */
static void dial_on_timer(void *arg)
{
	struct dial *dial = arg;

	while (dial->begun < dial->count) {
		struct trial *trial = &dial->trials[dial->begun++];

		dial->handler->on_try(dial->arg, &trial->address);
		if (begin_trial(trial))
			break;
	}
	if (dial->begun < dial->count)
		timer_start(dial->timer, ATTEMPT_DELAY_MS);
	else if (!is_pending(dial))
		fail(dial);
}

/* Alternates the families, beginning with the first address's (RFC 8305, 4). */
static void interleave(struct dial *dial, const struct address *addresses)
{
	sa_family_t first = addresses[0].any.sa_family;
	size_t same = 0, other = 0;

	for (size_t i = 0; i < dial->count; i++) {
		while (same < dial->count && addresses[same].any.sa_family != first)
			same++;
		while (other < dial->count && addresses[other].any.sa_family == first)
			other++;
		bool take_same = other == dial->count || (i % 2 == 0 && same < dial->count);

		dial->trials[i].address = addresses[take_same ? same++ : other++];
		dial->trials[i].dial = dial;
		dial->trials[i].fd = -1;
	}
}

struct dial *dial_start(struct event_base *base, const struct address *addresses, size_t count,
	const struct dial_handler *handler, void *arg)
{
	struct dial *dial = xcalloc(1, sizeof(*dial) + count * sizeof(dial->trials[0]));

	dial->base = base;
	dial->handler = handler;
	dial->arg = arg;
	dial->count = count;
	interleave(dial, addresses);
	dial->timer = timer_new(base, dial_on_timer, dial);
	timer_start(dial->timer, 0);
	return dial;
}
