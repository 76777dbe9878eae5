#include "net/resolver.h"

#include <event2/dns.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "net/hosts.h"
#include "net/nameservers.h"
#include "net/question.h"
#include "net/socket.h"
#include "net/timer.h"
#include "net/watched_file.h"

enum {
	QUESTIONS = 3,        /* about one family, whomever they go to */
	AAAA_MAY_LAG_MS = 50, /* behind A: the Resolution Delay of RFC 8305, section 3 */
	A_MAY_LAG_MS = 500,   /* behind AAAA; longer: IPv6 alone is of no use to many machines */
	INCOMPLETE_FRESH_MS = 1000,
	STATIC_FRESH_MS = 24 * 3600 * 1000, /* what no name server said */
	FAVOUR_MS = 60 * 1000, /* how long a server that answers is asked before a silent one */
	ASKING = -100000,      /* a code that neither DNS_ERR_* nor -errno is */
};

struct resolver {
	struct event_base *base;
	struct watched_file hosts, resolv_conf;
	unsigned generation; /* of what the two files say */
	struct nameservers servers;
	size_t favourite; /* the server that is asked first, until then; afterwards the first one */
	msec_t favoured_until;
};

/* What is known of a name's A or of its AAAA records. */
struct family {
	struct resolver_query *query;
	int af;
	int code; /* ASKING, then DNS_ERR_* or -errno as in net/question.h */
	struct question *question;
	size_t server;             /* that is being asked */
	size_t asked;              /* questions up to now */
	int said[NAMESERVERS_MAX]; /* a code for each server; ASKING: not asked yet */
	struct address addresses[RESOLVER_MAX_ADDRESSES];
	size_t count;
	msec_t ttl_ms;
};

struct resolver_query {
	struct resolver *resolver;
	char *name;
	unsigned short port;
	struct nameservers servers; /* as they were when it began */
	size_t favourite;
	struct family v6, v4;
	struct timer *deliver; /* an answer is never given inside resolver_start() */
	struct resolver_answer answer;
	resolver_on_answer *on_answer;
	void *arg;
};

struct resolver *resolver_new(struct event_base *base)
{
	struct resolver *resolver = xcalloc(1, sizeof(*resolver));
	msec_t now = clock_mono();

	resolver->base = base;
	watched_file_init(&resolver->hosts, "/etc/hosts", now);
	watched_file_init(&resolver->resolv_conf, "/etc/resolv.conf", now);
	nameservers_parse(resolver->resolv_conf.text, &resolver->servers);
	return resolver;
}

void resolver_free(struct resolver *resolver)
{
	if (!resolver)
		return;
	watched_file_fini(&resolver->hosts);
	watched_file_fini(&resolver->resolv_conf);
	free(resolver);
}

unsigned resolver_generation(struct resolver *resolver)
{
	msec_t now = clock_mono();

	if (watched_file_look(&resolver->hosts, now))
		resolver->generation++;
	if (watched_file_look(&resolver->resolv_conf, now)) {
		nameservers_parse(resolver->resolv_conf.text, &resolver->servers);
		resolver->favoured_until = 0;
		resolver->generation++;
	}
	return resolver->generation;
}

static void query_free(struct resolver_query *query)
{
	if (query->v6.question)
		question_cancel(query->v6.question);
	if (query->v4.question)
		question_cancel(query->v4.question);
	timer_free(query->deliver);
	free(query->name);
	free(query);
}

/* ---- One family: servers are asked until one knows. */

static struct family *other_of(struct family *family)
{
	return family->af == AF_INET ? &family->query->v6 : &family->query->v4;
}

static void settle(struct family *family, int code)
{
	family->code = code;
	if (other_of(family)->code != ASKING)
		timer_start(family->query->deliver, 0);
	else if (family->count)
		timer_start(family->query->deliver,
			family->af == AF_INET ? AAAA_MAY_LAG_MS : A_MAY_LAG_MS);
}

/* The server for the next question, round and round from the favourite; one that has answered
 * with an error is not asked again. `count` if there is none. */
static size_t next_server(const struct family *family)
{
	const struct nameservers *servers = &family->query->servers;

	for (size_t i = 0; family->asked < QUESTIONS && i < servers->count; i++) {
		size_t server = (family->query->favourite + family->asked + i) % servers->count;
		int said = family->said[server];

		if (said == ASKING || said == DNS_ERR_TIMEOUT)
			return server;
	}
	return servers->count;
}

/* What stands for all that was said: an error tells more than silence, and silence more than that
 * one of the servers could not be asked. */
static int verdict(const struct family *family)
{
	int verdict = ASKING;

	for (size_t i = 0; i < family->query->servers.count; i++) {
		int said = family->said[i];
		bool error = said > 0 && said != DNS_ERR_TIMEOUT;

		if (said != ASKING && (verdict == ASKING || error || (said > 0 && verdict < 0)))
			verdict = said;
	}
	return verdict;
}

static question_on_answer family_on_answer;

static void ask(struct family *family)
{
	struct resolver_query *query = family->query;
	size_t server = next_server(family);

	if (server == query->servers.count) {
		settle(family, verdict(family));
		return;
	}
	family->server = server;
	family->asked++;
	family->question = question_start(query->resolver->base, &query->servers.list[server],
		family->af, query->name, family_on_answer, family);
}

static void add_address(struct family *family, const struct address *address)
{
	if (family->count < RESOLVER_MAX_ADDRESSES)
		family->addresses[family->count++] = *address;
}

static void add_records(struct family *family, const struct question_answer *answer)
{
	const struct in_addr *v4 = answer->addresses;
	const struct in6_addr *v6 = answer->addresses;
	in_port_t port = htons(family->query->port);

	for (size_t i = 0; i < answer->count; i++) {
		struct address address;

		memset(&address, 0, sizeof(address));
		if (family->af == AF_INET) {
			address.v4 = (struct sockaddr_in){
				.sin_family = AF_INET, .sin_port = port, .sin_addr = v4[i]};
			address.len = sizeof(address.v4);
		} else {
			address.v6 = (struct sockaddr_in6){
				.sin6_family = AF_INET6, .sin6_port = port, .sin6_addr = v6[i]};
			address.len = sizeof(address.v6);
		}
		add_address(family, &address);
	}
	family->ttl_ms = answer->ttl_ms;
}

/* The others were silent or of no use: they need not be waited for each time. */
static void favour(const struct family *family)
{
	struct resolver_query *query = family->query;
	struct resolver *resolver = query->resolver;

	if (family->server == query->favourite || query->answer.generation != resolver->generation)
		return;
	resolver->favourite = family->server;
	resolver->favoured_until = clock_mono() + FAVOUR_MS;
}

static void family_on_answer(void *arg, const struct question_answer *answer)
{
	struct family *family = arg;
	int code = answer->code;

	family->question = NULL;
	family->said[family->server] = code;
	if (code != DNS_ERR_NONE && code != DNS_ERR_NOTEXIST && code != DNS_ERR_NODATA) {
		ask(family);
		return;
	}
	if (code == DNS_ERR_NONE)
		add_records(family, answer);
	favour(family);
	settle(family, code);
}

/* ---- The answer, made of both. */

/* A datagram socket knows: without a route to it, IPv6 goes last (RFC 6724, section 5, rule 1). */
static bool prefers_v6(const struct resolver_query *query)
{
	return query->v6.count && socket_route_errno(&query->v6.addresses[0]) == 0;
}

static void append(struct resolver_answer *answer, const struct family *family, size_t count)
{
	memcpy(&answer->addresses[answer->count], family->addresses,
		count * sizeof(family->addresses[0]));
	answer->count += count;
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Neither family may crowd out the other one. */
static void merge(struct resolver_query *query)
{
	bool v6_first = prefers_v6(query);
	const struct family *first = v6_first ? &query->v6 : &query->v4;
	const struct family *second = v6_first ? &query->v4 : &query->v6;
	size_t reserved = least(second->count, RESOLVER_MAX_ADDRESSES / 2);

	append(&query->answer, first, least(first->count, RESOLVER_MAX_ADDRESSES - reserved));
	append(&query->answer, second,
		least(second->count, RESOLVER_MAX_ADDRESSES - query->answer.count));
}

static msec_t fresh_ms(const struct resolver_query *query)
{
	msec_t fresh = STATIC_FRESH_MS;

	if (query->v4.count && query->v4.ttl_ms < fresh)
		fresh = query->v4.ttl_ms;
	if (query->v6.count && query->v6.ttl_ms < fresh)
		fresh = query->v6.ttl_ms;
	/* IPv6 alone because A was late: it should not stay so. */
	if (query->v4.code == ASKING && fresh > INCOMPLETE_FRESH_MS)
		fresh = INCOMPLETE_FRESH_MS;
	return fresh;
}

/* "name servers 192.0.2.1, 192.0.2.2: no answer; name server 192.0.2.3: SERVFAIL, ..." */
static void describe_code(struct str *out, const struct family *family, int code)
{
	const struct nameservers *servers = &family->query->servers;
	struct str who = STR_NULL;
	size_t count = 0;

	for (size_t i = 0; i < servers->count; i++) {
		char ip[ADDRESS_TEXT_SIZE];

		if (family->said[i] != code)
			continue;
		address_render_ip(&servers->list[i], ip, sizeof(ip));
		str_addf(&who, count++ ? ", %s" : " %s", ip);
	}
	str_addf(out, "%sname server%s%s: %s%s", out->len ? "; " : "", count > 1 ? "s" : "",
		str_text(&who), code < 0 ? "cannot be asked: " : "", question_code_text(code));
	str_fini(&who);
}

static void describe(struct str *out, const struct family *family)
{
	int told[NAMESERVERS_MAX];
	size_t count = 0;

	for (size_t i = 0; i < family->query->servers.count; i++) {
		int code = family->said[i];
		bool known = code == ASKING;

		for (size_t j = 0; j < count; j++)
			known |= told[j] == code;
		if (!known)
			describe_code(out, family, told[count++] = code);
	}
}

/* A's failure is the name's, since that is what all names have; save that the name has no A. */
static int failing_code(const struct resolver_query *query)
{
	return query->v4.code == DNS_ERR_NODATA ? query->v6.code : query->v4.code;
}

static void describe_failure(struct resolver_query *query)
{
	enum error error =
		failing_code(query) == DNS_ERR_TIMEOUT ? ERROR_DNS_TIMEOUT : ERROR_DNS_ERROR;
	struct str v4 = STR_NULL, v6 = STR_NULL;

	describe(&v4, &query->v4);
	describe(&v6, &query->v6);
	if (!str_same(str_text(&v4), str_text(&v6)))
		str_addf(&v4, " (for A; for AAAA: %s)", str_text(&v6));
	failure_set(&query->answer.failure, PHASE_DNS, error, str_text(&v4));
	str_fini(&v4);
	str_fini(&v6);
}

static void query_on_deliver(void *arg)
{
	struct resolver_query *query = arg;

	if (!query->answer.count)
		merge(query);
	query->answer.fresh_ms = fresh_ms(query);
	if (!query->answer.count)
		describe_failure(query);
	query->on_answer(query->arg, &query->answer);
	query_free(query);
}

/* ---- Beginning. */

static void add_ip(struct resolver_query *query, const char *ip)
{
	struct resolver_answer *answer = &query->answer;

	if (address_from_ip(ip, query->port, &answer->addresses[answer->count]))
		answer->count++;
}

static bool is_localhost(const char *name)
{
	return str_same(name, "localhost") || str_ends(name, ".localhost");
}

/* True if no name server is needed. */
static bool knows(struct resolver_query *query)
{
	const char *cursor = query->resolver->hosts.text;
	struct address address;

	if (is_localhost(query->name)) {
		add_ip(query, "127.0.0.1");
		add_ip(query, "::1");
	} else {
		add_ip(query, query->name);
	}
	if (query->answer.count)
		return true;
	while (hosts_next(&cursor, query->name, query->port, &address))
		add_address(address.any.sa_family == AF_INET ? &query->v4 : &query->v6, &address);
	return query->v4.count || query->v6.count;
}

/* Lower case, as evdns compares the answer's name exactly where it does not randomise case, and
 * without the last dot. */
static char *canonical_name(const char *host)
{
	size_t len = strlen(host);
	char *name = xstrndup(host, len > 1 && host[len - 1] == '.' ? len - 1 : len);

	for (char *p = name; *p; p++)
		*p = ascii_lower(*p);
	return name;
}

static void family_init(struct family *family, struct resolver_query *query, int af)
{
	family->query = query;
	family->af = af;
	family->code = ASKING;
	family->ttl_ms = STATIC_FRESH_MS;
	for (size_t i = 0; i < NAMESERVERS_MAX; i++)
		family->said[i] = ASKING;
}

struct resolver_query *resolver_start(struct resolver *resolver, const char *host,
	unsigned short port, resolver_on_answer *on_answer, void *arg)
{
	struct resolver_query *query = xcalloc(1, sizeof(*query));

	query->resolver = resolver;
	query->name = canonical_name(host);
	query->port = port;
	query->on_answer = on_answer;
	query->arg = arg;
	query->answer.generation = resolver_generation(resolver);
	query->servers = resolver->servers;
	query->favourite = clock_mono() < resolver->favoured_until ? resolver->favourite : 0;
	query->deliver = timer_new(resolver->base, query_on_deliver, query);
	family_init(&query->v6, query, AF_INET6);
	family_init(&query->v4, query, AF_INET);
	if (knows(query)) {
		query->v6.code = query->v4.code = DNS_ERR_NONE;
		timer_start(query->deliver, 0);
	} else {
		ask(&query->v6);
		ask(&query->v4);
	}
	return query;
}

void resolver_cancel(struct resolver_query *query)
{
	query_free(query);
}
