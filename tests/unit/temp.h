#pragma once

/* Files for a test: a directory of its own, which is gone when the program ends. */

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"

static char temp_directory[256];

static inline int temp_remove(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
	(void)stat;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline void temp_remove_all(void)
{
	nftw(temp_directory, temp_remove, 8, FTW_DEPTH | FTW_PHYS);
}

/* The path of this name in the test's directory, for the caller to free. */
static inline char *temp_path(const char *name)
{
	struct str path = STR_NULL;

	if (!*temp_directory) {
		const char *base = getenv("TMPDIR");

		snprintf(temp_directory, sizeof(temp_directory), "%s/andiron-unit-XXXXXX",
			base && *base && strlen(base) < 200 ? base : "/tmp");
		if (!mkdtemp(temp_directory))
			abort();
		atexit(temp_remove_all);
	}
	str_addf(&path, "%s/%s", temp_directory, name);
	return str_steal(&path);
}

/* Makes or replaces a file with these bytes and this mode, and returns its path. */
static inline char *temp_file(const char *name, const void *bytes, size_t len, mode_t mode)
{
	char *path = temp_path(name);
	int fd;

	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, bytes, len) != (ssize_t)len || fchmod(fd, mode) != 0)
		abort();
	close(fd);
	return path;
}
