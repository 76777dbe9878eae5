#pragma once

/* The header fields of a message: names and values in their order, names in their own case. */

#include <stdbool.h>
#include <stddef.h>

struct field {
	char *name;
	char *value;
};

struct fields {
	struct field *list;
	size_t count;
};

#define FIELDS_NULL ((struct fields){NULL, 0})

/* Values may be keys: they are wiped when they end, here and below. */
void fields_fini(struct fields *fields);
void fields_add(struct fields *fields, const char *name, const char *value);
/* Replaces the first field of this name and removes the others, or adds one. */
void fields_set(struct fields *fields, const char *name, const char *value);
void fields_remove(struct fields *fields, const char *name);
/* The one at this index. */
void fields_remove_at(struct fields *fields, size_t index);
/* The first value of this name, letter case aside, or NULL. */
const char *fields_get(const struct fields *fields, const char *name);
size_t fields_count(const struct fields *fields, const char *name);
/* Can they be written as lines of a head, and read there as these fields and no others? Names are
 * tokens, values have no control byte but HTAB (RFC 9110, 5.5 and 5.6.2). */
bool fields_are_sendable(const struct fields *fields);
