#include "net/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BACKLOG = 1024 };

static int bind_ip(int fd, const struct address *address, struct listener *ret)
{
	int on = 1;

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0)
		return -errno;
	if (address->any.sa_family == AF_INET6 &&
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) != 0)
		return -errno;
	if (bind(fd, &address->any, address->len) != 0)
		return -errno;
	memset(&ret->address, 0, sizeof(ret->address));
	ret->address.len = sizeof(ret->address.v6);
	return getsockname(fd, &ret->address.any, &ret->address.len) == 0 ? 0 : -errno;
}

/* ---- The file of a Unix socket. */

static bool is_same_file(const struct stat *file, dev_t device, ino_t inode)
{
	return file->st_dev == device && file->st_ino == inode;
}

static void remove_if_same(const char *path, dev_t device, ino_t inode)
{
	struct stat now;

	if (lstat(path, &now) == 0 && is_same_file(&now, device, inode))
		unlink(path);
}

/* What a connection to the socket meets: 0: somebody listens; else errno. */
static int try_to_connect(const struct address *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int error;

	if (fd < 0)
		return errno;
	error = connect(fd, &address->any, address->len) == 0 ? 0 : errno;
	close(fd);
	return error;
}

/* Makes room for a new socket: what a dead process left is removed. 0 or -errno. */
static int remove_stale(const struct address *address)
{
	const char *path = address->local.sun_path;
	struct stat file;
	int error;

	if (lstat(path, &file) != 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(file.st_mode))
		return -ENOTSOCK;
	error = try_to_connect(address);
	if (error == EACCES || error == EPERM)
		return -error;
	if (error != ECONNREFUSED) /* also a full backlog, or a socket of another type */
		return -EADDRINUSE;
	remove_if_same(path, file.st_dev, file.st_ino);
	return 0;
}

/* The kernel makes the file within bind(), by the umask of that moment. */
static int bind_with_mode(int fd, const struct address *address, mode_t mode)
{
	mode_t before = umask(0777 & ~mode);
	int error = bind(fd, &address->any, address->len) == 0 ? 0 : -errno;

	umask(before);
	return error;
}

static int bind_unix(int fd, const struct address *address, mode_t mode, struct listener *ret)
{
	struct stat file;
	int error = remove_stale(address);

	if (error == 0)
		error = bind_with_mode(fd, address, mode);
	if (error != 0)
		return error;
	ret->address = *address;
	if (lstat(address->local.sun_path, &file) != 0)
		return -errno;
	ret->device = file.st_dev;
	ret->inode = file.st_ino;
	return 0;
}

/* ---- Both. */

int listen_open(const struct address *address, mode_t unix_mode, struct listener *ret)
{
	int family = address->any.sa_family, error;
	struct listener opened = {
		.fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};

	if (opened.fd < 0)
		return -errno;
	if (family == AF_UNIX)
		error = bind_unix(opened.fd, address, unix_mode, &opened);
	else
		error = bind_ip(opened.fd, address, &opened);
	if (error == 0 && listen(opened.fd, BACKLOG) != 0)
		error = -errno;
	if (error == 0)
		*ret = opened;
	else
		listen_close(&opened);
	return error;
}

/* An option of the socket that is a number; -errno. */
static int read_option(int fd, int name)
{
	int value = 0;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, name, &value, &len) == 0 ? value : -errno;
}

static int check_kind(int fd)
{
	int type = read_option(fd, SO_TYPE), family = read_option(fd, SO_DOMAIN);

	if (type < 0)
		return type;
	if (type != SOCK_STREAM || (family != AF_INET && family != AF_INET6 && family != AF_UNIX))
		return -EPROTOTYPE;
	return read_option(fd, SO_ACCEPTCONN) > 0 ? 0 : -EINVAL;
}

int listen_adopt(int fd, struct listener *ret)
{
	struct listener adopted = {.fd = fd}; /* no inode: the file is not ours to remove */
	struct address *address = &adopted.address;
	int error = check_kind(fd), flags = fcntl(fd, F_GETFL);

	if (error < 0)
		return error;
	address->len = sizeof(*address) - offsetof(struct address, any);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
		fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 ||
		getsockname(fd, &address->any, &address->len) != 0)
		return -errno;
	if (address_is_unix(address)) {
		address->local.sun_path[ADDRESS_MAX_PATH] = '\0';
		if (address->local.sun_path[0] == '\0')
			address->local.sun_path[0] = '@';
	}
	*ret = adopted;
	return 0;
}

void listen_close(const struct listener *listener)
{
	/* As long as the socket is open its inode lives, and no other file gets that number. */
	if (address_is_unix(&listener->address) && !listener->lent)
		remove_if_same(listener->address.local.sun_path, listener->device, listener->inode);
	close(listener->fd);
}
