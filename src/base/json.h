#pragma once

/* JSON, as much as a proxy needs: an appending writer, and a peek that finds a few scalar values
 * in a stream of bytes without building a tree. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* ---- Writer: appends one object to a string; NULL values and negative numbers are left out. */

void json_begin(struct str *out);
void json_end(struct str *out);
void json_add_string(struct str *out, const char *key, const char *value);
void json_add_int(struct str *out, const char *key, int64_t value);
void json_add_bool(struct str *out, const char *key, bool value);
void json_add_null(struct str *out, const char *key);
/* Opens the object `key`; json_end() closes it. */
void json_begin_object(struct str *out, const char *key);
void json_add_double(struct str *out, const char *key, double value);
/* Opens the list `key`, whose elements are objects: each begins with json_begin_element() and ends
 * with json_end(). */
void json_begin_list(struct str *out, const char *key);
void json_begin_element(struct str *out);
void json_end_list(struct str *out);
/* A quoted, escaped string; bytes that are no valid UTF-8 become U+FFFD. */
void json_quote(struct str *out, const char *text, size_t len);

/* ---- Peek */

enum {
	JSON_PEEK_MAX_KEYS = 6,
	JSON_PEEK_MAX_VALUE = 256,
	JSON_PEEK_MAX_KEY = 32,
	JSON_PEEK_MAX_DEPTH = 64,
};

enum json_type { JSON_ABSENT, JSON_STRING, JSON_LITERAL, JSON_OBJECT, JSON_ARRAY };

struct json_value {
	enum json_type type; /* the last one seen, as most parsers have it */
	bool whole;          /* its end has come */
	bool cut;            /* longer than JSON_PEEK_MAX_VALUE - 1 bytes, or holds a NUL */
	unsigned seen;       /* how many there were of this name */
	size_t begin, end; /* of a whole string: where it stands in what was fed, with its quotes */
	char text[JSON_PEEK_MAX_VALUE]; /* of a string, unescaped; of a literal, as it stands */
};

/* Reads a JSON object in pieces of any size and keeps the wanted values. A wanted key is a
 * top-level key ("model") or a key of a top-level object ("error.code"). Not a validator: what is
 * no JSON yields no values. Depth counts to JSON_PEEK_MAX_DEPTH; deeper texts end the peek. */
struct json_peek {
	const char *const *keys; /* NULL-terminated, at most JSON_PEEK_MAX_KEYS; not owned */
	struct json_value values[JSON_PEEK_MAX_KEYS];
	/* the scanner's state */
	int depth;
	bool failed, in_string, escaped, is_key, in_literal;
	bool ended;      /* the object has come to its end */
	size_t base, at; /* what was fed before, and where the byte at hand stands */
	unsigned unicode_digits, unicode, high_surrogate;
	bool in_object[JSON_PEEK_MAX_DEPTH];
	char key[2][JSON_PEEK_MAX_KEY];
	size_t key_len;
	struct json_value *target;
	size_t target_len;
};

void json_peek_init(struct json_peek *peek, const char *const *keys);
void json_peek_feed(struct json_peek *peek, const void *bytes, size_t len);
/* The value of a wanted key if it is a whole string, else NULL. */
const char *json_peek_string(const struct json_peek *peek, const char *key);
/* Whether a wanted key is the literal `true`. */
bool json_peek_true(const struct json_peek *peek, const char *key);
const struct json_value *json_peek_value(const struct json_peek *peek, const char *key);
/* Has the object come to its end? */
bool json_peek_is_whole(const struct json_peek *peek);

/* ---- Walk: single values of a JSON text that lies whole in memory; they are given as they stand
 * there. A text that is cut or no JSON yields none. */

/* The value of an object's member, the first of that name. */
bool json_member(
	const char *object, size_t len, const char *key, const char **ret_value, size_t *ret_len);

struct json_pair {
	const char *key, *value; /* the key without its quotes, both as they stand there */
	size_t key_len, value_len;
};

/* The members of an object, one after another: `*cursor` begins as 0. After the last one it is
 * behind the object and the blanks that follow it; beyond `len` where the object breaks off or
 * never was one. */
bool json_next_member(const char *object, size_t len, size_t *cursor, struct json_pair *ret);
/* The elements of an array, one after another: `*cursor` begins as 0. */
bool json_element(
	const char *array, size_t len, size_t *cursor, const char **ret_value, size_t *ret_len);
/* The text of a string that the walk has given, quotes included: unescaped, and cut behind a whole
 * character where it is too long. What is no UTF-8, or a NUL, becomes U+FFFD. False: no string. */
bool json_unquote(const char *value, size_t len, char *ret, size_t size);
/* Does the text begin with an object that comes to its end? */
bool json_is_whole_object(const char *json, size_t len);
