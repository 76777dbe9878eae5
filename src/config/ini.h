#pragma once

/* An INI file as a flat list of entries, each with its place. inih splits key from value; what it
 * is silent about in its packaged form (line numbers, over-long lines, continued lines, repeated
 * sections) is judged line by line on the way in. */

#include <stdbool.h>
#include <stddef.h>

struct ini_entry {
	char *section;
	char *key; /* NULL: the section's own header line */
	char *value;
	char *place; /* "FILE:LINE", or the name of a flag or an environment variable */
};

struct ini {
	struct ini_entry *entries;
	size_t count;
};

/* Called for each mistake. */
typedef void ini_on_error(void *arg, const char *place, const char *message);

/* Reads a whole file and appends its entries. False and errno if it cannot be opened or read;
 * mistakes in its text go to `on_error` and do not end the reading. */
bool ini_read(struct ini *ini, const char *path, ini_on_error *on_error, void *arg);
void ini_add(struct ini *ini, const char *section, const char *key, const char *value,
	const char *place);
/* The last entry of this key, or NULL. */
const struct ini_entry *ini_find(const struct ini *ini, const char *section, const char *key);
void ini_fini(struct ini *ini);
