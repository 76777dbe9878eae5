#include "app/demo.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/address.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "net/buffer.h"
#include "net/fields.h"
#include "net/listen.h"
#include "net/timer.h"
#include "proxy/accepted.h"
#include "proxy/client.h"
#include "proxy/message.h"

enum {
	SLOW_MS = 2000,
	WORD_MS = 60,
	CUT_AFTER_WORDS = 6,
	FAR_AWAY_MS = 3600 * 1000, /* the time-outs are andiron's to show, not the demo's */
};

/* What becomes of one request after another. */
enum fault { FINE, OVERLOADED, LIMITED, LIMITED_WITH_WAIT, SLOW, CUT };

static const enum fault plan[] = {
	OVERLOADED, FINE, LIMITED_WITH_WAIT, FINE, SLOW, CUT, FINE, LIMITED, FINE, FINE};

static const char *const words[] = {"An", " andiron", " holds", " up", " the", " wood,", " so",
	" that", " the", " fire", " keeps", " burning.", NULL};

static struct demo {
	char url[ADDRESS_TEXT_SIZE + 16];
	pthread_t thread;
	int listener, stop_fd;
	struct event_base *base;
	struct accepted_list *accepted;
	size_t served;
} demo;

/* One request at the simulated Fireworks. */
struct reply {
	struct client *client;
	struct timer *timer;
	enum fault fault;
	char *path, *model;
	bool stream, anthropic;
	size_t word;
};

/* ---- Answers. */

static void reply_on_gone(void *arg, const char *detail)
{
	struct reply *reply = arg;

	(void)detail;
	timer_free(reply->timer);
	free(reply->path);
	free(reply->model);
	free(reply);
}

static void reply_on_done(void *arg)
{
	reply_on_gone(arg, NULL);
}

static void reply_on_drained(void *arg)
{
	(void)arg;
}

static const struct client_handler reply_handler = {reply_on_gone, reply_on_drained, reply_on_done};

static void send_text(struct reply *reply, const char *text)
{
	struct evbuffer *piece = evbuffer_new();

	if (!piece)
		abort();
	evbuffer_add(piece, text, strlen(text));
	client_send(reply->client, piece);
	evbuffer_free(piece);
}

static void send_whole(struct reply *reply, int status, const char *reason, struct fields *fields,
	const char *body)
{
	char length[24];

	snprintf(length, sizeof(length), "%zu", strlen(body));
	fields_add(fields, "Content-Type", "application/json");
	fields_add(fields, "Content-Length", length);
	client_start(reply->client, status, reason, fields, false);
	send_text(reply, body);
	client_end(reply->client); /* the reply may be gone now */
	fields_fini(fields);
}

static void send_error(struct reply *reply, int status, const char *reason, const char *code,
	const char *message, const char *retry_after)
{
	_cleanup_str_ struct str body = STR_NULL;
	struct fields fields = FIELDS_NULL;

	json_begin(&body);
	json_begin_object(&body, "error");
	json_add_string(&body, "object", "error");
	json_add_string(&body, "type", "invalid_request_error");
	json_add_string(&body, "code", code);
	json_add_string(&body, "message", message);
	json_end(&body);
	json_end(&body);
	if (retry_after)
		fields_add(&fields, "Retry-After", retry_after);
	send_whole(reply, status, reason, &fields, str_text(&body));
}

static void render_text(struct str *out)
{
	for (size_t i = 0; words[i]; i++)
		str_add(out, words[i]);
}

/* The begin of a chat completion or one of its chunks; the caller adds to it. */
static void begin_completion(const struct reply *reply, const char *object, struct str *out)
{
	json_begin(out);
	json_add_string(out, "id", "cmpl-demo");
	json_add_string(out, "object", object);
	json_add_int(out, "created", clock_wall_us() / 1000000);
	json_add_string(out, "model", reply->model);
	str_add(out, ",\"choices\":[");
}

static const char usage[] = "\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":12,"
			    "\"total_tokens\":21}";

static void render_completion(const struct reply *reply, struct str *out)
{
	_cleanup_str_ struct str text = STR_NULL;

	render_text(&text);
	begin_completion(reply, "chat.completion", out);
	str_add(out, "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":");
	json_quote(out, str_text(&text), text.len);
	str_addf(out, "},\"finish_reason\":\"stop\"}],%s}", usage);
}

static void render_message(const struct reply *reply, struct str *out)
{
	_cleanup_str_ struct str text = STR_NULL;

	render_text(&text);
	json_begin(out);
	json_add_string(out, "id", "msg-demo");
	json_add_string(out, "type", "message");
	json_add_string(out, "role", "assistant");
	json_add_string(out, "model", reply->model);
	str_add(out, ",\"content\":[{\"type\":\"text\",\"text\":");
	json_quote(out, str_text(&text), text.len);
	str_add(out, "}],\"stop_reason\":\"end_turn\",\"stop_sequence\":null,"
		     "\"usage\":{\"input_tokens\":9,\"output_tokens\":12}}");
}

static void render_body(const struct reply *reply, struct str *out)
{
	if (str_ends(reply->path, "/models"))
		str_add(out,
			"{\"object\":\"list\",\"data\":[{\"id\":\"accounts/fireworks/models/demo\","
			"\"object\":\"model\",\"created\":1767225600,\"owned_by\":\"fireworks\"}]"
			"}");
	else if (str_ends(reply->path, "/embeddings"))
		str_addf(out,
			"{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,"
			"\"embedding\":[0.25,-0.5,0.75]}],\"model\":\"demo\",%s}",
			usage);
	else if (reply->anthropic)
		render_message(reply, out);
	else
		render_completion(reply, out);
}

/* ---- Streams, a word at a time. */

static void render_chunk(const struct reply *reply, struct str *out)
{
	const char *word = words[reply->word];

	str_add(out, "data: ");
	begin_completion(reply, "chat.completion.chunk", out);
	if (word) {
		str_add(out, "{\"index\":0,\"delta\":{\"content\":");
		json_quote(out, word, strlen(word));
		str_add(out, "},\"finish_reason\":null}]}\n\n");
	} else {
		str_addf(out,
			"{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],%s}\n\n"
			"data: [DONE]\n\n",
			usage);
	}
}

static void begin_event(struct str *out, const char *type)
{
	str_addf(out, "event: %s\ndata: {\"type\":\"%s\"", type, type);
}

/* The same in Anthropic's events, which frame the words with four more. */
static void render_anthropic(const struct reply *reply, struct str *out)
{
	const char *word = words[reply->word];

	if (reply->word == 0) {
		begin_event(out, "message_start");
		str_add(out, ",\"message\":{\"id\":\"msg-demo\",\"type\":\"message\","
			     "\"role\":\"assistant\",\"model\":");
		json_quote(out, reply->model, strlen(reply->model));
		str_add(out, ",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,"
			     "\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\n");
		begin_event(out, "content_block_start");
		str_add(out,
			",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n");
	}
	if (word) {
		begin_event(out, "content_block_delta");
		str_add(out, ",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":");
		json_quote(out, word, strlen(word));
		str_add(out, "}}\n\n");
	} else {
		begin_event(out, "content_block_stop");
		str_add(out, ",\"index\":0}\n\n");
		begin_event(out, "message_delta");
		str_add(out, ",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},"
			     "\"usage\":{\"output_tokens\":12}}\n\n");
		begin_event(out, "message_stop");
		str_add(out, "}\n\n");
	}
}

static void render_event(const struct reply *reply, struct str *out)
{
	if (reply->anthropic)
		render_anthropic(reply, out);
	else
		render_chunk(reply, out);
}

static void send_word(struct reply *reply)
{
	_cleanup_str_ struct str event = STR_NULL;
	bool last = words[reply->word] == NULL;

	if (reply->fault == CUT && reply->word == CUT_AFTER_WORDS) {
		struct client *client = reply->client;

		reply_on_gone(reply, NULL);
		client_abort(client);
		return;
	}
	render_event(reply, &event);
	send_text(reply, str_text(&event));
	reply->word++;
	if (last)
		client_end(reply->client);
	else
		timer_start(reply->timer, WORD_MS);
}

static void begin_stream(struct reply *reply)
{
	struct fields fields = FIELDS_NULL;

	fields_add(&fields, "Content-Type", "text/event-stream");
	client_start(reply->client, 200, "OK", &fields, false);
	fields_fini(&fields);
	reply->fault = reply->fault == CUT ? CUT : FINE;
	send_word(reply);
}

/* ---- Requests. */

/* Half of a promised body: andiron holds it back, sees that it is cut and tries again. */
static void cut_body(struct reply *reply)
{
	struct fields fields = FIELDS_NULL;
	struct client *client = reply->client;

	fields_add(&fields, "Content-Type", "application/json");
	fields_add(&fields, "Content-Length", "1000");
	client_start(client, 200, "OK", &fields, false);
	send_text(reply, "{\"id\":\"cmpl-demo\",");
	client_break(client, "");
	fields_fini(&fields);
}

static void answer(struct reply *reply)
{
	_cleanup_str_ struct str body = STR_NULL;
	struct fields fields = FIELDS_NULL;

	if (reply->stream) {
		begin_stream(reply);
	} else if (reply->fault == CUT) {
		cut_body(reply);
	} else {
		render_body(reply, &body);
		send_whole(reply, 200, "OK", &fields, str_text(&body));
	}
}

static void reply_on_timer(void *arg)
{
	struct reply *reply = arg;

	if (reply->word)
		send_word(reply);
	else
		answer(reply);
}

static void begin(struct reply *reply)
{
	switch (reply->fault) {
	case OVERLOADED:
		send_error(reply, 503, "Service Unavailable", "SERVICE_UNAVAILABLE",
			"Service Overloaded", NULL);
		break;
	case LIMITED:
	case LIMITED_WITH_WAIT:
		send_error(reply, 429, "Too Many Requests", "too_many_requests",
			"rate limit exceeded, please try again later",
			reply->fault == LIMITED_WITH_WAIT ? "1" : NULL);
		break;
	case SLOW:
		timer_start(reply->timer, SLOW_MS);
		break;
	case CUT:
	case FINE:
		answer(reply);
		break;
	}
}

static void demo_on_request(struct evhttp_request *request, void *arg)
{
	static const char *const keys[] = {"model", "stream", NULL};
	struct reply *reply = xcalloc(1, sizeof(*reply));
	const char *uri = evhttp_request_get_uri(request);
	const char *model;
	struct json_peek peek;

	(void)arg;
	buffer_peek_json(evhttp_request_get_input_buffer(request), &peek, keys);
	model = json_peek_string(&peek, "model");
	reply->model = xstrdup(model ? model : "accounts/fireworks/models/demo");
	reply->path = xstrndup(uri, strcspn(uri, "?"));
	reply->anthropic = str_ends(reply->path, "/messages");
	reply->stream = json_peek_true(&peek, "stream");
	reply->fault = plan[demo.served++ % (sizeof(plan) / sizeof(plan[0]))];
	reply->timer = timer_new(demo.base, reply_on_timer, reply);
	reply->client = client_new(request, demo.accepted, FAR_AWAY_MS, &reply_handler, reply);
	begin(reply);
}

/* ---- The thread. */

static void demo_on_stop(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	event_base_loopbreak(arg);
}

static void *demo_run(void *arg)
{
	struct evhttp *http;
	struct event *stop;

	(void)arg;
	demo.base = event_base_new();
	http = demo.base ? evhttp_new(demo.base) : NULL;
	if (!http)
		abort();
	demo.accepted = accepted_list_new(
		&(struct accepted_options){.base = demo.base, .idle_ms = FAR_AWAY_MS});
	evhttp_set_bevcb(http, accepted_new_bufferevent, demo.accepted);
	evhttp_set_gencb(http, demo_on_request, NULL);
	evhttp_set_default_content_type(http, NULL);
	evhttp_accept_socket(http, demo.listener);
	stop = event_new(demo.base, demo.stop_fd, EV_READ, demo_on_stop, demo.base);
	event_add(stop, NULL);
	event_base_dispatch(demo.base);
	event_free(stop);
	evhttp_free(http);
	event_base_loop(demo.base, EVLOOP_NONBLOCK);
	accepted_list_free(demo.accepted);
	event_base_loop(demo.base, EVLOOP_NONBLOCK);
	event_base_free(demo.base);
	return NULL;
}

const char *demo_start(void)
{
	struct listener listener = {.fd = -1};
	struct address address;
	char text[ADDRESS_TEXT_SIZE];

	address_from_ip("127.0.0.1", 0, &address);
	if (listen_open(&address, 0, &listener) == 0)
		demo.listener = listener.fd;
	demo.stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (listener.fd < 0 || demo.stop_fd < 0 ||
		thread_start(&demo.thread, demo_run, NULL) != 0) {
		log_error("the demo's upstream cannot listen on 127.0.0.1");
		exit(EXIT_FAILURE);
	}
	address_render(&listener.address, text, sizeof(text));
	snprintf(demo.url, sizeof(demo.url), "http://%s", text);
	return demo.url;
}

void demo_stop(void)
{
	eventfd_write(demo.stop_fd, 1);
	pthread_join(demo.thread, NULL);
	close(demo.stop_fd);
}

void demo_say_hello(unsigned port)
{
	log_info("this is a DEMO: a simulated Fireworks on this machine, which fails on purpose");
	log_info("to go live: export FIREWORKS_API_KEY=fw_... and start again with `make run`, or "
		 "`andiron`");
	if (!port)
		return; /* only Unix sockets */
	log_info("try: curl -N http://localhost:%u/v1/chat/completions -d "
		 "'{\"model\":\"demo\",\"stream\":true,\"messages\":[]}'",
		port);
}
