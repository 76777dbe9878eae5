#pragma once

/* The name servers that the text of resolv.conf(5) gives: pure, reads no file. Its options are not
 * used: how often and how long is asked is andiron's own (net/resolver.c), and search domains are
 * nothing for a proxy, whose upstream is always a full name. */

#include <stddef.h>

#include "base/address.h"

enum { NAMESERVERS_MAX = 3 }; /* as MAXNS of resolv.conf(5) */

struct nameservers {
	struct address list[NAMESERVERS_MAX];
	size_t count;
};

/* The first ones, none twice; 127.0.0.1 if there is none, as resolv.conf(5) has it. An address may
 * have a scope (fe80::1%eth0) and, unlike in resolv.conf(5), a port (127.0.0.1:5353). */
void nameservers_parse(const char *text, struct nameservers *ret);
