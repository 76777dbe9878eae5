#include "config/key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/secret.h"

enum { MAX_KEY = 4096 };

/* Links are followed, as ssh and systemd do: what counts is the file that is open. */
static bool is_kept(const char *path, const struct stat *stat, struct str *ret_error)
{
	if (!S_ISREG(stat->st_mode))
		str_addf(ret_error, "%s is no regular file", path);
	else if (stat->st_uid != geteuid() && stat->st_uid != 0)
		str_addf(ret_error,
			"%s belongs to another user (id %u), who could change it; run: chown %u %s",
			path, (unsigned)stat->st_uid, (unsigned)geteuid(), path);
	else if (stat->st_size > MAX_KEY)
		str_addf(ret_error,
			"%s is larger than %d bytes; it must hold one line with the key alone",
			path, MAX_KEY);
	return ret_error->len == 0;
}

/* A group may read what is root's: only root can have let it. A Kubernetes Secret cannot be given
 * to a process that is not root in any other way. */
static bool is_private(const char *path, const struct stat *stat, struct str *ret_error)
{
	bool is_own = stat->st_uid == geteuid();

	if (stat->st_mode & (is_own ? 077 : 037))
		str_addf(ret_error, "%s can be read by others (mode %04o); run: chmod %s %s", path,
			(unsigned)stat->st_mode & 07777, is_own ? "600" : "440", path);
	return ret_error->len == 0;
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
	return len > 0 ? secret_new(text, len) : NULL;
}

/* Copied out of an .env file or a script? */
static bool is_assignment(const char *key)
{
	size_t len = strlen(key);
	bool is_quoted = (*key == '"' || *key == '\'') && len > 1 && key[len - 1] == *key;

	return is_quoted || strncmp(key, "FIREWORKS_API_KEY=", strlen("FIREWORKS_API_KEY=")) == 0;
}

static char *read_key(int fd, const char *path, struct str *ret_error)
{
	char buffer[MAX_KEY + 1];
	ssize_t len = read(fd, buffer, sizeof(buffer));
	char *key = len > 0 && len <= MAX_KEY ? key_parse(buffer, (size_t)len) : NULL;

	if (key && is_assignment(key)) {
		str_addf(ret_error,
			"%s does not hold one line with the key alone: there are quotes, or a "
			"variable's name before it",
			path);
		secret_free(key);
		key = NULL;
	} else if (!key)
		str_addf(ret_error, "%s does not hold one line with one word, the key or token",
			path);
	mem_wipe(buffer, sizeof(buffer));
	return key;
}

static char *open_and_read(const char *path, bool is_credential, struct str *ret_error)
{
	struct stat stat;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char *key = NULL;

	if (fd < 0) {
		str_addf(ret_error, "cannot read %s: %s", path, strerror(errno));
		if (errno == EACCES)
			str_addf(ret_error,
				" (this process is user %u; a service gets a key as a systemd "
				"credential, see andiron(1))",
				(unsigned)geteuid());
		return NULL;
	}
	if (fstat(fd, &stat) != 0)
		str_addf(ret_error, "cannot read %s: %s", path, strerror(errno));
	else if (is_kept(path, &stat, ret_error) &&
		 (is_credential || is_private(path, &stat, ret_error)))
		key = read_key(fd, path, ret_error);
	close(fd);
	return key;
}

char *key_file_read(const char *path, struct str *ret_error)
{
	return open_and_read(path, false, ret_error);
}

char *key_file_read_credential(const char *path, struct str *ret_error)
{
	return open_and_read(path, true, ret_error);
}
