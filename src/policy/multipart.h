#pragma once

/* Finds one field of a form, multipart/form-data (RFC 7578, RFC 2046 5.1), whose body comes in
 * pieces of any size: its first part of that name that is no file. Not a validator: what is no
 * such form has no such field. Each byte is looked at once, and nothing is looked at any more as
 * soon as the answer is known. */

#include <stdbool.h>
#include <stddef.h>

enum {
	MULTIPART_MAX_BOUNDARY = 70, /* RFC 2046, 5.1.1 */
	MULTIPART_MAX_LINE = 1024,   /* a longer line of a part's head makes its part another one */
	MULTIPART_MAX_VALUE = 256,   /* with its NUL */
};

enum multipart_state {
	MULTIPART_CONTENT, /* a part, or what stands before the first one: until the delimiter */
	MULTIPART_BEHIND,  /* the delimiter: blanks, then the line's end, or "--", which closes */
	MULTIPART_LINE_END,
	MULTIPART_CLOSING,
	MULTIPART_HEAD, /* the lines of a part's head */
	MULTIPART_FOUND,
	MULTIPART_FAILED, /* there is no such field, or this is no form */
};

enum multipart_part {
	MULTIPART_UNNAMED, /* its head has not said its name yet, or never did */
	MULTIPART_WANTED,
	MULTIPART_OTHER,
};

struct multipart {
	const char *name; /* of the field; not owned */
	enum multipart_state state;
	enum multipart_part part;
	char delimiter[4 + MULTIPART_MAX_BOUNDARY]; /* CR LF - - and the boundary */
	size_t delimiter_len;
	size_t matched; /* of the delimiter, at the end of what was fed */
	char line[MULTIPART_MAX_LINE];
	size_t line_len;
	char value[MULTIPART_MAX_VALUE];
	size_t value_len;
};

/* False if a body of this Content-Type (NULL: none) is no form. Letter case counts in `name`. */
bool multipart_init(struct multipart *form, const char *content_type, const char *name);
void multipart_feed(struct multipart *form, const void *bytes, size_t len);
/* What the field says: 1 to MULTIPART_MAX_VALUE - 1 bytes, none of them a control byte; NULL: no
 * such field has come to its end yet. */
const char *multipart_value(const struct multipart *form);
