#include "proxy/exchange.h"

#include <assert.h>
#include <event2/http.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "net/timer.h"
#include "policy/header.h"
#include "policy/retry.h"
#include "proxy/attempt.h"
#include "proxy/client.h"
#include "proxy/message.h"
#include "proxy/record.h"
#include "proxy/relay.h"
#include "proxy/request.h"
#include "proxy/server.h"

#define EXCHANGE_STATES(X)                                                                         \
	X(ADMITTING, "judged: who asks, where it goes, with which limits")                         \
	X(TRYING, "one attempt is running; nothing sent to the client")                            \
	X(BACKING_OFF, "between attempts; the timer runs")                                         \
	X(RELAYING, "past the commit point: the upstream's answer flows")                          \
	X(BREAKING, "the answer cannot be finished; its broken end is on its way")                 \
	X(ANSWERING, "andiron's own answer is on its way")                                         \
	X(ENDED, "answered or abandoned; waits for the reaper")

/*   ADMITTING --> TRYING --> RELAYING --> BREAKING --> ENDED --> (the reaper frees)
 *       |         ^    |                                ^
 *       |         |    +--> BACKING_OFF                 |   from any state: the client left,
 *       |         +-------------+                       |   or has it all
 *       +----> ANSWERING (from any of the first three) -+                               */
enum exchange_state {
#define STATE_ENUM(id, text) EXCHANGE_##id,
	EXCHANGE_STATES(STATE_ENUM)
#undef STATE_ENUM
};

struct exchange {
	TAILQ_ENTRY(exchange) entry;
	enum exchange_state state;
	struct server *server;
	struct config *config;
	struct client *client; /* NULL: gone, or its answer is out */
	struct request request;
	struct attempt *attempt; /* NULL: none is running */
	struct relay relay;
	struct timer *timer; /* between attempts */
	msec_t deadline;
	bool replaced;   /* a dead reused connection was replaced */
	msec_t delay_ms; /* before the current attempt */
	struct record record;
};

static const struct client_handler client_handler;
static const struct attempt_handler attempt_handler;

static void exchange_try(struct exchange *exchange);

static bool may_follow(enum exchange_state now, enum exchange_state next)
{
	static const bool allowed[][EXCHANGE_ENDED + 1] = {
		[EXCHANGE_ADMITTING] = {[EXCHANGE_TRYING] = true,
			[EXCHANGE_ANSWERING] = true,
			[EXCHANGE_ENDED] = true},
		[EXCHANGE_TRYING] = {[EXCHANGE_TRYING] = true,
			[EXCHANGE_BACKING_OFF] = true,
			[EXCHANGE_RELAYING] = true,
			[EXCHANGE_ANSWERING] = true,
			[EXCHANGE_ENDED] = true},
		[EXCHANGE_BACKING_OFF] = {[EXCHANGE_TRYING] = true,
			[EXCHANGE_ANSWERING] = true,
			[EXCHANGE_ENDED] = true},
		[EXCHANGE_RELAYING] = {[EXCHANGE_BREAKING] = true, [EXCHANGE_ENDED] = true},
		[EXCHANGE_BREAKING] = {[EXCHANGE_ENDED] = true},
		[EXCHANGE_ANSWERING] = {[EXCHANGE_ENDED] = true},
		[EXCHANGE_ENDED] = {false},
	};

	return allowed[now][next];
}

static void enter(struct exchange *exchange, enum exchange_state next)
{
	static const char *const names[] = {
#define STATE_NAME(id, text) #id,
		EXCHANGE_STATES(STATE_NAME)
#undef STATE_NAME
	};

	assert(may_follow(exchange->state, next));
	log_debug("%s: %s -> %s", exchange->request.id, names[exchange->state], names[next]);
	exchange->state = next;
}

/* ---- The end. */

static void drop_attempt(struct exchange *exchange)
{
	struct attempt *attempt = exchange->attempt;

	if (!attempt)
		return;
	exchange->record.facts = *attempt_facts(attempt);
	exchange->attempt = NULL;
	exchange->relay.attempt = NULL;
	attempt_cancel(attempt);
}

static void finish(struct exchange *exchange)
{
	enter(exchange, EXCHANGE_ENDED);
	timer_stop(exchange->timer);
	drop_attempt(exchange);
	record_log_request(&exchange->record);
	server_on_exchange_ended(exchange->server, exchange);
}

void exchange_free(struct exchange *exchange)
{
	timer_free(exchange->timer);
	relay_fini(&exchange->relay);
	request_fini(&exchange->request);
	config_unref(exchange->config);
	free(exchange);
}

/* ---- andiron's own answers. */

static void add_own_fields(struct exchange *exchange, bool from_upstream, struct fields *fields)
{
	char attempts[16];

	snprintf(attempts, sizeof(attempts), "%d", exchange->record.attempts);
	fields_set(fields, "X-Andiron-Attempts", attempts);
	fields_set(fields, "X-Andiron-Source", from_upstream ? "upstream" : "andiron");
	if (!fields_get(fields, "X-Request-Id"))
		fields_set(fields, "X-Request-Id", exchange->request.id);
	if (exchange->request.anthropic && !fields_get(fields, "request-id"))
		fields_set(fields, "request-id", fields_get(fields, "X-Request-Id"));
	if (message_stops_sdk_retries(exchange->record.status))
		fields_set(fields, "x-should-retry", "false");
}

static void answer(struct exchange *exchange, int status, enum error error, const char *message,
	bool may_retry, bool close)
{
	_cleanup_str_ struct str body = STR_NULL, length = STR_NULL;
	struct fields fields = FIELDS_NULL;
	struct evbuffer *piece = evbuffer_new();

	if (!piece)
		abort();
	enter(exchange, EXCHANGE_ANSWERING);
	exchange->record.status = status;
	message_render_error(error, message, exchange->request.anthropic, &body);
	str_addf(&length, "%zu", body.len);
	fields_add(&fields, "Content-Type", "application/json");
	fields_add(&fields, "Content-Length", str_text(&length));
	fields_add(&fields, "Cache-Control", "no-store");
	add_own_fields(exchange, false, &fields);
	if (may_retry) {
		fields_set(&fields, "Retry-After", "1");
		fields_set(&fields, "x-should-retry", "true");
	}
	client_start(exchange->client, status, message_reason(status), &fields,
		close || server_is_draining(exchange->server));
	evbuffer_add(piece, body.data, body.len);
	if (client_takes_body(exchange->client, status))
		client_send(exchange->client, piece);
	client_end(exchange->client);
	evbuffer_free(piece);
	fields_fini(&fields);
}

static void give_up(struct exchange *exchange)
{
	_cleanup_str_ struct str message = STR_NULL;
	enum error error = exchange->record.failure.error;

	record_render_message(&exchange->record, &message);
	drop_attempt(exchange);
	answer(exchange, error_status(error), error, str_text(&message), false, false);
}

static void refuse(struct exchange *exchange, const struct refusal *refusal)
{
	failure_set(&exchange->record.failure, PHASE_CLIENT, refusal->error, "");
	answer(exchange, refusal->status, refusal->error, str_text(&refusal->message), false,
		refusal->close);
}

/* ---- Attempts. */

static struct retry_facts retry_facts(const struct exchange *exchange, int status)
{
	return (struct retry_facts){
		.request_class = exchange->request.request_class,
		.inference = path_is_inference(exchange->request.path),
		.status = status,
		.error = exchange->record.failure.error,
		.sent = exchange->record.facts.bytes_sent > 0,
		.reused = exchange->record.facts.reused,
		.answer_begun = exchange->record.facts.answer_begun,
		.replaced = exchange->replaced,
		.attempts = exchange->record.attempts,
		.retry_after_ms = -1,
		.previous_ms = exchange->delay_ms,
		.now = clock_mono(),
		.deadline = exchange->deadline,
		.random = server_random(exchange->server),
	};
}

static void exchange_on_timer(void *arg)
{
	struct exchange *exchange = arg;

	exchange->record.attempts++;
	exchange_try(exchange);
}

/* Another attempt, later or (for a dead kept connection) at once. */
static void retry(struct exchange *exchange, const struct retry_verdict *verdict)
{
	drop_attempt(exchange);
	exchange->delay_ms = verdict->delay_ms;
	if (verdict->action == RETRY_REPLACE) {
		exchange->replaced = true;
		exchange_try(exchange);
		return;
	}
	exchange->record.wait_ms += verdict->delay_ms;
	enter(exchange, EXCHANGE_BACKING_OFF);
	timer_start(exchange->timer, verdict->delay_ms);
}

/* How long a kept connection may have waited: what may not be repeated goes out on a fresh one,
 * or one that was alive a second ago. */
static msec_t max_idle_ms(const struct exchange *exchange)
{
	if (exchange->replaced)
		return -1;
	return exchange->request.request_class == CLASS_REPLAYABLE ? MSEC_NEVER : 1000;
}

static void exchange_try(struct exchange *exchange)
{
	struct request *request = &exchange->request;
	struct attempt_request attempt = {
		.pool = server_pool(exchange->server, request->upstream_index),
		.transport =
			{
				.method = request->method,
				.target = request->target,
				.fields = &request->fields,
				.body = request->body,
				.max_idle_ms = max_idle_ms(exchange),
			},
		.profile = &request->profile->options,
		.deadline = exchange->deadline,
	};

	enter(exchange, EXCHANGE_TRYING);
	record_begin_attempt(&exchange->record);
	exchange->attempt =
		attempt_start(server_base(exchange->server), &attempt, &attempt_handler, exchange);
}

/* The line of an attempt behind which none follows; what the client got of it has gone out. */
static void log_broken(const struct exchange *exchange)
{
	record_log_attempt(&exchange->record, exchange->attempt, exchange->record.status, NULL, -1);
}

/* The answer has begun and cannot be finished: the client is told so in the only ways left. */
static void break_off(struct exchange *exchange)
{
	_cleanup_str_ struct str message = STR_NULL;
	enter(exchange, EXCHANGE_BREAKING);
	record_render_message(&exchange->record, &message);
	drop_attempt(exchange);
	relay_break(&exchange->relay, exchange->record.failure.error, str_text(&message));
}

/* The upstream has said all. The exchange may be over when this returns. */
static void end_answer(struct exchange *exchange)
{
	enum error error = relay_end(&exchange->relay);

	if (error == ERROR_NONE)
		return;
	failure_set(&exchange->record.failure, PHASE_BODY, error, "");
	log_broken(exchange);
	break_off(exchange);
}

/* The commit point: from here on nothing is retried. */
static void commit(struct exchange *exchange, struct answer *from)
{
	struct fields fields = FIELDS_NULL;
	bool complete = from->complete;
	char length[24];

	enter(exchange, EXCHANGE_RELAYING);
	exchange->record.status = from->status;
	message_copy_response_fields(&from->fields, !from->event_stream, &fields);
	if (complete && client_takes_body(exchange->client, from->status)) {
		snprintf(length, sizeof(length), "%zu", evbuffer_get_length(from->held));
		fields_set(&fields, "Content-Length", length);
	}
	add_own_fields(exchange, true, &fields);
	relay_start(&exchange->relay, exchange->client, exchange->attempt, from,
		exchange->request.path, &fields, server_is_draining(exchange->server));
	fields_fini(&fields);
	if (complete || exchange->relay.terminated)
		end_answer(exchange);
}

static void exchange_on_answer(void *arg, struct answer *from)
{
	struct exchange *exchange = arg;
	struct retry_facts facts;
	struct retry_verdict verdict;

	record_facts(&exchange->record, exchange->attempt, true);
	record_answer(&exchange->record, from);
	facts = retry_facts(exchange, from->status);
	facts.retry_after_ms = header_retry_after_ms(fields_get(&from->fields, "Retry-After"),
		fields_get(&from->fields, "retry-after-ms"), clock_wall_us());
	verdict = retry_decide(&exchange->request.retry, &facts);
	exchange->record.reason = verdict.reason;
	if (from->status >= 400)
		record_log_attempt(&exchange->record, exchange->attempt, from->status,
			&from->fields, verdict.action == RETRY_AGAIN ? verdict.delay_ms : -1);
	if (verdict.action == RETRY_RELAY)
		commit(exchange, from);
	else
		retry(exchange, &verdict);
}

static void exchange_on_body(void *arg, struct evbuffer *piece)
{
	struct exchange *exchange = arg;

	if (exchange->relay.ended)
		return;
	relay_body(&exchange->relay, piece);
	if (exchange->relay.terminated)
		end_answer(exchange); /* at once, whatever the upstream still sends */
}

static void exchange_on_end(void *arg)
{
	struct exchange *exchange = arg;

	record_facts(&exchange->record, exchange->attempt, true);
	if (!exchange->relay.ended)
		end_answer(exchange);
}

static void exchange_on_failure(void *arg, const struct failure *failure)
{
	struct exchange *exchange = arg;
	bool relaying = exchange->state == EXCHANGE_RELAYING;
	struct retry_facts facts;
	struct retry_verdict verdict;

	if (exchange->relay.ended)
		return; /* the client has it all */
	record_facts(
		&exchange->record, exchange->attempt, relaying || failure->phase == PHASE_BODY);
	exchange->record.failure = *failure;
	if (relaying) {
		exchange->record.reason = RETRY_REASON_FINAL;
		log_broken(exchange);
		break_off(exchange);
		return;
	}
	facts = retry_facts(exchange, 0);
	verdict = retry_decide(&exchange->request.retry, &facts);
	exchange->record.reason = verdict.reason;
	record_log_attempt(&exchange->record, exchange->attempt, 0, NULL,
		verdict.action == RETRY_GIVE_UP ? -1 : verdict.delay_ms);
	if (verdict.action == RETRY_GIVE_UP)
		give_up(exchange);
	else
		retry(exchange, &verdict);
}

static const struct attempt_handler attempt_handler = {
	.on_answer = exchange_on_answer,
	.on_body = exchange_on_body,
	.on_end = exchange_on_end,
	.on_failure = exchange_on_failure,
};

/* ---- The client. */

static void exchange_on_gone(void *arg, const char *detail)
{
	struct exchange *exchange = arg;
	exchange->client = NULL;
	if (exchange->state != EXCHANGE_BREAKING) /* then that is what happened */
		failure_set(&exchange->record.failure, PHASE_CLIENT, ERROR_CLIENT_CLOSED, detail);
	exchange->record.reason = RETRY_REASON_FINAL;
	if (exchange->attempt && !exchange->relay.ended) {
		record_facts(&exchange->record, exchange->attempt,
			attempt_facts(exchange->attempt)->answer_begun);
		log_broken(exchange);
	}
	finish(exchange);
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
	finish(exchange);
}

static const struct client_handler client_handler = {
	.on_gone = exchange_on_gone,
	.on_drained = exchange_on_drained,
	.on_done = exchange_on_done,
};

/* ---- The beginning. */

void exchange_new(struct server *server, struct evhttp_request *from)
{
	struct exchange *exchange = xcalloc(1, sizeof(*exchange));
	struct refusal refusal;

	exchange->server = server;
	exchange->config = config_ref(server_config(server));
	exchange->record = (struct record){
		.request = &exchange->request,
		.log = server_log(server),
		.worker = server_worker(server),
		.began = clock_mono(),
	};
	exchange->timer = timer_new(server_base(server), exchange_on_timer, exchange);
	request_init(&exchange->request, from, exchange->config, &refusal);
	exchange->client = client_new(from, server_accepted(server),
		exchange->config->server.send_timeout, &client_handler, exchange);
	server_on_exchange_begun(server, exchange);
	if (refusal.status) {
		refuse(exchange, &refusal);
	} else {
		exchange->deadline = exchange->record.began + exchange->request.total_ms;
		exchange->record.attempts = 1;
		exchange_try(exchange);
	}
	str_fini(&refusal.message);
}

/* ---- Shutting down. */

void exchange_drain(struct exchange *exchange, msec_t until)
{
	if (until < exchange->deadline && exchange->state != EXCHANGE_RELAYING)
		exchange->deadline = until;
}

bool exchange_cut(struct exchange *exchange)
{
	static const char why[] = "drain_timeout ran out";

	switch (exchange->state) {
	case EXCHANGE_ADMITTING:
	case EXCHANGE_TRYING:
	case EXCHANGE_BACKING_OFF:
		failure_set(&exchange->record.failure, PHASE_CLIENT, ERROR_DRAINING, why);
		timer_stop(exchange->timer);
		drop_attempt(exchange);
		answer(exchange, 503, ERROR_DRAINING,
			"andiron: shutting down before the request could be answered; try again.",
			true, true);
		return true;
	case EXCHANGE_RELAYING:
		if (exchange->relay.ended)
			return false; /* it is only on its way out */
		failure_set(&exchange->record.failure, PHASE_CLIENT, ERROR_DRAINING, why);
		break_off(exchange);
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
	failure_set(
		&exchange->record.failure, PHASE_CLIENT, ERROR_DRAINING, "drain_timeout ran out");
	exchange->client = NULL;
	client_abort(client);
	finish(exchange);
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
