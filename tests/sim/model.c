/* What an upstream's answer amounts to, from its script and the part of it that has come. Written
 * after CONTRACT 3, not after src/: it knows what the script means, so that it parses nothing. */

#include <string.h>

#include "policy/class.h"

#include "sim.h"

bool takes_body(int status)
{
	return !str_same(world->scenario->method, "HEAD") && status != 204 && status != 304;
}

bool is_read_stream(const struct transport *transport)
{
	const struct script *script = transport->script;

	return script->event_stream && !script->encoded && takes_body(script->status);
}

/* ---- Streams. */

/* How many bytes must be there for an event to have ended: of CR LF CR LF the last LF may come
 * later, and may be missing. */
static size_t ends_at(const struct script *script, const struct mark *mark)
{
	const char *body = script->body.data;

	if (mark->end == mark->text_end)
		return SIZE_MAX; /* without its empty line only the stream's end ends it */
	return mark->end - (body[mark->end - 1] == '\n' && body[mark->end - 2] == '\r');
}

bool is_between_events(const struct transport *transport, size_t bytes)
{
	const struct script *script = transport->script;
	bool between = bytes == 0;

	for (size_t i = 0; i < script->mark_count; i++)
		between |= bytes == script->marks[i].end ||
			   bytes == ends_at(script, &script->marks[i]);
	return between;
}

static struct verdict whole_events(const struct transport *transport, size_t *ret_next)
{
	const struct script *script = transport->script;
	struct verdict verdict = {.kind = STREAM_CUT};
	size_t i = 0;

	verdict.other = transport->delivered > script->other_at;
	for (; i < script->mark_count; i++) {
		const struct mark *mark = &script->marks[i];
		size_t at = ends_at(script, mark);

		if (at > transport->delivered)
			break;
		verdict.failed = mark->kind == MARK_ERROR;
		if (verdict.failed)
			break;
		verdict.low = at;
		verdict.high = mark->end;
		verdict.speaks |= mark->kind != MARK_COMMENT;
		if (mark->kind == MARK_TERMINAL) {
			verdict.kind = STREAM_WHOLE;
			verdict.by_terminal = true;
			break;
		}
	}
	*ret_next = i;
	return verdict;
}

/* The upstream has ended the stream in order, without a terminal event: is it whole? */
static void judge_clean_end(const struct transport *transport, size_t next, struct verdict *verdict)
{
	const struct script *script = transport->script;
	enum sse_dialect dialect = sse_dialect_of(world->scenario->path);
	size_t delivered = transport->delivered, last_finish = SIZE_MAX;
	const struct mark *begun = next < script->mark_count ? &script->marks[next] : NULL;
	bool has_begun = begun && delivered > (next ? script->marks[next - 1].end : 0);
	bool says_all = has_begun && delivered >= begun->text_end;

	for (size_t i = 0; i < script->mark_count; i++)
		last_finish = script->marks[i].kind == MARK_FINISH ? i : last_finish;
	verdict->failed |= says_all && begun->kind == MARK_ERROR;
	if (verdict->failed || verdict->other)
		return;
	if (has_begun && !says_all && begun->kind == MARK_ERROR)
		verdict->kind = STREAM_EITHER; /* its name may be there, and half of its words */
	else if (says_all && delivered - verdict->low > EVENT_LIMIT)
		verdict->kind = STREAM_EITHER; /* torn: of its last line only the end is known */
	else if (dialect == SSE_PLAIN || (last_finish != SIZE_MAX && last_finish < next) ||
		 (says_all && (begun->kind == MARK_TERMINAL || next == last_finish)))
		verdict->kind = STREAM_WHOLE;
	if (verdict->kind == STREAM_WHOLE)
		verdict->low = verdict->high = delivered;
}

struct verdict judge(const struct transport *transport)
{
	size_t next;
	struct verdict verdict = whole_events(transport, &next);

	if (!verdict.by_terminal && transport->fate == FATE_ENDED)
		judge_clean_end(transport, next, &verdict);
	return verdict;
}

/* ---- What is held. */

static const struct profile_options *options(void)
{
	return &world->scenario->profile.options;
}

static bool holds_streams(void)
{
	return options()->hold_first_event || options()->hold_stream > 0;
}

static bool expects_events(void)
{
	return world->scenario->stream && sse_dialect_of(world->scenario->path) != SSE_PLAIN;
}

/* Of an answer that is no stream that can be read, and no error. */
static size_t hold_limit(const struct script *script)
{
	size_t limit = (size_t)options()->hold_body;

	if (script->event_stream)
		return 0;
	if (expects_events() && limit < HELD_ERROR)
		limit = HELD_ERROR;
	return script->says_length && script->body.len > limit ? 0 : limit;
}

/* The events that are whole, or too large to wait for their end, exceed what may be held. */
static bool overflows(const struct transport *transport, const struct verdict *verdict)
{
	size_t limit = options()->hold_stream ? (size_t)options()->hold_stream : HELD_ERROR;
	bool torn = transport->delivered - verdict->low > EVENT_LIMIT;

	if (torn && !options()->hold_stream)
		return true; /* part of an event is an event */
	return (torn ? transport->delivered : verdict->high) > limit;
}

static bool may_tell_stream(const struct transport *transport)
{
	struct verdict verdict = judge(transport);

	if (!holds_streams() || verdict.by_terminal || verdict.failed)
		return true;
	if (transport->fate == FATE_ENDED)
		return verdict.kind != STREAM_CUT || verdict.other;
	if (verdict.other)
		return transport->delivered - transport->script->other_at > HELD_ERROR;
	return (!options()->hold_stream && verdict.speaks) || overflows(transport, &verdict);
}

/* What there is of an error is told when its rest does not come in time. */
static bool was_waited_for(const struct transport *transport)
{
	return world->now >= transport->head_at + HELD_ERROR_MS ||
	       world->now >= transport->progress + options()->idle_timeout ||
	       world->now >= transport->deadline;
}

bool may_tell(const struct transport *transport)
{
	const struct script *script = transport->script;

	if (!transport->head_told || transport->fate == FATE_FAILED)
		return false;
	if (is_read_stream(transport))
		return may_tell_stream(transport);
	if (transport->fate == FATE_ENDED)
		return true;
	if (script->status >= 400)
		return transport->delivered > HELD_ERROR || was_waited_for(transport);
	return hold_limit(script) == 0 || transport->delivered > hold_limit(script);
}

static bool must_tell_stream(const struct transport *transport)
{
	struct verdict verdict = judge(transport);

	if (!holds_streams() || verdict.by_terminal || verdict.failed)
		return true;
	if (verdict.other)
		return transport->delivered - transport->script->other_at > HELD_ERROR + 1;
	if (options()->hold_stream)
		return verdict.low > (size_t)options()->hold_stream;
	return verdict.speaks || verdict.low > HELD_ERROR;
}

bool must_be_told(const struct transport *transport)
{
	if (!transport->head_told || transport->fate != FATE_RUNNING)
		return false;
	if (is_read_stream(transport))
		return must_tell_stream(transport);
	if (transport->script->status >= 400)
		return transport->delivered > HELD_ERROR ||
		       world->now > transport->head_at + HELD_ERROR_MS + world->lag;
	return may_tell(transport);
}

/* ---- What it is. */

static void set_soft(struct expectation *expected, int named)
{
	expected->status = named ? named : 502;
	expected->own = !named;
}

static void expect_stream(const struct transport *transport, struct expectation *expected)
{
	const struct script *script = transport->script;
	struct verdict verdict = judge(transport);
	bool known; /* all that may name a status */

	expected->unsure = verdict.kind == STREAM_EITHER;
	/* An error behind the first event breaks a stream that is not held as a whole. */
	expected->stream = !holds_streams() || !(verdict.failed || verdict.other) ||
			   (verdict.failed && verdict.speaks && !options()->hold_stream);
	if (expected->stream) {
		expected->fails = transport->fate == FATE_ENDED &&
				  (verdict.kind == STREAM_CUT || verdict.failed || verdict.other);
		return;
	}
	expected->rendered = verdict.failed && !script->one_line;
	expected->at = verdict.failed ? script->error_at : script->other_at;
	expected->len = verdict.failed ? script->error_len : transport->delivered - expected->at;
	known = verdict.failed ||
		(transport->delivered == script->body.len && expected->len <= HELD_ERROR);
	set_soft(expected, known ? script->named : 0);
}

static void expect_body(const struct transport *transport, struct expectation *expected)
{
	const struct script *script = transport->script;
	bool inference = path_is_inference(world->scenario->path) &&
			 str_same(world->scenario->method, "POST") && !transport->follow_up;
	bool ended = transport->fate == FATE_ENDED;
	bool whole = ended && transport->delivered == script->body.len;
	bool json = str_begins(script->type, "application/json") && script->status == 200;
	bool framed = script->says_length || script->chunked;

	if (script->encoded || script->status < 200 || script->status > 299)
		return;
	expected->fails =
		ended && inference && json && !framed && !whole && transport->delivered > 0;
	if (inference && whole && script->soft && script->body.len <= HELD_ERROR &&
		hold_limit(script) >= script->body.len)
		set_soft(expected, script->named);
	else if (expects_events() || (inference && str_begins(script->type, "text/html")))
		set_soft(expected, 0);
}

struct expectation expect(const struct transport *transport)
{
	struct expectation expected = {
		.status = transport->script->status, .len = transport->delivered};

	if (!transport->head_told || transport->fate == FATE_FAILED ||
		transport->fate == FATE_CANCELLED)
		expected.fails = true;
	else if (is_read_stream(transport))
		expect_stream(transport, &expected);
	else
		expect_body(transport, &expected);
	return expected;
}
