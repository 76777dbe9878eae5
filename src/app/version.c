#include "app/version.h"

#include <event2/event.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define FIXED_NUMBER   0x02010d00 /* 2.1.13 */
#define DPKG_STATUS    "/var/lib/dpkg/status"
#define PACKAGE_PREFIX "libevent-2.1-7" /* trixie and later: libevent-2.1-7t64 */

/* Debian's own packages before the fixes: 2.1.12-stable-1, -5, -8 and -10, rebuilt (+b1) or not.
 * Others' numbering is not known here. */
static bool is_known_to_lack(const char *package)
{
	static const char prefix[] = "2.1.12-stable-";
	char *rest;
	long revision;

	if (!str_begins(package, prefix) || !ascii_is_digit(package[strlen(prefix)]))
		return false;
	revision = strtol(package + strlen(prefix), &rest, 10);
	if (str_begins(rest, "+b"))
		rest += strlen("+b") + strspn(rest + strlen("+b"), "0123456789");
	return *rest == '\0' && (revision == 1 || revision == 5 || revision == 8 || revision == 10);
}

enum libevent_fixes libevent_fixes(unsigned number, const char *package)
{
	if (number >= FIXED_NUMBER)
		return LIBEVENT_FIXED;
	if (!package)
		return LIBEVENT_UNKNOWN;
	if (strstr(package, "+deb12u") || strstr(package, "+deb13u"))
		return LIBEVENT_FIXED;
	return is_known_to_lack(package) ? LIBEVENT_LACKS : LIBEVENT_UNKNOWN;
}

/* The version of the installed package, to be freed; NULL: none, or no dpkg here. */
static char *package_version(void)
{
	FILE *file = fopen(DPKG_STATUS, "re");
	char *line = NULL, *version = NULL;
	size_t cap = 0;
	ssize_t len;
	bool found = false;

	while (file && !version && (len = getline(&line, &cap, file)) > 0) {
		if (line[len - 1] == '\n')
			line[len - 1] = '\0';
		if (str_begins(line, "Package: "))
			found = str_begins(line, "Package: " PACKAGE_PREFIX);
		else if (found && str_begins(line, "Version: "))
			version = xstrdup(line + strlen("Version: "));
	}
	free(line);
	if (file)
		fclose(file);
	return version;
}

void version_render(struct str *out)
{
	_cleanup_free_ char *package = package_version();

	str_addf(out, "andiron %s (libevent %s%s%s%s, %s)\n", ANDIRON_VERSION, event_get_version(),
		package ? ", package " : "", package ? package : "", "",
		OpenSSL_version(OPENSSL_VERSION));
	switch (libevent_fixes(event_get_version_number(), package)) {
	case LIBEVENT_LACKS:
		str_add(out,
			"This libevent lacks the security fixes of 2026 (CVE-2026-63379 and "
			"others). Install them:\n"
			"  Debian: apt-get update && apt-get install --only-upgrade libevent-2.1-7 "
			"(2.1.12-stable-8+deb12u1 or later)\n"
			"  elsewhere: libevent 2.1.13 or later\n");
		break;
	case LIBEVENT_UNKNOWN:
		str_add(out, "This libevent is older than 2.1.13; whether your distribution added "
			     "the security fixes of 2026 to it cannot be told from here.\n");
		break;
	case LIBEVENT_FIXED:
		break;
	}
}
