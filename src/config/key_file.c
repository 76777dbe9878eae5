#include "config/key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

enum { MAX_KEY = 4096 };

static bool is_private(const char *path, int fd, struct str *ret_error)
{
	struct stat stat;

	if (fstat(fd, &stat) != 0 || !S_ISREG(stat.st_mode)) {
		str_addf(ret_error, "%s is no regular file", path);
		return false;
	}
	if (stat.st_uid != geteuid() && stat.st_uid != 0) {
		str_addf(ret_error, "%s belongs to another user", path);
		return false;
	}
	if (stat.st_mode & 077) {
		str_addf(ret_error, "%s can be read by others (mode %04o); run: chmod 600 %s", path,
			(unsigned)stat.st_mode & 07777, path);
		return false;
	}
	return true;
}

char *key_parse(const char *text, size_t len)
{
	while (len > 0 && strchr(" \t\r\n", text[len - 1]) && text[len - 1])
		len--;
	while (len > 0 && strchr(" \t\r\n", *text) && *text) {
		text++;
		len--;
	}
	for (size_t i = 0; i < len; i++) {
		if (text[i] <= ' ' || text[i] > '~')
			return NULL;
	}
	return len > 0 ? xstrndup(text, len) : NULL;
}

static char *read_key(int fd, const char *path, struct str *ret_error)
{
	char buffer[MAX_KEY + 1];
	ssize_t len = read(fd, buffer, sizeof(buffer));
	char *key = len > 0 && len <= MAX_KEY ? key_parse(buffer, (size_t)len) : NULL;

	if (!key)
		str_addf(ret_error, "%s does not hold one line with a key", path);
	mem_wipe(buffer, sizeof(buffer));
	return key;
}

static char *open_and_read(const char *path, bool judge, struct str *ret_error)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char *key = NULL;

	if (fd < 0) {
		str_addf(ret_error, "cannot read %s: %s", path, strerror(errno));
		return NULL;
	}
	if (!judge || is_private(path, fd, ret_error))
		key = read_key(fd, path, ret_error);
	close(fd);
	return key;
}

char *key_file_read(const char *path, struct str *ret_error)
{
	return open_and_read(path, true, ret_error);
}

char *key_file_read_credential(const char *path, struct str *ret_error)
{
	return open_and_read(path, false, ret_error);
}
