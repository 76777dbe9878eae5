#include "proxy/exchange_parts.h"

#include "proxy/reply.h"
#include "proxy/server.h"

/* How an exchange comes to its turn at the upstream, or does not: the queue, and the route's
 * fallback. */

enum { FALLBACK_RESERVE_MS = 10000 }; /* of the time that a request with a fallback has */

static void take_turn(struct exchange *exchange)
{
	exchange_drop_last(exchange);
	exchange->record.attempts++;
	exchange->place = &exchange->waiting.ticket;
	exchange_try(exchange);
}

/* How long it may wait for a turn: a fallback needs some of the time. */
static msec_t turn_deadline(const struct exchange *exchange)
{
	msec_t reserve = exchange->request.total_ms / 4;

	if (!request_has_fallback(&exchange->request) || exchange->drains)
		return exchange->deadline;
	return exchange->deadline - (reserve < FALLBACK_RESERVE_MS ? reserve : FALLBACK_RESERVE_MS);
}

/* Is the fallback at the very upstream that cannot be reached? */
static bool is_out_of_reach(const struct exchange *exchange, const struct answer *from)
{
	enum phase phase = exchange->record.failure.phase;

	return !from && phase > PHASE_POOL && phase <= PHASE_TLS &&
	       request_fallback_upstream(&exchange->request) == exchange->request.upstream_index;
}

bool exchange_fall_back(struct exchange *exchange, struct answer *from)
{
	if (exchange->drains || clock_mono() >= exchange->deadline ||
		!request_has_fallback(&exchange->request) || is_out_of_reach(exchange, from) ||
		!request_fall_back(&exchange->request, backends_config(exchange->backends)))
		return false;
	if (exchange->attempt)
		exchange_keep_last(exchange, from);
	exchange_drop_attempt(exchange);
	exchange_yield_places(exchange);
	tries_start_over(&exchange->tries, &exchange->record);
	waiting_choose(&exchange->waiting,
		backends_upstream(exchange->backends, exchange->request.upstream_index),
		&exchange->request);
	exchange_admit(exchange);
	return true;
}

static void add_retry_after(struct answer *answer, msec_t ms)
{
	_cleanup_str_ struct str seconds = STR_NULL;

	str_addf(&seconds, "%lld", (long long)(ms + 999) / 1000);
	if (!fields_get(&answer->fields, "Retry-After"))
		fields_add(&answer->fields, "Retry-After", str_text(&seconds));
}

/* There is no turn, and no use in waiting for one: its own last answer, or andiron's word. */
static void turn_down(struct exchange *exchange, enum waiting_end end)
{
	struct reply reply = {.status = 503, .may_retry = waiting_is_overflow(end)};
	bool has_own_failure = exchange->record.attempts > 0 && end == WAITING_OUTAGE;
	struct failure failure;

	if (exchange->drains && (end == WAITING_DEADLINE || end == WAITING_LATE)) {
		exchange_turn_away(exchange);
		return;
	}
	if (!exchange->last.attempt && !has_own_failure) {
		waiting_explain(&exchange->waiting, end, &failure);
		record_failure(&exchange->record, &failure, NULL);
	}
	if (exchange_fall_back(exchange, exchange->last.answer))
		return;
	reply.retry_after_ms = ticket_retry_after_ms(&exchange->waiting.ticket);
	if (exchange->last.attempt) {
		add_retry_after(exchange->last.answer, reply.retry_after_ms);
		exchange_commit(exchange, exchange->last.answer);
		return;
	}
	if (has_own_failure)
		reply.status = 0; /* that decides */
	exchange_give_up_with(exchange, &reply);
}

void exchange_on_turn(void *arg, enum waiting_end end)
{
	struct exchange *exchange = arg;

	exchange->record.queue_ms = waiting_ms(&exchange->waiting);
	if (end == WAITING_GO)
		take_turn(exchange);
	else
		turn_down(exchange, end);
}

void exchange_admit(struct exchange *exchange)
{
	enum waiting_end end;

	if (exchange->state != EXCHANGE_ADMITTING)
		exchange_enter(exchange, EXCHANGE_ADMITTING);
	end = waiting_start(&exchange->waiting, turn_deadline(exchange));
	if (end != WAITING_ON)
		exchange_on_turn(exchange, end);
}
