#include "config/url.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "base/str.h"

static bool is_loopback(const char *host)
{
	struct address address;

	return str_same_nocase(host, "localhost") ||
	       (address_from_ip(host, 0, &address) && address_is_loopback(&address));
}

static bool is_host_name(const char *host)
{
	for (const char *p = host; *p; p++) {
		if (!ascii_is_alpha(*p) && !ascii_is_digit(*p) && !strchr("-._", *p))
			return false;
	}
	return host[0] && host[0] != '.' && host[0] != '-';
}

static bool parse_port(const char *text, unsigned short *ret)
{
	long port = strtol(text, NULL, 10);

	if (strlen(text) > 5 || strspn(text, "0123456789") != strlen(text) || port < 1 ||
		port > 65535)
		return false;
	*ret = (unsigned short)port;
	return true;
}

/* `host[:port]` or `[v6][:port]`, up to the end or a last slash. */
static const char *parse_authority(const char *text, struct url *url)
{
	struct address address;
	bool bracketed = text[0] == '[';
	const char *start = bracketed ? text + 1 : text;
	size_t len = strcspn(start, bracketed ? "]" : ":/");
	char port[8] = "";
	const char *rest = start + len;

	if (len == 0 || len >= sizeof(url->host))
		return "the URL has no host";
	memcpy(url->host, start, len);
	url->host[len] = '\0';
	if (bracketed && *rest++ != ']')
		return "the IPv6 address has no closing bracket";
	if (bracketed ? !address_from_ip(url->host, 0, &address) ||
				address.any.sa_family != AF_INET6
		      : !is_host_name(url->host))
		return "the URL's host is neither a name nor an IP address";
	if (*rest == ':') {
		len = strcspn(++rest, "/");
		snprintf(port, sizeof(port), "%.*s", (int)(len < 7 ? len : 6), rest);
		if (!parse_port(port, &url->port))
			return "the URL's port is no number from 1 to 65535";
		rest += len;
	}
	return str_same(rest, "") || str_same(rest, "/") ? NULL
							 : "the URL has more than scheme, host and "
							   "port; andiron adds the path itself";
}

const char *url_parse(const char *text, struct url *ret)
{
	struct url url = {.tls = str_begins(text, "https://")};
	const char *wrong;
	bool is_v6, own_port;

	if (!url.tls && !str_begins(text, "http://"))
		return "the URL needs a scheme: https://HOST, or http://HOST for a loopback "
		       "address";
	url.port = url.tls ? 443 : 80;
	if (strpbrk(text, "@ \t?#"))
		return "the URL has more than scheme, host and port";
	wrong = parse_authority(strstr(text, "://") + 3, &url);
	if (wrong)
		return wrong;
	if (!url.tls && !is_loopback(url.host))
		return "http:// is for loopback addresses only; a key must not cross a network in "
		       "clear";
	is_v6 = strchr(url.host, ':') != NULL;
	own_port = url.port == (url.tls ? 443 : 80);
	snprintf(url.authority, sizeof(url.authority), is_v6 ? "[%s]" : "%s", url.host);
	if (!own_port)
		snprintf(url.authority + strlen(url.authority), 8, ":%u", url.port);
	*ret = url;
	return NULL;
}
