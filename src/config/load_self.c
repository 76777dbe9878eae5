/* An upstream that is andiron itself would carry each request in a circle. */

#include <ifaddrs.h>
#include <string.h>

#include "base/mem.h"
#include "config/load.h"

/* An IPv4 address in IPv6 clothes is that IPv4 address. */
static void unmap(struct address *address)
{
	char ip[ADDRESS_TEXT_SIZE];

	address_render_ip(address, ip, sizeof(ip));
	address_from_ip(ip, address_port(address), address);
}

static bool is_wildcard(const struct address *address)
{
	if (address->any.sa_family == AF_INET)
		return address->v4.sin_addr.s_addr == htonl(INADDR_ANY);
	return IN6_IS_ADDR_UNSPECIFIED(&address->v6.sin6_addr);
}

static bool same_ip(const struct address *a, const struct address *b)
{
	char left[ADDRESS_TEXT_SIZE], right[ADDRESS_TEXT_SIZE];

	address_render_ip(a, left, sizeof(left));
	address_render_ip(b, right, sizeof(right));
	return str_same(left, right);
}

/* Is it an address of one of this machine's interfaces? */
static bool is_own(const struct address *address)
{
	struct ifaddrs *list, *one;
	struct address own;
	bool found = false;

	if (getifaddrs(&list) != 0)
		return false;
	for (one = list; one && !found; one = one->ifa_next)
		found = one->ifa_addr && address_from_sockaddr(one->ifa_addr, &own) &&
			same_ip(&own, address);
	freeifaddrs(list);
	return found;
}

/* Does a connection to this IP address end at the listener? To the wildcard means to loopback, and
 * a wildcard listens on all addresses of its family. */
static bool address_reaches(const struct address *target, const struct address *listener)
{
	if (target->any.sa_family != listener->any.sa_family)
		return false;
	if (is_wildcard(listener))
		return is_wildcard(target) || address_is_loopback(target) || is_own(target);
	if (is_wildcard(target))
		return address_is_loopback(listener);
	return same_ip(target, listener);
}

static bool host_reaches(const char *host, const struct address *listener)
{
	static const char *const loopback[] = {"127.0.0.1", "::1"};
	bool is_localhost =
		str_same_nocase(host, "localhost") ||
		(strlen(host) > 10 && str_same_nocase(host + strlen(host) - 10, ".localhost"));
	struct address target;

	for (size_t i = 0; is_localhost && i < 2; i++) {
		if (address_from_ip(loopback[i], 0, &target) && address_reaches(&target, listener))
			return true;
	}
	if (is_localhost || !address_from_ip(host, 0, &target))
		return false;
	unmap(&target);
	return address_reaches(&target, listener);
}

/* `list`: the addresses of one option; what is no address is judged elsewhere. */
static void check_list(struct loader *loader, const struct upstream_config *upstream,
	const char *place, const char *option, const char *list)
{
	const char *element;
	size_t len;

	while (str_next_element(&list, " \t", &element, &len)) {
		_cleanup_free_ char *text = xstrndup(element, len);
		struct address listener;

		if (!address_parse(text, &listener) || address_port(&listener) != upstream->port)
			continue;
		unmap(&listener);
		if (!host_reaches(upstream->host, &listener))
			continue;
		load_errorf(loader, place,
			"url: %s is andiron itself (%s = %s); name the upstream's own address",
			upstream->options.url, option, text);
		return;
	}
}

void load_check_self(
	struct loader *loader, const struct upstream_config *upstream, const char *place)
{
	check_list(loader, upstream, place, "listen", loader->config->server.listen);
	check_list(loader, upstream, place, "admin", loader->config->server.admin);
}
