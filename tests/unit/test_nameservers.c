#include "net/nameservers.h"

#include <net/if.h>

#include "base/str.h"
#include "test.h"

static const struct {
	const char *text, *servers;
} rows[] = {
	{"", "127.0.0.1:53"},
	{"search example.com\noptions rotate timeout:1\n", "127.0.0.1:53"},
	{"nameserver 192.0.2.1", "192.0.2.1:53"},
	{"nameserver 192.0.2.1\n", "192.0.2.1:53"},
	{"nameserver\t 192.0.2.1 \t\r\nnameserver 2001:db8::1\n", "192.0.2.1:53 [2001:db8::1]:53"},
	{"nameserver 192.0.2.1 # the first\nnameserver 192.0.2.2;second\n",
		"192.0.2.1:53 192.0.2.2:53"},
	{"nameserver 192.0.2.1\nnameserver 192.0.2.1\nnameserver 192.0.2.2",
		"192.0.2.1:53 192.0.2.2:53"},
	{"nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4",
		"192.0.2.1:53 192.0.2.2:53 192.0.2.3:53"},
	{"nameserver 127.0.0.1:5353\nnameserver [::1]:5353", "127.0.0.1:5353 [::1]:5353"},
	{"#nameserver 192.0.2.1\n;nameserver 192.0.2.1\n nameserver 192.0.2.1\nnameserver",
		"127.0.0.1:53"},
	{"nameservers 192.0.2.1\nnameserver192.0.2.1\nnameserver \nnameserver x\n", "127.0.0.1:53"},
	{"nameserver 256.1.1.1\nnameserver 192.0.2.1", "192.0.2.1:53"},
};

static void render(const struct nameservers *servers, struct str *out)
{
	for (size_t i = 0; i < servers->count; i++) {
		char text[ADDRESS_TEXT_SIZE];

		address_render(&servers->list[i], text, sizeof(text));
		str_addf(out, i ? " %s" : "%s", text);
	}
}

static void parses(void)
{
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct nameservers servers;
		struct str found = STR_NULL;

		ROW("%s", rows[i].text);
		nameservers_parse(rows[i].text, &servers);
		render(&servers, &found);
		CHECK_STR(str_text(&found), rows[i].servers);
		str_fini(&found);
	}
}

static void keeps_a_scope(void)
{
	struct nameservers servers;

	nameservers_parse("nameserver fe80::1%lo\n", &servers);
	CHECK_INT(servers.count, 1);
	CHECK_INT(servers.list[0].any.sa_family, AF_INET6);
	CHECK_INT(servers.list[0].v6.sin6_scope_id, if_nametoindex("lo"));
}

static void long_words(void)
{
	char text[400] = "nameserver ";
	struct nameservers servers;

	memset(text + strlen(text), '1', 300);
	nameservers_parse(text, &servers);
	CHECK_INT(servers.count, 1);
	CHECK_INT(ntohl(servers.list[0].v4.sin_addr.s_addr), INADDR_LOOPBACK);
}

TEST_MAIN(TEST(parses), TEST(keeps_a_scope), TEST(long_words))
