#pragma once

/* The text of a hosts file (hosts(5)): pure, reads no file. */

#include <stdbool.h>

#include "base/address.h"

/* Walks the addresses that the text gives for a name, in its order; letter case and one dot at the
 * name's end do not count. `*cursor` begins as the text. False at the end. Lines whose address is
 * none (or has a scope, fe80::1%eth0) are skipped. */
bool hosts_next(
	const char **cursor, const char *name, unsigned short port, struct address *ret_address);
