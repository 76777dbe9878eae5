/* andiron's own HTTP client: a name looked up (net/resolver.h), a connection dialled
 * (net/dial.h), TLS and bytes on it (net/channel.h), the answer read as it comes (net/http1.h). */

#include <event2/buffer.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "net/channel.h"
#include "net/dial.h"
#include "net/http1_feed.h"
#include "net/pool.h"
#include "net/timer.h"
#include "net/tls.h"
#include "net/transport_type.h"
#include "policy/header.h"

enum {
	MAX_HEAD_BYTES = 256 << 10,
	MAX_FIELDS = 1000,
	MAX_INTERIM = 64,        /* interim answers (1xx) before the last one */
	FINISH_MS = 1000,        /* a finished answer's rest may take so long */
	FINISH_BYTES = 64 << 10, /* and be so large */
};

/*   BEGINNING --> RESOLVING --> DIALLING --> HANDSHAKING --> EXCHANGING --> OVER
 *       |             |                                       ^     |         ^
 *       |             +--> DIALLING (addresses at hand)       |     +--> FINISHING
 *       +------------------- (a kept connection) -------------+    from any state: OVER  */
enum native_state {
	NATIVE_BEGINNING,   /* the first turn of the loop begins */
	NATIVE_RESOLVING,   /* the name is being looked up */
	NATIVE_DIALLING,    /* TCP */
	NATIVE_HANDSHAKING, /* TLS */
	NATIVE_EXCHANGING,  /* the request goes out, the answer comes in */
	NATIVE_FINISHING,   /* nobody listens: the answer's rest is awaited for a moment */
	NATIVE_OVER,        /* freed in the next turn of the loop */
};

struct native {
	struct transport transport;
	enum native_state state;
	struct pool_guest guest; /* while FINISHING */
	struct pool *pool;
	const struct transport_handler *handler; /* NULL: nobody listens */
	void *arg;
	struct transport_request request;
	struct timer *timer; /* begins, goes on after a pause, ends the finishing, frees */
	struct resolver_query *query;
	struct resolver_answer addresses; /* those not yet tried */
	struct dial *dial;
	struct channel *channel;
	struct http1_reader *reader;
	struct evbuffer *piece; /* of the body, on its way to the handler */
	enum phase phase;
	msec_t phase_began;
	uint64_t sent_before, received_before; /* the channel's counts when the request began */
	int interim;
	bool sent_all, head_seen, paused;
};

static const struct channel_user channel_user;
static const struct dial_handler dial_handler;

static void native_free(struct native *native)
{
	timer_free(native->timer);
	http1_free(native->reader);
	if (native->piece)
		evbuffer_free(native->piece);
	free(native);
}

/* No callback after this; what still runs below is let go. */
static const struct transport_handler *end(struct native *native)
{
	const struct transport_handler *handler = native->handler;

	native->state = NATIVE_OVER;
	native->handler = NULL;
	pool_remove_guest(&native->guest);
	if (native->query)
		resolver_cancel(native->query);
	if (native->dial) { /* it was given up: a silent address may have moved */
		pool_doubt_addresses(native->pool);
		dial_cancel(native->dial);
	}
	if (native->channel)
		channel_doom(native->channel);
	native->query = NULL;
	native->dial = NULL;
	native->channel = NULL;
	timer_start(native->timer, 0);
	return handler;
}

static void fail(struct native *native, const struct failure *failure)
{
	const struct transport_handler *handler = end(native);

	native->phase = failure->phase;
	if (handler)
		handler->on_failure(native->arg, failure);
}

static void progress(struct native *native, enum phase phase)
{
	native->phase = phase;
	if (native->handler)
		native->handler->on_progress(native->arg, phase);
}

/* The time since the last phase began; the next one begins now. */
static msec_t lap(struct native *native)
{
	msec_t now = clock_mono();
	msec_t took = now - native->phase_began;

	native->phase_began = now;
	return took;
}

static void note_address(struct native *native, const struct address *address)
{
	struct transport_facts *facts = &native->transport.facts;

	address_render(address, facts->address, sizeof(facts->address));
}

/* ---- The request. */

static size_t head_size(const struct transport_request *request)
{
	const struct fields *fields = request->fields;
	size_t size = strlen(request->method) + strlen(request->target) + strlen("  HTTP/1.1\r\n") +
		      strlen("\r\n") + 1;

	for (size_t i = 0; i < fields->count; i++)
		size += strlen(fields->list[i].name) + strlen(fields->list[i].value) +
			strlen(": \r\n");
	return size;
}

static char *add(char *end, const char *text)
{
	return stpcpy(end, text);
}

/* In memory of its own, whose size is known: printf() leaves parts of a key on the stack, and a
 * buffer that grows leaves them behind. */
static char *render_head(const struct transport_request *request, size_t *ret_len)
{
	const struct fields *fields = request->fields;
	char *head = xmalloc(head_size(request));
	char *end =
		add(add(add(add(head, request->method), " "), request->target), " HTTP/1.1\r\n");

	for (size_t i = 0; i < fields->count; i++)
		end = add(add(add(add(end, fields->list[i].name), ": "), fields->list[i].value),
			"\r\n");
	end = add(end, "\r\n");
	*ret_len = (size_t)(end - head);
	return head;
}

/* libevent has no use for it any more: it was sent, or never will be. */
static void wipe_head(const void *bytes, size_t len, void *head)
{
	(void)bytes;
	mem_wipe(head, len);
	free(head);
}

static void write_request(struct native *native)
{
	struct evbuffer *output = channel_output(native->channel);
	struct evbuffer *bytes = evbuffer_new();
	size_t len;
	char *head = render_head(&native->request, &len);

	if (!bytes || evbuffer_add_reference(bytes, head, len, wipe_head, head) != 0)
		abort();
	/* A reference: the chains are shared by all attempts. (A reference to a reference is
	 * refused by libevent, so this is always taken from the owner's buffer.) */
	if (evbuffer_add_buffer_reference(bytes, native->request.body) != 0 ||
		evbuffer_add_buffer(output, bytes) != 0)
		abort();
	evbuffer_free(bytes);
}

static void begin_exchange(struct native *native)
{
	static const struct http1_limits limits = {MAX_HEAD_BYTES, MAX_FIELDS};

	native->state = NATIVE_EXCHANGING;
	native->reader = http1_new(HTTP1_RESPONSE, &limits);
	http1_begin(native->reader, str_same(native->request.method, "HEAD"));
	native->piece = evbuffer_new();
	if (!native->piece)
		abort();
	native->sent_before = channel_bytes_sent(native->channel);
	native->received_before = channel_bytes_received(native->channel);
	progress(native, PHASE_WRITE);
	if (native->state == NATIVE_EXCHANGING)
		write_request(native);
}

static void dial_rest(struct native *native)
{
	native->state = NATIVE_DIALLING;
	native->dial = dial_start(pool_base(native->pool), native->addresses.addresses,
		native->addresses.count, &dial_handler, native);
	progress(native, PHASE_CONNECT);
}

static void native_on_answer(void *arg, const struct resolver_answer *answer)
{
	struct native *native = arg;

	native->query = NULL;
	native->transport.facts.dns_ms = lap(native);
	if (!answer->count) {
		fail(native, &answer->failure);
		return;
	}
	pool_keep_addresses(native->pool, answer, clock_mono());
	native->addresses = *answer;
	dial_rest(native);
}

static void begin(struct native *native)
{
	const struct resolver_answer *known = pool_addresses(native->pool, clock_mono());

	native->phase_began = clock_mono();
	native->channel =
		channel_acquire(native->pool, native->request.max_idle_ms, &channel_user, native);
	if (native->channel) {
		native->transport.facts.reused = true;
		note_address(native, channel_address(native->channel));
		begin_exchange(native);
	} else if (known) {
		native->addresses = *known;
		dial_rest(native);
	} else {
		native->state = NATIVE_RESOLVING;
		native->query = pool_resolve(native->pool, native_on_answer, native);
		progress(native, PHASE_DNS);
	}
}

/* ---- The connection. */

static void native_on_try(void *arg, const struct address *address)
{
	note_address(arg, address);
}

/* An address that was used up: TLS may fail there and stand elsewhere. */
static void forget_address(struct native *native, const struct address *address)
{
	struct resolver_answer *left = &native->addresses;
	size_t kept = 0;

	for (size_t i = 0; i < left->count; i++) {
		if (!address_same(&left->addresses[i], address))
			left->addresses[kept++] = left->addresses[i];
	}
	left->count = kept;
}

static void native_on_connected(void *arg, int fd, const struct address *address)
{
	struct native *native = arg;

	native->dial = NULL;
	native->transport.facts.connect_ms = lap(native);
	note_address(native, address);
	forget_address(native, address);
	native->channel = channel_new(native->pool, fd, address, &channel_user, native);
	if (channel_is_ready(native->channel)) {
		begin_exchange(native);
		return;
	}
	native->state = NATIVE_HANDSHAKING;
	progress(native, PHASE_TLS);
}

static void native_on_dial_failure(
	void *arg, const struct failure *failure, const struct address *address)
{
	struct native *native = arg;

	native->dial = NULL;
	note_address(native, address);
	pool_doubt_addresses(native->pool);
	fail(native, failure);
}

static const struct dial_handler dial_handler = {
	.on_try = native_on_try,
	.on_connected = native_on_connected,
	.on_failure = native_on_dial_failure,
};

static void native_on_ready(void *arg)
{
	struct native *native = arg;

	native->transport.facts.tls_ms = lap(native);
	begin_exchange(native);
}

/* A wrong certificate is wrong at every address of the name. */
static void fail_handshake(struct native *native, const struct channel_end *end_of_channel)
{
	struct failure failure;

	channel_describe_handshake(native->channel, end_of_channel, &failure);
	if (failure.error == ERROR_TLS_CERTIFICATE_ERROR || !native->addresses.count) {
		pool_doubt_addresses(native->pool);
		fail(native, &failure);
		return;
	}
	channel_doom(native->channel);
	native->channel = NULL;
	dial_rest(native);
}

/* ---- The exchange. */

static void native_on_sent(void *arg)
{
	struct native *native = arg;
	struct transport_facts *facts = &native->transport.facts;

	facts->bytes_sent = channel_bytes_sent(native->channel) - native->sent_before;
	if (native->state != NATIVE_EXCHANGING || native->sent_all)
		return;
	native->sent_all = evbuffer_get_length(channel_output(native->channel)) == 0;
	if (native->head_seen)
		return;
	if (native->sent_all)
		facts->write_ms = lap(native);
	progress(native, native->sent_all ? PHASE_FIRST_BYTE : PHASE_WRITE);
}

/* The answer is whole: its connection may serve on. */
static void complete(struct native *native)
{
	struct channel *channel = native->channel;
	const struct transport_handler *handler;

	/* Bytes behind the answer would be taken for the next one. */
	if (native->sent_all && http1_persists(native->reader) &&
		evbuffer_get_length(channel_input(channel)) == 0) {
		native->channel = NULL;
		channel_release(channel);
	}
	handler = end(native);
	if (handler)
		handler->on_end(native->arg);
}

static void fail_protocol(struct native *native, const char *why)
{
	struct failure failure;

	failure_set(&failure, native->head_seen ? PHASE_BODY : PHASE_FIRST_BYTE,
		ERROR_HTTP_PROTOCOL_ERROR, why);
	fail(native, &failure);
}

static void take_head(struct native *native)
{
	const struct http1_head *head = http1_head(native->reader);
	struct transport_head told = {head->status, head->reason, &head->fields};

	if (head->status < 200) { /* the last one is yet to come: the server lives */
		if (++native->interim > MAX_INTERIM)
			fail_protocol(native, "too many interim answers");
		else
			progress(native, native->phase);
		return;
	}
	native->head_seen = true;
	native->phase = PHASE_BODY;
	/* A refusal that comes early ends the sending: nobody reads the rest (RFC 9112, 9.5). */
	if (!native->sent_all && head->status >= 400)
		channel_stop_sending(native->channel);
	if (native->handler)
		native->handler->on_head(native->arg, &told);
}

/* An interim answer has ended, or the whole. */
static void take_end(struct native *native)
{
	if (native->head_seen)
		complete(native);
	else
		http1_begin(native->reader, str_same(native->request.method, "HEAD"));
}

/* One step of the reader; false if it has taken all that there is. */
static bool read_step(struct native *native)
{
	enum http1_event event =
		http1_feed(native->reader, channel_input(native->channel), native->piece);

	if (event == HTTP1_HEAD)
		take_head(native);
	else if (event == HTTP1_END)
		take_end(native);
	else if (event == HTTP1_WRONG)
		fail_protocol(native, http1_error(native->reader));
	else if (event == HTTP1_BODY && native->handler)
		native->handler->on_body(native->arg, native->piece);
	evbuffer_drain(native->piece, evbuffer_get_length(native->piece));
	return event != HTTP1_MORE;
}

static bool is_reading(const struct native *native)
{
	return native->channel && !native->paused &&
	       (native->state == NATIVE_EXCHANGING || native->state == NATIVE_FINISHING);
}

static void read_input(struct native *native)
{
	while (is_reading(native) && read_step(native))
		;
}

/* What comes before a byte of the request has gone out answers some other one. */
static bool is_unasked(struct native *native)
{
	struct failure failure;

	if (!native->transport.facts.reused || native->transport.facts.bytes_sent)
		return false;
	native->transport.facts.bytes_received = 0;
	failure_set(&failure, PHASE_WRITE, ERROR_HTTP_PROTOCOL_ERROR,
		"the server had sent bytes that nobody asked for");
	fail(native, &failure);
	return true;
}

static void native_on_input(void *arg)
{
	struct native *native = arg;
	struct transport_facts *facts = &native->transport.facts;

	facts->bytes_received = channel_bytes_received(native->channel) - native->received_before;
	if (is_unasked(native))
		return;
	if (!facts->answer_begun) {
		facts->answer_begun = true;
		facts->first_byte_ms = lap(native);
	}
	if (native->state == NATIVE_FINISHING && facts->bytes_received > FINISH_BYTES) {
		end(native);
		return;
	}
	if (native->head_seen)
		progress(native, PHASE_BODY);
	read_input(native);
}

/* ---- The end. */

static void describe_end(
	const struct native *native, const struct channel_end *how, struct failure *ret)
{
	const char *reason = tls_code_text(how->tls_code);
	enum phase phase = native->head_seen  ? PHASE_BODY
			   : native->sent_all ? PHASE_FIRST_BYTE
					      : PHASE_WRITE;
	enum error error =
		native->head_seen ? ERROR_HTTP_RESPONSE_INCOMPLETE : ERROR_CONNECTION_TERMINATED;

	if (!native->head_seen && tls_alert_of(how->tls_code))
		error = ERROR_TLS_ALERT_RECEIVED;
	if (!reason)
		reason = how->error_number ? strerror(how->error_number) : "closed by the server";
	failure_set(ret, phase, error, reason);
}

static void native_on_end(void *arg, const struct channel_end *how)
{
	struct native *native = arg;
	struct failure failure;

	if (native->state == NATIVE_HANDSHAKING) {
		fail_handshake(native, how);
		return;
	}
	native->transport.facts.bytes_sent =
		channel_bytes_sent(native->channel) - native->sent_before;
	native->paused = false; /* nothing more can come: what is here is all */
	read_input(native);
	if (native->state == NATIVE_OVER)
		return;
	if (how->orderly && native->head_seen && http1_ends_with_close(native->reader)) {
		complete(native);
		return;
	}
	describe_end(native, how, &failure);
	fail(native, &failure);
}

static const struct channel_user channel_user = {
	.on_ready = native_on_ready,
	.on_sent = native_on_sent,
	.on_input = native_on_input,
	.on_end = native_on_end,
};

/* ---- What the header promises. */

static void native_on_timer(void *arg)
{
	struct native *native = arg;

	switch (native->state) {
	case NATIVE_BEGINNING:
		begin(native);
		break;
	case NATIVE_EXCHANGING: /* after a pause */
		read_input(native);
		break;
	case NATIVE_OVER:
		native_free(native);
		break;
	default: /* FINISHING took too long */
		end(native);
	}
}

static struct transport *start(struct pool *pool, const struct transport_request *request,
	const struct transport_handler *handler, void *arg)
{
	struct native *native = xcalloc(1, sizeof(*native));

	native->transport.type = &transport_native;
	native->transport.facts = TRANSPORT_FACTS_INIT;
	native->pool = pool;
	native->request = *request;
	native->handler = handler;
	native->arg = arg;
	native->timer = timer_new(pool_base(pool), native_on_timer, native);
	timer_start(native->timer, 0);
	return &native->transport;
}

static struct native *own(struct transport *transport)
{
	return (struct native *)transport; /* its first member */
}

static void cancel(struct transport *transport)
{
	end(own(transport));
}

static void leave_pool(struct pool_guest *guest)
{
	end((struct native *)((char *)guest - offsetof(struct native, guest)));
}

static void finish(struct transport *transport)
{
	struct native *native = own(transport);

	if (native->state != NATIVE_EXCHANGING || !native->head_seen || !native->sent_all) {
		end(native);
		return;
	}
	native->state = NATIVE_FINISHING;
	native->handler = NULL;
	native->request = (struct transport_request){.method = "GET"}; /* the caller's: gone */
	native->received_before = channel_bytes_received(native->channel);
	native->guest.leave = leave_pool;
	pool_add_guest(native->pool, &native->guest);
	native->paused = false;
	channel_resume(native->channel);
	timer_start(native->timer, FINISH_MS);
}

static void pause_reading(struct transport *transport)
{
	own(transport)->paused = true;
	if (own(transport)->channel)
		channel_pause(own(transport)->channel);
}

static void resume_reading(struct transport *transport)
{
	struct native *native = own(transport);

	native->paused = false;
	if (!native->channel || native->state != NATIVE_EXCHANGING)
		return;
	channel_resume(native->channel);
	timer_start(native->timer, 0); /* for what was read before the pause */
}

static enum phase phase_of(const struct transport *transport)
{
	return ((const struct native *)transport)->phase;
}

const struct transport_type transport_native = {
	.start = start,
	.cancel = cancel,
	.finish = finish,
	.pause = pause_reading,
	.resume = resume_reading,
	.phase = phase_of,
};
