/* The transport that libevent's own HTTP client gives, made safe within its limits
 * (docs/decisions/0001-transport-evhttp.md). One request uses one connection (net/conn.h) after
 * another until an address answers. */

#include "net/transport.h"

#include <event2/buffer.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "net/conn.h"
#include "net/pool.h"
#include "net/timer.h"
#include "net/transport_type.h"
#include "policy/header.h"

struct evhttp_transport {
	struct transport transport;
	struct pool *pool;
	const struct transport_handler *handler; /* NULL: ended, freed in the next turn */
	void *arg;
	enum phase phase;
	struct transport_request request;
	struct timer *timer; /* begins in the first turn of the loop, frees after the end */
	struct resolver_query *query;
	struct resolver_answer addresses;
	size_t tried;
	struct conn *conn;
	msec_t phase_began;
};

static const struct conn_user conn_user;

static void transport_free(struct evhttp_transport *transport)
{
	timer_free(transport->timer);
	free(transport);
}

/* No callback after this; what still runs below is let go. */
static const struct transport_handler *end(struct evhttp_transport *transport)
{
	const struct transport_handler *handler = transport->handler;

	transport->handler = NULL;
	if (transport->query)
		resolver_cancel(transport->query);
	if (transport->conn)
		conn_doom(transport->conn);
	transport->query = NULL;
	transport->conn = NULL;
	timer_start(transport->timer, 0);
	return handler;
}

static void fail(struct evhttp_transport *transport, const struct failure *failure)
{
	end(transport)->on_failure(transport->arg, failure);
}

static void progress(struct evhttp_transport *transport, enum phase phase)
{
	transport->phase = phase;
	transport->handler->on_progress(transport->arg, phase);
}

/* The time since the last phase began; the next one begins now. */
static msec_t lap(struct evhttp_transport *transport)
{
	msec_t now = clock_mono();
	msec_t took = now - transport->phase_began;

	transport->phase_began = now;
	return took;
}

static enum evhttp_cmd_type evhttp_method(const char *method)
{
	static const struct {
		const char *name;
		enum evhttp_cmd_type type;
	} methods[] = {
		{"GET", EVHTTP_REQ_GET},
		{"POST", EVHTTP_REQ_POST},
		{"HEAD", EVHTTP_REQ_HEAD},
		{"PUT", EVHTTP_REQ_PUT},
		{"PATCH", EVHTTP_REQ_PATCH},
		{"DELETE", EVHTTP_REQ_DELETE},
		{"OPTIONS", EVHTTP_REQ_OPTIONS},
	};

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		if (str_same(methods[i].name, method))
			return methods[i].type;
	}
	abort(); /* the server side lets no other method in */
}

static void send_on(struct evhttp_transport *transport, struct conn *conn)
{
	struct evhttp_request *request = conn_new_request(conn);
	struct evkeyvalq *headers = evhttp_request_get_output_headers(request);
	const struct fields *fields = transport->request.fields;

	for (size_t i = 0; i < fields->count; i++)
		evhttp_add_header(headers, fields->list[i].name, fields->list[i].value);
	/* A reference: the chains are shared by all attempts. (A reference to a reference is
	 * refused by libevent, so this is always taken from the owner's buffer.) */
	if (evbuffer_add_buffer_reference(
		    evhttp_request_get_output_buffer(request), transport->request.body) != 0)
		abort();
	transport->conn = conn;
	address_render(conn_address(conn), transport->transport.facts.address,
		sizeof(transport->transport.facts.address));
	conn_send(conn, &conn_user, transport, request, evhttp_method(transport->request.method),
		transport->request.target);
}

static void dial_next(struct evhttp_transport *transport)
{
	const struct address *address = &transport->addresses.addresses[transport->tried++];

	transport->phase = PHASE_CONNECT;
	send_on(transport, conn_new(transport->pool, address));
}

static void use_addresses(struct evhttp_transport *transport, const struct resolver_answer *answer)
{
	transport->addresses = *answer;
	dial_next(transport);
}

static void transport_on_answer(void *arg, const struct resolver_answer *answer)
{
	struct evhttp_transport *transport = arg;

	transport->query = NULL;
	transport->transport.facts.dns_ms = lap(transport);
	if (!answer->count) {
		fail(transport, &answer->failure);
		return;
	}
	pool_keep_addresses(transport->pool, answer, clock_mono());
	use_addresses(transport, answer);
}

static void begin(struct evhttp_transport *transport)
{
	struct conn *conn = conn_acquire(transport->pool, transport->request.max_idle_ms);
	const struct resolver_answer *known = pool_addresses(transport->pool, clock_mono());

	transport->phase_began = clock_mono();
	if (conn) {
		transport->transport.facts.reused = true;
		progress(transport, PHASE_WRITE);
		send_on(transport, conn);
	} else if (known) {
		use_addresses(transport, known);
	} else {
		progress(transport, PHASE_DNS);
		transport->query = pool_resolve(transport->pool, transport_on_answer, transport);
	}
}

static void transport_on_timer(void *arg)
{
	struct evhttp_transport *transport = arg;

	if (transport->handler)
		begin(transport);
	else
		transport_free(transport);
}

static struct transport *start(struct pool *pool, const struct transport_request *request,
	const struct transport_handler *handler, void *arg)
{
	struct evhttp_transport *transport = xcalloc(1, sizeof(*transport));

	transport->transport.type = &transport_evhttp;
	transport->transport.facts = TRANSPORT_FACTS_INIT;
	transport->pool = pool;
	transport->handler = handler;
	transport->arg = arg;
	transport->request = *request;
	transport->timer = timer_new(pool_base(pool), transport_on_timer, transport);
	timer_start(transport->timer, 0);
	return &transport->transport;
}

/* ---- The connection's events, in the order of time. */

static void transport_on_connected(void *arg)
{
	struct evhttp_transport *transport = arg;

	transport->transport.facts.connect_ms =
		lap(transport); /* TLS included: evhttp tells no more */
	progress(transport, PHASE_WRITE);
}

static void transport_on_sent(void *arg, bool all)
{
	struct evhttp_transport *transport = arg;

	transport->transport.facts.bytes_sent = conn_facts(transport->conn)->bytes_sent;
	if (transport->phase == PHASE_BODY)
		return;
	if (all && transport->phase == PHASE_WRITE)
		transport->transport.facts.write_ms = lap(transport);
	progress(transport, all ? PHASE_FIRST_BYTE : PHASE_WRITE);
}

static void transport_on_received(void *arg)
{
	struct evhttp_transport *transport = arg;

	transport->transport.facts.bytes_received = conn_facts(transport->conn)->bytes_received;
	if (!transport->transport.facts.answer_begun) {
		transport->transport.facts.answer_begun = true;
		transport->transport.facts.first_byte_ms = lap(transport);
	}
	if (transport->phase == PHASE_BODY)
		progress(transport, PHASE_BODY);
}

/* True if all Content-Length fields agree: evhttp takes the first of several. */
static bool lengths_agree(const struct fields *fields)
{
	const char *first = fields_get(fields, "Content-Length");

	for (size_t i = 0; i < fields->count; i++) {
		if (str_same_nocase(fields->list[i].name, "Content-Length") &&
			!str_same(fields->list[i].value, first))
			return false;
	}
	return true;
}

/* Is the connection's end near? evhttp knows only the exact word `close`. */
static bool says_last(const struct evhttp_request *request, const struct fields *fields)
{
	bool is_old = request->major < 1 || (request->major == 1 && request->minor == 0);
	bool keeps = false, closes = false;

	for (size_t i = 0; i < fields->count; i++) {
		if (!str_same_nocase(fields->list[i].name, "Connection"))
			continue;
		closes |= header_list_has(fields->list[i].value, "close");
		keeps |= header_list_has(fields->list[i].value, "keep-alive");
	}
	return closes || (is_old && !keeps);
}

/* What evhttp would misread; NULL if nothing. */
static const char *misread(int status, const struct fields *fields)
{
	const char *coding = fields_get(fields, "Transfer-Encoding");

	if (status < 200)
		return "an interim answer, which evhttp takes for the last one";
	if (!lengths_agree(fields))
		return "several different Content-Length fields";
	if (coding && !str_same_nocase(coding, "chunked"))
		return "a transfer coding that is not chunked";
	return NULL;
}

/* A body that ends with the connection: evhttp takes it for empty if the answer also says
 * `Connection: keep-alive`, so that field is taken away before evhttp looks. */
static void mend_framing(struct evhttp_transport *transport, struct evhttp_request *request,
	const struct fields *fields)
{
	bool framed =
		fields_get(fields, "Content-Length") || fields_get(fields, "Transfer-Encoding");
	int status = evhttp_request_get_response_code(request);

	if (says_last(request, fields))
		conn_set_last(transport->conn);
	if (framed || status == 204 || status == 304 || str_same(transport->request.method, "HEAD"))
		return;
	evhttp_remove_header(evhttp_request_get_input_headers(request), "Connection");
	conn_set_last(transport->conn);
}

static bool transport_on_head(void *arg, struct evhttp_request *request)
{
	struct evhttp_transport *transport = arg;
	struct evkeyvalq *headers = evhttp_request_get_input_headers(request);
	int status = evhttp_request_get_response_code(request);
	const char *wrong;
	struct fields fields = FIELDS_NULL;
	struct transport_head head = {
		.status = status,
		.reason = evhttp_request_get_response_code_line(request),
		.fields = &fields,
	};

	for (struct evkeyval *header = headers->tqh_first; header; header = header->next.tqe_next)
		fields_add(&fields, header->key, header->value);
	if (status == 100) { /* evhttp starts over */
		transport->transport.facts.answer_begun = false;
		fields_fini(&fields);
		return true;
	}
	transport->phase = PHASE_BODY;
	wrong = misread(status, &fields);
	if (wrong) {
		struct failure failure;

		failure_set(&failure, PHASE_FIRST_BYTE, ERROR_HTTP_PROTOCOL_ERROR, wrong);
		fail(transport, &failure);
	} else {
		mend_framing(transport, request, &fields);
		transport->handler->on_head(transport->arg, &head);
	}
	fields_fini(&fields);
	return transport->handler != NULL;
}

static void transport_on_body(void *arg, struct evbuffer *piece)
{
	struct evhttp_transport *transport = arg;

	transport->handler->on_body(transport->arg, piece);
}

static void transport_on_end(void *arg)
{
	struct evhttp_transport *transport = arg;

	transport->conn = NULL; /* back in the pool, or doomed */
	end(transport)->on_end(transport->arg);
}

static void transport_on_failure(void *arg, const struct failure *failure)
{
	struct evhttp_transport *transport = arg;
	bool dialling = failure->phase == PHASE_CONNECT || failure->phase == PHASE_TLS;

	transport->conn = NULL;
	transport->phase = failure->phase;
	if (dialling && failure->error != ERROR_TLS_CERTIFICATE_ERROR &&
		transport->tried < transport->addresses.count) {
		dial_next(transport);
		return;
	}
	if (dialling)
		pool_doubt_addresses(transport->pool);
	fail(transport, failure);
}

static const struct conn_user conn_user = {
	.on_connected = transport_on_connected,
	.on_sent = transport_on_sent,
	.on_received = transport_on_received,
	.on_head = transport_on_head,
	.on_body = transport_on_body,
	.on_end = transport_on_end,
	.on_failure = transport_on_failure,
};

/* ---- What the header promises. */

static struct evhttp_transport *own(struct transport *transport)
{
	return (struct evhttp_transport *)transport; /* its first member */
}

static void cancel(struct transport *transport)
{
	end(own(transport));
}

static void pause_reading(struct transport *transport)
{
	if (own(transport)->conn)
		conn_pause(own(transport)->conn);
}

static void resume_reading(struct transport *transport)
{
	if (own(transport)->conn)
		conn_resume(own(transport)->conn);
}

static enum phase phase_of(const struct transport *any)
{
	const struct evhttp_transport *transport = (const struct evhttp_transport *)any;

	if (transport->phase == PHASE_CONNECT && transport->conn)
		return conn_dial_phase(transport->conn);
	return transport->phase;
}

const struct transport_type transport_evhttp = {
	.start = start,
	.cancel = cancel,
	.finish = cancel, /* evhttp does not let go of a request and keep its connection */
	.pause = pause_reading,
	.resume = resume_reading,
	.phase = phase_of,
};
