#include "net/listen.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { BACKLOG = 1024 };

static int bind_and_listen(int fd, const struct address *address, struct address *ret_bound)
{
	int on = 1;

	memset(ret_bound, 0, sizeof(*ret_bound));
	ret_bound->len = sizeof(ret_bound->v6);
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0)
		return -errno;
	if (address->any.sa_family == AF_INET6 &&
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) != 0)
		return -errno;
	if (bind(fd, &address->any, address->len) != 0 || listen(fd, BACKLOG) != 0)
		return -errno;
	return getsockname(fd, &ret_bound->any, &ret_bound->len) == 0 ? 0 : -errno;
}

int listen_open(const struct address *address, struct address *ret_bound)
{
	int fd = socket(
		address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
	int error;

	if (fd < 0)
		return -errno;
	error = bind_and_listen(fd, address, ret_bound);
	if (error == 0)
		return fd;
	close(fd);
	return error;
}
