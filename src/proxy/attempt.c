#include "proxy/attempt.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/budget.h"
#include "base/mem.h"
#include "net/timer.h"
#include "policy/header.h"
#include "proxy/stream.h"

enum {
	HELD_ERROR_BYTES =
		64 << 10,     /* of an error's body, to learn its code and keep the connection */
	HELD_ERROR_MS = 2000, /* a retry does not wait longer for the rest of it */
	HELD_EVENT_BYTES = 64 << 10, /* comments, before the first event */
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
	struct stream stream; /* of an answer that is one */
	size_t hold_limit;    /* bytes; 0: nothing is held */
	size_t reserved;      /* of the memory budget, for what is held */
	bool until_event;     /* held only until the first event */
	bool calling;         /* inside a callback behind which it is looked at again */
	bool cancelled;       /* in there: freed when that returns */
	struct timer *timer;
	enum phase phase;
	msec_t began, last_progress, head_at, told_at;
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

/* A stream that runs has none. An error that is handed on gets a moment to end. */
static msec_t deadline_of(const struct attempt *attempt)
{
	msec_t deadline = attempt->request.deadline;
	msec_t moment = attempt->told_at + HELD_ERROR_MS;

	if (attempt->state != ATTEMPT_ANSWERED)
		return deadline;
	if (attempt->answer.event_stream)
		return MSEC_NEVER;
	return attempt->answer.status >= 400 && moment > deadline ? moment : deadline;
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

	if (deadline_of(attempt) < due)
		due = deadline_of(attempt);
	if (is_holding_error(attempt) && attempt->head_at + HELD_ERROR_MS < due)
		due = attempt->head_at + HELD_ERROR_MS;
	return due;
}

static void rearm(struct attempt *attempt)
{
	msec_t left = next_due(attempt) - clock_mono();

	timer_start(attempt->timer, left > 0 ? left : 0);
}

static bool tell_answer(struct attempt *attempt);

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
	bool total = limit.since + limit.ms > deadline_of(attempt);
	msec_t took = clock_mono() - (total ? attempt->request.asked_at : limit.since);
	struct failure failure;
	char detail[128];

	end_transport(attempt);
	snprintf(detail, sizeof(detail), "%s ran out after %lld ms",
		total ? attempt->request.deadline_name : limit.name, (long long)took);
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

static bool is_stream(const struct attempt *attempt)
{
	return attempt->answer.event_stream;
}

/* A stream that can be read; an encoded one passes as it is. */
static bool begins_stream(const struct attempt *attempt)
{
	const struct answer *answer = &attempt->answer;
	bool bodiless =
		answer->status == 204 || str_same(attempt->request.transport.method, "HEAD");

	return answer->status < 300 && !bodiless && !answer_is_encoded(answer) &&
	       header_is_event_stream(fields_get(&answer->fields, "Content-Type"));
}

static size_t hold_limit_of(const struct attempt *attempt)
{
	const struct profile_options *profile = attempt->request.profile;
	const struct answer *answer = &attempt->answer;
	const char *length = fields_get(&answer->fields, "Content-Length");
	size_t limit = (size_t)profile->hold_body;

	if (answer->status >= 400)
		return HELD_ERROR_BYTES;
	if (is_stream(attempt))
		return attempt->until_event ? HELD_EVENT_BYTES : (size_t)profile->hold_stream;
	if (header_is_event_stream(fields_get(&answer->fields, "Content-Type")))
		return 0;
	if (attempt->request.expected.events && limit < HELD_ERROR_BYTES)
		limit = HELD_ERROR_BYTES; /* it is an error, and must be read */
	if (length && strtoull(length, NULL, 10) > limit)
		return 0; /* it will not fit: no use in waiting */
	return limit;
}

static void attempt_on_head(void *arg, const struct transport_head *head)
{
	struct attempt *attempt = arg;
	const struct profile_options *profile = attempt->request.profile;

	answer_take_head(&attempt->answer, head);
	attempt->answer.event_stream = begins_stream(attempt);
	if (is_stream(attempt))
		stream_init(&attempt->stream, attempt->request.dialect);
	attempt->until_event = profile->hold_first_event && !profile->hold_stream;
	attempt->hold_limit = hold_limit_of(attempt);
	attempt->phase = PHASE_BODY;
	attempt->last_progress = attempt->head_at = clock_mono();
	attempt->state = ATTEMPT_HOLDING;
	if (attempt->hold_limit)
		rearm(attempt);
	else
		tell_answer(attempt);
}

static void attempt_free(struct attempt *attempt)
{
	budget_give(attempt->request.memory, (int64_t)attempt->reserved);
	timer_free(attempt->timer);
	stream_fini(&attempt->stream);
	answer_fini(&attempt->answer);
	free(attempt);
}

/* After a callback behind which the attempt goes on; false if it was cancelled in there. */
static bool lives_on(struct attempt *attempt)
{
	attempt->calling = false;
	if (!attempt->cancelled)
		return true;
	attempt_free(attempt);
	return false;
}

static bool tell_answer(struct attempt *attempt)
{
	attempt->state = attempt->transport ? ATTEMPT_ANSWERED : ATTEMPT_OVER;
	attempt->told_at = clock_mono();
	answer_judge(&attempt->answer, &attempt->request.expected);
	if (attempt->transport)
		rearm(attempt);
	attempt->calling = true;
	attempt->handler->on_answer(attempt->arg, &attempt->answer);
	return lives_on(attempt);
}

/* Nothing more is wanted of the upstream; its connection may be kept. */
static void let_go(struct attempt *attempt)
{
	attempt->facts = *transport_facts(attempt->transport);
	attempt->phase = PHASE_BODY;
	transport_finish(attempt->transport);
	attempt->transport = NULL;
	timer_stop(attempt->timer);
	attempt->state = ATTEMPT_OVER;
}

static void fail_body(struct attempt *attempt, enum error error)
{
	struct failure failure;

	failure_set(&failure, PHASE_BODY, error,
		error == ERROR_STREAM_ERROR ? attempt->stream.error.message : "");
	fail(attempt, &failure);
}

/* Hands events on; false if the attempt is gone after that. */
static bool pass_events(struct attempt *attempt, struct evbuffer *ready)
{
	if (evbuffer_get_length(ready) == 0)
		return true;
	attempt->calling = true;
	attempt->handler->on_body(attempt->arg, ready);
	return lives_on(attempt);
}

/* False if there is no memory to hold what is held by now. */
static bool reserve_held(struct attempt *attempt)
{
	size_t held = evbuffer_get_length(attempt->answer.held);

	if (held <= attempt->reserved)
		return true;
	if (!budget_take(attempt->request.memory, (int64_t)(held - attempt->reserved)))
		return false;
	attempt->reserved = held;
	return true;
}

/* Is a held stream's error all that there is of it? One that follows an event breaks the stream. */
static bool is_error(const struct attempt *attempt)
{
	const struct stream *stream = &attempt->stream;

	if (stream->state == STREAM_FAILED)
		return !attempt->until_event || !stream->spoken;
	return stream->state == STREAM_OTHER &&
	       evbuffer_get_length(stream->evidence) > HELD_ERROR_BYTES;
}

/* More of a held stream: is it known now what to do with it? False if the attempt is gone. */
static bool judge_held(struct attempt *attempt)
{
	const struct stream *stream = &attempt->stream;
	size_t held = evbuffer_get_length(attempt->answer.held);

	if (is_error(attempt)) {
		let_go(attempt);
		answer_become_error(&attempt->answer, &attempt->stream);
	} else if (stream->state == STREAM_TERMINATED) {
		let_go(attempt);
		attempt->answer.complete = true;
	} else if (held <= attempt->hold_limit && reserve_held(attempt) &&
		   !(attempt->until_event && stream->spoken)) {
		return true;
	}
	return tell_answer(attempt);
}

/* Of a stream that is handed on: has it said its last word? */
static void judge_running(struct attempt *attempt)
{
	enum stream_state state = attempt->stream.state;

	if (attempt->state != ATTEMPT_ANSWERED)
		return;
	if (state == STREAM_FAILED || state == STREAM_OTHER) {
		end_transport(attempt);
		fail_body(attempt, ERROR_STREAM_ERROR);
	} else if (state == STREAM_TERMINATED) {
		let_go(attempt);
		attempt->handler->on_end(attempt->arg);
	}
}

static void take_events(struct attempt *attempt, struct evbuffer *piece)
{
	struct evbuffer *ready = evbuffer_new();
	bool alive;

	if (!ready)
		abort();
	stream_feed(&attempt->stream, piece, ready);
	if (attempt->state == ATTEMPT_HOLDING) {
		evbuffer_add_buffer(attempt->answer.held, ready);
		alive = judge_held(attempt);
	} else {
		alive = pass_events(attempt, ready);
	}
	evbuffer_free(ready);
	if (alive)
		judge_running(attempt);
}

static void attempt_on_body(void *arg, struct evbuffer *piece)
{
	struct attempt *attempt = arg;

	if (is_stream(attempt)) {
		take_events(attempt, piece);
	} else if (attempt->state == ATTEMPT_ANSWERED) {
		attempt->handler->on_body(attempt->arg, piece);
	} else {
		evbuffer_add_buffer(attempt->answer.held, piece);
		if (evbuffer_get_length(attempt->answer.held) > attempt->hold_limit ||
			!reserve_held(attempt))
			tell_answer(attempt);
	}
}

/* A held answer's end: it is whole, or what came instead of a stream is. */
static void end_held(struct attempt *attempt, enum error error)
{
	enum stream_state state = attempt->stream.state;

	if (!is_stream(attempt) && answer_is_cut(&attempt->answer, &attempt->request.expected))
		error = ERROR_HTTP_RESPONSE_INCOMPLETE;
	if (error == ERROR_STREAM_TRUNCATED || error == ERROR_HTTP_RESPONSE_INCOMPLETE) {
		fail_body(attempt, error);
		return;
	}
	attempt->answer.complete = true;
	if (is_stream(attempt) && (state == STREAM_FAILED || state == STREAM_OTHER))
		answer_become_error(&attempt->answer, &attempt->stream);
	tell_answer(attempt);
}

static void end_told(struct attempt *attempt, enum error error, struct evbuffer *rest)
{
	if (!pass_events(attempt, rest))
		return;
	if (error != ERROR_NONE)
		fail_body(attempt, error);
	else
		attempt->handler->on_end(attempt->arg);
}

static void attempt_on_end(void *arg)
{
	struct attempt *attempt = arg;
	bool held = attempt->state == ATTEMPT_HOLDING;
	struct evbuffer *rest = evbuffer_new();
	enum error error = ERROR_NONE;

	if (!rest)
		abort();
	attempt->facts = *transport_facts(attempt->transport);
	attempt->phase = PHASE_BODY;
	attempt->transport = NULL;
	timer_stop(attempt->timer);
	attempt->state = ATTEMPT_OVER;
	if (is_stream(attempt))
		error = stream_end(&attempt->stream, held ? attempt->answer.held : rest);
	if (held)
		end_held(attempt, error);
	else
		end_told(attempt, error, rest);
	evbuffer_free(rest);
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
	answer_init(&attempt->answer);
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
	timer_stop(attempt->timer);
	if (attempt->calling)
		attempt->cancelled = true;
	else
		attempt_free(attempt);
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

const struct soft_error *attempt_stream_error(const struct attempt *attempt)
{
	return attempt->stream.state == STREAM_FAILED ? &attempt->stream.error : NULL;
}

bool attempt_is_answered(const struct attempt *attempt)
{
	return attempt->answer.status != 0;
}

bool attempt_is_torn(const struct attempt *attempt)
{
	return attempt->stream.torn;
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
