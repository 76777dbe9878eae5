#include "app/hello.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static const char *key_text(const struct upstream_config *upstream)
{
	switch (upstream->key_source) {
	case KEY_OF_FILE:
		return *upstream->options.api_key_file ? upstream->options.api_key_file
						       : "the systemd credential";
	case KEY_OF_ENVIRONMENT:
		return "FIREWORKS_API_KEY, for clients without a Fireworks key of their own";
	case KEY_OF_CLIENT:
		break;
	}
	if (getenv("CREDENTIALS_DIRECTORY"))
		return "the client's own (to use one from here: /etc/andiron/fireworks_api_key, "
		       "mode 0600, then systemctl restart andiron)";
	return "the client's own (set FIREWORKS_API_KEY or api_key_file to use one from here)";
}

static void render_listener(const struct listener *listener, struct str *out)
{
	char text[ADDRESS_TEXT_SIZE];

	address_render(&listener->address, text, sizeof(text));
	str_addf(out, " %s%s", address_is_unix(&listener->address) ? "" : "http://", text);
}

void hello_render_listeners(const struct listeners *listeners, struct str *out)
{
	for (size_t i = 0; i < listeners->count; i++)
		render_listener(&listeners->list[i].listener, out);
}

static void say_admin(const struct listeners *admin)
{
	_cleanup_str_ struct str text = STR_NULL;

	if (admin->count == 0)
		return;
	hello_render_listeners(admin, &text);
	log_info("admin on%s", str_text(&text));
}

/* What an SDK on this machine would use; NULL: there are only Unix sockets. */
static const struct address *find_port(const struct listeners *listeners)
{
	for (size_t i = 0; i < listeners->count; i++) {
		if (!address_is_unix(&listeners->list[i].listener.address))
			return &listeners->list[i].listener.address;
	}
	return NULL;
}

static bool is_local_name(const struct address *address)
{
	static const struct in6_addr any = IN6ADDR_ANY_INIT;

	if (address->any.sa_family == AF_INET && address->v4.sin_addr.s_addr == INADDR_ANY)
		return true;
	if (address->any.sa_family == AF_INET6 &&
		memcmp(&address->v6.sin6_addr, &any, sizeof(any)) == 0)
		return true;
	return address_is_loopback(address);
}

static void say_base_url(const struct address *address, const char *socket_path)
{
	char text[ADDRESS_TEXT_SIZE];

	if (!address) {
		log_info("your SDK speaks HTTP through %s, with base_url \"http://localhost/v1\"",
			socket_path);
	} else if (is_local_name(address)) {
		log_info("in your SDK, change base_url to \"http://localhost:%u/v1\"",
			address_port(address));
	} else {
		address_render(address, text, sizeof(text));
		log_info("in your SDK, change base_url to \"http://%s/v1\"", text);
	}
}

static void say_api_key(const struct config *config, bool is_demo)
{
	const char *file = config->server.client_token_file;
	bool own = config->upstreams[0].key_source == KEY_OF_CLIENT && !is_demo;

	if (*file && config->upstreams[0].key_source == KEY_OF_FILE) {
		log_info("in your SDK, change api_key to the token in %s", file);
		return;
	}
	log_info("in your SDK, change api_key to \"%s\"", own ? "your Fireworks key" : "andiron");
	if (*file)
		log_info("and send the token in %s as the header X-Andiron-Token", file);
}

unsigned hello_port(const struct listeners *listeners)
{
	const struct address *address = find_port(listeners);

	return address ? address_port(address) : 0;
}

void hello_say(const struct config *config, const struct listeners *listeners,
	const struct listeners *admin, bool is_demo)
{
	_cleanup_str_ struct str text = STR_NULL;
	const struct upstream_config *first = &config->upstreams[0];

	hello_render_listeners(listeners, &text);
	log_info("listening on%s", str_text(&text));
	say_admin(admin);
	log_info("forwarding to %s", first->options.url);
	if (!is_demo)
		log_info("key: %s", key_text(first));
	say_base_url(find_port(listeners), listeners->list[0].listener.address.local.sun_path);
	say_api_key(config, is_demo);
}
