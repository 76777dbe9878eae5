#include "net/timer.h"

#include <event2/event.h>
#include <stdlib.h>

#include "base/mem.h"

struct timer {
	struct event *event;
	timer_on_fire *on_fire;
	void *arg;
	msec_t due;
};

static void add(struct timer *timer, msec_t delay_ms)
{
	struct timeval tv = {.tv_sec = delay_ms / 1000, .tv_usec = delay_ms % 1000 * 1000};

	evtimer_add(timer->event, &tv);
}

static void timer_on_event(evutil_socket_t fd, short what, void *arg)
{
	struct timer *timer = arg;
	msec_t early = timer->due - clock_mono();

	(void)fd;
	(void)what;
	/* libevent counts from the time that it noted when its turn began, by a coarse clock: it
	 * can be some milliseconds early, and a Retry-After must not be. */
	if (early > 0)
		add(timer, early);
	else
		timer->on_fire(timer->arg);
}

struct timer *timer_new(struct event_base *base, timer_on_fire *on_fire, void *arg)
{
	struct timer *timer = xcalloc(1, sizeof(*timer));

	timer->event = evtimer_new(base, timer_on_event, timer);
	if (!timer->event)
		abort();
	timer->on_fire = on_fire;
	timer->arg = arg;
	return timer;
}

void timer_free(struct timer *timer)
{
	if (!timer)
		return;
	event_free(timer->event);
	free(timer);
}

void timer_start(struct timer *timer, msec_t delay_ms)
{
	msec_t delay = delay_ms > 0 ? delay_ms : 0;

	timer->due = clock_after(clock_mono(), delay);
	add(timer, delay);
}

void timer_stop(struct timer *timer)
{
	evtimer_del(timer->event);
}
