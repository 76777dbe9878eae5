/* A seed made into a scenario: who asks, with which limits, what the upstream does to each attempt,
 * and what happens from outside. Small and large, at once and just at a limit are all likely. */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "policy/backoff.h"

#include "sim.h"

/* What the scripts are made with. */
struct maker {
	struct rng *rng;
	const struct scenario *scenario;
	struct script *script;
	size_t index;
};

/* ---- Steps. */

static struct step *add_step(struct maker *m, enum step_kind kind, msec_t delay_ms)
{
	struct script *script = m->script;
	struct step *step = &script->steps[script->step_count];

	if (script->step_count + 1 == MAX_STEPS)
		return step; /* the last place is written over; nothing follows it */
	script->step_count++;
	*step = (struct step){.kind = kind, .delay_ms = delay_ms};
	return step;
}

static msec_t short_delay(struct maker *m)
{
	return rng_chance(m->rng, 50) ? 0 : rng_between(m->rng, 0, 20);
}

/* Mostly short, sometimes just around a limit. */
static msec_t delay_near(struct maker *m, msec_t limit)
{
	size_t kind = rng_below(m->rng, 40);

	if (kind == 0)
		return limit - 1 + (msec_t)rng_below(m->rng, 3);
	if (kind < 4)
		return rng_between(m->rng, 0, limit / 2 < 3000 ? limit / 2 : 3000);
	return short_delay(m);
}

static void add_phase(struct maker *m, enum phase phase)
{
	const struct profile_options *options = &m->scenario->profile.options;
	bool first = m->script->step_count == 0; /* it begins in the first turn of the loop */
	struct step *step =
		add_step(m, STEP_PHASE, first ? 0 : delay_near(m, options->connect_timeout / 3));

	step->phase = phase;
	/* A transport may not know when a dial's parts begin; that it writes it knows. */
	step->quiet = phase != PHASE_WRITE && phase != PHASE_DNS && rng_chance(m->rng, 50);
}

static void add_fail(struct maker *m, enum phase phase, enum error error)
{
	struct step *step = add_step(m, STEP_FAIL, short_delay(m));

	step->phase = phase;
	step->error = error;
}

/* The way to `until`, that one included. */
static void add_way(struct maker *m, enum phase until)
{
	const struct profile_options *options = &m->scenario->profile.options;
	bool dials = until < PHASE_WRITE || (!m->script->reused && rng_chance(m->rng, 80));

	for (enum phase phase = PHASE_DNS; dials && phase <= PHASE_TLS && phase <= until; phase++)
		add_phase(m, phase);
	if (until >= PHASE_WRITE)
		add_phase(m, PHASE_WRITE);
	for (size_t i = rng_below(m->rng, 3); until >= PHASE_WRITE && i > 0; i--)
		add_step(m, STEP_SENT, delay_near(m, options->write_timeout))->bytes =
			1 + rng_below(m->rng, 50);
	if (until >= PHASE_FIRST_BYTE)
		add_step(m, STEP_SENT_ALL, delay_near(m, options->write_timeout));
	if (until >= PHASE_FIRST_BYTE && rng_chance(m->rng, 20))
		add_step(m, STEP_BYTE, short_delay(m));
	if (until == PHASE_BODY)
		add_step(m, STEP_HEAD, delay_near(m, options->first_byte_timeout));
}

static size_t piece_size(struct maker *m, size_t style)
{
	switch (style) {
	case 0:
		return 1 + rng_below(m->rng, 7);
	case 1:
		return 1 + rng_below(m->rng, 200);
	case 2:
		return 1 + rng_below(m->rng, 20000);
	case 3:
		return 65536;
	default:
		return SIZE_MAX;
	}
}

/* The body up to `len`, in pieces of all sizes. */
static void add_body_steps(struct maker *m, size_t len)
{
	const struct profile_options *options = &m->scenario->profile.options;
	size_t style = rng_below(m->rng, 5), done = 0;
	bool slow = rng_chance(m->rng, 15);

	while (done < len && m->script->step_count + 3 < MAX_STEPS) {
		size_t room = MAX_STEPS - 3 - m->script->step_count;
		size_t size = piece_size(m, room < 200 && style < 3 ? 3 : style);
		struct step *step = add_step(
			m, STEP_BODY, slow ? delay_near(m, options->idle_timeout) : short_delay(m));

		step->bytes = size < len - done ? size : len - done;
		if (room == 1)
			step->bytes = len - done;
		done += step->bytes;
	}
}

/* ---- Bodies that are not streams. */

/* Text that differs from attempt to attempt and from place to place. */
static void add_text(struct maker *m, size_t len)
{
	static char text[4096];
	size_t at = m->script->body.len % 97 + m->index % 13;

	for (size_t i = 0; i < sizeof(text) && !text[sizeof(text) - 1]; i++)
		text[i] = (char)('a' + (i * 7 + i / 26) % 26);
	while (len > 0) {
		size_t part = len < sizeof(text) - at ? len : sizeof(text) - at;

		str_add_bytes(&m->script->body, text + at, part);
		len -= part;
		at = 0;
	}
}

static void make_error_body(struct maker *m, size_t pad)
{
	struct str *body = &m->script->body;

	m->script->soft = true;
	str_addf(body, "{\"error\":{\"code\":\"%s\",\"message\":\"", m->script->error_word);
	add_text(m, pad);
	str_add(body, "\"}}");
}

static size_t body_size(struct maker *m)
{
	bool slow = m->scenario->client.drain_high > 0; /* then what is large waits for it */
	size_t kind = rng_below(m->rng, slow ? 12 : 40);

	if (kind == 0)
		return 300000 + rng_below(m->rng, 400000);
	if (kind < 4)
		return 60000 + rng_below(m->rng, 12000); /* around the limits of 64 KiB */
	return rng_below(m->rng, kind < 20 ? 100 : 4000);
}

/* Errors of all shapes, as the data of an event or as a body; NAME stands for their word. */
static const struct error_shape {
	const char *head, *tail; /* NAME between them */
	int named;
	bool named_event; /* needs `event: error` to be known for one */
	bool words;       /* no JSON */
	bool lines;       /* the data has two lines; the break is the first blank */
} error_shapes[] = {
	{"{\"error\":{\"code\":\"", "\",\"message\":\"upstream\"}}", 0, false, false, false},
	{"{\"error\":{\"type\":\"rate_limit_error\",\"message\":\"", "\"}}", 429, false, false,
		false},
	{"{\"error\":{\"status\":503,\"code\":404,\"message\":\"", "\"}}", 503, false, false,
		false},
	{"{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"", "\"}}", 503,
		false, false, false},
	{"{\"message\":\"", "\",\"code\":400}", 400, false, false, false},
	{"{\"error\":\"", "\"}", 0, false, false, false},
	{"{\"type\":\"error\",\"sequence_number\":3,\"code\":\"NOT_FOUND\",\"message\":\"", "\"}",
		404, true, false, false},
	{"", " happened", 0, true, true, false},
	{"{\"error\": {\"code\":\"invalid_request_error\",\"message\":\"", "\"}}", 400, false,
		false, true},
};

/* A soft error's JSON object. */
static void make_soft_body(struct maker *m)
{
	const struct error_shape *shape = &error_shapes[rng_below(m->rng, 6)];

	m->script->name = "a soft error";
	m->script->soft = true;
	m->script->named = shape->named;
	str_addf(&m->script->body, "%s%s", shape->head, m->script->error_word);
	if (rng_chance(m->rng, 5))
		add_text(m, body_size(m));
	str_add(&m->script->body, shape->tail);
}

static void make_html(struct maker *m, size_t pad)
{
	str_add(&m->script->body, rng_chance(m->rng, 50) ? "<html>" : "<html>\n\n<body>\n\n");
	add_text(m, pad);
}

static void make_plain_body(struct maker *m, size_t pad)
{
	struct str *body = &m->script->body;

	str_addf(body, "{\"id\":\"answer_%zu\",\"pad\":\"", m->index);
	add_text(m, pad);
	str_add(body, "\"}");
}

/* ---- Streams. */

static void end_mark(struct maker *m, enum mark_kind kind, const char *eol, bool bare)
{
	struct script *script = m->script;
	struct mark *mark = &script->marks[script->mark_count++];

	mark->kind = kind;
	mark->text_end = script->body.len;
	if (!bare) {
		str_add(&script->body, eol);
		str_add(&script->body, eol);
	}
	mark->end = script->body.len;
}

struct stream {
	enum sse_dialect dialect;
	const char *eol;
	size_t choices;
	bool huge; /* some of its events are larger than what is held of one */
};

static void add_event(struct maker *m, const struct stream *s, size_t choice, size_t len)
{
	struct str *body = &m->script->body;

	if (s->dialect == SSE_CHAT)
		str_addf(body, "data: {\"choices\":[{\"index\":%zu,\"delta\":{\"content\":\"%zu",
			choice, m->index);
	else if (s->dialect == SSE_MESSAGES)
		str_addf(body, "event: content_block_delta%sdata: {\"text\":\"%zu", s->eol,
			m->index);
	else
		str_addf(body, "event: response.output_text.delta%sdata: {\"text\":\"%zu", s->eol,
			m->index);
	add_text(m, len);
	str_add(body, s->dialect == SSE_CHAT ? "\"}}]}" : "\"}");
	end_mark(m, MARK_ORDINARY, s->eol, false);
}

static void add_finish(struct maker *m, const struct stream *s, size_t choice)
{
	str_addf(&m->script->body,
		"data: {\"choices\":[{\"index\":%zu,\"delta\":{},\"finish_reason\":\"stop\"}]}",
		choice);
	end_mark(m, MARK_FINISH, s->eol, false);
}

static void add_comment(struct maker *m, const struct stream *s, size_t len)
{
	static const char *const silent[] = {": ping", ":", "id: 7", "retry: 10"};

	str_add(&m->script->body, RNG_PICK(m->rng, silent));
	if (len) {
		str_addf(&m->script->body, "%s: ", s->eol);
		add_text(m, len);
	}
	end_mark(m, MARK_COMMENT, s->eol, false);
}

static void add_error_data(struct maker *m, const struct stream *s, const struct error_shape *shape)
{
	struct script *script = m->script;
	const char *head = shape->head;

	str_add(&script->body, "data: ");
	if (shape->lines) {
		str_add_bytes(&script->body, head, strcspn(head, " "));
		str_addf(&script->body, "%sdata:", s->eol);
		head += strcspn(head, " ");
	}
	script->error_at = script->body.len;
	str_addf(&script->body, "%s%s%s", head, script->error_word, shape->tail);
	script->error_len = script->body.len - script->error_at;
}

/* Nothing behind the first one matters. */
static void add_error(struct maker *m, const struct stream *s, bool bare)
{
	struct script *script = m->script;
	const struct error_shape *shape = &RNG_PICK(m->rng, error_shapes);
	bool named = shape->named_event || rng_chance(m->rng, 50);
	bool first = named && rng_chance(m->rng, 70);

	if (script->error_len)
		return;
	script->named = shape->named;
	script->one_line = !shape->words && !shape->lines;
	if (first)
		str_addf(&script->body, "event: error%s", s->eol);
	add_error_data(m, s, shape);
	if (named && !first)
		str_addf(&script->body, "%sevent: error", s->eol);
	end_mark(m, MARK_ERROR, s->eol, bare);
}

/* What calls itself a stream and is none. */
static void make_no_stream(struct maker *m)
{
	struct script *script = m->script;
	struct stream s = {SSE_PLAIN, "\n", 1, false};

	for (size_t i = rng_below(m->rng, 3); i > 0; i--)
		add_comment(m, &s, 0);
	script->other_at = script->body.len;
	switch (rng_below(m->rng, 3)) {
	case 0:
		make_html(m, body_size(m));
		break;
	case 1:
		str_addf(&script->body, "{\"detail\":\"%s\"}", script->error_word);
		break;
	default:
		make_soft_body(m);
		break;
	}
	script->name = "no stream";
}

static void add_terminal(struct maker *m, const struct stream *s, bool bare)
{
	static const char *const kinds[] = {"completed", "incomplete", "failed"};
	struct str *body = &m->script->body;

	if (s->dialect == SSE_CHAT) {
		str_add(body, rng_chance(m->rng, 20) ? "data:[DONE]" : "data: [DONE]");
	} else if (s->dialect == SSE_MESSAGES) {
		str_addf(body, "event: message_stop%sdata: {\"type\":\"message_stop\"}", s->eol);
	} else {
		str_addf(body, "event: response.%s%sdata: {\"text\":\"", RNG_PICK(m->rng, kinds),
			s->eol);
		add_text(m, rng_chance(m->rng, 10) ? 150000 : 10);
		str_add(body, "\"}");
	}
	end_mark(m, MARK_TERMINAL, s->eol, bare);
}

static size_t event_size(struct maker *m, const struct stream *s)
{
	size_t kind = rng_below(m->rng, s->huge ? 4 : 20);

	if (s->huge && kind == 0)
		return 60000 + rng_below(m->rng, 130000);
	return rng_below(m->rng, kind < 2 ? 3000 : 40);
}

static void make_events(struct maker *m, const struct stream *s)
{
	size_t events = rng_below(m->rng, 12);

	if (rng_chance(m->rng, 3))
		str_add(&m->script->body, "\xef\xbb\xbf");
	for (size_t i = rng_chance(m->rng, 2) ? 25 : rng_below(m->rng, 3); i > 0; i--)
		add_comment(m, s, i > 3 ? 3000 : 0);
	if (rng_chance(m->rng, 10))
		add_error(m, s, false);
	for (size_t i = 0; i < s->choices; i++)
		add_event(m, s, i, event_size(m, s));
	for (size_t i = 0; i < events; i++) {
		if (rng_chance(m->rng, 10))
			add_comment(m, s, 0);
		else
			add_event(m, s, rng_below(m->rng, s->choices), event_size(m, s));
	}
	if (rng_chance(m->rng, 6))
		add_error(m, s, false);
}

/* `data:` lines, then as the dialect ends. Some streams lack their end. */
static void make_stream(struct maker *m, enum sse_dialect dialect)
{
	static const char *const eols[] = {"\n", "\n", "\n", "\r\n", "\r\n", "\r"};
	struct stream s = {
		dialect, RNG_PICK(m->rng, eols), 1 + rng_below(m->rng, 3), rng_chance(m->rng, 8)};

	make_events(m, &s);
	if (rng_chance(m->rng, 2)) {
		add_error(m, &s, true);
		return;
	}
	if (dialect == SSE_CHAT && rng_chance(m->rng, 90)) {
		for (size_t i = 0; i < s.choices; i++)
			add_finish(m, &s, i);
	}
	if (dialect == SSE_CHAT && rng_chance(m->rng, 40)) { /* usage */
		str_add(&m->script->body, "data: {\"choices\":[],\"usage\":{\"total_tokens\":3}}");
		end_mark(m, MARK_ORDINARY, s.eol, false);
	}
	if (dialect == SSE_PLAIN || rng_chance(m->rng, 12))
		return;
	add_terminal(m, &s, rng_chance(m->rng, 8));
	if (m->script->marks[m->script->mark_count - 1].end !=
			m->script->marks[m->script->mark_count - 1].text_end &&
		rng_chance(m->rng, 8))
		add_event(m, &s, 0, 10); /* must not pass */
}

/* ---- How an answer ends. */

/* All of it, or cut: by a failure, by silence, or by an end that came too early. */
static void add_answer_steps(struct maker *m, bool may_end_early)
{
	size_t len = m->script->body.len;
	bool slow = m->scenario->client.drain_high > 0; /* a stall behind a pause */
	size_t kind = slow && rng_chance(m->rng, 10) ? 4 : rng_below(m->rng, 20);
	size_t cut_at = kind < 5 ? rng_below(m->rng, len + 1) : len;

	add_way(m, PHASE_BODY);
	if (str_same(m->scenario->method, "HEAD") || m->script->status == 204) {
		add_step(m, STEP_END, short_delay(m));
		return;
	}
	add_body_steps(m, cut_at);
	if (kind < 2)
		add_fail(m, PHASE_BODY, ERROR_HTTP_RESPONSE_INCOMPLETE);
	else if (kind == 2)
		add_fail(m, PHASE_BODY, ERROR_CONNECTION_TERMINATED);
	else if (kind == 3 && may_end_early)
		add_step(m, STEP_END, short_delay(m));
	else if (kind > 4)
		add_step(m, STEP_END, short_delay(m));
}

/* ---- The kinds of attempts. */

static void make_early_failure(struct maker *m)
{
	static const struct {
		enum phase phase;
		enum error error;
	} failures[] = {
		{PHASE_DNS, ERROR_DNS_ERROR},
		{PHASE_DNS, ERROR_DNS_TIMEOUT},
		{PHASE_CONNECT, ERROR_CONNECTION_REFUSED},
		{PHASE_CONNECT, ERROR_DESTINATION_IP_UNROUTABLE},
		{PHASE_TLS, ERROR_TLS_CERTIFICATE_ERROR},
		{PHASE_TLS, ERROR_TLS_PROTOCOL_ERROR},
		{PHASE_WRITE, ERROR_CONNECTION_TERMINATED},
		{PHASE_FIRST_BYTE, ERROR_CONNECTION_TERMINATED},
		{PHASE_FIRST_BYTE, ERROR_HTTP_PROTOCOL_ERROR},
	};
	size_t i = rng_below(m->rng, sizeof(failures) / sizeof(failures[0]));

	m->script->name = "fails";
	add_way(m, failures[i].phase);
	add_fail(m, failures[i].phase, failures[i].error);
}

static void make_silence(struct maker *m)
{
	static const enum phase phases[] = {
		PHASE_DNS, PHASE_CONNECT, PHASE_TLS, PHASE_WRITE, PHASE_FIRST_BYTE};

	m->script->name = "silence";
	add_way(m, RNG_PICK(m->rng, phases));
}

static void make_stale(struct maker *m)
{
	m->script->name = "a kept connection that dies";
	m->script->reused = true;
	add_way(m, rng_chance(m->rng, 50) ? PHASE_WRITE : PHASE_FIRST_BYTE);
	add_fail(m, PHASE_FIRST_BYTE, ERROR_CONNECTION_TERMINATED);
}

static void make_retry_after(struct maker *m)
{
	struct script *script = m->script;
	time_t date = 1780000000 + (time_t)rng_below(m->rng, 20);
	struct tm utc;

	script->floor_ms = -1;
	switch (rng_below(m->rng, 9)) {
	case 0:
		script->retry_after = "0";
		script->floor_ms = 0;
		break;
	case 1:
		script->retry_after = "2";
		script->floor_ms = 2000;
		break;
	case 2:
		script->retry_after = "100000";
		script->floor_ms = 100000000;
		break;
	case 3:
		script->retry_after = "60";
		script->retry_after_ms = "1500";
		script->floor_ms = 1500;
		break;
	case 4:
		script->retry_after = "soon";
		break;
	case 6:
		script->retry_after = "90";
		script->floor_ms = 90000;
		break;
	case 5:
		gmtime_r(&date, &utc);
		strftime(script->retry_after_text, sizeof(script->retry_after_text),
			"%a, %d %b %Y %H:%M:%S GMT", &utc);
		script->retry_after = script->retry_after_text;
		script->retry_after_date = date;
		break;
	default:
		break;
	}
}

static void frame(struct maker *m)
{
	m->script->says_length = rng_chance(m->rng, 50);
	m->script->chunked = !m->script->says_length && rng_chance(m->rng, 50);
}

static void make_error_status(struct maker *m, int status)
{
	m->script->name = "a status";
	m->script->status = status;
	make_retry_after(m);
	if (m->script->status != 304)
		make_error_body(m, body_size(m));
	frame(m);
	add_answer_steps(m, false);
}

/* Quick, whole, and without a word of when to come again. */
static void make_plain_error(struct maker *m, int status)
{
	m->script->name = "an endless error";
	m->script->status = status;
	make_error_body(m, 10);
	m->script->says_length = true;
	add_way(m, PHASE_BODY);
	if (!str_same(m->scenario->method, "HEAD"))
		add_body_steps(m, m->script->body.len);
	add_step(m, STEP_END, short_delay(m));
}

static void make_status(struct maker *m)
{
	int status;

	static const int statuses[] = {400, 401, 404, 408, 409, 413, 422, 429, 429, 429, 500, 500,
		502, 503, 503, 503, 504, 520, 599, 301, 304};

	status = RNG_PICK(m->rng, statuses);
	if (m->scenario->request_class == CLASS_CREATE_WITH_ID && m->index > 0 &&
		rng_chance(m->rng, 70))
		status = 409;
	make_error_status(m, status);
}

static void make_scaling(struct maker *m)
{
	struct script *script = m->script;

	script->name = "a deployment that starts";
	script->status = 503;
	script->scaling = script->soft = true;
	str_addf(&script->body,
		"{\"error\":{\"code\":\"DEPLOYMENT_SCALING_UP\",\"message\":\"%s\"}}",
		script->error_word);
	if (rng_chance(m->rng, 20))
		make_retry_after(m);
	frame(m);
	add_answer_steps(m, false);
}

static void make_unreachable(struct maker *m)
{
	bool certificate = rng_chance(m->rng, 10);

	m->script->name = "refused";
	add_way(m, certificate ? PHASE_TLS : PHASE_CONNECT);
	if (certificate)
		add_fail(m, PHASE_TLS, ERROR_TLS_CERTIFICATE_ERROR);
	else
		add_fail(m, PHASE_CONNECT, ERROR_CONNECTION_REFUSED);
}

/* Mostly one after another, and quickly. */
static void make_storm(struct maker *m)
{
	static const int errors[] = {500, 502, 503, 504};

	switch (m->scenario->crowd.storm) {
	case STORM_THROTTLED:
		if (m->scenario->crowd.endless)
			make_plain_error(m, 429);
		else
			make_error_status(m, 429);
		break;
	case STORM_ERRORS:
		if (m->scenario->crowd.endless)
			make_plain_error(m, 503);
		else
			make_error_status(m, RNG_PICK(m->rng, errors));
		break;
	case STORM_UNREACHABLE:
		make_unreachable(m);
		break;
	case STORM_SCALING:
	case STORM_NONE:
		make_scaling(m);
		break;
	}
}

/* What is no stream, and says so. */
static void make_body(struct maker *m)
{
	struct script *script = m->script;
	size_t kind = rng_below(m->rng, 100);

	script->name = "an answer";
	if (kind < 15) {
		make_soft_body(m);
	} else if (kind < 22) {
		script->name = "HTML";
		script->type = "text/html";
		make_html(m, body_size(m));
	} else if (kind > 25) {
		make_plain_body(m, body_size(m));
	} else {
		script->name = "nothing";
	}
	frame(m);
	script->encoded = rng_chance(m->rng, 4);
	add_answer_steps(m, !script->says_length && !script->chunked);
}

static void make_event_stream(struct maker *m)
{
	struct script *script = m->script;
	size_t kind = rng_below(m->rng, 100);

	script->event_stream = true;
	script->type = "text/event-stream; charset=utf-8";
	script->name = "a stream";
	if (kind < 7)
		make_no_stream(m);
	else if (kind > 9) /* else there is nothing in it */
		make_stream(m, sse_dialect_of(m->scenario->path));
	script->encoded = rng_chance(m->rng, 8);
	script->says_length = rng_chance(m->rng, script->encoded ? 50 : 4);
	/* A transport counts; behind one that does not the relay counts again. */
	add_answer_steps(m, script->encoded || !script->says_length);
}

static void make_answer(struct maker *m)
{
	m->script->status = 200;
	if (rng_chance(m->rng, 4)) {
		m->script->name = "no content";
		m->script->status = 204;
		add_answer_steps(m, false);
		return;
	}
	if (rng_chance(m->rng, 10))
		make_retry_after(m);
	if (m->scenario->stream != rng_chance(m->rng, 8)) /* not all do as asked */
		make_event_stream(m);
	else
		make_body(m);
}

static void make_script(struct maker *m)
{
	size_t kind = rng_below(m->rng, 100);

	m->script->reused = rng_chance(m->rng, 30);
	m->script->status = 200;
	m->script->type = "application/json";
	m->script->floor_ms = -1;
	m->script->other_at = SIZE_MAX;
	snprintf(m->script->error_word, sizeof(m->script->error_word), "boom_%zu", m->index);
	/* What an attempt of a create that failed has made is met by the next one. */
	if (m->scenario->request_class == CLASS_CREATE_WITH_ID)
		kind = m->index ? 24 + rng_below(m->rng, 50) : rng_below(m->rng, 50);
	if (m->scenario->crowd.endless ||
		(m->index < m->scenario->crowd.storm_attempts && rng_chance(m->rng, 90)))
		make_storm(m);
	else if (kind < 12)
		make_early_failure(m);
	else if (kind < 16)
		make_silence(m);
	else if (kind < 24)
		make_stale(m);
	else if (kind < 44)
		make_status(m);
	else
		make_answer(m);
}

/* ---- The request and its limits. */

static void make_request(struct rng *rng, struct scenario *scenario)
{
	static const struct {
		const char *method, *path;
		bool streams;
		const char *query;
	} requests[] = {
		{"POST", "/inference/v1/chat/completions", true, NULL},
		{"POST", "/inference/v1/chat/completions", true, NULL},
		{"POST", "/inference/v1/completions", true, NULL},
		{"POST", "/inference/v1/messages", true, NULL},
		{"POST", "/inference/v1/responses", true, NULL},
		{"POST", "/inference/v1/chat/completions", true, NULL},
		{"POST", "/inference/v1/completions", true, NULL},
		{"POST", "/inference/v1/messages", true, NULL},
		{"POST", "/inference/v1/responses", true, NULL},
		{"POST", "/inference/v1/embeddings", false, NULL},
		{"POST", "/inference/v1/workflows/a/flux", true, NULL},
		{"GET", "/v1/accounts/a/models", false, NULL},
		{"HEAD", "/inference/v1/models", false, NULL},
		{"POST", "/v1/accounts/a/deployments", false, NULL},
		{"POST", "/v1/accounts/a/deployments", false, "deploymentId=b"},
		{"POST", "/v1/accounts/a/deployments", false, "deploymentId=b"},
		{"POST", "/v1/accounts/a/deployments", false, "deploymentId=b"},
		{"POST", "/v1/accounts/a/apiKeys", false, NULL},
		{"POST", "/training/v1/rlorTrainerJobs/a/step", false, NULL},
	};
	static const enum request_class classes[] = {CLASS_REPLAYABLE, CLASS_GUARDED, CLASS_NEVER};
	size_t i = rng_below(rng, sizeof(requests) / sizeof(requests[0]));

	scenario->method = requests[i].method;
	scenario->path = requests[i].path;
	scenario->stream = requests[i].streams && rng_chance(rng, 80);
	scenario->request_class = class_of(scenario->method, scenario->path, requests[i].query);
	if (rng_chance(rng, 20)) /* the exchange goes by the class, not by the path */
		scenario->request_class = RNG_PICK(rng, classes);
	scenario->has_created = rng_chance(rng, 90);
	scenario->request_bytes = 200 + rng_below(rng, 5000);
	if (rng_chance(rng, 2))
		scenario->refusal = 403;
}

static void make_retry(struct rng *rng, struct retry_policy *retry)
{
	static const int statuses[] = {408, 429, 500, 502, 503, 504, 520};
	static const msec_t bases[] = {1, 50, 500, 1000};
	static const msec_t caps[] = {100, 5000, 60000};
	static const msec_t after_caps[] = {100, 5000, 60000, 60000, 100000};

	retry->max_attempts = 1 + (int)rng_below(rng, 6);
	retry->backoff.base_ms = RNG_PICK(rng, bases);
	retry->backoff.cap_ms = RNG_PICK(rng, caps);
	retry->backoff.jitter = (enum jitter)rng_below(rng, JITTER_NONE + 1);
	retry->retry_after_cap_ms = RNG_PICK(rng, after_caps);
	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
		retry->statuses[i] = statuses[i];
}

static void make_holds(struct rng *rng, struct profile_options *options)
{
	static const int64_t bodies[] = {0, 100, 5000, 4 << 20, 4 << 20};
	static const int64_t streams[] = {0, 0, 0, 0, 200, 3000, 100000, 4 << 20};

	options->hold_body = RNG_PICK(rng, bodies);
	options->hold_stream = RNG_PICK(rng, streams);
	options->hold_first_event = rng_chance(rng, 70);
}

static void make_limits(struct rng *rng, struct scenario *scenario)
{
	static const msec_t short_ones[] = {100, 1000, 10000, 10000};
	static const msec_t long_ones[] = {
		500, 15000, 15000, 60000, 60000, 1800000, 1800000, 1800000};
	static const msec_t drains[] = {100, 5000, 30000};
	struct profile_options *options = &scenario->profile.options;

	options->connect_timeout = RNG_PICK(rng, short_ones);
	options->write_timeout = RNG_PICK(rng, short_ones);
	options->first_byte_timeout = RNG_PICK(rng, long_ones);
	options->idle_timeout = RNG_PICK(rng, long_ones);
	make_holds(rng, options);
	options->max_attempts = scenario->profile.retry.max_attempts;
	scenario->total_ms = RNG_PICK(rng, long_ones);
	scenario->drain_ms = RNG_PICK(rng, drains);
	scenario->send_timeout_ms = RNG_PICK(rng, short_ones) * 10;
	scenario->profile.name = (char *)(uintptr_t) "sim";
}

static msec_t at_least(msec_t value, msec_t limit)
{
	return value > limit ? value : limit;
}

/* As request.c gives them; not so short that one silence is all comments. */
static void make_signs(struct rng *rng, struct scenario *scenario)
{
	static const msec_t firsts[] = {20, 500, 5000, 20000};
	static const msec_t others[] = {30, 300, 5000, 15000};
	bool events = scenario->stream && sse_dialect_of(scenario->path) != SSE_PLAIN;
	bool patience = rng_chance(rng, 60);
	struct signs *signs = &scenario->signs;

	*signs = (struct signs){MSEC_NEVER, MSEC_NEVER, MSEC_NEVER};
	if (!events)
		return;
	if (patience) {
		signs->first_ms = RNG_PICK(rng, firsts);
		signs->waiting_ms = at_least(RNG_PICK(rng, others), scenario->total_ms / 100);
	}
	if (patience || rng_chance(rng, 30))
		signs->running_ms = at_least(
			RNG_PICK(rng, others), scenario->profile.options.idle_timeout / 100);
}

static void make_client(struct rng *rng, struct scenario *scenario)
{
	static const size_t gulps[] = {1000, 20000, 300000, SIZE_MAX};
	size_t kind = rng_below(rng, 10);

	scenario->client.gulp = SIZE_MAX;
	scenario->client.stalls_at = SIZE_MAX;
	if (kind < 6)
		return; /* it takes what it gets */
	scenario->client.gulp = RNG_PICK(rng, gulps);
	scenario->client.drain_high = kind < 8 ? 20 : scenario->send_timeout_ms - 1;
	if (kind == 9)
		scenario->client.stalls_at = rng_below(rng, 5000);
}

/* ---- From outside. */

static msec_t some_instant(struct rng *rng, const struct scenario *scenario)
{
	static const msec_t horizons[] = {1, 50, 1000, 10000, 0};
	msec_t horizon = RNG_PICK(rng, horizons);

	return rng_between(rng, 0, horizon ? horizon : scenario->total_ms + 10);
}

/* The moment at which a create's conflict is answered. */
static void make_late_conflict(struct rng *rng, struct scenario *scenario)
{
	if (scenario->request_class != CLASS_CREATE_WITH_ID || !rng_chance(rng, 20))
		return;
	scenario->endings[scenario->ending_count++] = (struct ending){
		.kind = ENDING_DEADLINE,
		.state = "TRYING",
		.nth = 2,
		.delay_ms = rng_between(rng, 0, 60),
	};
}

static void make_endings(struct rng *rng, struct scenario *scenario)
{
	static const char *const states[] = {"ADMITTING", "LETTER", "TRYING", "BACKING_OFF",
		"RELAYING", "BREAKING", "ANSWERING"};

	make_late_conflict(rng, scenario);
	while (scenario->ending_count < MAX_ENDINGS && rng_chance(rng, 20)) {
		struct ending *ending = &scenario->endings[scenario->ending_count++];

		ending->kind = (enum ending_kind)rng_below(rng, ENDING_KINDS);
		ending->nth = 1 + (int)rng_below(rng, 3);
		ending->soon = rng_chance(rng, 50);
		if (rng_chance(rng, 50)) {
			ending->state = RNG_PICK(rng, states);
			ending->delay_ms = rng_between(rng, 0, 30);
		} else {
			ending->delay_ms = some_instant(rng, scenario);
		}
	}
}

/* ---- The upstream, and who else is there. */

static void make_upstream(struct rng *rng, struct upstream_options *options)
{
	static const int64_t places[] = {-1, 1, 1, 2, 3, 1024};
	static const int64_t queues[] = {0, 1, 2, 4, 1024, 1024, 1024, 1024, 1024};
	static const int64_t bytes[] = {-1, -1, -1, 5000};
	static const double budgets[] = {-1, 0, 0.2};

	options->max_in_flight = RNG_PICK(rng, places);
	options->queue = RNG_PICK(rng, queues);
	options->queue_bytes = RNG_PICK(rng, bytes);
	options->retry_budget = RNG_PICK(rng, budgets);
	options->pacing = rng_chance(rng, 60);
	options->breaker = rng_chance(rng, 60);
}

static void make_waits(struct rng *rng, struct scenario *scenario)
{
	static const msec_t waits[] = {50, 1000, 10000, 10000, 600000};
	static const msec_t scale_ups[] = {0, 0, 3000, 60000, 600000, 1500000};
	struct profile_options *options = &scenario->profile.options;

	options->pool_timeout = RNG_PICK(rng, waits);
	options->outage_wait = RNG_PICK(rng, waits);
	options->retry_after_cap = scenario->profile.retry.retry_after_cap_ms;
	scenario->profile.retry.scale_up_wait_ms = RNG_PICK(rng, scale_ups);
}

static void make_crowd(struct rng *rng, struct scenario *scenario)
{
	static const msec_t holds[] = {10, 500, 5000, 30000, 700000};
	static const msec_t thinks[] = {1, 200, 5000};
	static const msec_t storms[] = {100, 5000, 100000, 2000000};
	static const msec_t flaps[] = {0, 0, 700, 4000, 20000};
	struct crowd *crowd = &scenario->crowd;

	make_upstream(rng, &crowd->upstream);
	make_waits(rng, scenario);
	if (rng_chance(rng, 60))
		crowd->phantoms = 1 + rng_below(rng, 8);
	if (rng_chance(rng, 50))
		crowd->storm = (enum storm)rng_below(rng, STORM_SCALING + 1);
	if (crowd->storm)
		crowd->storm_attempts = rng_chance(rng, 20) ? MAX_SCRIPTS : rng_below(rng, 8);
	crowd->storm_ms = RNG_PICK(rng, storms);
	crowd->flap_ms = RNG_PICK(rng, flaps);
	crowd->hold_ms = RNG_PICK(rng, holds);
	crowd->think_ms = RNG_PICK(rng, thinks);
	crowd->patience_ms = rng_chance(rng, 30) ? 100 : 1000000;
	crowd->spent = rng_chance(rng, 10) && crowd->upstream.retry_budget >= 0;
	crowd->late_percent = rng_chance(rng, 40) ? 70 : 0;
	crowd->endless = crowd->storm && rng_chance(rng, 4);
}

/* What comes later is made only once it is asked for: most requests need one attempt or two. */
const struct script *scenario_script(struct scenario *scenario, size_t index)
{
	struct rng rng = {scenario->seed * 1000003 + index};
	struct maker m = {&rng, scenario, NULL, index};

	if (index < MAX_SCRIPTS && !scenario->scripts[index]) {
		m.script = scenario->scripts[index] = xcalloc(1, sizeof(struct script));
		make_script(&m);
	}
	return scenario->scripts[index < MAX_SCRIPTS ? index : MAX_SCRIPTS - 1];
}

struct scenario *scenario_new(uint64_t seed)
{
	struct scenario *scenario = xcalloc(1, sizeof(*scenario));
	struct rng rng = {seed};

	scenario->seed = seed;
	make_request(&rng, scenario);
	make_retry(&rng, &scenario->profile.retry);
	make_limits(&rng, scenario);
	make_signs(&rng, scenario);
	make_client(&rng, scenario);
	make_endings(&rng, scenario);
	make_crowd(&rng, scenario);
	scenario->lag_percent = rng_chance(&rng, 30) ? 5 : 0;
	return scenario;
}

void scenario_free(struct scenario *scenario)
{
	for (size_t i = 0; i < MAX_SCRIPTS && scenario->scripts[i]; i++) {
		str_fini(&scenario->scripts[i]->body);
		free(scenario->scripts[i]);
	}
	free(scenario);
}
