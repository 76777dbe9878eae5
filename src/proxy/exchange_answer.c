#include "proxy/exchange_parts.h"

#include <stdio.h>

#include "net/timer.h"
#include "policy/header.h"
#include "proxy/message.h"
#include "proxy/own_fields.h"
#include "proxy/reply.h"
#include "proxy/server.h"

/* What the client of an exchange gets: andiron's own answer, the upstream's, or a broken end. */

/* ---- andiron's own answers. */

static void answer(struct exchange *exchange, struct reply *reply)
{
	exchange_enter(exchange, EXCHANGE_ANSWERING);
	exchange->record.status = reply->status;
	reply->close |= server_is_draining(exchange->server);
	reply_send(exchange->client, &exchange->record, reply);
}

void exchange_break_off(struct exchange *exchange)
{
	_cleanup_str_ struct str event = STR_NULL;

	if (exchange->state == EXCHANGE_RELAYING && exchange->attempt &&
		attempt_is_torn(exchange->attempt))
		str_add(&event, "\n\n");
	if (exchange->relay.event_stream || exchange->head_sent)
		record_render_error_event(&exchange->record, &event);
	exchange_enter(exchange, EXCHANGE_BREAKING);
	patience_stop(&exchange->patience);
	exchange_drop_attempt(exchange);
	exchange_yield_places(exchange);
	client_break(exchange->client, str_text(&event));
}

void exchange_give_up_with(struct exchange *exchange, struct reply *how)
{
	_cleanup_str_ struct str message = STR_NULL;

	if (exchange->head_sent) {
		exchange_break_off(exchange);
		return;
	}
	record_render_message(&exchange->record, &message);
	exchange_drop_attempt(exchange);
	exchange_yield_places(exchange);
	how->error = exchange->record.failure.error;
	if (!how->status)
		how->status = error_status(how->error);
	how->message = str_text(&message);
	answer(exchange, how);
}

void exchange_give_up(struct exchange *exchange)
{
	exchange_give_up_with(exchange, &(struct reply){.status = 0});
}

void exchange_refuse(struct exchange *exchange, const struct refusal *refusal)
{
	struct failure failure;
	struct reply reply = {
		.status = refusal->status,
		.error = refusal->error,
		.message = str_text(&refusal->message),
		.fields = &refusal->fields,
		.close = refusal->close,
		.may_retry = refusal->may_retry,
	};

	failure_set(&failure, PHASE_CLIENT, refusal->error, "");
	if (refusal->error != ERROR_NONE)
		record_failure(&exchange->record, &failure, NULL);
	answer(exchange, &reply);
}

/* ---- The upstream's answer. */

void exchange_log_broken(const struct exchange *exchange)
{
	if (exchange->state == EXCHANGE_RELAYING && exchange->record.status >= 400)
		return; /* it had its line when it came */
	record_log_attempt(&exchange->record, exchange->attempt, NULL, -1);
}

void exchange_log_abandoned(struct exchange *exchange)
{
	exchange->record.reason = RETRY_REASON_FINAL;
	if (!exchange->attempt || exchange->relay.ended)
		return;
	record_facts(&exchange->record, exchange->attempt, attempt_is_answered(exchange->attempt));
	exchange_log_broken(exchange);
}

void exchange_end_answer(struct exchange *exchange)
{
	enum error error = relay_end(&exchange->relay);
	struct failure failure;

	if (error == ERROR_NONE)
		return;
	failure_set(&failure, PHASE_BODY, error, "");
	record_failure(&exchange->record, &failure, NULL);
	exchange_log_broken(exchange);
	exchange_break_off(exchange);
}

static void make_fields(
	const struct exchange *exchange, const struct answer *from, struct fields *ret)
{
	char length[24];

	message_copy_response_fields(&from->fields, !from->event_stream, ret);
	if (from->complete && client_takes_body(exchange->client, from->status)) {
		snprintf(length, sizeof(length), "%zu", evbuffer_get_length(from->held));
		fields_set(ret, "Content-Length", length);
	}
	own_fields_add(&exchange->record, !from->own_status, ret);
}

/* Behind an early head there can be nothing but events. */
static void note_no_stream(struct exchange *exchange, const struct answer *from)
{
	struct failure failure;

	failure_set(&failure, PHASE_BODY, ERROR_HTTP_PROTOCOL_ERROR,
		"no stream of events, and the client has the head of one");
	record_failure(&exchange->record, &failure, NULL);
	record_log_attempt(&exchange->record, exchange->attempt, from, -1);
}

void exchange_commit(struct exchange *exchange, struct answer *from)
{
	struct fields fields = FIELDS_NULL;
	bool complete = from->complete;

	if (exchange->head_sent && !from->event_stream) {
		if (from->status < 400)
			note_no_stream(exchange, from);
		exchange_break_off(exchange); /* its status can no longer be told, its words can */
		return;
	}
	exchange_enter(exchange, EXCHANGE_RELAYING);
	patience_run(&exchange->patience);
	exchange->record.status = from->status;
	request_drop_body(&exchange->request);
	make_fields(exchange, from, &fields);
	relay_start(&exchange->relay, exchange->client, exchange->attempt, from,
		exchange->head_sent ? NULL : &fields, server_is_draining(exchange->server));
	exchange->head_sent = false;
	fields_fini(&fields);
	if (!complete)
		return;
	exchange_yield_places(exchange); /* the upstream has done its part */
	exchange_end_answer(exchange);
}

/* ---- While draining. */

void exchange_note_draining(struct exchange *exchange)
{
	struct failure failure;

	failure_set(&failure, PHASE_CLIENT, ERROR_DRAINING, "drain_timeout ran out");
	record_failure(&exchange->record, &failure, NULL);
}

void exchange_turn_away(struct exchange *exchange)
{
	struct reply reply = {
		.status = 503,
		.error = ERROR_DRAINING,
		.message =
			"andiron: shutting down before the request could be answered; try again.",
		.may_retry = true,
		.close = true,
	};

	exchange_note_draining(exchange);
	timer_stop(exchange->timer);
	exchange_drop_attempt(exchange);
	exchange_yield_places(exchange);
	if (exchange->head_sent)
		exchange_break_off(exchange);
	else
		answer(exchange, &reply);
}
