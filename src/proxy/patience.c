#include "proxy/patience.h"

#include "net/timer.h"
#include "proxy/request.h"

static void rearm(struct patience *patience)
{
	if (patience->wait_ms == MSEC_NEVER)
		timer_stop(patience->timer);
	else
		timer_start(patience->timer, patience->last + patience->wait_ms - clock_mono());
}

void patience_init(struct patience *patience, struct event_base *base,
	const struct request *request, patience_on_timer *on_timer, void *arg)
{
	patience->timer = timer_new(base, on_timer, arg);
	patience->last = clock_mono();
	patience->wait_ms = request->signs.first_ms;
	patience->waiting_ms = request->signs.waiting_ms;
	patience->running_ms = request->signs.running_ms;
	rearm(patience);
}

bool patience_is_due(struct patience *patience)
{
	bool due = clock_mono() >= patience->last + patience->wait_ms;

	if (due) {
		patience->last = clock_mono();
		if (!patience->running)
			patience->wait_ms = patience->waiting_ms;
	}
	rearm(patience);
	return due;
}

void patience_touch(struct patience *patience)
{
	patience->last = clock_mono(); /* the timer will find out */
}

void patience_run(struct patience *patience)
{
	patience->running = true;
	patience->last = clock_mono();
	patience->wait_ms = patience->running_ms;
	rearm(patience);
}

void patience_stop(struct patience *patience)
{
	if (patience->timer)
		timer_stop(patience->timer);
}

void patience_fini(struct patience *patience)
{
	timer_free(patience->timer);
}
