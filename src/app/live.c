#include "app/live.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/address.h"
#include "base/clock.h"

enum { TIMEOUT_MS = 3000, MAX_ANSWER = 4096 };

/* Waits until the socket is ready for it. 0, or -errno. */
static int wait_for(int fd, short events, msec_t deadline)
{
	struct pollfd pollfd = {.fd = fd, .events = events};
	msec_t left = deadline - clock_mono();
	int ready = left > 0 ? poll(&pollfd, 1, (int)left) : 0;

	return ready > 0 ? 0 : ready == 0 ? -ETIMEDOUT : -errno;
}

static int connect_until(int fd, const struct address *address, msec_t deadline)
{
	int error;
	socklen_t len = sizeof(error);

	if (connect(fd, &address->any, address->len) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return -errno;
	error = wait_for(fd, POLLOUT, deadline);
	if (error < 0)
		return error;
	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 ? -error : -errno;
}

/* The answer's beginning, up to the end of its first line; ends with NUL. */
static int read_line(int fd, char *ret, size_t size, msec_t deadline)
{
	size_t len = 0;

	while (len + 1 < size && !memchr(ret, '\n', len)) {
		int error = wait_for(fd, POLLIN, deadline);
		ssize_t got = error < 0 ? -1 : recv(fd, ret + len, size - len - 1, 0);

		if (got < 0)
			return error < 0 ? error : -errno;
		if (got == 0)
			break;
		len += (size_t)got;
	}
	ret[len] = '\0';
	return 0;
}

static int ask(int fd, const struct address *address, const char *host, char *ret, size_t size)
{
	msec_t deadline = clock_mono() + TIMEOUT_MS;
	char request[256];
	int len = snprintf(request, sizeof(request),
		"GET /healthz HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host);
	int error = connect_until(fd, address, deadline);

	if (error < 0)
		return error;
	if (send(fd, request, (size_t)len, MSG_NOSIGNAL) != len)
		return -errno;
	return read_line(fd, ret, size, deadline);
}

/* Who listens on all addresses is asked on loopback. */
static void to_loopback(struct address *address)
{
	if (address->any.sa_family == AF_INET && address->v4.sin_addr.s_addr == INADDR_ANY)
		address_from_ip("127.0.0.1", address_port(address), address);
	else if (address->any.sa_family == AF_INET6 &&
		 IN6_IS_ADDR_UNSPECIFIED(&address->v6.sin6_addr))
		address_from_ip("::1", address_port(address), address);
}

static bool judge(const char *host, int error, char *answer)
{
	char *end = answer + strcspn(answer, "\r\n");
	bool alive = error == 0 && strncmp(answer, "HTTP/1.1 200 ", 13) == 0;

	*end = '\0';
	if (alive)
		printf("alive: http://%s/healthz says %s\n", host, answer + 9);
	else if (error < 0)
		fprintf(stderr, "andiron: not alive: http://%s/healthz: %s\n", host,
			strerror(-error));
	else
		fprintf(stderr, "andiron: not alive: http://%s/healthz says %s\n", host,
			*answer ? answer : "nothing");
	return alive;
}

bool live_check(const struct config *config)
{
	char host[ADDRESS_TEXT_SIZE], answer[MAX_ANSWER] = "";
	struct address address;
	int fd, error;

	if (!address_parse(config->server.admin, &address)) {
		fputs("andiron: the admin listener is off, and nothing else says whether andiron "
		      "is alive; set admin in [server]\n",
			stderr);
		return false;
	}
	to_loopback(&address);
	address_render(&address, host, sizeof(host));
	fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	error = fd < 0 ? -errno : ask(fd, &address, host, answer, sizeof(answer));
	if (fd >= 0)
		close(fd);
	return judge(host, error, answer);
}
