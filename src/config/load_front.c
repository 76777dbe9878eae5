#include "config/load.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/address.h"
#include "base/mem.h"
#include "config/key_file.h"
#include "policy/access.h"

static const char *place_of(const struct loader *loader, const char *key)
{
	return load_place(loader, "server", NULL, key);
}

/* Calls `check` for each element of a list. How many there were. */
static size_t for_each_element(struct loader *loader, const char *key, const char *list,
	void (*check)(struct loader *loader, const char *place, const char *element))
{
	const char *element;
	size_t len, count = 0;

	for (; str_next_element(&list, " \t", &element, &len); count++) {
		_cleanup_free_ char *text = xstrndup(element, len);

		check(loader, place_of(loader, key), text);
	}
	return count;
}

/* ---- Where. */

static void check_unix_path(struct loader *loader, const char *place, const char *text)
{
	const char *path = text + strlen("unix:");

	if (path[0] != '/')
		load_errorf(loader, place,
			"listen: \"%s\" has no absolute path; write it as "
			"unix:/run/andiron/andiron.sock",
			text);
	else if (strlen(path) > ADDRESS_MAX_PATH)
		load_errorf(loader, place,
			"listen: the path of a Unix socket takes up to %d bytes; %s has %zu",
			ADDRESS_MAX_PATH, path, strlen(path));
}

static void check_listen_address(struct loader *loader, const char *place, const char *text)
{
	struct address address;

	if (str_begins(text, "unix:"))
		check_unix_path(loader, place, text);
	else if (str_same(text, "systemd"))
		return; /* what systemd passes is judged when it is there */
	else if (!address_parse(text, &address))
		load_errorf(loader, place,
			"listen: \"%s\" is no address; write it as 127.0.0.1:8787, [::1]:8787, "
			"unix:/PATH or systemd",
			text);
	else if (!address_is_loopback(&address) && !*loader->config->server.client_token_file)
		load_errorf(loader, place,
			"listen: %s is beyond loopback, where others could use your key; that "
			"needs client_token_file",
			text);
}

static void check_listen(struct loader *loader)
{
	loader->config->listen_is_default = !ini_find(&loader->ini, "server", "listen");
	if (!for_each_element(
		    loader, "listen", loader->config->server.listen, check_listen_address))
		load_error(loader, place_of(loader, "listen"),
			"listen: there is no address to listen on");
}

static void check_not_admin(struct loader *loader, const char *place, const char *text)
{
	struct address admin, listen;

	(void)place; /* of listen, which may well be right */
	if (address_parse(loader->config->server.admin, &admin) && address_port(&admin) &&
		address_parse(text, &listen) && address_same(&admin, &listen))
		load_errorf(loader, place_of(loader, "admin"),
			"admin: %s is in listen, too; it takes an address of its own, or off",
			text);
}

/* Beyond loopback it needs no token: what it shows there is for anyone. */
static void check_admin(struct loader *loader)
{
	const char *text = loader->config->server.admin;
	struct address address;

	loader->config->admin_is_default = !ini_find(&loader->ini, "server", "admin");
	if (str_same(text, "off"))
		return;
	if (address_parse(text, &address) && !address_is_unix(&address))
		for_each_element(loader, "listen", loader->config->server.listen, check_not_admin);
	else
		load_errorf(loader, place_of(loader, "admin"),
			"admin: \"%s\" is no address; write it as 127.0.0.1:8788 or [::1]:8788, or "
			"off",
			text);
}

/* ---- Who. */

static void check_origin(struct loader *loader, const char *place, const char *text)
{
	const char *fault = access_origin_fault(text);

	if (fault)
		load_errorf(loader, place, "allow_origins: \"%s\" is not taken: %s", text, fault);
}

static void read_token(struct loader *loader)
{
	const char *file = loader->config->server.client_token_file;
	_cleanup_str_ struct str error = STR_NULL;

	if (!*file)
		return;
	loader->config->client_token = key_file_read(file, &error);
	if (error.len)
		load_errorf(loader, place_of(loader, "client_token_file"), "client_token_file: %s",
			str_text(&error));
}

static void check_unix_mode(struct loader *loader)
{
	const char *text = loader->config->server.unix_mode;
	size_t digits = strspn(text, "01234567");

	loader->config->unix_mode = (unsigned)strtoul(text, NULL, 8);
	if (digits == 0 || text[digits] || digits > 5 || loader->config->unix_mode > 0777)
		load_errorf(loader, place_of(loader, "unix_mode"),
			"unix_mode: \"%s\" is no mode; it takes octal permissions up to 0777, as "
			"0660",
			text);
}

static void add_user(struct config *config, unsigned user)
{
	config->unix_users = xrealloc(
		config->unix_users, (config->unix_user_count + 1) * sizeof(*config->unix_users));
	config->unix_users[config->unix_user_count++] = user;
}

/* A name, or an id that need not have one. */
static void check_unix_user(struct loader *loader, const char *place, const char *text)
{
	bool is_id = strspn(text, "0123456789") == strlen(text);
	unsigned long long id = is_id ? strtoull(text, NULL, 10) : 0;
	const struct passwd *entry = is_id ? NULL : getpwnam(text);

	if (is_id && id < (uid_t)-1) /* which stands for nobody at all */
		add_user(loader->config, (unsigned)id);
	else if (entry)
		add_user(loader->config, entry->pw_uid);
	else
		load_errorf(loader, place, "unix_users: there is no user %s", text);
}

static void check_unix_users(struct loader *loader)
{
	struct config *config = loader->config;

	if (for_each_element(loader, "unix_users", config->server.unix_users, check_unix_user))
		return;
	add_user(config, geteuid());
	add_user(config, 0);
}

void load_check_front(struct loader *loader)
{
	check_listen(loader);
	check_admin(loader);
	for_each_element(
		loader, "allow_origins", loader->config->server.allow_origins, check_origin);
	read_token(loader);
	check_unix_mode(loader);
	check_unix_users(loader);
}
