/* Everything around the exchange, made up: what it calls is answered from the scenario, told to the
 * invariants and written into the trace. The linker takes a member of the layers' archives only for
 * a symbol that nobody has defined; so whoever fakes one function of an object file fakes all that
 * are used of it. */

#include <event2/event.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "net/timer.h"
#include "proxy/backends.h"
#include "proxy/exchange.h"
#include "proxy/server.h"

#include "sim.h"

/* ---- Clock, randomness, messages. */

enum { WALL_EPOCH_S = 1780000000 };

msec_t clock_mono(void)
{
	return world->now;
}

int64_t clock_wall_us(void)
{
	return WALL_EPOCH_S * INT64_C(1000000) + (world->now - world->began) * 1000;
}

void clock_render_rfc3339(int64_t wall_us, char *ret, size_t size)
{
	snprintf(ret, size, "%lld", (long long)wall_us);
}

void random_bytes(void *ret, size_t size)
{
	for (size_t i = 0; i < size; i++)
		((unsigned char *)ret)[i] = (unsigned char)rng_next(&world->rng);
}

/* The ends of the range are drawn often. */
double random_unit(void)
{
	size_t kind = rng_below(&world->rng, 10);

	if (kind < 2)
		return kind ? 0.999999999 : 0.0;
	return (double)(rng_next(&world->rng) >> 11) * 0x1.0p-53;
}

const char *const log_level_names[] = {"error", "warning", "info", "debug", NULL};

void log_set_level(enum log_level level)
{
	(void)level;
}

void log_set_writer(struct writer *writer)
{
	(void)writer;
}

static void on_ending(void *arg);

void world_visit(const char *state)
{
	const struct scenario *scenario = world->scenario;
	int index = state_index(state);

	if (index < 0)
		return;
	world->state_visits[index]++;
	for (size_t i = 0; i < scenario->ending_count; i++) {
		const struct ending *ending = &scenario->endings[i];

		if (!ending->state || !str_same(ending->state, state) ||
			world->state_visits[index] != ending->nth)
			continue;
		if (ending->soon)
			task_start_first(&world->endings[i]);
		else
			task_start(&world->endings[i], ending->delay_ms);
	}
}

static void enter_state(const char *state)
{
	check_state(world->state, state);
	snprintf(world->state, sizeof(world->state), "%.23s", state);
	if (str_same(state, "RELAYING"))
		check_commit();
	world_visit(state);
}

/* exchange.c's enter() says each step at debug: this is how the simulation knows its state. */
static void note_state(const char *line)
{
	const char *next = strstr(line, " -> ");

	if (!next)
		return;
	trace("-> %s", next + 4);
	world->states_entered++;
	enter_state(next + 4);
}

static void log_any(const char *format, va_list args)
{
	char line[400];

	vsnprintf(line, sizeof(line), format, args);
	note_state(line);
}

#define LOG_FUNCTION(name)                                                                         \
	void name(const char *format, ...)                                                         \
	{                                                                                          \
		va_list args;                                                                      \
                                                                                                   \
		va_start(args, format);                                                            \
		log_any(format, args);                                                             \
		va_end(args);                                                                      \
	}

LOG_FUNCTION(log_error)
LOG_FUNCTION(log_warning)
LOG_FUNCTION(log_info)
LOG_FUNCTION(log_debug)

/* ---- Timers. */

struct timer {
	struct task task;
	timer_on_fire *on_fire;
	void *arg;
};

static void timer_on_task(void *arg)
{
	struct timer *timer = arg;

	timer->on_fire(timer->arg);
}

struct timer *timer_new(struct event_base *base, timer_on_fire *on_fire, void *arg)
{
	struct timer *timer = xcalloc(1, sizeof(*timer));

	(void)base;
	task_init(&timer->task, timer_on_task, timer);
	timer->on_fire = on_fire;
	timer->arg = arg;
	world->timers++;
	return timer;
}

void timer_free(struct timer *timer)
{
	if (!timer)
		return;
	world->timers--;
	task_stop(&timer->task);
	free(timer);
}

void timer_start(struct timer *timer, msec_t delay_ms)
{
	task_start(&timer->task, delay_ms);
}

void timer_stop(struct timer *timer)
{
	task_stop(&timer->task);
}

/* ---- The transport: plays a script. */

struct transport *world_last_transport(void)
{
	return world->transport_count ? world->transports[world->transport_count - 1] : NULL;
}

static bool runs(const struct transport *transport)
{
	return transport->fate == FATE_RUNNING;
}

static void end_transport(struct transport *transport, enum fate fate)
{
	transport->fate = fate;
	transport->ended_at = world->now;
	task_stop(&transport->task);
}

static void progress(struct transport *transport, enum phase phase)
{
	transport->phase = phase;
	transport->progress = world->now;
	transport->handler->on_progress(transport->arg, phase);
}

static void add_length(struct fields *fields, size_t len)
{
	char text[24];

	snprintf(text, sizeof(text), "%zu", len);
	fields_add(fields, "Content-Length", text);
}

static void do_head(struct transport *transport)
{
	const struct script *script = transport->script;
	struct fields fields = FIELDS_NULL;
	struct transport_head head = {script->status, "Reason", &fields};

	fields_add(&fields, "Content-Type", script->type);
	if (script->says_length)
		add_length(&fields, script->body.len);
	if (script->chunked)
		fields_add(&fields, "Transfer-Encoding", "chunked");
	if (script->encoded)
		fields_add(&fields, "Content-Encoding", "gzip");
	if (script->retry_after)
		fields_add(&fields, "Retry-After", script->retry_after);
	if (script->retry_after_ms)
		fields_add(&fields, "retry-after-ms", script->retry_after_ms);
	fields_add(&fields, "X-Andiron-Source", "a liar");
	transport->facts.answer_begun = transport->head_told = true;
	transport->phase = PHASE_BODY;
	transport->progress = transport->head_at = world->now;
	transport->handler->on_head(transport->arg, &head);
	fields_fini(&fields);
}

static void do_body(struct transport *transport, size_t len)
{
	struct evbuffer *piece;
	const char *bytes = transport->script->body.data + transport->delivered;

	progress(transport, PHASE_BODY);
	if (!runs(transport))
		return;
	piece = evbuffer_new();
	evbuffer_add(piece, bytes, len);
	if (rng_chance(&world->rng, 20)) /* chains of an evbuffer are of any size */
		evbuffer_expand(piece, 5000);
	transport->delivered += len;
	transport->handler->on_body(transport->arg, piece);
	evbuffer_free(piece);
}

static void do_failure(struct transport *transport, const struct step *step)
{
	struct failure failure;

	failure_set(&failure, step->phase, step->error, "scripted");
	transport->phase = step->phase;
	transport->error = step->error;
	end_transport(transport, FATE_FAILED);
	transport->in_last_callback = true;
	transport->handler->on_failure(transport->arg, &failure);
	transport->in_last_callback = false;
}

static void do_end(struct transport *transport)
{
	end_transport(transport, FATE_ENDED);
	transport->in_last_callback = true;
	transport->handler->on_end(transport->arg);
	transport->in_last_callback = false;
}

static void do_step(struct transport *transport, const struct step *step)
{
	static const char *const names[] = {
		"phase", "sent", "sent all", "first byte", "head", "body", "end", "fail"};

	trace("upstream %zu: %s %zu %s%s%s", transport->index, names[step->kind], step->bytes,
		phase_name(step->phase), step->error ? " " : "", error_name(step->error));
	switch (step->kind) {
	case STEP_PHASE:
		transport->phase = step->phase;
		if (!step->quiet)
			progress(transport, step->phase);
		break;
	case STEP_SENT:
		transport->facts.bytes_sent += step->bytes;
		progress(transport, PHASE_WRITE);
		break;
	case STEP_SENT_ALL:
		transport->facts.bytes_sent = world->scenario->request_bytes;
		progress(transport, PHASE_FIRST_BYTE);
		break;
	case STEP_BYTE:
		transport->facts.answer_begun = true;
		break;
	case STEP_HEAD:
		do_head(transport);
		break;
	case STEP_BODY:
		do_body(transport, step->bytes);
		break;
	case STEP_END:
		do_end(transport);
		break;
	case STEP_FAIL:
		do_failure(transport, step);
		break;
	}
}

static void schedule_step(struct transport *transport)
{
	const struct script *script = transport->script;

	if (transport->next_step < script->step_count)
		task_start(&transport->task, script->steps[transport->next_step].delay_ms);
}

static void transport_on_task(void *arg)
{
	struct transport *transport = arg;
	const struct step *step = &transport->script->steps[transport->next_step];

	if (transport->paused && step->kind >= STEP_BODY) {
		transport->blocked = true;
		return;
	}
	transport->next_step++;
	do_step(transport, step);
	if (runs(transport))
		schedule_step(transport);
}

/* What stands for the resource that a create has made. */
#define CREATED_TARGET "/created"

static void must_be_request(const struct transport_request *request, bool follow_up)
{
	const struct scenario *scenario = world->scenario;
	size_t body = evbuffer_get_length(request->body);

	MUST(str_same(request->method, follow_up ? "GET" : scenario->method), "a %s of %s",
		request->method, request->target);
	MUST(follow_up || str_same(request->target, scenario->path), "another target");
	MUST(follow_up == (body == 0), "a body of %zu bytes", body);
	MUST(!follow_up == (fields_get(request->fields, "Content-Length") != NULL),
		"other fields than the request's");
}

struct transport *transport_start(struct pool *pool, const struct transport_request *request,
	const struct transport_handler *handler, void *arg)
{
	struct transport *transport = xcalloc(1, sizeof(*transport));
	size_t index = world->transport_count;

	(void)pool;
	MUST(index < MAX_TRANSPORTS, "attempts without end");
	transport->script = scenario_script(world->scenario, index);
	transport->handler = handler;
	transport->arg = arg;
	transport->index = index;
	transport->max_idle_ms = request->max_idle_ms;
	transport->began = transport->progress = world->now;
	transport->deadline = world->deadline;
	transport->retry_in_ms = transport->event_at = -1;
	transport->follow_up = str_same(request->target, CREATED_TARGET);
	transport->facts.reused = transport->script->reused && request->max_idle_ms >= 0;
	transport->facts.dns_ms = transport->facts.connect_ms = transport->facts.tls_ms = -1;
	transport->facts.write_ms = transport->facts.first_byte_ms = -1;
	snprintf(transport->facts.address, sizeof(transport->facts.address), "192.0.2.1:443");
	task_init(&transport->task, transport_on_task, transport);
	trace("transport_start %zu: %s %s: %s%s", index, request->method, request->target,
		transport->script->name, transport->facts.reused ? " (reused)" : "");
	must_be_request(request, transport->follow_up);
	check_transport_start(transport);
	world->transports[world->transport_count++] = transport;
	schedule_step(transport);
	return transport;
}

static void must_run(const struct transport *transport, const char *what)
{
	MUST(runs(transport), "%s on transport %zu, which has ended", what, transport->index);
}

void transport_cancel(struct transport *transport)
{
	must_run(transport, "transport_cancel");
	trace("transport_cancel %zu", transport->index);
	check_transport_cancel(transport);
	end_transport(transport, FATE_CANCELLED);
}

void transport_finish(struct transport *transport)
{
	must_run(transport, "transport_finish");
	trace("transport_finish %zu", transport->index);
	check_transport_finish(transport);
	end_transport(transport, FATE_FINISHED);
}

void transport_pause(struct transport *transport)
{
	must_run(transport, "transport_pause");
	trace("transport_pause %zu", transport->index);
	transport->paused = transport->ever_paused = true;
	count(COUNT_PAUSED);
}

void transport_resume(struct transport *transport)
{
	must_run(transport, "transport_resume");
	trace("transport_resume %zu", transport->index);
	transport->paused = false;
	transport->progress = world->now;
	if (transport->blocked)
		task_start(&transport->task, 0);
	transport->blocked = false;
}

static void must_be_valid(const struct transport *transport, const char *what)
{
	MUST(runs(transport) || transport->in_last_callback, "%s of transport %zu, which has ended",
		what, transport->index);
}

enum phase transport_phase(const struct transport *transport)
{
	must_be_valid(transport, "transport_phase");
	return transport->phase;
}

const struct transport_facts *transport_facts(const struct transport *transport)
{
	must_be_valid(transport, "transport_facts");
	return &transport->facts;
}

/* ---- The client. */

static void client_over(struct client *client)
{
	client->state = CLIENT_OVER;
	task_stop(&client->drain);
	task_stop(&client->stall);
	task_stop(&client->turn);
}

static void client_leave(struct client *client, const char *why)
{
	trace("client gone: %s", why);
	client_over(client);
	client->gone = true;
	client->handler->on_gone(client->arg, why);
}

static void client_is_done(struct client *client)
{
	trace("client done");
	client_over(client);
	client->done = true;
	client->handler->on_done(client->arg);
}

static void client_on_turn(void *arg)
{
	client_is_done(arg);
}

static void client_on_stall(void *arg)
{
	client_leave(arg, "the client took no byte for send_timeout");
}

static void expect_drain(struct client *client)
{
	const struct scenario *scenario = world->scenario;

	if (client->taken >= scenario->client.stalls_at)
		client->stalled = true;
	if (client->stalled)
		task_start(&client->stall, client->send_timeout_ms);
	else
		task_start(&client->drain, rng_between(&world->rng, scenario->client.drain_low,
						   scenario->client.drain_high));
}

/* All has been taken: what evhttp tells, in its order. */
static void on_empty(struct client *client)
{
	if (client->state == CLIENT_BREAKING) {
		task_start(&client->turn, 0);
		return;
	}
	client->handler->on_drained(client->arg);
	if (client->state == CLIENT_ENDING)
		client_is_done(client);
}

static void client_on_drain(void *arg)
{
	struct client *client = arg;
	size_t gulp = world->scenario->client.gulp;
	size_t took = client->queued < gulp ? client->queued : gulp;

	client->queued -= took;
	client->taken += took;
	trace("client took %zu, %zu left", took, client->queued);
	if (client->queued)
		expect_drain(client);
	else
		on_empty(client);
}

static void queue(struct client *client, size_t len)
{
	client->queued += len;
	if (client->queued && !client->drain.queued && !client->stall.queued)
		expect_drain(client);
}

struct client *client_new(struct evhttp_request *request, struct accepted_list *list,
	msec_t send_timeout_ms, const struct client_handler *handler, void *arg)
{
	struct client *client = xcalloc(1, sizeof(*client));

	(void)request;
	(void)list;
	MUST(!world->client, "client_new twice");
	client->handler = handler;
	client->arg = arg;
	client->send_timeout_ms = send_timeout_ms;
	client->promised = -1;
	task_init(&client->drain, client_on_drain, client);
	task_init(&client->stall, client_on_stall, client);
	task_init(&client->turn, client_on_turn, client);
	world->client = client;
	return client;
}

static void must_live(const struct client *client, const char *what)
{
	MUST(client && client->state != CLIENT_OVER, "%s on a client that is gone", what);
}

struct received client_take(struct client *client)
{
	must_live(client, "client_take");
	return (struct received){.head = NULL};
}

bool client_takes_body(const struct client *client, int status)
{
	must_live(client, "client_takes_body");
	return !str_same(world->scenario->method, "HEAD") && status != 204 && status != 304;
}

size_t client_queued(const struct client *client)
{
	must_live(client, "client_queued");
	return client->queued;
}

static long long number(const struct fields *fields, const char *name)
{
	const char *value = fields_get(fields, name);

	return value ? strtoll(value, NULL, 10) : -1;
}

void client_start(struct client *client, int status, const char *reason,
	const struct fields *fields, bool last)
{
	const char *source = fields_get(fields, "X-Andiron-Source");

	(void)reason;
	must_live(client, "client_start");
	MUST(client->state == CLIENT_WAITING, "client_start twice");
	client->state = CLIENT_ANSWERING;
	client->started = true;
	client->started_at = world->now;
	client->status = status;
	client->from_upstream = source && str_same(source, "upstream");
	client->attempts = (int)number(fields, "X-Andiron-Attempts");
	client->promised = number(fields, "Content-Length");
	client->framed = client->promised >= 0;
	client->retry_after = number(fields, "Retry-After");
	snprintf(client->should_retry, sizeof(client->should_retry), "%s",
		fields_count(fields, "x-should-retry") ? fields_get(fields, "x-should-retry") : "");
	client->early = !str_same(world->state, "RELAYING") && !str_same(world->state, "ANSWERING");
	snprintf(client->type, sizeof(client->type), "%s",
		fields_count(fields, "Content-Type") ? fields_get(fields, "Content-Type") : "");
	trace("client_start %d from %s, length %lld%s", status, source ? source : "(nobody)",
		client->promised, last ? ", last" : "");
	MUST(fields_count(fields, "X-Andiron-Source") <= 1, "two X-Andiron-Source");
	MUST(fields_count(fields, "Content-Length") <= 1, "two Content-Length");
	MUST(fields_count(fields, "Retry-After") <= 1, "two Retry-After");
	MUST(fields_count(fields, "x-should-retry") <= 1, "two x-should-retry");
	MUST(last || !world->draining, "an answer that keeps its connection while draining");
	check_client_start(client);
	queue(client, 200);
}

void client_send(struct client *client, struct evbuffer *piece)
{
	size_t len = evbuffer_get_length(piece);

	must_live(client, "client_send");
	MUST(client->state == CLIENT_ANSWERING, "client_send outside of an answer");
	check_client_send(client, (const char *)evbuffer_pullup(piece, -1), len);
	evbuffer_drain(piece, len);
	queue(client, len);
}

void client_end(struct client *client)
{
	must_live(client, "client_end");
	MUST(client->state == CLIENT_ANSWERING, "client_end outside of an answer");
	trace("client_end after %zu bytes", client->body.len);
	client->state = CLIENT_ENDING;
	client->ended = true;
	client->ended_at = world->now;
	if (!client->framed)
		queue(client, 5); /* the last chunk */
	if (client->queued == 0) {
		count(COUNT_DONE_INSIDE_END);
		client_is_done(client);
	}
}

void client_break(struct client *client, const char *last_bytes)
{
	must_live(client, "client_break");
	MUST(client->state == CLIENT_ANSWERING, "client_break outside of an answer");
	trace("client_break after %zu bytes: %.60s", client->body.len, last_bytes);
	client->state = CLIENT_BREAKING;
	client->was_broken = true;
	client->ended_at = world->now;
	str_add(&client->last_word, last_bytes);
	if (!client->framed)
		queue(client, strlen(last_bytes) + 4);
	if (client->queued == 0)
		task_start(&client->turn, 0);
}

void client_abort(struct client *client)
{
	must_live(client, "client_abort");
	trace("client_abort");
	client_over(client);
	client->aborted = true;
}

/* ---- The server. */

static struct task reaper;

static void server_on_reaper(void *arg)
{
	struct exchange *exchange = arg;

	trace("exchange freed");
	check_queue(); /* nothing of it is left at the upstream */
	world->freed = true;
	exchange_free(exchange);
}

struct event_base *server_base(const struct server *server)
{
	(void)server;
	return NULL;
}

struct backends *server_backends(const struct server *server)
{
	(void)server;
	return NULL;
}

struct backends *backends_ref(struct backends *backends)
{
	return backends;
}

void backends_unref(struct backends *backends)
{
	(void)backends;
}

struct config *backends_config(const struct backends *backends)
{
	(void)backends;
	return world->config;
}

struct accepted_list *server_accepted(const struct server *server)
{
	(void)server;
	return NULL;
}

struct budget *server_memory(const struct server *server)
{
	(void)server;
	return &world->memory;
}

struct event_log *server_log(const struct server *server)
{
	(void)server;
	return NULL;
}

struct metrics *server_metrics(const struct server *server)
{
	(void)server;
	return NULL;
}

struct pool *backends_pool(const struct backends *backends, size_t index)
{
	(void)backends;
	(void)index;
	return NULL;
}

struct mailbox *server_mailbox(const struct server *server)
{
	(void)server;
	return crowd_mailbox();
}

struct upstream *backends_upstream(const struct backends *backends, size_t index)
{
	(void)backends;
	(void)index;
	budget_earn();
	return world->upstream;
}

int server_worker(const struct server *server)
{
	(void)server;
	return 0;
}

bool server_is_draining(const struct server *server)
{
	(void)server;
	return world->draining;
}

msec_t server_drains_until(const struct server *server)
{
	(void)server;
	return MSEC_NEVER; /* the one of the simulation is there when its drain begins */
}

double server_random(struct server *server)
{
	(void)server;
	return random_unit();
}

void server_on_exchange_begun(struct server *server, struct exchange *exchange)
{
	(void)server;
	MUST(!world->begun, "an exchange has begun twice");
	world->begun = true;
	world->exchange = exchange;
}

void server_on_exchange_ended(struct server *server, struct exchange *exchange)
{
	(void)server;
	MUST(world->exchange == exchange && !world->ended, "an exchange has ended twice");
	trace("exchange ended");
	world->ended = true;
	world->exchange = NULL;
	task_init(&reaper, server_on_reaper, exchange);
	task_start(&reaper, 0);
}

/* ---- The request, from the scenario. */

static void refuse(const struct scenario *scenario, struct refusal *ret)
{
	ret->status = scenario->refusal;
	ret->error = ERROR_HTTP_REQUEST_DENIED;
	str_add(&ret->message, "andiron: refused by the scenario");
}

void request_init(struct request *request, const struct received *from, const struct config *config,
	struct budget *memory, struct refusal *ret_refusal)
{
	const struct scenario *scenario = world->scenario;
	struct str body = STR_NULL;

	(void)from;
	*ret_refusal = (struct refusal){.status = 0};
	(void)memory;
	world->requests++;
	request->method = xstrdup(scenario->method);
	request->sdk_retry = -1;
	request->path = xstrdup(scenario->path);
	request->id = xstrdup("sim-1");
	request->trace = xstrdup("00-0123456789abcdef0123456789abcdef-0123456789abcdef-01");
	if (scenario->refusal) {
		refuse(scenario, ret_refusal);
		return;
	}
	request->target = xstrdup(scenario->path);
	request->dialect = sse_dialect_of(scenario->path);
	request->total_name = "total_timeout";
	request->signs = scenario->signs;
	request->model = xstrdup(crowd_model(OWN_LANE));
	request->reserved = scenario->request_bytes;
	request->stream = scenario->stream;
	request->anthropic = str_ends(scenario->path, "/messages");
	request->request_class = scenario->request_class;
	request->upstream = &config->upstreams[0];
	request->profile = &scenario->profile;
	request->retry = scenario->profile.retry;
	request->total_ms = scenario->total_ms;
	request->body = evbuffer_new();
	str_add(&body, "{\"model\":\"a\"}");
	evbuffer_add(request->body, body.data, body.len);
	str_fini(&body);
	fields_add(&request->fields, "Host", "upstream.test");
	fields_add(&request->fields, "Content-Length", "13");
}

bool request_has_fallback(const struct request *request)
{
	(void)request;
	return false;
}

size_t request_fallback_upstream(const struct request *request)
{
	return request->upstream_index;
}

bool request_fall_back(struct request *request, const struct config *config)
{
	(void)request;
	(void)config;
	return false;
}

char *request_created_target(const struct request *request, struct fields *ret_fields)
{
	if (!world->scenario->has_created)
		return NULL;
	MUST(request->request_class == CLASS_CREATE_WITH_ID, "what another request made is read");
	fields_add(ret_fields, "Host", "upstream.test");
	return xstrdup(CREATED_TARGET);
}

void request_drop_body(struct request *request)
{
	if (request->body)
		evbuffer_free(request->body);
	request->body = NULL;
}

void request_fini(struct request *request)
{
	world->requests--;
	request_drop_body(request);
	free(request->method);
	fields_fini(&request->fields);
	free(request->path);
	free(request->target);
	free(request->id);
	free(request->trace);
	free(request->model);
}

/* ---- The event log. */

void event_log_write(struct event_log *log, const struct event *event)
{
	(void)log;
	if (event->state) {
		trace("%s: %s", event->state, event->detail);
		return;
	}
	trace("event %s: attempt %d of %d, status %d, %s %s, retry_in %lld, %s, %s", event->event,
		event->attempt, event->attempts, event->status,
		event->failure ? phase_name(event->failure->phase) : "-",
		event->failure ? error_name(event->failure->error) : "-",
		(long long)event->retry_in_ms, event->reason ? event->reason : "-",
		event->dashboard ? event->dashboard : "-");
	check_event(event);
}

/* ---- The run. */

static void cut(void)
{
	bool waited = !str_same(world->state, "RELAYING") && !str_same(world->state, "BREAKING") &&
		      !str_same(world->state, "ANSWERING");
	bool was_cut;

	trace("exchange_cut");
	world->cutting = true;
	was_cut = exchange_cut(world->exchange);
	world->cutting = false;
	world->was_cut |= was_cut;
	MUST(was_cut || !waited, "the cut leaves it waiting");
}

static void abort_exchange(void)
{
	trace("exchange_abort");
	world->cutting = world->was_aborted = true;
	exchange_abort(world->exchange);
	world->cutting = false;
}

static void on_drain_cut(void *arg)
{
	(void)arg;
	if (world->exchange)
		cut();
}

static void on_drain_abort(void *arg)
{
	(void)arg;
	if (world->exchange)
		abort_exchange();
}

/* As the daemon does it: a drain, at its end the cut, and a second for the last words. */
static void drain(void)
{
	msec_t drain_ms = world->scenario->drain_ms;
	msec_t until = world->now + drain_ms;

	if (world->draining)
		return;
	trace("drain for %lld ms", (long long)drain_ms);
	world->draining = true;
	world->drain_is_deadline = until < world->deadline && !world->source;
	if (world->drain_is_deadline)
		world->deadline = until;
	exchange_drain(world->exchange, until);
	if (rng_chance(&world->rng, 30)) /* nobody may count on the cut's being punctual */
		drain_ms += 300;
	task_start(&world->drain_end[0], drain_ms);
	task_start(&world->drain_end[1], drain_ms + 1000);
}

static void pass_deadline(void)
{
	msec_t late = world->deadline - world->now;

	if (late <= 0 || late == MSEC_NEVER)
		return;
	trace("the loop stands still beyond the deadline");
	world->lag += late;
	world_pass(world->deadline);
}

static void on_ending(void *arg)
{
	const struct ending *ending = arg;
	struct client *client = world->client;

	if (!world->exchange)
		return;
	cover(crowd_has_own_letter() ? "LETTER" : world->state, ending->kind);
	switch (ending->kind) {
	case ENDING_GONE:
		client_leave(client, "the client closed the connection");
		break;
	case ENDING_STALL:
		trace("the client takes nothing from here on");
		client->stalled = true;
		task_stop(&client->drain);
		if (client->queued)
			task_start(&client->stall, client->send_timeout_ms);
		break;
	case ENDING_DRAIN:
		drain();
		break;
	case ENDING_CUT:
		cut();
		break;
	case ENDING_ABORT:
		abort_exchange();
		break;
	case ENDING_DEADLINE:
		pass_deadline();
		break;
	}
}

static void *count_malloc(size_t size)
{
	world->evbuffers++;
	return malloc(size);
}

static void *count_realloc(void *old, size_t size)
{
	world->evbuffers += !old;
	return realloc(old, size);
}

static void count_free(void *data)
{
	world->evbuffers -= data != NULL;
	free(data);
}

static struct config *config_new_fake(const struct scenario *scenario)
{
	struct config *config = xcalloc(1, sizeof(*config));

	config->references = 1;
	config->server.send_timeout = scenario->send_timeout_ms;
	config->upstreams = xcalloc(1, sizeof(*config->upstreams));
	config->upstreams[0].name = xstrdup("fireworks");
	config->upstreams[0].options = scenario->crowd.upstream;
	config->upstreams[0].options.url = xstrdup("https://upstream.test");
	return config;
}

static void config_free_fake(struct config *config)
{
	free(config->upstreams[0].options.url);
	free(config->upstreams[0].name);
	free(config->upstreams);
	free(config);
}

static void world_init(struct scenario *scenario, bool traced)
{
	world = xcalloc(1, sizeof(*world));
	TAILQ_INIT(&world->tasks);
	world->scenario = scenario;
	world->rng.state = scenario->seed ^ UINT64_C(0x5851f42d4c957f2d);
	world->traced = traced;
	world->now = world->began = 1000000;
	world->deadline = world->began + scenario->total_ms;
	world->memory.limit = -1;
	world->config = config_new_fake(scenario);
	world->queueing = (struct queueing){.place_due = MSEC_NEVER,
		.outage_due = MSEC_NEVER,
		.turn_due = MSEC_NEVER,
		.long_ask_at = MSEC_NEVER,
		.cut_at = MSEC_NEVER,
		.budget = 100,
		.budget_filled_at = world->now};
	world->upstream = upstream_new(&world->config->upstreams[0], NULL);
	for (size_t i = 0; i < scenario->ending_count; i++) {
		const struct ending *ending = &scenario->endings[i];

		task_init(&world->endings[i], on_ending, (void *)(uintptr_t)ending);
		if (!ending->state)
			task_start(&world->endings[i], ending->delay_ms);
	}
	task_init(&world->drain_end[0], on_drain_cut, NULL);
	task_init(&world->drain_end[1], on_drain_abort, NULL);
}

static void world_free(void)
{
	for (size_t i = 0; i < world->transport_count; i++)
		free(world->transports[i]);
	if (world->client) {
		str_fini(&world->client->body);
		str_fini(&world->client->last_word);
	}
	free(world->client);
	upstream_unref(world->upstream);
	config_free_fake(world->config);
	free(world);
}

void world_pass(msec_t now)
{
	check_time(now);
	world->now = now;
}

/* A loop that has much to do is late. */
static void pass_time(struct task *task)
{
	msec_t late = 0;

	if (rng_chance(&world->rng, world->scenario->lag_percent) && task->rank)
		late = rng_between(&world->rng, 1, 60);
	world->lag += late;
	if (task->due + late > world->now)
		world_pass(task->due + late);
	check_patience();
}

static void world_loop(void)
{
	struct task *task;

	while ((task = TAILQ_FIRST(&world->tasks))) {
		MUST(++world->turns < 2000000, "it does not end");
		MUST(!world->ended || !world->freed || task->arg != world->client,
			"a client outlives its exchange");
		pass_time(task);
		task_stop(task);
		if (world->freed)
			continue; /* what was to end it comes too late */
		task->run(task->arg);
		check_turn();
	}
}

void world_run(struct scenario *scenario, bool traced)
{
	static bool counts;

	if (!counts)
		event_set_mem_functions(count_malloc, count_realloc, count_free);
	counts = true;
	world_init(scenario, traced);
	crowd_begin();
	check_queue();
	enter_state("ADMITTING");
	exchange_new(NULL, NULL);
	check_turn();
	world_loop();
	crowd_end();
	check_end();
	world_free();
}
