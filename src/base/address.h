#pragma once

/* IP addresses with a port, as text and as the kernel wants them. */

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

struct address {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	};
	socklen_t len;
};

enum { ADDRESS_TEXT_SIZE = INET6_ADDRSTRLEN + 16 };

/* `127.0.0.1:8787` or `[::1]:8787`: numbers only, no names. */
bool address_parse(const char *text, struct address *ret);
/* An IP literal, IPv6 without brackets, and a port. False if the host is none. */
bool address_from_ip(const char *ip, unsigned short port, struct address *ret);
bool address_from_sockaddr(const struct sockaddr *sockaddr, struct address *ret);
bool address_same(const struct address *a, const struct address *b);
bool address_is_loopback(const struct address *address);
unsigned short address_port(const struct address *address);
/* `size` at least ADDRESS_TEXT_SIZE for both. An IPv4-mapped IPv6 address reads as IPv4. */
void address_render(const struct address *address, char *ret, size_t size);
void address_render_ip(const struct address *address, char *ret, size_t size);
