#include "config/url.h"

#include "test.h"

static const struct {
	const char *text, *host;
	int port;
	const char *authority;
	bool tls;
} good[] = {
	{"https://api.fireworks.ai", "api.fireworks.ai", 443, "api.fireworks.ai", true},
	{"https://api.fireworks.ai/", "api.fireworks.ai", 443, "api.fireworks.ai", true},
	{"https://us.api.fireworks.ai:8443", "us.api.fireworks.ai", 8443,
		"us.api.fireworks.ai:8443", true},
	{"https://api.fireworks.ai:443", "api.fireworks.ai", 443, "api.fireworks.ai", true},
	{"https://api.fireworks.ai:80/", "api.fireworks.ai", 80, "api.fireworks.ai:80", true},
	{"https://API.Fireworks.AI", "API.Fireworks.AI", 443, "API.Fireworks.AI", true},
	{"https://my_host-1.x", "my_host-1.x", 443, "my_host-1.x", true},
	{"https://host.", "host.", 443, "host.", true},
	{"https://h:1", "h", 1, "h:1", true},
	{"https://h:65535", "h", 65535, "h:65535", true},
	{"https://h:00443", "h", 443, "h", true},
	{"https://192.0.2.1", "192.0.2.1", 443, "192.0.2.1", true},
	{"https://[2001:db8::1]", "2001:db8::1", 443, "[2001:db8::1]", true},
	{"https://[2001:db8::1]:8443/", "2001:db8::1", 8443, "[2001:db8::1]:8443", true},
	/* in clear, to loopback only */
	{"http://localhost", "localhost", 80, "localhost", false},
	{"http://LocalHost:8080", "LocalHost", 8080, "LocalHost:8080", false},
	{"http://localhost:80/", "localhost", 80, "localhost", false},
	{"http://localhost:443", "localhost", 443, "localhost:443", false},
	{"http://127.0.0.1:9000", "127.0.0.1", 9000, "127.0.0.1:9000", false},
	{"http://127.9.8.7", "127.9.8.7", 80, "127.9.8.7", false},
	{"http://[::1]:9000", "::1", 9000, "[::1]:9000", false},
};

static const struct {
	const char *text, *word; /* what the message speaks of */
} bad[] = {
	{"", "scheme"},
	{"api.fireworks.ai", "scheme"},
	{"//api.fireworks.ai", "scheme"},
	{"ftp://api.fireworks.ai", "scheme"},
	{"https:/api.fireworks.ai", "scheme"},
	{"https:api.fireworks.ai", "scheme"},
	{"httpss://api.fireworks.ai", "scheme"},
	{"https://", "host"},
	{"https:///", "host"},
	{"https:///v1", "host"},
	{"https://:443", "host"},
	{"https://[]", "host"},
	{"https://a/v1", "path"},
	{"https://api.fireworks.ai/inference/v1", "path"},
	{"https://api.fireworks.ai//", "path"},
	{"https://h:443/x", "path"},
	{"https://h?x", "more than"},
	{"https://h/?x", "more than"},
	{"https://h#x", "more than"},
	{"https://user@h", "more than"},
	{"https://user:password@h", "more than"},
	{"http://localhost@evil.example", "more than"},
	{"https://h ", "more than"},
	{"https://h h", "more than"},
	{"https://h\t", "more than"},
	{"https://-h", "name"},
	{"https://.h", "name"},
	{"https://h,i", "name"},
	{"https://h%41", "name"},
	{"https://h\\i", "name"},
	{"https://h\x01", "name"},
	{"https://\xc3\xa9.example", "name"},
	{"https://[h]", "IP"},
	{"https://[127.0.0.1]", "IP"},
	{"https://[::1", "bracket"},
	{"https://[::1]x", "more than"},
	{"https://::1", "host"},
	{"https://h:", "port"},
	{"https://h:/", "port"},
	{"https://h:0", "port"},
	{"https://h:65536", "port"},
	{"https://h:123456", "port"},
	{"https://h:4294967739", "port"},
	{"https://h:-1", "port"},
	{"https://h:+1", "port"},
	{"https://h:https", "port"},
	{"https://h:443:443", "port"},
	{"https://[::1]:", "port"},
	/* a key must not cross a network in clear */
	{"http://api.fireworks.ai", "loopback"},
	{"http://192.168.1.5", "loopback"},
	{"http://0.0.0.0", "loopback"},
	{"http://128.0.0.1", "loopback"},
	{"http://127.1", "loopback"},
	{"http://localhost.evil.example", "loopback"},
	{"http://127.0.0.1.nip.io", "loopback"},
	{"http://[::]", "loopback"},
	{"http://[fd00::1]", "loopback"},
};

static void parses(void)
{
	for (size_t i = 0; i < COUNT_OF(good); i++) {
		struct url url;

		ROW("%s", good[i].text);
		if (!CHECK_STR(url_parse(good[i].text, &url), NULL))
			continue;
		CHECK_INT(url.tls, good[i].tls);
		CHECK_STR(url.host, good[i].host);
		CHECK_INT(url.port, good[i].port);
		CHECK_STR(url.authority, good[i].authority);
	}
}

static void refuses(void)
{
	struct url url, before;

	memset(&before, 0x5a, sizeof(before));
	for (size_t i = 0; i < COUNT_OF(bad); i++) {
		const char *wrong;

		ROW("%s", bad[i].text);
		url = before;
		wrong = url_parse(bad[i].text, &url);
		CHECK(wrong && strstr(wrong, bad[i].word));
		CHECK(memcmp(&url, &before, sizeof(url)) == 0);
	}
}

static void long_hosts(void)
{
	char text[400] = "https://";
	struct url url;

	memset(text + 8, 'h', 255);
	CHECK_STR(url_parse(text, &url), NULL);
	CHECK_INT(strlen(url.host), 255);
	CHECK_INT(strlen(url.authority), 255);
	strcpy(text + 8 + 255, ":65535");
	CHECK_STR(url_parse(text, &url), NULL);
	CHECK_INT(strlen(url.authority), 255 + 6);
	memset(text + 8, 'h', 256);
	CHECK(url_parse(text, &url) != NULL);
	memset(text + 8, 'h', sizeof(text) - 9);
	CHECK(url_parse(text, &url) != NULL);
}

TEST_MAIN(TEST(parses), TEST(refuses), TEST(long_hosts))
