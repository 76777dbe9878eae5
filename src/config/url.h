#pragma once

/* The URL of an upstream: scheme, host and port, nothing else. */

#include <stdbool.h>

struct url {
	bool tls;
	char host[256]; /* without brackets */
	unsigned short port;
	char authority[264]; /* host, and the port where it is not the scheme's own */
};

/* NULL if the text is a URL that an upstream may have, else what is wrong with it. */
const char *url_parse(const char *text, struct url *ret);
