#pragma once

/* A small local file whose text is kept and read again when the file has changed. Looking costs a
 * stat(2) every two seconds, reading a local file of at most 1 MiB now and then: the loop may wait
 * for that. */

#include <stdbool.h>
#include <sys/stat.h>

#include "base/clock.h"

struct watched_file {
	const char *path;
	struct stat seen;
	msec_t looked;
	char *text; /* never NULL; "" if there is no such file */
};

/* Reads it. The path must outlive the watch. */
void watched_file_init(struct watched_file *file, const char *path, msec_t now);
void watched_file_fini(struct watched_file *file);
/* True if it was read anew. Of a longer file the whole lines of the first 1 MiB count. */
bool watched_file_look(struct watched_file *file, msec_t now);
