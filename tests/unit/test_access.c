#include "policy/access.h"

#include <stddef.h>

#include "test.h"

/* One Host field; `local` is the address that the connection came in on. */
static const struct {
	const char *host, *local, *allow_hosts;
	enum access want;
} hosts[] = {
	/* loopback names, with and without a port, on any address */
	{"localhost", "127.0.0.1", NULL, ACCESS_ALLOWED},
	{"LocalHost", "127.0.0.1", "", ACCESS_ALLOWED},
	{"localhost:8787", "::1", NULL, ACCESS_ALLOWED},
	{"localhost:1", "192.168.1.5", NULL, ACCESS_ALLOWED},
	{"localhost", NULL, NULL, ACCESS_ALLOWED},
	{"127.0.0.1", "127.0.0.1", NULL, ACCESS_ALLOWED},
	{"127.0.0.1:8787", "127.0.0.1", NULL, ACCESS_ALLOWED},
	{"127.8.9.10:8787", "127.0.0.1", NULL, ACCESS_ALLOWED},
	{"[::1]", "::1", NULL, ACCESS_ALLOWED},
	{"[::1]:8787", "127.0.0.1", NULL, ACCESS_ALLOWED},
	{"[0:0:0:0:0:0:0:1]:8787", "::1", NULL, ACCESS_ALLOWED},
	/* the address that the connection came in on */
	{"192.168.1.5", "192.168.1.5", NULL, ACCESS_ALLOWED},
	{"192.168.1.5:8787", "192.168.1.5", NULL, ACCESS_ALLOWED},
	{"[fd00::5]:8787", "fd00::5", NULL, ACCESS_ALLOWED},
	{"[FD00:0::5]", "fd00::5", NULL, ACCESS_ALLOWED},
	{"192.168.1.6", "192.168.1.5", NULL, ACCESS_HOST_DENIED},
	{"192.168.1.5", NULL, NULL, ACCESS_HOST_DENIED},
	{"192.168.1.50", "192.168.1.5", NULL, ACCESS_HOST_DENIED},
	{"[fd00::6]", "fd00::5", NULL, ACCESS_HOST_DENIED},
	{"0.0.0.0", "127.0.0.1", NULL, ACCESS_HOST_DENIED},
	{"[::]", "::1", NULL, ACCESS_HOST_DENIED},
	{"8.8.8.8:8787", "127.0.0.1", NULL, ACCESS_HOST_DENIED},
	/* other names: DNS rebinding needs one */
	{"evil.example", "127.0.0.1", NULL, ACCESS_HOST_DENIED},
	{"evil.example:8787", "127.0.0.1", NULL, ACCESS_HOST_DENIED},
	{"localhost.evil.example", "127.0.0.1", NULL, ACCESS_HOST_DENIED},
	{"evillocalhost", "127.0.0.1", NULL, ACCESS_HOST_DENIED},
	{"localhosts", "127.0.0.1", NULL, ACCESS_HOST_DENIED},
	{"127.0.0.1.nip.io", "127.0.0.1", NULL, ACCESS_HOST_DENIED},
	{"127.0.0.1.", "127.0.0.1", NULL, ACCESS_HOST_DENIED},
	{"127.1", "127.0.0.1", NULL, ACCESS_HOST_DENIED},
	{"2130706433", "127.0.0.1", NULL, ACCESS_HOST_DENIED},
	{"0x7f000001", "127.0.0.1", NULL, ACCESS_HOST_DENIED},
	{"loc%61lhost", "127.0.0.1", NULL, ACCESS_HOST_DENIED},
	{"api.fireworks.ai", "127.0.0.1", NULL, ACCESS_HOST_DENIED},
	/* names that were allowed */
	{"box.lan", "192.168.1.5", "box.lan", ACCESS_ALLOWED},
	{"BOX.lan:8787", "192.168.1.5", "box.LAN", ACCESS_ALLOWED},
	{"b", "127.0.0.1", "a b c", ACCESS_ALLOWED},
	{"c:80", "127.0.0.1", "  a  b   c ", ACCESS_ALLOWED},
	{"10.0.0.1", "127.0.0.1", "10.0.0.1", ACCESS_ALLOWED},
	{"localhost", "127.0.0.1", "box.lan", ACCESS_ALLOWED},
	{"box", "127.0.0.1", "box.lan", ACCESS_HOST_DENIED},
	{"box.lan.evil.example", "127.0.0.1", "box.lan", ACCESS_HOST_DENIED},
	{"evil.box.lan", "127.0.0.1", "box.lan", ACCESS_HOST_DENIED},
	{"a b", "127.0.0.1", "a b", ACCESS_HOST_INVALID},
	{"evil.example", "127.0.0.1", "*", ACCESS_HOST_DENIED},
	/* what is no authority */
	{"", "127.0.0.1", NULL, ACCESS_HOST_INVALID},
	{":8787", "127.0.0.1", NULL, ACCESS_HOST_INVALID},
	{"localhost,evil.example", "127.0.0.1", NULL, ACCESS_HOST_INVALID},
	{"localhost, localhost", "127.0.0.1", NULL, ACCESS_HOST_INVALID},
	{"localhost/", "127.0.0.1", NULL, ACCESS_HOST_INVALID},
	{"localhost/v1", "127.0.0.1", NULL, ACCESS_HOST_INVALID},
	{"http://localhost", "127.0.0.1", NULL, ACCESS_HOST_INVALID},
	{"user@localhost", "127.0.0.1", NULL, ACCESS_HOST_INVALID},
	{"localhost@evil.example", "127.0.0.1", NULL, ACCESS_HOST_INVALID},
	{"evil.example#localhost", "127.0.0.1", NULL, ACCESS_HOST_INVALID},
	{"evil.example?localhost", "127.0.0.1", NULL, ACCESS_HOST_INVALID},
	{"evil.example\\localhost", "127.0.0.1", NULL, ACCESS_HOST_INVALID},
	{"local host", "127.0.0.1", NULL, ACCESS_HOST_INVALID},
	{"localhost ", "127.0.0.1", NULL, ACCESS_HOST_INVALID},
	{" localhost", "127.0.0.1", NULL, ACCESS_HOST_INVALID},
	{"localhost\t", "127.0.0.1", NULL, ACCESS_HOST_INVALID},
	{"localhost\x7f", "127.0.0.1", NULL, ACCESS_HOST_INVALID},
	{"localh\xc3\xb6st", "127.0.0.1", NULL, ACCESS_HOST_INVALID},
	{"localhost:http", "127.0.0.1", NULL, ACCESS_HOST_INVALID},
	{"localhost:-1", "127.0.0.1", NULL, ACCESS_HOST_INVALID},
	{"localhost:80 ", "127.0.0.1", NULL, ACCESS_HOST_INVALID},
	{"localhost:80:80", "127.0.0.1", NULL, ACCESS_HOST_INVALID},
	{"localhost:80/", "127.0.0.1", NULL, ACCESS_HOST_INVALID},
	{"localhost:80@evil.example", "127.0.0.1", NULL, ACCESS_HOST_INVALID},
	{"localhost:123456", "127.0.0.1", NULL, ACCESS_HOST_INVALID},
	{"::1", "::1", NULL, ACCESS_HOST_INVALID},
	{"::1:8787", "::1", NULL, ACCESS_HOST_INVALID},
	{"[::1", "::1", NULL, ACCESS_HOST_INVALID},
	{"[]", "::1", NULL, ACCESS_HOST_INVALID},
	{"[", "::1", NULL, ACCESS_HOST_INVALID},
	{"[::1]x", "::1", NULL, ACCESS_HOST_INVALID},
	{"[::1]:x", "::1", NULL, ACCESS_HOST_INVALID},
	{"[::1]]", "::1", NULL, ACCESS_HOST_INVALID},
	{"[localhost]", "::1", NULL, ACCESS_HOST_INVALID},
	{"[127.0.0.1]", "127.0.0.1", NULL, ACCESS_HOST_INVALID},
	{"[::1%25lo]", "::1", NULL, ACCESS_HOST_INVALID},
};

static enum access decide(
	const struct access_request *request, const char *allow_hosts, const char *allow_origins)
{
	struct access_rules rules = {.hosts = allow_hosts, .origins = allow_origins};

	return access_decide(request, &rules);
}

static void judges_the_host(void)
{
	for (size_t i = 0; i < COUNT_OF(hosts); i++) {
		struct access_request request = {
			.hosts = 1, .host = hosts[i].host, .local_ip = hosts[i].local};

		ROW("Host: %s, at %s, allow_hosts = %s", hosts[i].host,
			hosts[i].local ? hosts[i].local : "(no IP)",
			hosts[i].allow_hosts ? hosts[i].allow_hosts : "(NULL)");
		CHECK_INT(decide(&request, hosts[i].allow_hosts, NULL), hosts[i].want);
	}
}

static void wants_exactly_one_host(void)
{
	static const int counts[] = {0, 2, 3, 100};

	for (size_t i = 0; i < COUNT_OF(counts); i++) {
		struct access_request request = {.hosts = counts[i],
			.host = counts[i] ? "localhost" : NULL,
			.local_ip = "127.0.0.1"};

		ROW("%d Host fields", counts[i]);
		CHECK_INT(decide(&request, "localhost", NULL), ACCESS_HOST_INVALID);
	}
}

static void judges_lengths(void)
{
	char name[400];
	struct access_request request = {.hosts = 1, .host = name};

	for (size_t len = 250; len < sizeof(name); len++) {
		memset(name, 'a', len);
		name[len] = '\0';
		ROW("a name of %zu bytes", len);
		CHECK_INT(decide(&request, NULL, NULL),
			len <= 255 ? ACCESS_HOST_DENIED : ACCESS_HOST_INVALID);
	}
}

/* What browsers say of where a request comes from. */
static void judges_origin_and_site(void)
{
	static const struct {
		const char *host, *origin, *site;
		enum access want;
	} rows[] = {
		{"localhost", NULL, NULL, ACCESS_ALLOWED},
		{"localhost", NULL, "none", ACCESS_ALLOWED},
		{"localhost", NULL, "same-origin", ACCESS_ALLOWED},
		{"localhost", NULL, "cross-site", ACCESS_CROSS_SITE},
		{"localhost", NULL, "same-site", ACCESS_CROSS_SITE},
		{"localhost", NULL, "Cross-Site", ACCESS_CROSS_SITE},
		{"localhost", "https://evil.example", NULL, ACCESS_ORIGIN},
		{"localhost", "https://evil.example", "cross-site", ACCESS_ORIGIN},
		{"localhost", "null", NULL, ACCESS_ORIGIN},
		{"localhost", "", NULL, ACCESS_ORIGIN},
		{"localhost:8787", "http://localhost:8787", "same-origin", ACCESS_ORIGIN},
		{"localhost", "http://localhost", "none", ACCESS_ORIGIN},
		{"localhost", "chrome-extension://abc", NULL, ACCESS_ORIGIN},
		{"evil.example", "https://evil.example", "same-origin", ACCESS_HOST_DENIED},
		{"evil.example", NULL, "same-origin", ACCESS_HOST_DENIED},
		{"evil.example", NULL, "cross-site", ACCESS_HOST_DENIED},
		{"a/b", "null", "cross-site", ACCESS_HOST_INVALID},
		{"box.lan", NULL, NULL, ACCESS_ALLOWED},
		{"box.lan", "http://box.lan", NULL, ACCESS_ORIGIN},
		{"box.lan", NULL, "same-site", ACCESS_CROSS_SITE},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct access_request request = {.hosts = 1,
			.host = rows[i].host,
			.origins = rows[i].origin != NULL,
			.origin = rows[i].origin,
			.sec_fetch_site = rows[i].site,
			.local_ip = "127.0.0.1"};

		ROW("Host: %s, Origin: %s, Sec-Fetch-Site: %s", rows[i].host,
			rows[i].origin ? rows[i].origin : "(none)",
			rows[i].site ? rows[i].site : "(none)");
		CHECK_INT(decide(&request, "box.lan", ""), rows[i].want);
	}
}

static void refusals_name_the_key_to_set(void)
{
	CHECK_INT(access_status(ACCESS_HOST_INVALID), 400);
	CHECK_INT(access_status(ACCESS_HOST_DENIED), 403);
	CHECK_INT(access_status(ACCESS_ORIGIN), 403);
	CHECK_INT(access_status(ACCESS_CROSS_SITE), 403);
	CHECK(strstr(access_text(ACCESS_HOST_INVALID), "Host"));
	CHECK(strstr(access_text(ACCESS_HOST_DENIED), "allow_hosts"));
	CHECK(strstr(access_text(ACCESS_ORIGIN), "allow_origins"));
	CHECK(strstr(access_text(ACCESS_CROSS_SITE), "allow_origins"));
	CHECK_STR(access_text(ACCESS_ALLOWED), "");
}

/* Every host with every origin and every site, under every pair of lists: Host is judged first,
 * whatever the lists of origins say; a listed origin passes, whatever the site; no other does. */
static void judges_all_together(void)
{
	static const struct {
		const char *host;
		bool named; /* only by allow_hosts */
		enum access want;
	} all_hosts[] = {
		{"localhost:8787", false, ACCESS_ALLOWED},
		{"192.168.1.5", false, ACCESS_ALLOWED},
		{"box.lan", true, ACCESS_HOST_DENIED},
		{"evil.example", false, ACCESS_HOST_DENIED},
		{"app.example", false, ACCESS_HOST_DENIED},
		{"a/b", false, ACCESS_HOST_INVALID},
	};
	static const struct {
		const char *origin;
		bool listed;
	} origins[] = {
		{NULL, false},
		{"https://app.example", true},
		{"http://localhost:5173", true},
		{"https://app.example:8443", false},
		{"https://app.example.evil.example", false},
		{"https://app.exampl", false},
		{"http://app.example", false},
		{"https://APP.example", false},
		{"https://app.example https://evil.example", false},
		{"https://app.example http://localhost:5173", false},
		{"null", false},
		{"", false},
	};
	static const char *const sites[] = {
		NULL, "none", "same-origin", "same-site", "cross-site", "Same-Site"};
	static const char list[] = " https://app.example \thttp://localhost:5173";
	int combinations = 0;

	for (size_t i = 0; i < COUNT_OF(all_hosts) * COUNT_OF(origins) * COUNT_OF(sites) * 4; i++) {
		size_t h = i % COUNT_OF(all_hosts), rest = i / COUNT_OF(all_hosts);
		size_t o = rest % COUNT_OF(origins), s = rest / COUNT_OF(origins) % COUNT_OF(sites);
		bool names = i % 2 == 0, pages = rest / COUNT_OF(origins) / COUNT_OF(sites) % 2;
		bool across = s >= 3;
		enum access want = all_hosts[h].want;
		struct access_request request = {.hosts = 1,
			.host = all_hosts[h].host,
			.origins = origins[o].origin != NULL,
			.origin = origins[o].origin,
			.sec_fetch_site = sites[s],
			.local_ip = "192.168.1.5"};

		if (all_hosts[h].named && names)
			want = ACCESS_ALLOWED;
		if (want == ACCESS_ALLOWED && origins[o].origin && !(origins[o].listed && pages))
			want = ACCESS_ORIGIN;
		else if (want == ACCESS_ALLOWED && !origins[o].origin && across)
			want = ACCESS_CROSS_SITE;
		ROW("Host: %s, Origin: %s, Sec-Fetch-Site: %s, names %d, pages %d",
			all_hosts[h].host, origins[o].origin ? origins[o].origin : "(none)",
			sites[s] ? sites[s] : "(none)", names, pages);
		CHECK_INT(decide(&request, names ? "box.lan" : NULL, pages ? list : NULL), want);
		combinations++;
	}
	CHECK(combinations > 1000);
}

static void two_origins_are_none_that_is_listed(void)
{
	struct access_request request = {
		.hosts = 1, .host = "localhost", .origins = 2, .origin = "https://app.example"};

	CHECK_INT(decide(&request, NULL, "https://app.example"), ACCESS_ORIGIN);
	request.origins = 1;
	CHECK_INT(decide(&request, NULL, "https://app.example"), ACCESS_ALLOWED);
}

/* What allow_origins takes: what a browser can send, and only that. */
static void judges_origins_of_the_list(void)
{
	static const struct {
		const char *origin, *fault; /* NULL: none */
	} rows[] = {
		{"https://app.example", NULL},
		{"http://localhost", NULL},
		{"http://localhost:5173", NULL},
		{"http://127.0.0.1:65535", NULL},
		{"http://127.0.0.1:65536", "port"},
		{"http://127.0.0.1:8080", NULL},
		{"http://[::1]:3000", NULL},
		{"https://[2001:db8::1]", NULL},
		{"https://xn--bcher-kva.example", NULL},
		{"chrome-extension://abcdefghijklmnop", NULL},
		{"moz-extension://0a1b2c3d-0000", NULL},
		{"tauri://localhost", NULL},
		{"web+app://x", NULL},
		{"https://app.example:8443", NULL},
		{"http://a:443", NULL},
		{"https://a:80", NULL},
		{"*", "any page"},
		{"https://*.example", "any page"},
		{"https://app.example:*", "any page"},
		{"null", "sandboxed"},
		{"NULL", "sandboxed"},
		{"", "scheme://"},
		{"app.example", "scheme://"},
		{"localhost:5173", "scheme://"},
		{"//app.example", "scheme://"},
		{"://app.example", "scheme://"},
		{"1http://a", "scheme://"},
		{"ht tp://a", "scheme://"},
		{"h\xc3\xa9://a", "scheme://"},
		{"https:/app.example", "scheme://"},
		{"https://app.example/", "path"},
		{"https://app.example/x", "path"},
		{"https://app.example?x", "path"},
		{"https://app.example#x", "path"},
		{"https://App.example", "lower case"},
		{"HTTPS://app.example", "lower case"},
		{"https://", "host"},
		{"https://:443", "host"},
		{"https://user@app.example", "host"},
		{"https://b\xc3\xbc"
		 "cher.example",
			"host"},
		{"https://[::1", "host"},
		{"https://[localhost]", "host"},
		{"https://a:b", "host"},
		{"https://a,https://b", "path"},
		{"https://app.example:443", "own port"},
		{"http://app.example:80", "own port"},
		{"http://[::1]:80", "own port"},
		{"http://a:", "port"},
		{"http://a:080", "port"},
		{"http://a:0", "port"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		const char *fault = access_origin_fault(rows[i].origin);

		ROW("%s: %s", rows[i].origin, fault ? fault : "(fine)");
		CHECK_INT(fault == NULL, rows[i].fault == NULL);
		CHECK(!fault || !rows[i].fault || strstr(fault, rows[i].fault) != NULL);
	}
}

static void finds_users(void)
{
	static const unsigned users[] = {1000, 0, 65534};

	CHECK(access_user_is_listed(1000, users, 3));
	CHECK(access_user_is_listed(65534, users, 3));
	CHECK(!access_user_is_listed(65534, users, 2));
	CHECK(!access_user_is_listed(1001, users, 3));
	CHECK(!access_user_is_listed((unsigned)-1, users, 3));
	CHECK(!access_user_is_listed(0, users, 0));
}

TEST_MAIN(TEST(judges_the_host), TEST(wants_exactly_one_host), TEST(judges_lengths),
	TEST(judges_origin_and_site), TEST(judges_all_together),
	TEST(two_origins_are_none_that_is_listed), TEST(judges_origins_of_the_list),
	TEST(finds_users), TEST(refusals_name_the_key_to_set))
