#include "net/timer.h"

#include <event2/event.h>
#include <stdlib.h>

#include "base/mem.h"

struct timer {
	struct event *event;
	timer_on_fire *on_fire;
	void *arg;
};

static void timer_on_event(evutil_socket_t fd, short what, void *arg)
{
	struct timer *timer = arg;

	(void)fd;
	(void)what;
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
	struct timeval tv = {.tv_sec = delay / 1000, .tv_usec = delay % 1000 * 1000};

	evtimer_add(timer->event, &tv);
}

void timer_stop(struct timer *timer)
{
	evtimer_del(timer->event);
}
