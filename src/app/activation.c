#include "app/activation.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/systemd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

/* ---- What is passed. */

static bool adopt(struct activation *activation, int fd, const char *name, size_t len)
{
	int error = listen_adopt(fd, &activation->listeners[activation->count]);

	if (error == 0)
		activation->count++;
	else
		log_error("descriptor %d (%.*s), which systemd passes, is no listening stream "
			  "socket: %s",
			fd, (int)len, name, strerror(-error));
	return error == 0;
}

bool activation_open(struct activation *activation)
{
	_cleanup_free_ char *names = NULL;
	size_t passed = systemd_take_fds(&names);
	const char *name = names ? names : "";

	if (passed > FRONT_MAX_LISTENERS) {
		log_error(
			"systemd passes %zu sockets; the most are %d", passed, FRONT_MAX_LISTENERS);
		return false;
	}
	for (size_t i = 0; i < passed; i++) {
		size_t len = strcspn(name, ":");

		if (!adopt(activation, SYSTEMD_FIRST_FD + (int)i, name, len))
			return false;
		name += len + (name[len] == ':');
	}
	return true;
}

void activation_close(struct activation *activation)
{
	for (size_t i = 0; i < activation->count; i++)
		listen_close(&activation->listeners[i]);
	activation->count = 0;
}

/* ---- Who takes it. */

static int take(struct activation *activation, size_t i, struct listener *ret)
{
	int fd = fcntl(activation->listeners[i].fd, F_DUPFD_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	*ret = activation->listeners[i];
	ret->fd = fd;
	activation->taken[i] = true;
	return 0;
}

void activation_begin(struct activation *activation)
{
	memset(activation->taken, 0, sizeof(activation->taken));
}

void activation_keep(struct activation *activation, const struct address *address)
{
	for (size_t i = 0; i < activation->count; i++)
		activation->taken[i] |= address_same(&activation->listeners[i].address, address);
}

int activation_listen(struct activation *activation, const struct address *address,
	mode_t unix_mode, struct listener *ret)
{
	for (size_t i = 0; i < activation->count; i++) {
		if (address_same(&activation->listeners[i].address, address))
			return take(activation, i, ret);
	}
	return listen_open(address, unix_mode, ret);
}

static bool is_admin(const struct config *config, const struct address *address)
{
	struct address admin;

	return address_parse(config->server.admin, &admin) && address_same(&admin, address);
}

static bool check(const struct config *config, const struct address *address, size_t count)
{
	char text[ADDRESS_TEXT_SIZE];

	address_render(address, text, sizeof(text));
	if (!address_is_loopback(address) && !config->client_token)
		log_error("cannot listen on %s, which systemd passes: it is beyond loopback, where "
			  "others could use your key; that needs client_token_file",
			text);
	else if (count == FRONT_MAX_LISTENERS)
		log_error("cannot listen on %s, which systemd passes: too many addresses", text);
	else
		return true;
	return false;
}

bool activation_listen_all(struct activation *activation, const struct config *config,
	struct listener *listeners, size_t *count)
{
	size_t before = *count;

	for (size_t i = 0; i < activation->count; i++) {
		const struct address *address = &activation->listeners[i].address;

		if (activation->taken[i] || is_admin(config, address))
			continue;
		if (!check(config, address, *count))
			return false;
		if (take(activation, i, &listeners[*count]) == 0)
			++*count;
	}
	if (*count == before)
		log_error("listen = systemd: systemd passes no socket; start it by its socket "
			  "(systemctl enable --now andiron.socket), or name addresses instead");
	return *count > before;
}

void activation_warn(const struct activation *activation)
{
	char text[ADDRESS_TEXT_SIZE];

	for (size_t i = 0; i < activation->count; i++) {
		if (activation->taken[i])
			continue;
		address_render(&activation->listeners[i].address, text, sizeof(text));
		log_warning("systemd passes %s, but listen does not name it: who connects there "
			    "gets no answer (listen = systemd takes all of them)",
			text);
	}
}
