#include "base/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

static bool parse_port(const char *text, unsigned short *ret)
{
	long port = strtol(text, NULL, 10);

	if (!*text || strspn(text, "0123456789") != strlen(text) || strlen(text) > 5 ||
		port > 65535)
		return false;
	*ret = (unsigned short)port;
	return true;
}

bool address_from_ip(const char *ip, unsigned short port, struct address *ret)
{
	struct address address;

	memset(&address, 0, sizeof(address));
	if (inet_pton(AF_INET, ip, &address.v4.sin_addr) == 1) {
		address.v4.sin_family = AF_INET;
		address.v4.sin_port = htons(port);
		address.len = sizeof(address.v4);
	} else if (inet_pton(AF_INET6, ip, &address.v6.sin6_addr) == 1) {
		address.v6.sin6_family = AF_INET6;
		address.v6.sin6_port = htons(port);
		address.len = sizeof(address.v6);
	} else {
		return false;
	}
	*ret = address;
	return true;
}

static bool parse_unix(const char *path, struct address *ret)
{
	size_t len = strlen(path);

	if (path[0] != '/' || len > ADDRESS_MAX_PATH)
		return false;
	memset(ret, 0, sizeof(*ret));
	ret->local.sun_family = AF_UNIX;
	memcpy(ret->local.sun_path, path, len);
	ret->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
	return true;
}

bool address_parse(const char *text, struct address *ret)
{
	bool bracketed = text[0] == '[';
	const char *colon = strrchr(text, ':');
	char ip[INET6_ADDRSTRLEN];
	size_t len = colon ? (size_t)(colon - text) : 0;
	unsigned short port;

	if (str_begins(text, "unix:"))
		return parse_unix(text + strlen("unix:"), ret);
	if (!colon || !parse_port(colon + 1, &port))
		return false;
	if (bracketed && (len < 2 || text[len - 1] != ']'))
		return false;
	if (bracketed) {
		text++;
		len -= 2;
	}
	if (len >= sizeof(ip))
		return false;
	memcpy(ip, text, len);
	ip[len] = '\0';
	return (strchr(ip, ':') != NULL) == bracketed && address_from_ip(ip, port, ret);
}

bool address_from_sockaddr(const struct sockaddr *sockaddr, struct address *ret)
{
	size_t len = sockaddr->sa_family == AF_INET    ? sizeof(ret->v4)
		     : sockaddr->sa_family == AF_INET6 ? sizeof(ret->v6)
						       : 0;

	if (!len)
		return false;
	memset(ret, 0, sizeof(*ret));
	memcpy(&ret->any, sockaddr, len);
	ret->len = (socklen_t)len;
	return true;
}

bool address_same(const struct address *a, const struct address *b)
{
	return a->len == b->len && memcmp(&a->any, &b->any, a->len) == 0;
}

bool address_is_unix(const struct address *address)
{
	return address->any.sa_family == AF_UNIX;
}

bool address_is_loopback(const struct address *address)
{
	if (address_is_unix(address))
		return true;
	if (address->any.sa_family == AF_INET)
		return ntohl(address->v4.sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(&address->v6.sin6_addr);
}

unsigned short address_port(const struct address *address)
{
	if (address_is_unix(address))
		return 0;
	return ntohs(
		address->any.sa_family == AF_INET ? address->v4.sin_port : address->v6.sin6_port);
}

void address_render_ip(const struct address *address, char *ret, size_t size)
{
	const struct in6_addr *v6 = &address->v6.sin6_addr;
	int family = address->any.sa_family;
	const void *raw = v6;

	if (family == AF_UNIX) {
		raw = NULL;
	} else if (family == AF_INET) {
		raw = &address->v4.sin_addr;
	} else if (IN6_IS_ADDR_V4MAPPED(v6)) {
		family = AF_INET;
		raw = &v6->s6_addr[12];
	}
	if (!raw || !inet_ntop(family, raw, ret, (socklen_t)size))
		ret[0] = '\0';
}

void address_render(const struct address *address, char *ret, size_t size)
{
	char ip[ADDRESS_TEXT_SIZE];

	if (address_is_unix(address)) {
		snprintf(ret, size, "unix:%s", address->local.sun_path);
		return;
	}
	address_render_ip(address, ip, sizeof(ip));
	snprintf(ret, size, strchr(ip, ':') ? "[%s]:%u" : "%s:%u", ip, address_port(address));
}
