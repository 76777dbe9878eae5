#include "policy/access.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <stdlib.h>
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

static enum access check_host(const struct access_request *request, const char *names)
{
	char host[MAX_HOST + 1];
	bool is_ipv6;
	const char *local = request->local_ip;

	if (request->hosts != 1 || !split_authority(request->host, host, &is_ipv6))
		return ACCESS_HOST_INVALID;
	if (is_loopback_name(host, is_ipv6) || is_listed(host, names))
		return ACCESS_ALLOWED;
	if (local && same_address(is_ipv6 ? AF_INET6 : AF_INET, host, local))
		return ACCESS_ALLOWED;
	return ACCESS_HOST_DENIED;
}

/* ---- Origins (RFC 6454, as browsers write them). */

bool access_origin_is_listed(const char *origin, const char *origins)
{
	const char *listed;
	size_t len;

	while (origins && str_next_element(&origins, " \t", &listed, &len)) {
		if (str_is(listed, len, origin))
			return true;
	}
	return false;
}

static bool is_scheme(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (!ascii_is_alpha(text[i]) && (i == 0 || !ascii_is_digit(text[i])) &&
			(i == 0 || text[i] == '\0' || !strchr("+-.", text[i])))
			return false;
	}
	return len > 0;
}

static bool has_upper_case(const char *text)
{
	for (; *text; text++) {
		if (ascii_lower(*text) != *text)
			return true;
	}
	return false;
}

/* `:port` behind the host, of up to five digits, or nothing. */
static const char *port_fault(const char *origin, const char *rest)
{
	if (*rest == '\0')
		return NULL;
	if (rest[1] == '\0' || rest[1] == '0' || strtol(rest + 1, NULL, 10) > 65535)
		return "no browser writes its port like that";
	if ((str_begins(origin, "http:") && str_same(rest, ":80")) ||
		(str_begins(origin, "https:") && str_same(rest, ":443")))
		return "browsers leave the scheme's own port out";
	return NULL;
}

const char *access_origin_fault(const char *text)
{
	const char *mark = strstr(text, "://");
	const char *authority = mark ? mark + strlen("://") : NULL;
	char host[MAX_HOST + 1];
	bool is_ipv6;

	if (strchr(text, '*'))
		return "any page that is open in a browser could use the key; list each origin in "
		       "full";
	if (str_same_nocase(text, "null"))
		return "it is the origin of every sandboxed frame and local file, whoever made it";
	if (!mark || !is_scheme(text, (size_t)(mark - text)))
		return "write it as scheme://host[:port]";
	if (strpbrk(authority, "/?#"))
		return "an origin has no path, not even a last /";
	if (has_upper_case(text))
		return "browsers write it in lower case";
	if (!split_authority(authority, host, &is_ipv6))
		return "what follows :// is no host[:port] in ASCII";
	return port_fault(text, authority + strlen(host) + (is_ipv6 ? strlen("[]") : 0));
}

/* ---- Who else. */

bool access_user_is_listed(unsigned user, const unsigned *users, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (users[i] == user)
			return true;
	}
	return false;
}

/* ---- The verdict. */

enum access access_decide(const struct access_request *request, const struct access_rules *rules)
{
	enum access host = check_host(request, rules->hosts);
	const char *site = request->sec_fetch_site;

	if (host != ACCESS_ALLOWED)
		return host;
	if (request->origins == 1 && access_origin_is_listed(request->origin, rules->origins))
		return ACCESS_ALLOWED;
	if (request->origins > 0)
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
