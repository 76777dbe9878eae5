#include "admin/admin.h"

#include <assert.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "admin/health.h"
#include "admin/metrics_page.h"
#include "admin/status.h"
#include "base/budget.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "proxy/accepted.h"
#include "proxy/admission.h"
#include "proxy/client.h"
#include "proxy/cors.h"
#include "proxy/front.h"
#include "proxy/message.h"
#include "proxy/token.h"

enum {
	MAX_HEAD = 16 << 10,
	MAX_BODY = 4 << 10, /* nobody has a reason to send one */
	MAX_MEMORY = 256 << 10,
	MAX_CONNECTIONS = 64, /* so that the proxy's descriptors stay the proxy's */
	HEADER_MS = 10 * 1000,
	IDLE_MS = 120 * 1000,
	SEND_MS = 30 * 1000,
	LAST_TURNS = 4, /* of the loop, at the end */
};

/* One request. */
struct visit {
	TAILQ_ENTRY(visit) entry;
	struct admin *admin;
	struct client *client;
};

struct admin {
	struct admin_setup setup;
	struct front *front;
	struct accepted_list *accepted;
	struct budget memory, connections; /* not the proxy's: it may be full */
	struct metrics *sum;
	msec_t began;
	TAILQ_HEAD(visits, visit) visits;
	bool retiring, closing;
};

/* ---- The pages. */

static const char text_type[] = "text/plain; charset=utf-8";

static int render_live(const struct admin *admin, const char *query, struct str *out)
{
	(void)admin;
	(void)query;
	return health_live(out);
}

static bool asks_for(const char *query, const char *key)
{
	const char *element;
	size_t len;

	while (str_next_element(&query, "&", &element, &len)) {
		const char *mark = memchr(element, '=', len);

		if (str_is(element, mark ? (size_t)(mark - element) : len, key))
			return true;
	}
	return false;
}

static int render_ready(const struct admin *admin, const char *query, struct str *out)
{
	return health_ready(&admin->setup, asks_for(query, "upstream"), out);
}

static int render_metrics(const struct admin *admin, const char *query, struct str *out)
{
	(void)query;
	metrics_page_render(&admin->setup, admin->sum, out);
	return 200;
}

static int render_status(const struct admin *admin, const char *query, struct str *out)
{
	(void)query;
	status_render(&admin->setup, clock_mono() - admin->began, out);
	return 200;
}

static int render_index(const struct admin *admin, const char *query, struct str *out);

static const struct page {
	const char *path, *type, *text;
	bool is_private; /* beyond loopback only for who has the client token */
	int (*render)(const struct admin *admin, const char *query, struct str *out);
} pages[] = {
	{"/healthz", text_type, "is the process alive", false, render_live},
	{"/readyz", text_type,
		"does it accept requests; /readyz?upstream: and is there a path to the upstream",
		false, render_ready},
	{"/metrics", "text/plain; version=0.0.4; charset=utf-8", "numbers for Prometheus", false,
		render_metrics},
	{"/status", "application/json", "what runs and what waits, and why, as JSON", true,
		render_status},
	{"/", text_type, "this page", true, render_index},
};

enum { PAGE_COUNT = sizeof(pages) / sizeof(pages[0]) };

static int render_index(const struct admin *admin, const char *query, struct str *out)
{
	(void)admin;
	(void)query;
	str_addf(out, "andiron %s\n\n", ANDIRON_VERSION);
	for (size_t i = 0; i < PAGE_COUNT; i++)
		str_addf(out, "%-10s %s\n", pages[i].path, pages[i].text);
	return 200;
}

static const struct page *find_page(const char *target)
{
	for (size_t i = 0; i < PAGE_COUNT; i++) {
		if (str_is(target, strcspn(target, "?"), pages[i].path))
			return &pages[i];
	}
	return NULL;
}

/* ---- Who may see which. */

static bool refuse_path(struct refusal *refusal)
{
	refusal_set(refusal, 404, ERROR_DESTINATION_NOT_FOUND,
		"andiron: there is no such page; there are:");
	for (size_t i = 0; i < PAGE_COUNT; i++)
		str_addf(&refusal->message, "%s %s", i ? "," : "", pages[i].path);
	str_add_char(&refusal->message, '.');
	return false;
}

static bool refuse_method(struct refusal *refusal)
{
	fields_add(&refusal->fields, "Allow", "GET, HEAD");
	return refusal_set(refusal, 405, ERROR_HTTP_REQUEST_ERROR,
		"andiron: the admin pages are only read, by GET or HEAD.");
}

static bool check_token(const struct admin *admin, const struct fields *fields,
	const struct page *page, struct refusal *refusal)
{
	if (!page->is_private || !admin->setup.beyond_loopback ||
		token_is_given(admin->setup.config, fields))
		return true;
	fields_add(&refusal->fields, "WWW-Authenticate", "Bearer realm=\"andiron\"");
	return refusal_set(refusal, 401, ERROR_HTTP_REQUEST_DENIED,
		"andiron: beyond loopback this page needs the client token (client_token_file in "
		"[server]): in the header X-Andiron-Token, or as Authorization: Bearer.");
}

/* The page, and the query behind `?`; NULL: `refusal` has the answer. */
static const struct page *judge(const struct admin *admin, const struct received *from,
	const char **ret_query, struct refusal *refusal)
{
	_cleanup_free_ char *authority = NULL;
	const struct page *page;
	const char *target;

	assert(from->head || from->status); /* what is let in is whole */
	if (from->status) {
		admission_take_refusal(from, refusal);
		return NULL;
	}
	target = from->head->target;
	authority = admission_take_authority(&target);
	if (!admission_check_page(from, authority, admin->setup.config, refusal))
		return NULL;
	page = find_page(target);
	if (!page)
		refuse_path(refusal);
	else if (!str_same(from->head->method, "GET") && !str_same(from->head->method, "HEAD"))
		refuse_method(refusal);
	else
		check_token(admin, &from->head->fields, page, refusal);
	target += strcspn(target, "?");
	*ret_query = *target ? target + 1 : target; /* in the request's head, which stays */
	return refusal->status ? NULL : page;
}

/* ---- Answers. */

static void visit_on_done(void *arg)
{
	struct visit *visit = arg;

	TAILQ_REMOVE(&visit->admin->visits, visit, entry);
	free(visit);
}

static void visit_on_gone(void *arg, const char *detail)
{
	(void)detail;
	visit_on_done(arg);
}

static void visit_on_drained(void *arg)
{
	(void)arg;
}

static const struct client_handler visit_handler = {
	.on_gone = visit_on_gone,
	.on_drained = visit_on_drained,
	.on_done = visit_on_done,
};

static void send_answer(struct client *client, int status, const struct fields *fields,
	const struct str *body, bool close)
{
	struct evbuffer *piece = evbuffer_new();

	if (!piece)
		abort();
	client_start(client, status, message_reason(status), fields, close);
	evbuffer_add(piece, str_text(body), body->len);
	if (client_takes_body(client, status))
		client_send(client, piece);
	client_end(client); /* the visit may be gone now */
	evbuffer_free(piece);
}

static void answer(struct visit *visit, const struct received *from)
{
	struct admin *admin = visit->admin;
	const char *origin = admission_origin(from, admin->setup.config), *query = "";
	struct refusal refusal = {.status = 0};
	_cleanup_str_ struct str body = STR_NULL, length = STR_NULL;
	const struct page *page = judge(admin, from, &query, &refusal);
	int status = page ? page->render(admin, query, &body) : refusal.status;

	if (!page && refusal.status != 204)
		message_render_error(refusal.error, str_text(&refusal.message), false, &body);
	if (body.len) {
		str_addf(&length, "%zu", body.len);
		fields_add(&refusal.fields, "Content-Type", page ? page->type : "application/json");
		fields_add(&refusal.fields, "Content-Length", str_text(&length));
	}
	fields_add(&refusal.fields, "Cache-Control", "no-store");
	fields_add(&refusal.fields, "X-Content-Type-Options", "nosniff");
	if (origin)
		cors_allow(origin, &refusal.fields);
	send_answer(
		visit->client, status, &refusal.fields, &body, refusal.close || admin->retiring);
	refusal_fini(&refusal);
}

static void admin_on_request(struct evhttp_request *request, void *arg)
{
	struct admin *admin = arg;
	struct visit *visit;
	struct received from;

	if (admin->closing)
		return; /* front_free() puts the request away */
	visit = xcalloc(1, sizeof(*visit));
	visit->admin = admin;
	visit->client = client_new(request, admin->accepted, SEND_MS, &visit_handler, visit);
	TAILQ_INSERT_TAIL(&admin->visits, visit, entry);
	from = client_take(visit->client);
	budget_give(&admin->memory, (int64_t)from.reserved);
	answer(visit, &from);
}

/* ---- Life. */

static struct accepted_options accepted_options(struct admin *admin)
{
	return (struct accepted_options){
		.base = admin->setup.base,
		.idle_ms = IDLE_MS,
		.guarded = true,
		.guard =
			{
				.max_head = MAX_HEAD,
				.max_body = MAX_BODY,
				.timeout_ms = HEADER_MS,
				.memory = &admin->memory,
				.config = admin->setup.config,
			},
		.connections = &admin->connections,
	};
}

struct admin *admin_new(const struct admin_setup *setup, int fd)
{
	struct admin *admin = xcalloc(1, sizeof(*admin));
	struct front_listener listener = {.fd = fd};
	struct accepted_options accepted;

	admin->setup = *setup;
	admin->began = clock_mono();
	admin->memory.limit = MAX_MEMORY;
	admin->connections.limit = MAX_CONNECTIONS;
	TAILQ_INIT(&admin->visits);
	admin->sum = metrics_new();
	accepted = accepted_options(admin);
	admin->accepted = accepted_list_new(&accepted);
	admin->front = front_new(setup->base, admin->accepted, admin_on_request, admin);
	front_listen(admin->front, &listener, 1);
	return admin;
}

static void turn_loop(struct admin *admin)
{
	for (int i = 0; i < LAST_TURNS; i++)
		event_base_loop(admin->setup.base, EVLOOP_NONBLOCK);
}

static void abort_visits(struct admin *admin)
{
	struct visit *visit = TAILQ_FIRST(&admin->visits);

	while (visit) {
		struct visit *next = TAILQ_NEXT(visit, entry);

		client_abort(visit->client); /* nobody hears of it any more */
		visit_on_done(visit);
		visit = next;
	}
}

void admin_reload(struct admin *admin, const struct admin_setup *setup)
{
	struct accepted_options accepted;

	admin->setup = *setup;
	accepted = accepted_options(admin);
	accepted_list_configure(admin->accepted, &accepted);
}

void admin_retire(struct admin *admin)
{
	if (!admin)
		return;
	admin->retiring = true;
	front_listen(admin->front, NULL, 0);
	accepted_drain(admin->accepted);
}

bool admin_has_retired(const struct admin *admin)
{
	return !admin || accepted_count(admin->accepted) == 0;
}

void admin_free(struct admin *admin)
{
	if (!admin)
		return;
	admin->closing = true;
	abort_visits(admin);
	turn_loop(admin);
	front_free(admin->front);
	accepted_list_free(admin->accepted);
	turn_loop(admin);
	metrics_free(admin->sum);
	free(admin);
}
