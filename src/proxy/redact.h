#pragma once

/* Keys in what an upstream says. It has seen the request's key, and may repeat it in an error; what
 * it says goes to the client as it is, but into no log and no error of andiron's own. */

#include "net/fields.h"

/* What a request carried: all that an upstream can repeat. */
struct redact_sent {
	const struct fields *fields; /* NULL: nothing was sent */
	const char *target;          /* with its query; NULL: none */
};

/* Writes `*` over each byte of a key in `text`: the request's own in Authorization, x-api-key,
 * api-key and Cookie, the credentials in its query (a parameter named like one), and whatever looks
 * like a key: Bearer ..., fw_..., fpk_..., sk-... Keys under 8 bytes are words, and stay. */
void redact(char *text, const struct redact_sent *sent);
