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

static void judges_the_host(void)
{
	for (size_t i = 0; i < COUNT_OF(hosts); i++) {
		struct access_request request = {
			.hosts = 1, .host = hosts[i].host, .local_ip = hosts[i].local};

		ROW("Host: %s, at %s, allow_hosts = %s", hosts[i].host,
			hosts[i].local ? hosts[i].local : "(no IP)",
			hosts[i].allow_hosts ? hosts[i].allow_hosts : "(NULL)");
		CHECK_INT(access_decide(&request, hosts[i].allow_hosts), hosts[i].want);
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
		CHECK_INT(access_decide(&request, "localhost"), ACCESS_HOST_INVALID);
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
		CHECK_INT(access_decide(&request, NULL),
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
			.origin = rows[i].origin,
			.sec_fetch_site = rows[i].site,
			.local_ip = "127.0.0.1"};

		ROW("Host: %s, Origin: %s, Sec-Fetch-Site: %s", rows[i].host,
			rows[i].origin ? rows[i].origin : "(none)",
			rows[i].site ? rows[i].site : "(none)");
		CHECK_INT(access_decide(&request, "box.lan"), rows[i].want);
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

TEST_MAIN(TEST(judges_the_host), TEST(wants_exactly_one_host), TEST(judges_lengths),
	TEST(judges_origin_and_site), TEST(refusals_name_the_key_to_set))
