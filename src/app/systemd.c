#include "app/systemd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"

enum { MAX_FDS = 1024 };

/* ---- To systemd. */

bool systemd_is_listening(void)
{
	const char *path = getenv("NOTIFY_SOCKET");

	return path && *path;
}

/* `@` stands for the NUL of an abstract socket. */
static bool fill_address(const char *path, struct sockaddr_un *ret, socklen_t *ret_len)
{
	size_t len = strlen(path);

	if ((path[0] != '/' && path[0] != '@') || len < 2 || len >= sizeof(ret->sun_path))
		return false;
	memset(ret, 0, sizeof(*ret));
	ret->sun_family = AF_UNIX;
	memcpy(ret->sun_path, path, len);
	if (path[0] == '@')
		ret->sun_path[0] = '\0';
	*ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (path[0] == '/'));
	return true;
}

int systemd_notify(const char *assignments)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address;
	socklen_t len;
	int fd, error = 0;

	if (!path || !*path)
		return 0;
	if (!fill_address(path, &address, &len))
		return -EINVAL;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (sendto(fd, assignments, strlen(assignments), MSG_NOSIGNAL, (struct sockaddr *)&address,
		    len) < 0)
		error = -errno;
	close(fd);
	return error;
}

int systemd_notify_reloading(void)
{
	_cleanup_str_ struct str text = STR_NULL;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	str_addf(&text, "RELOADING=1\nMONOTONIC_USEC=%lld",
		(long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
	return systemd_notify(str_text(&text));
}

/* ---- From systemd. */

/* A decimal number above 0; 0: it is none. */
static long long parse_number(const char *text)
{
	long long number;

	if (!text || !*text || text[strspn(text, "0123456789")])
		return 0;
	errno = 0;
	number = strtoll(text, NULL, 10);
	return errno ? 0 : number;
}

static bool is_for_us(const char *pid)
{
	return parse_number(pid) == getpid();
}

msec_t systemd_watchdog_ms(void)
{
	long long period_us = parse_number(getenv("WATCHDOG_USEC"));
	const char *pid = getenv("WATCHDOG_PID");

	if (!period_us || (pid && !is_for_us(pid)))
		return 0;
	return period_us < 1000 ? 1 : period_us / 1000;
}

size_t systemd_take_fds(char **ret_names)
{
	long long count = parse_number(getenv("LISTEN_FDS"));
	const char *names = getenv("LISTEN_FDNAMES");

	if (!is_for_us(getenv("LISTEN_PID")) || count > MAX_FDS)
		count = 0;
	*ret_names = count && names ? xstrdup(names) : NULL;
	for (int i = 0; i < (int)count; i++)
		fcntl(SYSTEMD_FIRST_FD + i, F_SETFD, FD_CLOEXEC);
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDNAMES");
	return (size_t)count;
}
