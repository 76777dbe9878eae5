/* The rules. Nothing here knows how the exchange works: what went in (the scenario) and what came
 * out (the fakes' records) are held against what docs/retries.md, docs/streaming.md and the headers
 * promise. */

#include <string.h>

#include "base/mem.h"
#include "policy/class.h"

#include "sim.h"

static bool is_state(const char *name)
{
	return str_same(world->state, name);
}

/* Nothing of an upstream's answer goes to the client yet. */
static bool waits(void)
{
	return is_state("ADMITTING") || is_state("TRYING") || is_state("BACKING_OFF");
}

static bool client_lives(void)
{
	return world->client && world->client->state != CLIENT_OVER;
}

/* ---- Repeating. */

static void check_class(const struct transport *before)
{
	int status = before->event_status;
	bool later = status == 503 || (status == 429 && path_is_inference(world->scenario->path));

	if (before->facts.bytes_sent == 0 && !status)
		return;
	MUST(world->scenario->request_class != CLASS_NEVER,
		"a `never` request begins again after a byte of it was sent");
	MUST(world->scenario->request_class != CLASS_CREATE_WITH_ID || status != 429,
		"a create is repeated after it met a quota");
	MUST(world->scenario->request_class != CLASS_GUARDED || later,
		"a `guarded` request begins again after status %d, %llu bytes sent", status,
		(unsigned long long)before->facts.bytes_sent);
}

static void check_repeated_status(const struct transport *before)
{
	const struct script *script = before->script;
	msec_t cap = world->scenario->profile.retry.retry_after_cap_ms;

	MUST(is_listed(before->event_status), "status %d is retried", before->event_status);
	MUST(script->floor_ms <= cap, "a Retry-After above its cap is waited for");
	MUST(world->now >= before->event_at + script->floor_ms, "a Retry-After is not waited for");
	MUST(clock_wall_us() / 1000 >= script->retry_after_date * 1000,
		"a Retry-After with a date is not waited for");
}

static void check_replaced(const struct transport *before)
{
	MUST(before->facts.reused && !before->facts.answer_begun &&
			before->error == ERROR_CONNECTION_TERMINATED,
		"a connection is replaced that was not a dead kept one");
	MUST(may_resend(), "a connection is replaced for a request that may not be repeated");
}

static void check_repeat(const struct transport *before)
{
	msec_t due = before->event_at + before->retry_in_ms;
	msec_t asked = before->replaced ? world->now : world->queueing.admitted_at;

	MUST(before->attempt_events == 1, "attempt %zu failed without a line", before->index);
	MUST(asked >= due, "an attempt asks for its turn before the wait is over");
	MUST(asked <= due + world->lag, "an attempt asks for its turn later than its line said");
	MUST(before->retry_in_ms >= 0, "attempt %zu was the last one, said its line",
		before->index);
	MUST(before->error != ERROR_TLS_CERTIFICATE_ERROR, "a wrong certificate is retried");
	check_class(before);
	if (before->event_status)
		check_repeated_status(before);
	if (before->replaced)
		check_replaced(before);
}

/* A create met a 409 that it may have caused itself: what it made is read. */
static void check_follow_up(const struct transport *transport, const struct transport *before)
{
	MUST(before && !before->follow_up, "what was created is read twice");
	MUST(world->scenario->request_class == CLASS_CREATE_WITH_ID, "a GET that nobody asked for");
	MUST(before->fate == FATE_ENDED && before->script->status == 409,
		"what was created is read, and there was no conflict");
	MUST(before->index > 0, "the first attempt's conflict is somebody else's");
	MUST(transport->max_idle_ms >= 0, "a GET may use any connection");
}

void check_transport_start(struct transport *transport)
{
	const struct transport *before = world_last_transport();

	MUST(!world->ended, "an attempt begins after the end");
	MUST(client_lives(), "an attempt begins for a client that is gone");
	MUST(!world->source, "an attempt begins behind the commit point");
	MUST(!before || before->fate != FATE_RUNNING, "two attempts run at once");
	MUST(world->now < world->deadline, "an attempt begins after the deadline");
	if (transport->follow_up) {
		check_follow_up(transport, before);
		return;
	}
	MUST(may_resend() || transport->max_idle_ms <= 1000,
		"a request that may not be repeated uses a connection that may be dead");
	check_count(transport);
	if (before) {
		MUST(!before->follow_up, "an attempt begins behind a GET");
		check_repeat(before);
		if (before->replaced)
			count(COUNT_REPLACED);
	}
	check_turn_of(transport, before);
}

/* ---- Time-outs. */

/* When the silent attempt must be given up, the deadline aside. */
static msec_t due_of(const struct transport *transport)
{
	const struct profile_options *options = &world->scenario->profile.options;

	switch (transport->phase) {
	case PHASE_WRITE:
		return transport->progress + options->write_timeout;
	case PHASE_FIRST_BYTE:
		return transport->progress + options->first_byte_timeout;
	case PHASE_BODY:
		return transport->progress + options->idle_timeout;
	default:
		return transport->began + options->connect_timeout;
	}
}

/* A stream that runs has none; an error that is handed on gets two seconds to end. */
static msec_t deadline_of(const struct transport *transport)
{
	msec_t moment = world->client->started_at + 2000;

	if (transport != world->source)
		return transport->deadline;
	if (world->expected.stream)
		return MSEC_NEVER;
	return world->expected.status >= 400 && moment > transport->deadline ? moment
									     : transport->deadline;
}

/* Nobody but the exchange itself ends this attempt: is it time? */
static void check_time_out(const struct transport *transport)
{
	msec_t due = due_of(transport);

	if (deadline_of(transport) < due)
		due = deadline_of(transport);
	/* The client's slowness is not the server's; only the deadline ends what is paused. */
	if (transport->paused)
		due = deadline_of(transport);
	MUST(world->now >= due, "attempt %zu is given up in %s %lld ms too early", transport->index,
		phase_name(transport->phase), (long long)(due - world->now));
	MUST(transport->ever_paused || world->now <= due + world->lag,
		"attempt %zu is given up in %s %lld ms too late", transport->index,
		phase_name(transport->phase), (long long)(world->now - due));
	count(COUNT_TIMED_OUT);
}

/* An answer that nobody wants any longer, though it goes on: an error that another attempt follows,
 * and what comes instead of a stream to a client that has its 200. */
static bool is_unwanted(const struct transport *transport)
{
	struct expectation expected = expect(transport);

	if (world->source)
		return false;
	return may_tell(transport) &&
	       (expected.status >= 400 || (transport->follow_up && expected.status > 299) ||
		       (world->client->early && !expected.stream));
}

void check_transport_cancel(const struct transport *transport)
{
	const struct client *client = world->client;
	struct verdict verdict = judge(transport);

	if (!client_lives() || world->cutting || client->ended)
		return;
	MUST(!is_read_stream(transport) || !verdict.by_terminal,
		"a connection is closed behind the last word");
	if (is_unwanted(transport))
		return;
	if (is_read_stream(transport) && transport->head_told && (verdict.failed || verdict.other))
		return;
	check_time_out(transport);
}

void check_transport_finish(const struct transport *transport)
{
	struct verdict verdict = judge(transport);

	MUST(is_read_stream(transport) && transport->head_told,
		"what is no stream ends when the upstream says so");
	MUST(verdict.by_terminal || verdict.failed || (verdict.other && may_tell(transport)),
		"a stream is left before its last word");
	count(COUNT_FINISHED);
}

/* ---- The event log. */

static void check_dashboard(const struct transport *transport, const char *dashboard)
{
	if (str_same(dashboard, "invisible"))
		MUST(transport->facts.bytes_sent == 0, "invisible, although bytes were sent");
	else if (str_same(dashboard, "visible"))
		MUST(transport->facts.answer_begun, "visible, although nothing was answered");
	else
		MUST(transport->facts.bytes_sent > 0 && !transport->head_told,
			"unknown, although nothing was sent or an answer came");
}

/* What the line says of the answer is what the answer was. */
static void check_status(const struct transport *transport, const struct event *event)
{
	struct expectation expected = expect(transport);

	if (expected.unsure || world->source || world->cutting || !client_lives())
		return;
	if (!event->status) {
		MUST(expected.fails, "a whole answer is taken for none");
		return;
	}
	MUST(!expected.fails, "half an answer is taken for a whole one");
	MUST(event->status == expected.status, "status %d, it is %d", event->status,
		expected.status);
	MUST(may_tell(transport), "an answer is judged too early");
	if (expected.own || expected.status != transport->script->status)
		count(COUNT_SOFT_ERROR);
}

static void count_failure(const struct transport *transport, const struct event *event)
{
	struct verdict verdict = judge(transport);

	if (event->status >= 400 && is_read_stream(transport))
		count(verdict.failed ? COUNT_STREAM_ERROR_HELD : COUNT_NO_STREAM_HELD);
	else if (event->status == 0 && transport == world->source && is_read_stream(transport) &&
		 (verdict.failed || verdict.other))
		count(verdict.failed ? COUNT_STREAM_ERROR_TOLD : COUNT_NO_STREAM_TOLD);
	else if (event->retry_in_ms >= 0 && is_read_stream(transport) && transport->head_told)
		count(COUNT_HELD_STREAM_RETRIED);
	else if (event->status == 0 && transport->fate == FATE_ENDED && !world->source &&
		 !is_read_stream(transport))
		count(COUNT_CUT_JSON);
}

static void check_attempt_event(const struct event *event)
{
	struct transport *transport = world_last_transport();

	MUST(transport, "the line of an attempt that never was");
	MUST(++transport->attempt_events == 1, "attempt %zu has two lines", transport->index);
	MUST(event->retry_in_ms < 0 || !world->source, "a retry behind the commit point");
	MUST(event->retry_in_ms < 0 || world->now + event->retry_in_ms < world->deadline,
		"a wait of %lld ms that ends after the deadline", (long long)event->retry_in_ms);
	MUST(event->attempt == made_attempts(), "attempt %d has the number %d", made_attempts(),
		event->attempt);
	MUST(event->failure && event->failure->error != ERROR_NONE,
		"the line of an attempt that did not fail");
	MUST(event->failure->phase != PHASE_NONE, "a failure in no phase");
	MUST(event->status == 0 || event->status >= 400 ||
			(world->client->early && !expect(transport).stream),
		"the line of an attempt that went well");
	MUST(event->status < 400 || world->source || transport->ever_paused ||
			transport->script->status < 400 ||
			world->now <= transport->head_at + HELD_ERROR_MS + world->lag,
		"an error's body is waited for too long");
	check_status(transport, event);
	check_outcome(transport, event);
	count_failure(transport, event);
	check_dashboard(transport, event->dashboard);
	transport->retry_in_ms = event->retry_in_ms;
	transport->event_at = world->now;
	transport->event_status = event->status;
	transport->replaced = str_same(event->reason, "replaced");
	if (event->retry_in_ms >= 0)
		world->waits_told += event->retry_in_ms;
	else if (client_lives())
		check_given_up(transport, event->status);
}

static void check_request_event(const struct event *event)
{
	const struct client *client = world->client;
	enum error error = event->failure ? event->failure->error : ERROR_NONE;

	MUST(++world->request_events == 1, "the request has two lines");
	MUST(event->status == client->status, "the line says %d, the client got %d", event->status,
		client->status);
	MUST(world->scenario->refusal || event->attempts == made_attempts(),
		"the line says %d attempts, there were %d", event->attempts, made_attempts());
	MUST(event->wait_ms == world->waits_told + world->queueing.queued_ms,
		"the line says %lld ms of waits, told were %lld, and %lld in the queue",
		(long long)event->wait_ms, (long long)world->waits_told,
		(long long)world->queueing.queued_ms);
	MUST(event->total_ms == world->now - world->began, "a wrong total_ms");
	if (client->gone && client->was_broken)
		MUST(error != ERROR_CLIENT_CLOSED, "what broke the answer is forgotten");
	else if (client->gone)
		MUST(error == ERROR_CLIENT_CLOSED, "the client left, the line does not say so");
	else if (client->done && client->ended && world->source && world->expected.status < 400)
		MUST(error == ERROR_NONE, "all went well, the line says %s", error_name(error));
	else
		MUST(error != ERROR_NONE, "it failed, the line does not say so");
}

void check_event(const struct event *event)
{
	if (str_same(event->event, "attempt"))
		check_attempt_event(event);
	else if (str_same(event->event, "request"))
		check_request_event(event);
	else
		broken("an event named %s", event->event);
}

/* ---- The client. */

static msec_t last_moment(void)
{
	const struct transport *transport = world_last_transport();
	msec_t deadline = world->deadline;

	/* A drain shortens the waits, and leaves the attempt that runs to its cut. */
	if (transport && transport->deadline > deadline)
		deadline = transport->deadline;
	return deadline + world->lag;
}

/* Whose answer it is: of a create that met a 409 what the GET found, else the 409. */
static struct transport *find_source(void)
{
	struct transport *last = world_last_transport();
	struct expectation expected = expect(last);
	bool good = !expected.fails && expected.status >= 200 && expected.status <= 299;

	if (!last->follow_up)
		return last;
	count(good ? COUNT_CREATED_READ : COUNT_CREATED_CONFLICT);
	return good ? last : world->transports[last->index - 1];
}

static void count_commit(const struct transport *source)
{
	bool held = is_read_stream(source) && world->expected.stream;

	if (held && world->scenario->profile.options.hold_stream)
		count(judge(source).kind == STREAM_WHOLE ? COUNT_HELD_STREAM_WHOLE
							 : COUNT_HELD_STREAM_PASSED);
	else if (held && world->scenario->profile.options.hold_first_event && !judge(source).speaks)
		count(COUNT_ONLY_COMMENTS_PASSED);
	if (world->expected.own)
		count(COUNT_OWN_STATUS);
	if (world->client->early)
		count(COUNT_EARLY_THEN_STREAM);
	if (source->script->status == 409 && source->index == 0 &&
		world->scenario->request_class == CLASS_CREATE_WITH_ID)
		count(COUNT_FIRST_CONFLICT);
}

/* A create's own conflict is not handed on before it was asked what it made. */
static void check_conflict(const struct transport *source)
{
	bool own = world->scenario->request_class == CLASS_CREATE_WITH_ID && source->index > 0 &&
		   source->script->status == 409 && source->fate == FATE_ENDED;

	MUST(!own || source != world_last_transport() || !world->scenario->has_created ||
			source->follow_up || world->now >= world->deadline,
		"a conflict that an earlier attempt may have caused is handed on");
}

void check_commit(void)
{
	struct transport *source;

	MUST(!world->source, "it is committed twice");
	MUST(world_last_transport(), "an answer without an attempt");
	world->source = source = find_source();
	if (source == world_last_transport() && !source->attempt_events && !source->follow_up)
		note_own_success();
	world->expected = expect(source);
	world->client->last_sign = world->client->silent_since = world->now;
	MUST(!world->expected.fails || world->expected.unsure, "what is no answer is handed on");
	MUST(may_tell(source), "an answer is handed on too early");
	MUST(!world->client->early || world->expected.stream,
		"what is no stream is handed on as one");
	check_conflict(source);
	count_commit(source);
}

/* Nothing of an upstream's has come, and the client would give up. */
static void check_early_head(const struct client *client)
{
	msec_t first = world->scenario->signs.first_ms;

	MUST(waits(), "a head out of place");
	MUST(first != MSEC_NEVER && world->now >= world->began + first, "a head too early");
	MUST(client->status == 200 && !client->framed && !client->from_upstream &&
			str_begins(client->type, "text/event-stream"),
		"an early head that is none of a stream's");
	count(COUNT_EARLY_HEAD);
}

static void check_answer_head(const struct client *client)
{
	struct expectation *expected = &world->expected;
	bool events = str_begins(client->type, "text/event-stream");

	MUST(client->attempts == made_attempts(), "X-Andiron-Attempts: %d, there were %d",
		client->attempts, made_attempts());
	if (expected->unsure) { /* half of what decides: either is right */
		expected->status = client->status;
		expected->stream = client->status < 400;
	}
	MUST(!expected->stream || events, "a stream that does not say so");
	MUST(!expected->stream || !client->framed || world->source->fate != FATE_RUNNING,
		"a stream that runs has a length");
	if (expected->unsure)
		return;
	MUST(client->from_upstream == !expected->own, "it does not say whose status it is");
	MUST(client->status == expected->status, "%d became %d", expected->status, client->status);
	MUST(!(expected->rendered ||
		     (expected->own && expected->at && judge(world->source).failed)) ||
			str_same(client->type, "application/json"),
		"an error in JSON that does not say so");
}

void check_client_start(const struct client *client)
{
	check_turned_down(client);
	MUST(world->now <= last_moment(), "the answer begins %lld ms after the deadline",
		(long long)(world->now - last_moment()));
	if (client->early)
		check_early_head(client);
	else if (world->source)
		check_answer_head(client);
}

/* ---- What the client gets. */

/* andiron's own comments stand between events, fill a silence, and are comments. */
static void check_comment(struct client *client, const char *bytes, size_t len)
{
	const struct signs *signs = &world->scenario->signs;
	bool first = client->last_sign == 0;
	msec_t silence = world->source ? signs->running_ms : signs->waiting_ms;

	MUST(str_ends(bytes, "\n\n"), "a comment without its end");
	MUST(memchr(bytes, '\n', len) == bytes + len - 2, "a comment that is none");
	MUST(first || (silence != MSEC_NEVER && world->now >= client->last_sign + silence),
		"a comment too early");
	client->last_sign = client->silent_since = world->now;
	if (!world->source) {
		count(COUNT_COMMENT_WAITING);
		return;
	}
	MUST(is_read_stream(world->source), "a comment in what is no stream");
	MUST(is_between_events(world->source, client->body.len), "a comment within an event");
	MUST(client->queued == 0, "a comment for a client that has not yet read what there is");
	count(COUNT_COMMENT_RUNNING);
}

static void check_upstream_bytes(const struct client *client, const char *bytes, size_t len)
{
	const struct expectation *expected = &world->expected;
	const struct transport *source = world->source;
	size_t at = expected->at + client->body.len;

	if (expected->rendered || expected->unsure)
		return;
	/* The LF of a last CR LF is given although it has not come yet. */
	MUST(at + len <= source->delivered + (bytes[len - 1] == '\n'),
		"more bytes than the upstream sent");
	MUST(memcmp(source->script->body.data + at, bytes, len) == 0,
		"other bytes than the upstream's, behind byte %zu", at);
}

void check_client_send(struct client *client, const char *bytes, size_t len)
{
	static const char own[] = ": andiron";
	size_t most = QUEUE_LIMIT + (4 << 20) + (512 << 10); /* + held + a piece and an event */

	if (len >= strlen(own) && memcmp(bytes, own, strlen(own)) == 0) {
		_cleanup_str_ struct str text = STR_NULL;

		str_add_bytes(&text, bytes, len);
		check_comment(client, text.data, len);
		return;
	}
	MUST(takes_body(client->status), "a body where there may be none");
	MUST(client->queued + len <= most, "a slow client lets the queue grow");
	/* Behind an early head a byte order mark is left out: counted as if it had come. */
	if (world->source && client->early && client->body.len == 0 &&
		str_begins(world->source->script->body.data, "\xef\xbb\xbf"))
		str_add(&client->body, "\xef\xbb\xbf");
	if (world->source)
		check_upstream_bytes(client, bytes, len);
	client->last_sign = client->silent_since = world->now;
	str_add_bytes(&client->body, bytes, len);
}

/* ---- After every event. */

static size_t running(void)
{
	size_t n = 0;

	for (size_t i = 0; i < world->transport_count; i++)
		n += world->transports[i]->fate == FATE_RUNNING;
	return n;
}

static void check_backpressure(const struct transport *transport)
{
	const struct client *client = world->client;

	if (client->state != CLIENT_ANSWERING || transport->fate != FATE_RUNNING)
		return;
	MUST(client->queued <= QUEUE_LIMIT || transport->paused,
		"%zu bytes wait for the client and the upstream goes on", client->queued);
	MUST(client->queued > 0 || !transport->paused,
		"the client has all and the upstream still waits");
}

/* Every event goes out as soon as it is whole, of a very large one each piece. */
static void check_promptness(const struct transport *transport)
{
	const struct client *client = world->client;
	struct verdict verdict = judge(transport);

	if (client->state != CLIENT_ANSWERING || !world->expected.stream)
		return;
	MUST(client->body.len >= verdict.low, "a whole event is held back");
	MUST(transport->fate != FATE_RUNNING || !(verdict.failed || verdict.other),
		"the stream has failed, and nobody takes note");
	MUST(verdict.failed || verdict.other ||
			client->body.len + EVENT_LIMIT >= transport->delivered,
		"%zu bytes of an event are held back", transport->delivered - client->body.len);
}

/* No silence lasts longer than the client can bear. */
static void check_signs(void)
{
	const struct signs *signs = &world->scenario->signs;
	struct client *client = world->client;
	bool waiting = waits();
	msec_t silence = waiting ? signs->waiting_ms : signs->running_ms,
	       since = client->silent_since;

	if (waiting && !client->early) {
		silence = signs->first_ms;
		since = world->began;
	} else if (!waiting &&
		   (!is_state("RELAYING") || !world->expected.stream || client->ended)) {
		return;
	} else if (!waiting &&
		   (client->queued || !is_between_events(world->source, client->body.len))) {
		client->silent_since = world->now; /* there is no place for a comment */
		return;
	}
	MUST(silence == MSEC_NEVER || world->now <= since + silence + world->lag,
		"a silence of %lld ms, the client can bear %lld", (long long)(world->now - since),
		(long long)silence);
}

void check_turn(void)
{
	const struct transport *transport = world_last_transport();
	size_t n = running();

	MUST(world->states_entered > 0 || n == 0, "exchange.c no longer says its states at debug");
	MUST(n <= 1, "%zu attempts run at once", n);
	if (is_state("TRYING")) {
		MUST(n == 1, "TRYING, and nothing is tried");
		MUST(!must_be_told(transport), "an answer is held back");
		MUST(transport->follow_up || transport->head_told || world->memory.used == 0,
			"an answer is held that nobody will get");
	} else if (is_state("RELAYING")) {
		MUST(n == 1 || world->client->ended, "RELAYING, and nothing comes");
	} else {
		MUST(n == 0, "an attempt is left running");
	}
	if (!world->freed)
		check_queue();
	if (!client_lives())
		return;
	check_signs();
	if (world->source) {
		check_backpressure(world->source);
		check_promptness(world->source);
	}
}

/* ---- The end. */

static void check_nothing_left(void)
{
	MUST(world->begun && world->ended && world->freed, "the exchange did not end: %s",
		world->state);
	MUST(world->timers == 0, "%d timers are left", world->timers);
	MUST(world->memory.used == 0, "memory is not given back");
	MUST(world->requests == 0, "request_fini() is missing");
	MUST(world->config->references == 1, "%d references to the configuration are left",
		world->config->references - 1);
	MUST(world->evbuffers == 0, "%ld allocations of libevent are left", world->evbuffers);
	MUST(running() == 0, "a transport is left");
	MUST(world->request_events == 1, "the request has no line");
}

static void check_lines(const struct transport *transport)
{
	const struct client *client = world->client;
	bool went_well =
		transport == world->source && client->ended && world->expected.status < 400;

	if (went_well)
		MUST(transport->attempt_events == 0, "a line for an attempt that went well");
	else
		MUST(transport->attempt_events == 1 ||
				(transport->follow_up && transport->script->status < 400),
			"attempt %zu failed without a line", transport->index);
}

/* The error event that ends what was begun, behind an empty line if half an event has gone out. */
static void check_last_word(bool half)
{
	const char *word = str_text(&world->client->last_word);

	MUST(str_begins(word, "\n\n") == half,
		half ? "half an event runs into the error event" : "an empty line too much");
	MUST(str_begins(word + (half ? 2 : 0), "event: error\ndata: {"), "no error event");
	MUST(str_ends(word, "}\n\n"), "an error event without its end");
	MUST(strstr(word, "\"code\":\"\"") == NULL, "an error event of nothing");
}

static void check_broken_stream(const struct verdict *verdict)
{
	const struct client *client = world->client;
	const struct transport *transport = world->source;
	bool huge = transport->delivered > verdict->high &&
		    transport->delivered - verdict->high > EVENT_LIMIT;
	bool half = client->body.len > verdict->high;

	MUST(verdict->kind != STREAM_WHOLE || verdict->failed || verdict->other,
		"a stream that was whole is broken");
	MUST(client->body.len >= verdict->low && (huge || !half),
		"a broken stream of %zu bytes, its events ended at %zu", client->body.len,
		verdict->high);
	check_last_word(half);
	if (verdict->failed && !world->was_cut)
		MUST(strstr(str_text(&client->last_word), transport->script->error_word),
			"the upstream's words are lost");
	count(COUNT_STREAM_BROKEN);
	if (half)
		count(COUNT_TORN);
}

static void check_ended_stream(const struct verdict *verdict)
{
	size_t len = world->client->body.len;

	MUST(verdict->kind != STREAM_CUT && !verdict->failed && !verdict->other,
		"a stream that was cut is ended as if it were whole");
	if (verdict->kind == STREAM_WHOLE)
		MUST(len >= verdict->low && len <= verdict->high,
			"a whole stream of %zu bytes, it had %zu", len, verdict->high);
	count(verdict->by_terminal ? COUNT_STREAM_WHOLE : COUNT_NO_TERMINAL_BUT_WHOLE);
}

static void check_relayed_stream(void)
{
	const struct client *client = world->client;
	struct verdict verdict = judge(world->source);

	if (client->ended)
		check_ended_stream(&verdict);
	else if (client->was_broken)
		check_broken_stream(&verdict);
	else
		MUST(!verdict.by_terminal, "a stream that was whole is not ended");
}

/* So many bytes are the whole answer; a held error's end is where it was judged. */
static bool is_whole_body(const struct client *client)
{
	const struct expectation *expected = &world->expected;
	const struct transport *source = world->source;

	if (expected->rendered)
		return strstr(str_text(&client->body), source->script->error_word) != NULL &&
		       str_begins(str_text(&client->body), "{\"error\":{");
	return client->body.len == (is_read_stream(source) ? expected->len : source->delivered);
}

static void check_relayed_body(void)
{
	const struct client *client = world->client;
	const struct transport *source = world->source;
	bool promised = source->script->says_length && takes_body(source->script->status);
	bool lacks = promised && source->delivered < source->script->body.len;
	bool whole = source->fate == FATE_FINISHED || (source->fate == FATE_ENDED && !lacks);

	if (client->ended) {
		MUST(whole, "an answer that was cut is ended as if it were whole");
		MUST(world->expected.unsure || !takes_body(client->status) || is_whole_body(client),
			"%zu bytes of %zu", client->body.len, world->expected.len);
		MUST(!client->framed || !takes_body(client->status) ||
				client->promised == (long long)client->body.len,
			"Content-Length is %lld, there are %zu bytes", client->promised,
			client->body.len);
		count(client->status >= 400 ? COUNT_STATUS_HANDED_BACK : COUNT_RELAYED_WHOLE);
	} else if (client->was_broken) {
		MUST(!whole, "an answer that was whole is broken");
		MUST(client->last_word.len == 0, "an error event in what is no stream");
		MUST(client->status >= 400 || client->ended_at <= last_moment(),
			"an answer is broken after its deadline");
		count(COUNT_BODY_BROKEN);
	}
}

static bool is_kept_back(void)
{
	const struct transport *last = world_last_transport();

	if (!last || (last->fate != FATE_ENDED && last->fate != FATE_FINISHED))
		return false;
	return !expect(last).fails && !expect(last).unsure;
}

static void check_own_answer(void)
{
	const struct client *client = world->client;

	MUST(!client->from_upstream, "andiron's own answer says that it is the upstream's");
	MUST(client->ended, "andiron's own answer has no end");
	MUST(client->promised >= 0, "andiron's own answer has no length");
	if (takes_body(client->status))
		MUST(client->promised == (long long)client->body.len &&
				strstr(str_text(&client->body), "\"andiron_error\""),
			"andiron's own answer is not whole");
	MUST(world->was_cut || world->scenario->refusal ||
			(world->draining && client->status == 503) || !is_kept_back(),
		"the upstream's answer is kept from the client");
	MUST(!world->scenario->refusal || !world->transport_count,
		"a refused request goes to the upstream");
	if (!world->was_cut)
		count(world->scenario->refusal ? COUNT_REFUSED : COUNT_GAVE_UP);
}

/* Behind an early head there is no status any more: what failed is an error event. */
static bool has_words(const struct transport *last)
{
	struct expectation expected = expect(last);
	bool whole = last->script->soft && last->delivered == last->script->body.len;

	return (whole || last->script->error_len) && !expected.fails && !expected.unsure &&
	       expected.status >= 400 && expected.len <= HELD_ERROR && !last->script->encoded;
}

static void check_early_failure(void)
{
	const struct client *client = world->client;
	const struct transport *last = world_last_transport();

	if (!client->was_broken)
		return; /* gone, or aborted */
	MUST(client->body.len == 0, "bytes of an attempt that failed");
	check_last_word(false);
	MUST(world->was_cut || client->ended_at <= last_moment(), "it fails after its deadline");
	count(COUNT_EARLY_THEN_FAILURE);
	if (!last || !has_words(last) || world->was_cut || world->draining)
		return;
	MUST(strstr(str_text(&client->last_word), last->script->error_word),
		"the upstream's words are lost");
	count(COUNT_EARLY_THEN_WORDS);
}

static void check_client(void)
{
	const struct client *client = world->client;

	MUST(client->done + client->gone + client->aborted == 1, "not exactly one end");
	MUST(!(client->ended && client->was_broken), "an answer is ended and broken");
	MUST(!client->done || client->ended || client->was_broken, "done without an end");
	if (world->source && world->expected.stream)
		check_relayed_stream();
	else if (world->source)
		check_relayed_body();
	else if (client->early)
		check_early_failure();
	else if (client->started)
		check_own_answer();
	if (client->gone)
		count(COUNT_GONE);
	if (world->was_cut)
		count(COUNT_CUT);
	if (client->aborted)
		count(COUNT_ABORTED);
	if (client->started && client->started_at >= world->deadline)
		count(COUNT_DEADLINE_ENDED);
}

void check_end(void)
{
	check_nothing_left();
	for (size_t i = 0; i < world->transport_count; i++)
		check_lines(world->transports[i]);
	check_client();
}
