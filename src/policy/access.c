#include "policy/access.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <string.h>

#include "base/str.h"

enum { MAX_HOST = 255 };

/* Splits `host[:port]` (RFC 9110, 7.2); the brackets of an IPv6 address are taken off. False if
 * the text is anything else: a list, a path, user information, blanks. */
static bool split_authority(const char *text, char *ret_host, bool *ret_is_ipv6)
{
	static const char legal[] =
		"-._~!$&'()*+;=%"; /* of a reg-name, beside letters and digits */
	bool bracketed = text[0] == '[';
	size_t len = bracketed ? strcspn(text + 1, "]") : strcspn(text, ":");
	const char *host = bracketed ? text + 1 : text;
	const char *rest = host + len + (bracketed && host[len] ? 1 : 0);
	unsigned char address[sizeof(struct in6_addr)];

	if (len == 0 || len > MAX_HOST || (bracketed && host[len] != ']'))
		return false;
	memcpy(ret_host, host, len);
	ret_host[len] = '\0';
	*ret_is_ipv6 = bracketed;
	if (bracketed && inet_pton(AF_INET6, ret_host, address) != 1)
		return false;
	for (size_t i = 0; !bracketed && i < len; i++) {
		if (!ascii_is_alpha(host[i]) && !ascii_is_digit(host[i]) && !strchr(legal, host[i]))
			return false;
	}
	if (*rest == '\0')
		return true;
	return *rest == ':' && strspn(rest + 1, "0123456789") == strlen(rest + 1) &&
	       strlen(rest + 1) <= 5;
}

static bool same_address(int family, const char *a, const char *b)
{
	unsigned char left[sizeof(struct in6_addr)], right[sizeof(struct in6_addr)];
	size_t size = family == AF_INET6 ? sizeof(struct in6_addr) : sizeof(struct in_addr);

	return inet_pton(family, a, left) == 1 && inet_pton(family, b, right) == 1 &&
	       memcmp(left, right, size) == 0;
}

static bool is_loopback_name(const char *host, bool is_ipv6)
{
	struct in_addr v4;

	if (is_ipv6)
		return same_address(AF_INET6, host, "::1");
	if (str_same_nocase(host, "localhost"))
		return true;
	return inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127;
}

static bool is_listed(const char *host, const char *names)
{
	const char *name;
	size_t len;

	while (names && str_next_element(&names, " ", &name, &len)) {
		if (str_is_nocase(name, len, host))
			return true;
	}
	return false;
}

static enum access check_host(const struct access_request *request, const char *allow_hosts)
{
	char host[MAX_HOST + 1];
	bool is_ipv6;
	const char *local = request->local_ip;

	if (request->hosts != 1 || !split_authority(request->host, host, &is_ipv6))
		return ACCESS_HOST_INVALID;
	if (is_loopback_name(host, is_ipv6) || is_listed(host, allow_hosts))
		return ACCESS_ALLOWED;
	if (local && same_address(is_ipv6 ? AF_INET6 : AF_INET, host, local))
		return ACCESS_ALLOWED;
	return ACCESS_HOST_DENIED;
}

enum access access_decide(const struct access_request *request, const char *allow_hosts)
{
	enum access host = check_host(request, allow_hosts);
	const char *site = request->sec_fetch_site;

	if (host != ACCESS_ALLOWED)
		return host;
	if (request->origin)
		return ACCESS_ORIGIN;
	if (site && (str_same_nocase(site, "cross-site") || str_same_nocase(site, "same-site")))
		return ACCESS_CROSS_SITE;
	return ACCESS_ALLOWED;
}

int access_status(enum access access)
{
	return access == ACCESS_HOST_INVALID ? 400 : 403;
}

const char *access_text(enum access access)
{
	switch (access) {
	case ACCESS_HOST_INVALID:
		return "the request needs exactly one Host field, and it must be a host name or IP "
		       "address with an optional port";
	case ACCESS_HOST_DENIED:
		return "the Host of this request is not a loopback name, and not one that andiron "
		       "was told to answer to; if it is yours, add it to allow_hosts in [server]";
	case ACCESS_ORIGIN:
		return "the request comes from a web page (it has an Origin); web pages may call "
		       "only "
		       "if their origin is in allow_origins in [server]";
	case ACCESS_CROSS_SITE:
		return "the request comes from another web site (Sec-Fetch-Site); web pages may "
		       "call "
		       "only if their origin is in allow_origins in [server]";
	case ACCESS_ALLOWED:
		break;
	}
	return "";
}
