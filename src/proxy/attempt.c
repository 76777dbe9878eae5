#include "proxy/attempt.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"
#include "net/buffer.h"
#include "net/timer.h"
#include "policy/header.h"

enum {
	HELD_ERROR_BYTES =
		64 << 10,     /* of an error's body, to learn its code and keep the connection */
	HELD_ERROR_MS = 2000, /* a retry does not wait longer for the rest of it */
};

/*   RUNNING --> HOLDING --> ANSWERED --> OVER     HOLDING: the head is known, nothing told yet
 *      |           |            |                 ANSWERED: told; the body flows
 *      +-----------+------------+------> OVER     OVER: the transport has ended            */
enum attempt_state { ATTEMPT_RUNNING, ATTEMPT_HOLDING, ATTEMPT_ANSWERED, ATTEMPT_OVER };

struct attempt {
	enum attempt_state state;
	struct transport *transport; /* NULL: ended */
	struct attempt_request request;
	const struct attempt_handler *handler;
	void *arg;
	struct answer answer;
	size_t hold_limit;
	struct timer *timer;
	enum phase phase;
	msec_t began, last_progress, head_at;
	bool paused;
	struct transport_facts facts; /* kept from the transport's end on */
};

static const struct transport_handler transport_handler;

/* ---- Time-outs: one timer, which looks again when it fires too early. */

struct limit {
	const char *name;
	msec_t ms;
	msec_t since;
};

/* The limit of the phase that the attempt is in (CONTRACT: connect_timeout is one for three). */
static struct limit limit_of(const struct attempt *attempt, enum phase phase)
{
	const struct profile_options *profile = attempt->request.profile;

	switch (phase) {
	case PHASE_WRITE:
		return (struct limit){
			"write_timeout", profile->write_timeout, attempt->last_progress};
	case PHASE_FIRST_BYTE:
		return (struct limit){
			"first_byte_timeout", profile->first_byte_timeout, attempt->last_progress};
	case PHASE_BODY:
		return (struct limit){
			"idle_timeout", profile->idle_timeout, attempt->last_progress};
	default:
		return (struct limit){"connect_timeout", profile->connect_timeout, attempt->began};
	}
}

/* A stream that runs has none, nor has an error that is being handed on. */
static bool has_deadline(const struct attempt *attempt)
{
	return attempt->state != ATTEMPT_ANSWERED ||
	       !(attempt->answer.event_stream || attempt->answer.status >= 400);
}

static bool is_holding_error(const struct attempt *attempt)
{
	return attempt->state == ATTEMPT_HOLDING && attempt->answer.status >= 400;
}

/* The instant at which something must be done: the phase's limit, or the deadline, which a
 * running stream no longer has. */
static msec_t next_due(const struct attempt *attempt)
{
	struct limit limit = limit_of(attempt, attempt->phase);
	msec_t due = limit.since + limit.ms;
	if (has_deadline(attempt) && attempt->request.deadline < due)
		due = attempt->request.deadline;
	if (is_holding_error(attempt) && attempt->head_at + HELD_ERROR_MS < due)
		due = attempt->head_at + HELD_ERROR_MS;
	return due;
}

static void rearm(struct attempt *attempt)
{
	msec_t left = next_due(attempt) - clock_mono();

	timer_start(attempt->timer, left > 0 ? left : 0);
}

static void tell_answer(struct attempt *attempt);

static void fail(struct attempt *attempt, const struct failure *failure)
{
	attempt->state = ATTEMPT_OVER;
	timer_stop(attempt->timer);
	attempt->handler->on_failure(attempt->arg, failure);
}

static void end_transport(struct attempt *attempt)
{
	attempt->facts = *transport_facts(attempt->transport);
	attempt->phase = transport_phase(attempt->transport);
	transport_cancel(attempt->transport);
	attempt->transport = NULL;
}

static void time_out(struct attempt *attempt)
{
	struct limit limit = limit_of(attempt, attempt->phase);
	bool total = has_deadline(attempt) && limit.since + limit.ms > attempt->request.deadline;
	msec_t took = clock_mono() - (total ? attempt->began : limit.since);
	struct failure failure;
	char detail[128];

	end_transport(attempt);
	snprintf(detail, sizeof(detail), "%s ran out after %lld ms",
		total ? "the request's whole time" : limit.name, (long long)took);
	failure_set(&failure, attempt->phase, error_of_timeout(attempt->phase), detail);
	fail(attempt, &failure);
}

static void attempt_on_timer(void *arg)
{
	struct attempt *attempt = arg;
	bool patient = attempt->paused && attempt->state == ATTEMPT_ANSWERED;

	if (patient)
		attempt->last_progress =
			clock_mono(); /* the client's slowness is not the server's */
	if (next_due(attempt) > clock_mono())
		rearm(attempt);
	else if (is_holding_error(attempt))
		tell_answer(attempt);
	else
		time_out(attempt);
}

/* ---- The transport's events. */

static void attempt_on_progress(void *arg, enum phase phase)
{
	struct attempt *attempt = arg;
	bool new_phase = phase != attempt->phase;

	attempt->last_progress = clock_mono();
	attempt->phase = phase;
	if (new_phase)
		rearm(attempt);
}

static size_t hold_limit_of(const struct attempt *attempt)
{
	const char *length = fields_get(&attempt->answer.fields, "Content-Length");
	size_t limit = (size_t)attempt->request.profile->hold_body;

	if (attempt->answer.status >= 400)
		return HELD_ERROR_BYTES;
	if (attempt->answer.event_stream)
		return 0;
	if (length && strtoull(length, NULL, 10) > limit)
		return 0; /* it will not fit: no use in waiting */
	return limit;
}

static void attempt_on_head(void *arg, const struct transport_head *head)
{
	struct attempt *attempt = arg;
	struct answer *answer = &attempt->answer;

	answer->status = head->status;
	answer->reason = xstrdup(head->reason ? head->reason : "");
	for (size_t i = 0; i < head->fields->count; i++)
		fields_add(
			&answer->fields, head->fields->list[i].name, head->fields->list[i].value);
	answer->event_stream = head->status < 300 &&
			       header_is_event_stream(fields_get(&answer->fields, "Content-Type"));
	attempt->hold_limit = hold_limit_of(attempt);
	attempt->phase = PHASE_BODY;
	attempt->last_progress = attempt->head_at = clock_mono();
	attempt->state = ATTEMPT_HOLDING;
	if (attempt->hold_limit)
		rearm(attempt);
	else
		tell_answer(attempt);
}

/* `error.code` of an OpenAI-shaped error, else the next best name in it. */
static void read_error_code(struct answer *answer)
{
	static const char *const keys[] = {"error.code", "error.type", "code", "error", NULL};
	struct json_peek peek;
	const char *found = NULL;

	buffer_peek_json(answer->held, &peek, keys);
	for (size_t i = 0; keys[i] && !found; i++) {
		const struct json_value *value = json_peek_value(&peek, keys[i]);
		bool scalar = value->type == JSON_STRING || value->type == JSON_LITERAL;

		found = scalar && !str_same(value->text, "null") ? value->text : NULL;
	}
	if (found)
		snprintf(answer->error_code, sizeof(answer->error_code), "%.63s", found);
}

static void tell_answer(struct attempt *attempt)
{
	attempt->state = ATTEMPT_ANSWERED;
	if (attempt->answer.status >= 400)
		read_error_code(&attempt->answer);
	rearm(attempt);
	attempt->handler->on_answer(attempt->arg, &attempt->answer);
}

static void attempt_on_body(void *arg, struct evbuffer *piece)
{
	struct attempt *attempt = arg;

	if (attempt->state == ATTEMPT_ANSWERED) {
		attempt->handler->on_body(attempt->arg, piece);
		return;
	}
	evbuffer_add_buffer(attempt->answer.held, piece);
	if (evbuffer_get_length(attempt->answer.held) > attempt->hold_limit)
		tell_answer(attempt);
}

static void attempt_on_end(void *arg)
{
	struct attempt *attempt = arg;
	bool held = attempt->state == ATTEMPT_HOLDING;

	attempt->facts = *transport_facts(attempt->transport);
	attempt->phase = PHASE_BODY;
	attempt->transport = NULL;
	timer_stop(attempt->timer);
	attempt->state = ATTEMPT_OVER;
	if (held) {
		attempt->answer.complete = true;
		if (attempt->answer.status >= 400)
			read_error_code(&attempt->answer);
		attempt->handler->on_answer(attempt->arg, &attempt->answer);
	} else {
		attempt->handler->on_end(attempt->arg);
	}
}

static void attempt_on_failure(void *arg, const struct failure *failure)
{
	struct attempt *attempt = arg;

	attempt->facts = *transport_facts(attempt->transport);
	attempt->phase = failure->phase;
	attempt->transport = NULL;
	fail(attempt, failure);
}

static const struct transport_handler transport_handler = {
	.on_progress = attempt_on_progress,
	.on_head = attempt_on_head,
	.on_body = attempt_on_body,
	.on_end = attempt_on_end,
	.on_failure = attempt_on_failure,
};

/* ---- Life. */

struct attempt *attempt_start(struct event_base *base, const struct attempt_request *request,
	const struct attempt_handler *handler, void *arg)
{
	struct attempt *attempt = xcalloc(1, sizeof(*attempt));

	attempt->request = *request;
	attempt->handler = handler;
	attempt->arg = arg;
	attempt->began = attempt->last_progress = clock_mono();
	attempt->answer.held = evbuffer_new();
	if (!attempt->answer.held)
		abort();
	attempt->timer = timer_new(base, attempt_on_timer, attempt);
	attempt->transport =
		transport_start(request->pool, &request->transport, &transport_handler, attempt);
	attempt->facts = *transport_facts(attempt->transport);
	rearm(attempt);
	return attempt;
}

void attempt_cancel(struct attempt *attempt)
{
	if (!attempt)
		return;
	if (attempt->transport)
		end_transport(attempt);
	timer_free(attempt->timer);
	evbuffer_free(attempt->answer.held);
	fields_fini(&attempt->answer.fields);
	free(attempt->answer.reason);
	free(attempt);
}

void attempt_pause(struct attempt *attempt)
{
	attempt->paused = true;
	if (attempt->transport)
		transport_pause(attempt->transport);
}

void attempt_resume(struct attempt *attempt)
{
	attempt->paused = false;
	attempt->last_progress = clock_mono();
	if (attempt->transport)
		transport_resume(attempt->transport);
}

const struct transport_facts *attempt_facts(const struct attempt *attempt)
{
	return attempt->transport ? transport_facts(attempt->transport) : &attempt->facts;
}

enum phase attempt_phase(const struct attempt *attempt)
{
	return attempt->transport ? transport_phase(attempt->transport) : attempt->phase;
}

msec_t attempt_total_ms(const struct attempt *attempt)
{
	return clock_mono() - attempt->began;
}
