/* Fuzzes proxy/guard.h with a client's bytes. What it passes is what a strict reader finds in the
 * same bytes, once and in order, and reads the same when it is written out again; evhttp sees heads
 * of the guard's own making and nothing else; memory is counted to the byte. */

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>

#include "base/budget.h"
#include "fuzz.h"
#include "net/http1.h"
#include "proxy/guard.h"

enum { MAX_BODY = 256, MAX_MEMORY = 400, MAX_FIELDS = 200, HELD = 100 };

/* A request as text, in the one way in which andiron would write it. */
struct written {
	struct str text;
	bool whole;
	size_t used;
};

struct run {
	struct event_base *base;
	struct bufferevent *bev;
	struct guard *guard;
	struct budget memory;
	struct guard_options options;
	const uint8_t *bytes;  /* all that the client sends */
	size_t fed, consumed;  /* given to the guard; told as requests */
	unsigned delay, waits; /* pieces that come while an answer is due */
	bool pending, over;
};

static void write_request(struct str *out, const struct http1_head *head, bool has_body,
	const char *body, size_t body_len)
{
	str_addf(out, "%s %s HTTP/1.%d\r\n", head->method, head->target, head->minor);
	for (size_t i = 0; i < head->fields.count; i++) {
		const struct field *field = &head->fields.list[i];

		if (!str_same_nocase(field->name, "Content-Length") &&
			!str_same_nocase(field->name, "Transfer-Encoding"))
			str_addf(out, "%s: %s\r\n", field->name, field->value);
	}
	if (has_body)
		str_addf(out, "Content-Length: %zu\r\n", body_len);
	str_add(out, "\r\n");
	str_add_bytes(out, body, body_len);
}

static struct written read_strictly(const char *bytes, size_t len, size_t max_head)
{
	struct http1_limits limits = {max_head, MAX_FIELDS};
	struct http1_reader *reader = http1_new(HTTP1_REQUEST, &limits);
	struct written written = {.whole = false};
	struct str body = STR_NULL;
	enum http1_event event;
	struct http1_step step;

	do {
		event = http1_read(reader, bytes + written.used, len - written.used, &step);
		written.used += step.used;
		if (event == HTTP1_BODY)
			str_add_bytes(&body, step.piece, step.piece_len);
	} while (event == HTTP1_HEAD || event == HTTP1_BODY);
	written.whole = event == HTTP1_END;
	if (written.whole)
		write_request(&written.text, http1_head(reader),
			http1_head(reader)->framing != HTTP1_NO_BODY, str_text(&body), body.len);
	str_fini(&body);
	http1_free(reader);
	return written;
}

static void require_same(const struct str *a, const struct str *b)
{
	REQUIRE(a->len == b->len && memcmp(str_text(a), str_text(b), a->len) == 0);
}

/* What the guard passed is what stands in the bytes, and reads the same once more. */
static void check_passed(struct run *run, const struct received *request)
{
	struct written want = read_strictly((const char *)run->bytes + run->consumed,
		run->fed - run->consumed, run->options.max_head);
	struct written again;
	struct str got = STR_NULL;
	size_t len = evbuffer_get_length(request->body);

	REQUIRE(request->head && len <= MAX_BODY && request->reserved >= len);
	write_request(&got, request->head, request->has_body,
		len ? (const char *)evbuffer_pullup(request->body, -1) : "", len);
	REQUIRE(want.whole);
	require_same(&got, &want.text);
	again = read_strictly(str_text(&got), got.len, 0x100000);
	REQUIRE(again.whole && again.used == got.len);
	require_same(&again.text, &got);
	run->consumed += want.used;
	str_fini(&got);
	str_fini(&want.text);
	str_fini(&again.text);
}

/* As evhttp would: takes the head that the guard made, which must be one and plain. */
static void take_synthetic_head(struct run *run, struct evbuffer *input)
{
	size_t len = evbuffer_get_length(input);
	struct written head = read_strictly((const char *)evbuffer_pullup(input, -1), len, 4096);

	REQUIRE(head.whole && head.used == len);
	evbuffer_drain(input, len);
	str_fini(&head.text);
	(void)run;
}

static void next(struct run *run);

static void on_head(struct run *run, struct evbuffer *input)
{
	struct received request;

	REQUIRE(!run->pending && !run->over);
	take_synthetic_head(run, input);
	request = guard_take(run->guard);
	run->over = request.status != 0;
	REQUIRE(run->over == guard_has_refused(run->guard));
	if (run->over) {
		REQUIRE(request.why && *request.why && request.reserved == 0);
		REQUIRE(request.status >= 400 && request.status <= 505);
		return;
	}
	check_passed(run, &request);
	budget_give(&run->memory, (int64_t)request.reserved); /* the exchange's, from now on */
	run->pending = true;
	run->waits = run->delay;
}

static void look(struct run *run)
{
	struct evbuffer *input = bufferevent_get_input(run->bev);

	if (evbuffer_get_length(input) > 0)
		on_head(run, input);
	if (run->pending && run->waits-- == 0)
		next(run);
}

static void next(struct run *run)
{
	run->pending = false;
	guard_next(run->guard);
	look(run);
}

static void on_input(struct evbuffer *input, const struct evbuffer_cb_info *info, void *arg)
{
	struct run *run = arg;

	(void)input;
	if (info->n_added && !guard_on_input(run->guard))
		REQUIRE(run->pending);
}

/* The end of a socket's input is frozen but inside a read. */
static void feed(struct run *run, size_t len)
{
	struct evbuffer *input = bufferevent_get_input(run->bev);

	evbuffer_unfreeze(input, 0);
	run->fed += len;
	evbuffer_add(input, run->bytes + run->fed - len, len);
	evbuffer_freeze(input, 0);
	look(run);
	REQUIRE(run->memory.used >= 0 && run->memory.used <= MAX_MEMORY);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const size_t heads[] = {64, 256, 4096, 65536};
	struct run run = {.memory = {.limit = MAX_MEMORY}, .base = event_base_new()};
	unsigned cuts = size ? data[0] >> 4 : 0;
	unsigned rest = size ? data[0] & 15 : 0;

	run.options = (struct guard_options){
		.max_head = heads[rest & 3],
		.max_body = MAX_BODY,
		.timeout_ms = 1000,
		.memory = &run.memory,
	};
	run.delay = rest >> 2;
	run.bytes = data + 1;
	run.bev = bufferevent_socket_new(run.base, -1, 0);
	run.guard = guard_new(run.bev, &run.options);
	evbuffer_add_cb(bufferevent_get_input(run.bev), on_input, &run);
	while (size > 1 && run.fed < size - 1)
		feed(&run, fuzz_piece(cuts, run.bytes + run.fed, size - 1 - run.fed));
	while (run.pending)
		next(&run);
	evbuffer_remove_cb(bufferevent_get_input(run.bev), on_input, &run);
	guard_free(run.guard);
	REQUIRE(run.memory.used == 0);
	bufferevent_free(run.bev);
	event_base_loop(run.base, EVLOOP_NONBLOCK);
	event_base_free(run.base);
	return 0;
}
