#include "net/nameservers.h"

#include <event2/util.h>
#include <string.h>

#include "base/str.h"

enum { DNS_PORT = 53, WORD_SIZE = 128 };

#define BLANKS " \t\r"

static void set_default_port(struct address *address)
{
	in_port_t *port =
		address->any.sa_family == AF_INET ? &address->v4.sin_port : &address->v6.sin6_port;

	if (!*port)
		*port = htons(DNS_PORT);
}

static bool parse_server(const char *word, size_t len, struct address *ret)
{
	struct sockaddr_storage storage;
	int size = sizeof(storage);
	char text[WORD_SIZE];

	if (len >= sizeof(text))
		return false;
	memcpy(text, word, len);
	text[len] = '\0';
	/* libevent's parser, since inet_pton() knows no scope. */
	if (evutil_parse_sockaddr_port(text, (struct sockaddr *)&storage, &size) != 0 ||
		!address_from_sockaddr((struct sockaddr *)&storage, ret))
		return false;
	set_default_port(ret);
	return true;
}

static bool is_known(const struct nameservers *servers, const struct address *address)
{
	for (size_t i = 0; i < servers->count; i++) {
		if (evutil_sockaddr_cmp(&servers->list[i].any, &address->any, 1) == 0)
			return true;
	}
	return false;
}

static void parse_line(const char *line, struct nameservers *servers)
{
	static const char keyword[] = "nameserver";
	const char *word = line + strlen(keyword);
	struct address address;

	if (!str_begins(line, keyword) || !strspn(word, BLANKS))
		return;
	word += strspn(word, BLANKS);
	if (servers->count < NAMESERVERS_MAX &&
		parse_server(word, strcspn(word, BLANKS "\n#;"), &address) &&
		!is_known(servers, &address))
		servers->list[servers->count++] = address;
}

void nameservers_parse(const char *text, struct nameservers *ret)
{
	const char *line = text;

	memset(ret, 0, sizeof(*ret));
	while (*line) {
		const char *end = strchrnul(line, '\n');

		parse_line(line, ret);
		line = *end ? end + 1 : end;
	}
	if (!ret->count && address_from_ip("127.0.0.1", DNS_PORT, &ret->list[0]))
		ret->count = 1;
}
