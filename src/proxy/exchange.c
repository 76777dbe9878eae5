#include "proxy/exchange_parts.h"

#include <assert.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/timer.h"
#include "proxy/exchange_state.h"
#include "proxy/reply.h"
#include "proxy/server.h"

static const struct client_handler client_handler;

void exchange_enter(struct exchange *exchange, enum exchange_state next)
{
	assert(exchange_state_may_follow(exchange->state, next));
	log_debug("%s: %s -> %s", exchange->request.id, exchange_state_name(exchange->state),
		exchange_state_name(next));
	exchange->state = next;
}

/* ---- The end. */

void exchange_drop_attempt(struct exchange *exchange)
{
	struct attempt *attempt = exchange->attempt;

	if (!attempt)
		return;
	exchange->record.facts = *attempt_facts(attempt);
	exchange->attempt = NULL;
	exchange->relay.attempt = NULL;
	attempt_cancel(attempt);
}

void exchange_yield_places(struct exchange *exchange)
{
	waiting_stop(&exchange->waiting);
	hedge_stop(&exchange->hedge);
}

void exchange_drop_last(struct exchange *exchange)
{
	attempt_cancel(exchange->last.attempt);
	exchange->last.attempt = NULL;
	exchange->last.answer = NULL;
}

void exchange_keep_last(struct exchange *exchange, struct answer *from)
{
	exchange_drop_last(exchange);
	if (!from || !from->complete)
		return;
	exchange->last.attempt = exchange->attempt;
	exchange->last.answer = from;
	exchange->attempt = NULL; /* now owned by `last` */
}

void exchange_finish(struct exchange *exchange)
{
	exchange_enter(exchange, EXCHANGE_ENDED);
	timer_stop(exchange->timer);
	patience_stop(&exchange->patience);
	exchange_drop_attempt(exchange);
	exchange_drop_last(exchange);
	exchange->record.queue_ms = waiting_ms(&exchange->waiting);
	waiting_fini(&exchange->waiting);
	hedge_fini(&exchange->hedge);
	created_fini(&exchange->created);
	record_log_request(&exchange->record);
	server_on_exchange_ended(exchange->server, exchange);
}

void exchange_free(struct exchange *exchange)
{
	timer_free(exchange->timer);
	patience_fini(&exchange->patience);
	request_fini(&exchange->request);
	backends_unref(exchange->backends);
	free(exchange);
}

/* ---- Patience: a stream's client gets a sign of life. */

static void send_comment(struct exchange *exchange, msec_t next_in_ms)
{
	_cleanup_str_ struct str text = STR_NULL;
	struct evbuffer *piece = evbuffer_new();

	if (!piece)
		abort();
	record_render_comment(&exchange->record, next_in_ms, &text);
	evbuffer_add(piece, text.data, text.len);
	client_send(exchange->client, piece);
	evbuffer_free(piece);
}

/* Nothing of an answer has gone out: the client gets its 200 before it gives up, and the attempts
 * go on behind it. */
static void keep_waiting(struct exchange *exchange, msec_t next_in_ms)
{
	if (!exchange->head_sent) {
		exchange->record.status = 200;
		reply_start_stream(
			exchange->client, &exchange->record, server_is_draining(exchange->server));
	}
	exchange->head_sent = true;
	send_comment(exchange, next_in_ms);
}

static void exchange_on_patience(void *arg)
{
	struct exchange *exchange = arg;
	msec_t left = exchange->resumes - clock_mono();

	if (!patience_is_due(&exchange->patience))
		return;
	if (exchange->state == EXCHANGE_TRYING)
		keep_waiting(exchange, -1);
	else if (exchange->state == EXCHANGE_ADMITTING)
		keep_waiting(exchange, MSEC_NEVER);
	else if (exchange->state == EXCHANGE_BACKING_OFF)
		keep_waiting(exchange, left > 0 ? left : 0);
	else if (exchange->state == EXCHANGE_RELAYING && exchange->relay.event_stream &&
		 exchange->attempt && !attempt_is_torn(exchange->attempt) &&
		 client_queued(exchange->client) == 0)
		send_comment(exchange, -1);
}

/* ---- The client. */

static void exchange_on_gone(void *arg, const char *detail)
{
	struct exchange *exchange = arg;
	struct failure failure;

	exchange->client = NULL;
	failure_set(&failure, PHASE_CLIENT, ERROR_CLIENT_CLOSED, detail);
	if (exchange->state != EXCHANGE_BREAKING) /* then that is what happened */
		record_failure(&exchange->record, &failure, NULL);
	exchange_log_abandoned(exchange);
	exchange_finish(exchange);
}

static void exchange_on_drained(void *arg)
{
	struct exchange *exchange = arg;

	if (exchange->state == EXCHANGE_RELAYING)
		relay_on_drained(&exchange->relay);
}

static void exchange_on_done(void *arg)
{
	struct exchange *exchange = arg;

	exchange->client = NULL;
	exchange_finish(exchange);
}

static const struct client_handler client_handler = {
	.on_gone = exchange_on_gone,
	.on_drained = exchange_on_drained,
	.on_done = exchange_on_done,
};

/* ---- The beginning. */

/* By one that ends at `until`; false: its own deadline comes before that. */
static bool bind_to_drain(struct exchange *exchange, msec_t until)
{
	if (until >= exchange->deadline)
		return false;
	exchange->deadline = until;
	exchange->drains = true;
	return true;
}

void exchange_new(struct server *server, struct evhttp_request *from)
{
	struct exchange *exchange = xcalloc(1, sizeof(*exchange));
	const struct config *config;
	struct received received;
	struct refusal refusal;

	exchange->server = server;
	exchange->backends = backends_ref(server_backends(server));
	config = backends_config(exchange->backends);
	exchange->record = (struct record){
		.request = &exchange->request,
		.log = server_log(server),
		.metrics = server_metrics(server),
		.worker = server_worker(server),
		.began = clock_mono(),
	};
	exchange->timer = timer_new(server_base(server), exchange_on_timer, exchange);
	exchange->client = client_new(from, server_accepted(server), config->server.send_timeout,
		&client_handler, exchange);
	received = client_take(exchange->client);
	request_init(&exchange->request, &received, config, server_memory(server), &refusal);
	server_on_exchange_begun(server, exchange);
	if (refusal.status) {
		exchange_refuse(exchange, &refusal);
	} else {
		exchange->deadline = exchange->record.began + exchange->request.total_ms;
		bind_to_drain(exchange, server_drains_until(server));
		patience_init(&exchange->patience, server_base(server), &exchange->request,
			exchange_on_patience, exchange);
		waiting_init(&exchange->waiting, server_base(server), server_mailbox(server),
			exchange_on_turn, exchange);
		hedge_init(&exchange->hedge, server_base(server), &exchange->request,
			exchange_on_late, exchange);
		waiting_choose(&exchange->waiting,
			backends_upstream(exchange->backends, exchange->request.upstream_index),
			&exchange->request);
		exchange_admit(exchange);
	}
	refusal_fini(&refusal);
}

/* ---- Shutting down. */

void exchange_drain(struct exchange *exchange, msec_t until)
{
	if (exchange->state == EXCHANGE_RELAYING || !bind_to_drain(exchange, until))
		return;
	if (exchange->state == EXCHANGE_BACKING_OFF && exchange->resumes >= until)
		exchange_turn_away(exchange);
	else if (exchange->state == EXCHANGE_ADMITTING)
		waiting_hurry(&exchange->waiting, until);
}

bool exchange_cut(struct exchange *exchange)
{
	switch (exchange->state) {
	case EXCHANGE_ADMITTING:
	case EXCHANGE_TRYING:
	case EXCHANGE_BACKING_OFF:
		exchange_note_draining(exchange);
		exchange_log_abandoned(exchange);
		exchange_turn_away(exchange);
		return true;
	case EXCHANGE_RELAYING:
		if (exchange->relay.ended)
			return false; /* it is only on its way out */
		exchange_note_draining(exchange);
		exchange_log_abandoned(exchange);
		exchange_break_off(exchange);
		return true;
	case EXCHANGE_BREAKING:
	case EXCHANGE_ANSWERING:
	case EXCHANGE_ENDED:
		break;
	}
	return false;
}

void exchange_abort(struct exchange *exchange)
{
	struct client *client = exchange->client;

	if (exchange->state == EXCHANGE_ENDED)
		return;
	exchange_note_draining(exchange);
	exchange_log_abandoned(exchange);
	exchange->client = NULL;
	client_abort(client);
	exchange_finish(exchange);
}

struct exchange *exchange_next(struct exchange *exchange)
{
	return TAILQ_NEXT(exchange, entry);
}

void exchange_insert(struct exchange_list *list, struct exchange *exchange)
{
	TAILQ_INSERT_TAIL(list, exchange, entry);
}

void exchange_remove(struct exchange_list *list, struct exchange *exchange)
{
	TAILQ_REMOVE(list, exchange, entry);
}
