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

/* Debian's own packages: 2.1.12-stable-8 lacks them, 2.1.12-stable-8+deb12u1 has them. Others'
 * numbering is not known here. */
enum libevent_fixes libevent_fixes(unsigned number, const char *package)
{
	if (number >= FIXED_NUMBER)
		return LIBEVENT_FIXED;
	if (!package)
		return LIBEVENT_UNKNOWN;
	if (strstr(package, "+deb12u") || strstr(package, "+deb13u"))
		return LIBEVENT_FIXED;
	if (str_begins(package, "2.1.12-stable-8") || str_begins(package, "2.1.12-stable-1") ||
		str_begins(package, "2.1.12-stable-5"))
		return strstr(package, "ubuntu") ? LIBEVENT_UNKNOWN : LIBEVENT_LACKS;
	return LIBEVENT_UNKNOWN;
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
