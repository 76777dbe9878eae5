#pragma once

/* IP addresses with a port, and paths of Unix sockets, as text and as the kernel wants them. */

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

struct address {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct sockaddr_un local;
	};
	socklen_t len;
};

enum {
	ADDRESS_TEXT_SIZE = 128,
	ADDRESS_MAX_PATH = sizeof(((struct sockaddr_un *)0)->sun_path) - 1,
};

/* `127.0.0.1:8787` or `[::1]:8787`: numbers only, no names; or `unix:/absolute/path`, of up to
 * ADDRESS_MAX_PATH bytes. */
bool address_parse(const char *text, struct address *ret);
/* An IP literal, IPv6 without brackets, and a port. False if the host is none. */
bool address_from_ip(const char *ip, unsigned short port, struct address *ret);
/* Of an IP address; false if it is none. */
bool address_from_sockaddr(const struct sockaddr *sockaddr, struct address *ret);
bool address_same(const struct address *a, const struct address *b);
bool address_is_unix(const struct address *address);
/* Does it stay on this machine? */
bool address_is_loopback(const struct address *address);
/* 0 of a Unix socket. */
unsigned short address_port(const struct address *address);
/* `size` at least ADDRESS_TEXT_SIZE for both. An IPv4-mapped IPv6 address reads as IPv4; a Unix
 * socket has no IP. */
void address_render(const struct address *address, char *ret, size_t size);
void address_render_ip(const struct address *address, char *ret, size_t size);
