#include "proxy/hedge.h"

#include "net/timer.h"

void hedge_init(struct hedge *hedge, struct event_base *base, const struct request *request,
	void (*on_late)(void *arg), void *arg)
{
	if (request->request_class != CLASS_REPLAYABLE || request->retry.max_attempts == 1)
		return;
	hedge->after_ms = request->profile->options.hedge_after;
	if (hedge->after_ms > 0)
		hedge->timer = timer_new(base, on_late, arg);
}

void hedge_watch(struct hedge *hedge)
{
	if (hedge->timer)
		timer_start(hedge->timer, hedge->after_ms);
}

bool hedge_take_place(struct hedge *hedge, struct ticket *first)
{
	ticket_fini(&hedge->ticket);
	if (!ticket_enter_beside(&hedge->ticket, first))
		return false;
	if (ticket_spend_retry(first))
		return true;
	ticket_fini(&hedge->ticket);
	return false;
}

struct attempt *hedge_promote(struct hedge *hedge)
{
	struct attempt *attempt = hedge->attempt;

	hedge->attempt = NULL;
	return attempt;
}

void hedge_stop(struct hedge *hedge)
{
	if (!hedge->timer)
		return;
	timer_stop(hedge->timer);
	attempt_cancel(hedge->attempt);
	hedge->attempt = NULL;
	ticket_release(&hedge->ticket);
}

void hedge_fini(struct hedge *hedge)
{
	hedge_stop(hedge);
	ticket_fini(&hedge->ticket);
	timer_free(hedge->timer);
	hedge->timer = NULL;
}
