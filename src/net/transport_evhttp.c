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
#include "policy/header.h"

struct transport {
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
	struct transport_facts facts;
	msec_t phase_began;
};

static const struct conn_user conn_user;

static void transport_free(struct transport *transport)
{
	timer_free(transport->timer);
	free(transport);
}

/* No callback after this; what still runs below is let go. */
static const struct transport_handler *end(struct transport *transport)
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

static void fail(struct transport *transport, const struct failure *failure)
{
	end(transport)->on_failure(transport->arg, failure);
}

static void progress(struct transport *transport, enum phase phase)
{
	transport->phase = phase;
	transport->handler->on_progress(transport->arg, phase);
}

/* The time since the last phase began; the next one begins now. */
static msec_t lap(struct transport *transport)
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

static void send_on(struct transport *transport, struct conn *conn)
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
	address_render(
		conn_address(conn), transport->facts.address, sizeof(transport->facts.address));
	conn_send(conn, &conn_user, transport, request, evhttp_method(transport->request.method),
		transport->request.target);
}

static void dial_next(struct transport *transport)
{
	const struct address *address = &transport->addresses.addresses[transport->tried++];

	transport->phase = PHASE_CONNECT;
	send_on(transport, conn_new(transport->pool, address));
}

static void use_addresses(struct transport *transport, const struct resolver_answer *answer)
{
	transport->addresses = *answer;
	dial_next(transport);
}

static void transport_on_answer(void *arg, const struct resolver_answer *answer)
{
	struct transport *transport = arg;

	transport->query = NULL;
	transport->facts.dns_ms = lap(transport);
	if (!answer->count) {
		fail(transport, &answer->failure);
		return;
	}
	pool_keep_addresses(transport->pool, answer, clock_mono());
	use_addresses(transport, answer);
}

static void begin(struct transport *transport)
{
	struct conn *conn = pool_acquire(transport->pool, transport->request.max_idle_ms);
	const struct resolver_answer *known = pool_addresses(transport->pool, clock_mono());

	transport->phase_began = clock_mono();
	if (conn) {
		transport->facts.reused = true;
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
	struct transport *transport = arg;

	if (transport->handler)
		begin(transport);
	else
		transport_free(transport);
}

struct transport *transport_start(struct pool *pool, const struct transport_request *request,
	const struct transport_handler *handler, void *arg)
{
	struct transport *transport = xcalloc(1, sizeof(*transport));

	transport->pool = pool;
	transport->handler = handler;
	transport->arg = arg;
	transport->request = *request;
	transport->facts.dns_ms = transport->facts.connect_ms = transport->facts.tls_ms = -1;
	transport->facts.write_ms = transport->facts.first_byte_ms = -1;
	transport->timer = timer_new(pool_base(pool), transport_on_timer, transport);
	timer_start(transport->timer, 0);
	return transport;
}

/* ---- The connection's events, in the order of time. */

static void transport_on_connected(void *arg)
{
	struct transport *transport = arg;

	transport->facts.connect_ms = lap(transport); /* TLS included: evhttp tells no more */
	progress(transport, PHASE_WRITE);
}

static void transport_on_sent(void *arg, bool all)
{
	struct transport *transport = arg;

	transport->facts.bytes_sent = conn_facts(transport->conn)->bytes_sent;
	if (transport->phase == PHASE_BODY)
		return;
	if (all && transport->phase == PHASE_WRITE)
		transport->facts.write_ms = lap(transport);
	progress(transport, all ? PHASE_FIRST_BYTE : PHASE_WRITE);
}

static void transport_on_received(void *arg)
{
	struct transport *transport = arg;

	transport->facts.bytes_received = conn_facts(transport->conn)->bytes_received;
	if (!transport->facts.answer_begun) {
		transport->facts.answer_begun = true;
		transport->facts.first_byte_ms = lap(transport);
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
static void mend_framing(
	struct transport *transport, struct evhttp_request *request, const struct fields *fields)
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
	struct transport *transport = arg;
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
		transport->facts.answer_begun = false;
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
	struct transport *transport = arg;

	transport->handler->on_body(transport->arg, piece);
}

static void transport_on_end(void *arg)
{
	struct transport *transport = arg;

	transport->conn = NULL; /* back in the pool, or doomed */
	end(transport)->on_end(transport->arg);
}

static void transport_on_failure(void *arg, const struct failure *failure)
{
	struct transport *transport = arg;
	bool dialling = failure->phase == PHASE_CONNECT || failure->phase == PHASE_TLS;

	transport->conn = NULL;
	transport->phase = failure->phase;
	if (dialling && failure->error != ERROR_TLS_CERTIFICATE_ERROR &&
		transport->tried < transport->addresses.count)
		dial_next(transport);
	else
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

void transport_cancel(struct transport *transport)
{
	end(transport);
}

void transport_pause(struct transport *transport)
{
	if (transport->conn)
		conn_pause(transport->conn);
}

void transport_resume(struct transport *transport)
{
	if (transport->conn)
		conn_resume(transport->conn);
}

enum phase transport_phase(const struct transport *transport)
{
	if (transport->phase == PHASE_CONNECT && transport->conn)
		return conn_dial_phase(transport->conn);
	return transport->phase;
}

const struct transport_facts *transport_facts(const struct transport *transport)
{
	return &transport->facts;
}
