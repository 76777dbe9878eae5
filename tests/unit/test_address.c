#include "base/address.h"

#include <arpa/inet.h>
#include <sys/un.h>

#include "base/str.h"
#include "test.h"

static const struct {
	const char *text, *rendered;
	int port;
	bool loopback;
} good[] = {
	{"127.0.0.1:8787", "127.0.0.1:8787", 8787, true},
	{"[::1]:8787", "[::1]:8787", 8787, true},
	{"[0:0:0:0:0:0:0:1]:5", "[::1]:5", 5, true},
	{"127.0.0.0:1", "127.0.0.0:1", 1, true},
	{"127.255.255.254:1", "127.255.255.254:1", 1, true},
	{"126.255.255.255:1", "126.255.255.255:1", 1, false},
	{"128.0.0.1:1", "128.0.0.1:1", 1, false},
	{"0.0.0.0:80", "0.0.0.0:80", 80, false},
	{"[::]:80", "[::]:80", 80, false},
	{"[::2]:80", "[::2]:80", 80, false},
	{"10.0.0.1:0", "10.0.0.1:0", 0, false},
	{"10.0.0.1:65535", "10.0.0.1:65535", 65535, false},
	{"10.0.0.1:00080", "10.0.0.1:80", 80, false},
	{"[2001:DB8::1]:443", "[2001:db8::1]:443", 443, false},
	{"[::ffff:192.0.2.1]:80", "192.0.2.1:80", 80, false},
	{"[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535",
		"[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", 65535, false},
};

static const char *const bad[] = {"", ":", ":80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536",
	"127.0.0.1:99999", "127.0.0.1:100000", "127.0.0.1:4294967376",
	"127.0.0.1:18446744073709551696", "127.0.0.1:000080", "127.0.0.1:-1", "127.0.0.1:+1",
	"127.0.0.1: 80", "127.0.0.1:80 ", " 127.0.0.1:80", "127.0.0.1 :80", "127.0.0.1:8o",
	"127.0.0.1:0x50", "localhost:80", "127.1:80", "2130706433:80", "256.0.0.1:80", "1.2.3:80",
	"1.2.3.4.5:80", "[127.0.0.1]:80", "::1:8787", "[::1]", "[::1]8787", "[::1:80", "::1]:80",
	"[]:80", "[::1]:", "[::1%lo]:80", "[1::2::3]:80", "[[::1]]:80", "[::1]:80]",
	"[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]:80",
	"00000000000000000000000000000000000000000000000000000000127.0.0.1:80"};

static void parses_and_renders(void)
{
	char text[ADDRESS_TEXT_SIZE];
	struct address address;

	for (size_t i = 0; i < COUNT_OF(good); i++) {
		ROW("%s", good[i].text);
		if (!CHECK(address_parse(good[i].text, &address)))
			continue;
		address_render(&address, text, sizeof(text));
		CHECK_STR(text, good[i].rendered);
		CHECK_INT(address_port(&address), good[i].port);
		CHECK_INT(address_is_loopback(&address), good[i].loopback);
	}
}

static void refuses(void)
{
	struct address address, before;

	memset(&before, 0x5a, sizeof(before));
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		ROW("%s", bad[i]);
		address = before;
		CHECK(!address_parse(bad[i], &address));
		CHECK(memcmp(&address, &before, sizeof(address)) == 0);
	}
}

static void takes_paths(void)
{
	static const char *const wrong[] = {
		"unix:", "unix:a", "unix:./a", "unix:@a", "UNIX:/a", "unix /a", "/a", "unix"};
	_cleanup_str_ struct str longest = STR_NULL;
	struct address address, other;
	char text[ADDRESS_TEXT_SIZE];

	for (size_t i = 0; i < COUNT_OF(wrong); i++) {
		ROW("%s", wrong[i]);
		CHECK(!address_parse(wrong[i], &address));
	}
	CHECK(address_parse("unix:/run/a:80", &address));
	CHECK(address_is_unix(&address));
	CHECK(address_is_loopback(&address));
	CHECK_INT(address_port(&address), 0);
	CHECK_INT(address.len, offsetof(struct sockaddr_un, sun_path) + sizeof("/run/a:80"));
	address_render(&address, text, sizeof(text));
	CHECK_STR(text, "unix:/run/a:80");
	address_render_ip(&address, text, sizeof(text));
	CHECK_STR(text, "");
	CHECK(address_parse("127.0.0.1:1", &other) && !address_is_unix(&other));
	CHECK(!address_same(&address, &other));
	str_add(&longest, "unix:/");
	while (longest.len < strlen("unix:") + ADDRESS_MAX_PATH)
		str_add_char(&longest, 'a');
	CHECK(address_parse(str_text(&longest), &address));
	address_render(&address, text, sizeof(text));
	CHECK_STR(text, str_text(&longest));
	CHECK_INT(address.len, sizeof(struct sockaddr_un));
	str_add_char(&longest, 'a');
	CHECK(!address_parse(str_text(&longest), &address));
}

static void takes_an_ip(void)
{
	static const struct {
		const char *ip, *rendered;
		int family;
	} rows[] = {
		{"127.0.0.1", "127.0.0.1", AF_INET},
		{"::1", "::1", AF_INET6},
		{"2001:DB8:0:0::1", "2001:db8::1", AF_INET6},
		{"::ffff:10.1.2.3", "10.1.2.3", AF_INET6},
		{"::10.1.2.3", "::10.1.2.3", AF_INET6},
		{"[::1]", NULL, 0},
		{"localhost", NULL, 0},
		{"1.2.3.4:5", NULL, 0},
		{"", NULL, 0},
	};
	char text[ADDRESS_TEXT_SIZE];
	struct address address;

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		bool taken = address_from_ip(rows[i].ip, 99, &address);

		ROW("%s", rows[i].ip);
		if (!CHECK_INT(taken, rows[i].rendered != NULL) || !taken)
			continue;
		address_render_ip(&address, text, sizeof(text));
		CHECK_STR(text, rows[i].rendered);
		CHECK_INT(address.any.sa_family, rows[i].family);
		CHECK_INT(address_port(&address), 99);
		CHECK_INT(address.len,
			rows[i].family == AF_INET ? sizeof(address.v4) : sizeof(address.v6));
	}
}

static void takes_what_the_kernel_gives(void)
{
	struct sockaddr_storage storage = {.ss_family = AF_INET6};
	struct sockaddr_un local = {.sun_family = AF_UNIX, .sun_path = "/x"};
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(443)};
	struct address address;
	char text[ADDRESS_TEXT_SIZE];

	v4.sin_addr.s_addr = htonl(0xc0000201);
	CHECK(address_from_sockaddr((struct sockaddr *)&v4, &address));
	address_render(&address, text, sizeof(text));
	CHECK_STR(text, "192.0.2.1:443");
	CHECK_INT(address.len, sizeof(v4));
	CHECK(address_from_sockaddr((struct sockaddr *)&storage, &address));
	address_render(&address, text, sizeof(text));
	CHECK_STR(text, "[::]:0");
	CHECK_INT(address.len, sizeof(struct sockaddr_in6));
	CHECK(!address_from_sockaddr((struct sockaddr *)&local, &address));
}

TEST_MAIN(TEST(parses_and_renders), TEST(refuses), TEST(takes_paths), TEST(takes_an_ip),
	TEST(takes_what_the_kernel_gives))
