#pragma once

/* Structured fields (RFC 9651): a list of items with parameters, walked where it stands. Of the
 * values only integers are kept, which is all that anybody here asks for; the others are skipped
 * by their grammar. Inner lists are taken for a mistake: no field that is read here has them. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct structured_list {
	const char *at;
	bool begun, malformed; /* what is malformed is to be ignored as a whole (RFC 9651, 4.2) */
};

struct structured_parameter {
	const char *key; /* as it stands in the list */
	size_t key_len;
	bool is_integer;
	int64_t integer; /* of at most 15 digits */
};

/* `text`: the value of the field; of several fields of that name all values, with commas. */
void structured_list_init(struct structured_list *list, const char *text);
/* Moves to the next item; what is left of the one before is skipped. False at the end, or where the
 * list is malformed. */
bool structured_next_item(struct structured_list *list);
/* The next parameter of the item; false after the last one, or where the list is malformed. */
bool structured_next_parameter(struct structured_list *list, struct structured_parameter *ret);
