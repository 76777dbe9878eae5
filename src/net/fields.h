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

void fields_fini(struct fields *fields);
void fields_add(struct fields *fields, const char *name, const char *value);
/* Replaces the first field of this name and removes the others, or adds one. */
void fields_set(struct fields *fields, const char *name, const char *value);
void fields_remove(struct fields *fields, const char *name);
/* The first value of this name, letter case aside, or NULL. */
const char *fields_get(const struct fields *fields, const char *name);
size_t fields_count(const struct fields *fields, const char *name);
