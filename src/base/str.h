#pragma once

/* A growing byte string, always terminated by a NUL that `len` does not count; and the few
 * questions about text that C's library does not answer. Comparisons that fold case fold ASCII
 * only, as HTTP wants (RFC 9110, 5.1), whatever the locale.
 *
 * Any text may be a header with a key in it: memory that a string gives back is wiped. */

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct str {
	char *data;
	size_t len;
	size_t cap;
};

#define STR_NULL ((struct str){NULL, 0, 0})

void str_fini(struct str *str);
#define _cleanup_str_ __attribute__((cleanup(str_fini)))

/* The text, never NULL; valid until the next change. */
const char *str_text(const struct str *str);
/* Hands the buffer to the caller, who frees it, and leaves the string empty. Never NULL. */
char *str_steal(struct str *str);
void str_clear(struct str *str);
/* The same, and nothing of what it ever held stays in memory. */
void str_wipe(struct str *str);
void str_add(struct str *str, const char *text);
void str_add_bytes(struct str *str, const void *bytes, size_t len);
void str_add_char(struct str *str, char c);
void str_addf(struct str *str, const char *format, ...) __attribute__((format(printf, 2, 3)));
void str_addv(struct str *str, const char *format, va_list args)
	__attribute__((format(printf, 2, 0), nonnull(2)));

char ascii_lower(char c);
bool ascii_is_alpha(char c);
bool ascii_is_digit(char c);
/* The length of the well-formed UTF-8 sequence at `p` (Unicode, table 3-7) if it is of more than
 * one byte, or 0. */
size_t utf8_sequence(const unsigned char *p, size_t len);
/* What a hexadecimal digit stands for; -1: it is none. */
int ascii_hex_digit(char c);
bool str_same(const char *a, const char *b);
bool str_same_nocase(const char *a, const char *b);
/* Is `text`, of `len` bytes, this word? */
bool str_is(const char *text, size_t len, const char *word);
/* The same, letter case aside. */
bool str_is_nocase(const char *text, size_t len, const char *word);
bool str_begins(const char *text, const char *prefix);
bool str_begins_nocase(const char *text, const char *prefix);
bool str_ends(const char *text, const char *suffix);

/* Walks the elements of a list in `*cursor`, which are separated by any of the bytes in
 * `separators` and stripped of blanks; empty ones are skipped. False at the end. */
bool str_next_element(
	const char **cursor, const char *separators, const char **ret_start, size_t *ret_len);
