#pragma once

/* Errors that come with status 200: a JSON object that is nothing but an error, as a whole body or
 * as an event of a stream. */

#include <stdbool.h>
#include <stddef.h>

struct soft_error {
	int status; /* the one that it names; 502 if it names none */
	bool named;
	/* its own words, unescaped and cut where too long; empty: it has none */
	char message[512], type[64], code[64];
};

/* Is this JSON text an object with at least one key and none but `error`, `type`, `message`,
 * `code`, and an `error` or `message` that says something? Then its status is `status`, `code`,
 * then `type`, of the error object and then of the text, then an `error` that is a string: a number
 * from 400 to 599, or a name that maps to one. Blanks around the text do not matter.
 *
 * A body that only confirms looks the same ({"message":"Response deleted successfully"}, Fireworks'
 * answer to DELETE /responses/ID): ask this of answers to POST. */
bool soft_error_read(const char *json, size_t len, struct soft_error *ret);

/* The same words of a text that is known to be an error, whatever its shape: other keys do not
 * matter, and what has none of these words is itself the message. */
void soft_error_read_any(const char *text, size_t len, struct soft_error *ret);

/* The status that a name or a number in words stands for; 0: none. Letter case does not count, nor
 * whether words are joined by blanks, hyphens or underscores, or at all. */
int soft_error_status(const char *name);
