#pragma once

/* A secret in a file: a regular file that nobody but its owner can read, one line of text. */

#include "base/str.h"

/* The secret, to be wiped and freed by the caller; NULL, and what is wrong, if the file cannot be
 * read, is no regular file, can be read by others, or holds no single line of printable text. */
char *key_file_read(const char *path, struct str *ret_error);
/* The key in a text, without the blanks around it; NULL if it is no single word of printable
 * ASCII: a line end in it would become a part of a header. */
char *key_parse(const char *text, size_t len);
/* The same for a file that systemd made for this service alone: its directory guards it, and its
 * mode shows an access list's mask. */
char *key_file_read_credential(const char *path, struct str *ret_error);
