#include "proxy/exchange_parts.h"

#include "net/timer.h"
#include "proxy/reply.h"
#include "proxy/server.h"

/* The attempts of an exchange: how they begin, and what comes of them. */

static const struct attempt_handler attempt_handler, hedge_handler;

static void exchange_on_answer(void *arg, struct answer *from);
static void exchange_on_body(void *arg, struct evbuffer *piece);
static void exchange_on_end(void *arg);
static void exchange_on_failure(void *arg, const struct failure *failure);

/* ---- Attempts. */

void exchange_on_timer(void *arg)
{
	struct exchange *exchange = arg;

	exchange_admit(exchange);
}

/* Another attempt: for a dead kept connection at once, or after a wait. */
static void retry(
	struct exchange *exchange, const struct retry_verdict *verdict, struct answer *from)
{
	exchange_keep_last(exchange, from);
	exchange_drop_attempt(exchange);
	if (verdict->action == RETRY_REPLACE) {
		exchange_try(exchange);
		return;
	}
	if (verdict->delay_ms == 0) {
		hedge_stop(&exchange->hedge);
		exchange_admit(exchange); /* gives its place back, too: nobody comes between */
		return;
	}
	exchange_yield_places(exchange);
	exchange->record.wait_ms += verdict->delay_ms;
	exchange->resumes = clock_mono() + verdict->delay_ms;
	exchange_enter(exchange, EXCHANGE_BACKING_OFF);
	timer_start(exchange->timer, verdict->delay_ms);
}

/* How long a kept connection may have waited: what may not be repeated after it was sent goes out
 * on a fresh one, or one that was alive a second ago. */
static msec_t max_idle_ms(const struct exchange *exchange)
{
	if (exchange->tries.replaced)
		return -1;
	return retry_may_resend(exchange->request.request_class) ? MSEC_NEVER : 1000;
}

static struct attempt *new_attempt(struct exchange *exchange, const struct transport_request *asked,
	const struct attempt_handler *handler)
{
	const struct request *request = &exchange->request;
	struct attempt_request attempt = {
		.pool = backends_pool(exchange->backends, request->upstream_index),
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

	return attempt_start(server_base(exchange->server), &attempt, handler, exchange);
}

static void start_attempt(struct exchange *exchange, const struct transport_request *asked)
{
	exchange_enter(exchange, EXCHANGE_TRYING);
	record_begin_attempt(&exchange->record);
	exchange->attempt = new_attempt(exchange, asked, &attempt_handler);
}

static struct transport_request asked_of(const struct exchange *exchange)
{
	const struct request *request = &exchange->request;

	return (struct transport_request){
		.method = request->method,
		.target = request->target,
		.fields = &request->fields,
		.body = request->body,
		.max_idle_ms = max_idle_ms(exchange),
	};
}

void exchange_try(struct exchange *exchange)
{
	struct transport_request asked = asked_of(exchange);

	start_attempt(exchange, &asked);
	hedge_watch(&exchange->hedge);
}

/* ---- A second attempt beside one that is late. The first good answer is the answer. */

void exchange_on_late(void *arg)
{
	struct exchange *exchange = arg;
	struct transport_request asked = asked_of(exchange);

	if (exchange->state != EXCHANGE_TRYING || exchange->hedge.attempt ||
		(!exchange->request.stream && attempt_is_answered(exchange->attempt)) ||
		exchange->record.attempts - exchange->record.uncounted >=
			exchange->request.retry.max_attempts ||
		!hedge_take_place(&exchange->hedge, exchange->place))
		return;
	exchange->record.attempts++;
	exchange->hedge.attempt = new_attempt(exchange, &asked, &hedge_handler);
}

/* The attempt that began second takes the place of the first one, which is over. */
static void promote_hedge(struct exchange *exchange)
{
	exchange_drop_attempt(exchange);
	waiting_stop(&exchange->waiting);
	exchange->attempt = hedge_promote(&exchange->hedge);
	exchange->place = &exchange->hedge.ticket;
}

/* One of two has failed, and the other one goes on: `failure` or, NULL, `from` says how. */
static void note_loser(struct exchange *exchange, struct attempt *loser, struct ticket *place,
	const struct answer *from, const struct failure *failure)
{
	struct record *record = &exchange->record;

	record_facts(record, loser, from || (failure && failure->phase == PHASE_BODY));
	if (from)
		record_answer(record, from);
	else if (failure)
		record_failure(record, failure, attempt_stream_error(loser));
	record->reason = from ? RETRY_REASON_STATUS : RETRY_REASON_NO_ANSWER;
	tries_tell(record, from, place);
	record_log_attempt(record, loser, from, 0);
	record_expect_another(record);
}

/* Did the first one fail while the second one runs? Then that one is left. */
static bool is_left_to_hedge(
	struct exchange *exchange, const struct answer *from, const struct failure *failure)
{
	if (!exchange->hedge.attempt)
		return false;
	if (from && !retry_is_listed(&exchange->request.retry, from->status)) {
		hedge_stop(&exchange->hedge); /* the first one has won */
		return false;
	}
	note_loser(exchange, exchange->attempt, exchange->place, from, failure);
	promote_hedge(exchange);
	return true;
}

static void exchange_on_hedge_answer(void *arg, struct answer *from)
{
	struct exchange *exchange = arg;

	if (!exchange->hedge.attempt) {
		exchange_on_answer(exchange, from);
	} else if (retry_is_listed(&exchange->request.retry, from->status)) {
		note_loser(exchange, exchange->hedge.attempt, &exchange->hedge.ticket, from, NULL);
		hedge_stop(&exchange->hedge);
	} else {
		promote_hedge(exchange);
		exchange_on_answer(exchange, from);
	}
}

static void exchange_on_hedge_failure(void *arg, const struct failure *failure)
{
	struct exchange *exchange = arg;

	if (!exchange->hedge.attempt) {
		exchange_on_failure(exchange, failure);
		return;
	}
	note_loser(exchange, exchange->hedge.attempt, &exchange->hedge.ticket, NULL, failure);
	hedge_stop(&exchange->hedge);
}

static const struct attempt_handler hedge_handler = {
	.on_answer = exchange_on_hedge_answer,
	.on_body = exchange_on_body,
	.on_end = exchange_on_end,
	.on_failure = exchange_on_hedge_failure,
};

/* ---- After a 409 that our own first attempt may have caused. */

static bool may_have_created(const struct exchange *exchange, const struct answer *from)
{
	return from->status == 409 && from->complete && clock_mono() < exchange->deadline &&
	       exchange->request.request_class == CLASS_CREATE_WITH_ID &&
	       (exchange->record.attempts > 1 || exchange->tries.replaced);
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
		exchange_commit(exchange, from);
		return;
	}
	if (!from || from->status >= 400)
		record_log_attempt(&exchange->record, exchange->attempt, from, -1);
	exchange_drop_attempt(exchange);
	record_facts(&exchange->record, created->conflict, true);
	record_answer(&exchange->record, created->answer);
	exchange_commit(exchange, created->answer);
}

/* ---- What comes of an attempt. */

static struct retry_verdict judge_attempt(struct exchange *exchange, const struct answer *from)
{
	struct retry_verdict verdict = tries_judge(&exchange->tries, &exchange->record, from,
		exchange->place, exchange->deadline, server_random(exchange->server));

	exchange->record.reason = verdict.reason;
	return verdict;
}

static void exchange_on_answer(void *arg, struct answer *from)
{
	struct exchange *exchange = arg;
	struct retry_verdict verdict;

	record_facts(&exchange->record, exchange->attempt, true);
	record_answer(&exchange->record, from);
	if (is_left_to_hedge(exchange, from, NULL))
		return;
	if (exchange->created.conflict) {
		commit_created(exchange, from);
		return;
	}
	verdict = judge_attempt(exchange, from);
	if (from->status >= 400)
		record_log_attempt(&exchange->record, exchange->attempt, from,
			verdict.action == RETRY_AGAIN ? verdict.delay_ms : -1);
	if (verdict.reason == RETRY_REASON_DEADLINE && exchange->drains)
		exchange_turn_away(exchange);
	else if (verdict.action != RETRY_RELAY)
		retry(exchange, &verdict, from);
	else if (retry_is_exhausted(verdict.reason) && exchange_fall_back(exchange, from))
		return;
	else if (!may_have_created(exchange, from) || !read_created(exchange, from))
		exchange_commit(exchange, from);
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
	exchange_yield_places(exchange);
	if (!exchange->relay.ended)
		exchange_end_answer(exchange);
}

static void exchange_on_failure(void *arg, const struct failure *failure)
{
	struct exchange *exchange = arg;
	bool relaying = exchange->state == EXCHANGE_RELAYING;
	struct retry_verdict verdict;

	if (exchange->relay.ended)
		return; /* the client has it all */
	record_facts(
		&exchange->record, exchange->attempt, relaying || failure->phase == PHASE_BODY);
	record_failure(&exchange->record, failure, attempt_stream_error(exchange->attempt));
	if (!relaying && is_left_to_hedge(exchange, NULL, failure))
		return;
	if (exchange->created.conflict && !relaying) {
		commit_created(exchange, NULL);
		return;
	}
	if (relaying) {
		exchange->record.reason = RETRY_REASON_FINAL;
		exchange_log_broken(exchange);
		exchange_break_off(exchange);
		return;
	}
	verdict = judge_attempt(exchange, NULL);
	record_log_attempt(&exchange->record, exchange->attempt, NULL,
		verdict.action == RETRY_GIVE_UP ? -1 : verdict.delay_ms);
	if (verdict.reason == RETRY_REASON_DEADLINE && exchange->drains)
		exchange_turn_away(exchange);
	else if (verdict.action != RETRY_GIVE_UP)
		retry(exchange, &verdict, NULL);
	else if (!retry_is_exhausted(verdict.reason) || !exchange_fall_back(exchange, NULL))
		exchange_give_up(exchange);
}

static const struct attempt_handler attempt_handler = {
	.on_answer = exchange_on_answer,
	.on_body = exchange_on_body,
	.on_end = exchange_on_end,
	.on_failure = exchange_on_failure,
};
