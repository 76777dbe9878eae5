#pragma once

/* A secret in a file: a regular file that nobody but its owner can read, one line of text. */

#include "base/secret.h"
#include "base/str.h"

/* The secret, for secret_free(); NULL, and what is wrong and how to mend it, if the file cannot be
 * read, is no regular file, belongs to someone other than this user and root, can be read by
 * others (a group may read root's, unless this is root), is larger than 4 KiB, or holds no single
 * line of printable text. A symbolic link stands for the file that it names. */
char *key_file_read(const char *path, struct str *ret_error);
/* The same for a file that systemd made for this service alone: its directory guards it, and its
 * mode shows an access list's mask. */
char *key_file_read_credential(const char *path, struct str *ret_error);
/* The key in a text, without the blanks around it, for secret_free(); NULL if it is no single word
 * of printable ASCII: a line end in it would become a part of a header. */
char *key_parse(const char *text, size_t len);
