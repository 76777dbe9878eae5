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
#include "proxy/created.h"
#include "proxy/exchange_state.h"
#include "proxy/message.h"
#include "proxy/own_fields.h"
#include "proxy/patience.h"
#include "proxy/record.h"
#include "proxy/relay.h"
#include "proxy/reply.h"
#include "proxy/request.h"
#include "proxy/server.h"

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
	msec_t resumes;      /* when that ends */
	struct patience patience;
	bool head_sent; /* the client has its 200 and comments, and nothing of an upstream's */
	msec_t deadline;
	bool drains;     /* that is the drain's */
	bool replaced;   /* a dead reused connection was replaced */
	msec_t delay_ms; /* before the current attempt */
	struct created created;
	struct record record;
};

static const struct client_handler client_handler;
static const struct attempt_handler attempt_handler;

static void exchange_try(struct exchange *exchange);

static void enter(struct exchange *exchange, enum exchange_state next)
{
	assert(exchange_state_may_follow(exchange->state, next));
	log_debug("%s: %s -> %s", exchange->request.id, exchange_state_name(exchange->state),
		exchange_state_name(next));
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
	patience_stop(&exchange->patience);
	drop_attempt(exchange);
	created_fini(&exchange->created);
	record_log_request(&exchange->record);
	server_on_exchange_ended(exchange->server, exchange);
}

void exchange_free(struct exchange *exchange)
{
	timer_free(exchange->timer);
	patience_fini(&exchange->patience);
	request_fini(&exchange->request);
	config_unref(exchange->config);
	free(exchange);
}

/* ---- andiron's own answers. */

static void answer(struct exchange *exchange, struct reply *reply)
{
	enter(exchange, EXCHANGE_ANSWERING);
	exchange->record.status = reply->status;
	reply->close |= server_is_draining(exchange->server);
	reply_send(exchange->client, &exchange->record, reply);
}

/* A begun answer cannot be finished: the client is told so in the only ways left. */
static void break_off(struct exchange *exchange)
{
	_cleanup_str_ struct str event = STR_NULL;

	if (exchange->state == EXCHANGE_RELAYING && exchange->attempt &&
		attempt_is_torn(exchange->attempt))
		str_add(&event, "\n\n");
	if (exchange->relay.event_stream || exchange->head_sent)
		record_render_error_event(&exchange->record, &event);
	enter(exchange, EXCHANGE_BREAKING);
	patience_stop(&exchange->patience);
	drop_attempt(exchange);
	client_break(exchange->client, str_text(&event));
}

static void give_up(struct exchange *exchange)
{
	_cleanup_str_ struct str message = STR_NULL;
	struct reply reply = {.error = exchange->record.failure.error};

	if (exchange->head_sent) {
		break_off(exchange);
		return;
	}
	record_render_message(&exchange->record, &message);
	drop_attempt(exchange);
	reply.status = error_status(reply.error);
	reply.message = str_text(&message);
	answer(exchange, &reply);
}

static void refuse(struct exchange *exchange, const struct refusal *refusal)
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

	if (clock_mono() >= exchange->deadline) { /* the loop was late */
		give_up(exchange);
		return;
	}
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
	exchange->resumes = clock_mono() + verdict->delay_ms;
	enter(exchange, EXCHANGE_BACKING_OFF);
	timer_start(exchange->timer, verdict->delay_ms);
}

/* How long a kept connection may have waited: what may not be repeated after it was sent goes out
 * on a fresh one, or one that was alive a second ago. */
static msec_t max_idle_ms(const struct exchange *exchange)
{
	if (exchange->replaced)
		return -1;
	return retry_may_resend(exchange->request.request_class) ? MSEC_NEVER : 1000;
}

static void start_attempt(struct exchange *exchange, const struct transport_request *asked)
{
	const struct request *request = &exchange->request;
	struct attempt_request attempt = {
		.pool = server_pool(exchange->server, request->upstream_index),
		.memory = server_memory(exchange->server),
		.transport = *asked,
		.profile = &request->profile->options,
		.asked_at = exchange->record.began,
		.deadline = exchange->deadline,
		.deadline_name = request->total_name,
		.dialect = request->dialect,
		.expected =
			{
				.events = request->stream && request->dialect != SSE_PLAIN,
				.inference = path_is_inference(request->path) &&
					     str_same(asked->method, "POST"),
			},
	};

	enter(exchange, EXCHANGE_TRYING);
	record_begin_attempt(&exchange->record);
	exchange->attempt =
		attempt_start(server_base(exchange->server), &attempt, &attempt_handler, exchange);
}

static void exchange_try(struct exchange *exchange)
{
	const struct request *request = &exchange->request;
	struct transport_request asked = {
		.method = request->method,
		.target = request->target,
		.fields = &request->fields,
		.body = request->body,
		.max_idle_ms = max_idle_ms(exchange),
	};

	start_attempt(exchange, &asked);
}

/* The line of an attempt behind which none follows; what the client got of it has gone out. */
static void log_broken(const struct exchange *exchange)
{
	if (exchange->state == EXCHANGE_RELAYING && exchange->record.status >= 400)
		return; /* it had its line when it came */
	record_log_attempt(&exchange->record, exchange->attempt, NULL, -1);
}

/* The same for an attempt that ran when somebody else ended the exchange. */
static void log_abandoned(struct exchange *exchange)
{
	exchange->record.reason = RETRY_REASON_FINAL;
	if (!exchange->attempt || exchange->relay.ended)
		return;
	record_facts(&exchange->record, exchange->attempt, attempt_is_answered(exchange->attempt));
	log_broken(exchange);
}

/* The upstream has said all. The exchange may be over when this returns. */
static void end_answer(struct exchange *exchange)
{
	enum error error = relay_end(&exchange->relay);
	struct failure failure;

	if (error == ERROR_NONE)
		return;
	failure_set(&failure, PHASE_BODY, error, "");
	record_failure(&exchange->record, &failure, NULL);
	log_broken(exchange);
	break_off(exchange);
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

/* The commit point: from here on nothing is retried. */
static void commit(struct exchange *exchange, struct answer *from)
{
	struct fields fields = FIELDS_NULL;
	bool complete = from->complete;

	if (exchange->head_sent && !from->event_stream) {
		if (from->status < 400)
			note_no_stream(exchange, from);
		break_off(exchange); /* its status can no longer be told, its words can */
		return;
	}
	enter(exchange, EXCHANGE_RELAYING);
	patience_run(&exchange->patience);
	exchange->record.status = from->status;
	request_drop_body(&exchange->request);
	make_fields(exchange, from, &fields);
	relay_start(&exchange->relay, exchange->client, exchange->attempt, from,
		exchange->head_sent ? NULL : &fields, server_is_draining(exchange->server));
	exchange->head_sent = false;
	fields_fini(&fields);
	if (complete)
		end_answer(exchange);
}

/* ---- After a 409 that our own first attempt may have caused. */

static bool may_have_created(const struct exchange *exchange, const struct answer *from)
{
	return from->status == 409 && from->complete && clock_mono() < exchange->deadline &&
	       exchange->request.request_class == CLASS_CREATE_WITH_ID &&
	       (exchange->record.attempts > 1 || exchange->replaced);
}

/* Asks for what was created; false if that has no name. */
static bool read_created(struct exchange *exchange, struct answer *conflict)
{
	struct transport_request asked;

	if (!created_begin(
		    &exchange->created, &exchange->request, exchange->attempt, conflict, &asked))
		return false;
	exchange->attempt = NULL; /* now owned by created */
	start_attempt(exchange, &asked);
	return true;
}

/* What the first attempt made, or, where it cannot be read (`from` NULL: no answer), the 409
 * itself, and what is known of that. The failed GET has its own line. */
static void commit_created(struct exchange *exchange, struct answer *from)
{
	struct created *created = &exchange->created;

	exchange->record.reason = RETRY_REASON_FINAL;
	if (from && from->status >= 200 && from->status <= 299) {
		commit(exchange, from);
		return;
	}
	if (!from || from->status >= 400)
		record_log_attempt(&exchange->record, exchange->attempt, from, -1);
	drop_attempt(exchange);
	record_facts(&exchange->record, created->conflict, true);
	record_answer(&exchange->record, created->answer);
	commit(exchange, created->answer);
}

/* ---- While draining. */

static void note_draining(struct exchange *exchange)
{
	struct failure failure;

	failure_set(&failure, PHASE_CLIENT, ERROR_DRAINING, "drain_timeout ran out");
	record_failure(&exchange->record, &failure, NULL);
}

/* The worker ends before this request can be answered. */
static void turn_away(struct exchange *exchange)
{
	struct reply reply = {
		.status = 503,
		.error = ERROR_DRAINING,
		.message =
			"andiron: shutting down before the request could be answered; try again.",
		.may_retry = true,
		.close = true,
	};

	note_draining(exchange);
	timer_stop(exchange->timer);
	drop_attempt(exchange);
	if (exchange->head_sent)
		break_off(exchange);
	else
		answer(exchange, &reply);
}

/* ---- What comes of an attempt. */

static void exchange_on_answer(void *arg, struct answer *from)
{
	struct exchange *exchange = arg;
	struct retry_facts facts;
	struct retry_verdict verdict;

	record_facts(&exchange->record, exchange->attempt, true);
	record_answer(&exchange->record, from);
	if (exchange->created.conflict) {
		commit_created(exchange, from);
		return;
	}
	facts = retry_facts(exchange, from->status);
	facts.retry_after_ms = header_retry_after_ms(fields_get(&from->fields, "Retry-After"),
		fields_get(&from->fields, "retry-after-ms"), clock_wall_us());
	verdict = retry_decide(&exchange->request.retry, &facts);
	exchange->record.reason = verdict.reason;
	if (from->status >= 400)
		record_log_attempt(&exchange->record, exchange->attempt, from,
			verdict.action == RETRY_AGAIN ? verdict.delay_ms : -1);
	if (verdict.reason == RETRY_REASON_DEADLINE && exchange->drains)
		turn_away(exchange);
	else if (verdict.action != RETRY_RELAY)
		retry(exchange, &verdict);
	else if (!may_have_created(exchange, from) || !read_created(exchange, from))
		commit(exchange, from);
}

static void exchange_on_body(void *arg, struct evbuffer *piece)
{
	struct exchange *exchange = arg;

	if (exchange->relay.ended)
		return;
	patience_touch(&exchange->patience);
	relay_body(&exchange->relay, piece);
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
	record_failure(&exchange->record, failure, attempt_stream_error(exchange->attempt));
	if (exchange->created.conflict && !relaying) {
		commit_created(exchange, NULL);
		return;
	}
	if (relaying) {
		exchange->record.reason = RETRY_REASON_FINAL;
		log_broken(exchange);
		break_off(exchange);
		return;
	}
	facts = retry_facts(exchange, 0);
	verdict = retry_decide(&exchange->request.retry, &facts);
	exchange->record.reason = verdict.reason;
	record_log_attempt(&exchange->record, exchange->attempt, NULL,
		verdict.action == RETRY_GIVE_UP ? -1 : verdict.delay_ms);
	if (verdict.reason == RETRY_REASON_DEADLINE && exchange->drains)
		turn_away(exchange);
	else if (verdict.action == RETRY_GIVE_UP)
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
	log_abandoned(exchange);
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
	struct received received;
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
	exchange->client = client_new(from, server_accepted(server),
		exchange->config->server.send_timeout, &client_handler, exchange);
	received = client_take(exchange->client);
	request_init(
		&exchange->request, &received, exchange->config, server_memory(server), &refusal);
	server_on_exchange_begun(server, exchange);
	if (refusal.status) {
		refuse(exchange, &refusal);
	} else {
		exchange->deadline = exchange->record.began + exchange->request.total_ms;
		patience_init(&exchange->patience, server_base(server), &exchange->request,
			exchange_on_patience, exchange);
		exchange->record.attempts = 1;
		exchange_try(exchange);
	}
	refusal_fini(&refusal);
}

/* ---- Shutting down. */

void exchange_drain(struct exchange *exchange, msec_t until)
{
	if (until >= exchange->deadline || exchange->state == EXCHANGE_RELAYING)
		return;
	exchange->deadline = until;
	exchange->drains = true;
	if (exchange->state == EXCHANGE_BACKING_OFF && exchange->resumes >= until)
		turn_away(exchange);
}

bool exchange_cut(struct exchange *exchange)
{
	switch (exchange->state) {
	case EXCHANGE_ADMITTING:
	case EXCHANGE_TRYING:
	case EXCHANGE_BACKING_OFF:
		note_draining(exchange);
		log_abandoned(exchange);
		turn_away(exchange);
		return true;
	case EXCHANGE_RELAYING:
		if (exchange->relay.ended)
			return false; /* it is only on its way out */
		note_draining(exchange);
		log_abandoned(exchange);
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
	note_draining(exchange);
	log_abandoned(exchange);
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
