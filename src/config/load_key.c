/* Where an upstream's key comes from. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/secret.h"
#include "config/key_file.h"
#include "config/load.h"

static const char variable_name[] = "FIREWORKS_API_KEY";

/* The value of an environment variable, or NULL. */
static const char *environment_value(const struct loader *loader, const char *name)
{
	char *const *environment = loader->request->environment;
	size_t len = strlen(name);

	for (; environment && *environment; environment++) {
		if (strncmp(*environment, name, len) == 0 && (*environment)[len] == '=')
			return *environment + len + 1;
	}
	return NULL;
}

/* Has systemd started this very process? INVOCATION_ID does not say so: every program that is
 * started from a desktop's terminal, itself a service, inherits it. */
static bool is_service(const struct loader *loader)
{
	const char *pid = environment_value(loader, "SYSTEMD_EXEC_PID");

	return environment_value(loader, "CREDENTIALS_DIRECTORY") ||
	       (pid && strtol(pid, NULL, 10) == getpid());
}

/* A key where its file's name should stand is a likely mistake; it is not repeated in a message. */
static bool looks_like_a_key(const char *path)
{
	return !strchr(path, '/') &&
	       (str_begins(path, "fw_") || str_begins(path, "fpk_") || str_begins(path, "sk-"));
}

static char *read_file(struct loader *loader, const char *path, const char *place)
{
	_cleanup_str_ struct str error = STR_NULL;
	char *key = NULL;

	if (looks_like_a_key(path))
		str_add(&error, "this is a key, not the path of a file; write the key into a file "
				"of mode 0600 and name that here (and make a new key: this one has "
				"been seen)");
	else
		key = key_file_read(path, &error);
	if (!key)
		load_errorf(loader, place, "api_key_file: %s", str_text(&error));
	return key;
}

/* systemd's LoadCredential=NAME_api_key:..., if there is one. An empty line is none: what a unit
 * sets by SetCredential= for the case that there is no file. */
static char *read_credential(struct loader *loader, const char *upstream)
{
	const char *directory = environment_value(loader, "CREDENTIALS_DIRECTORY");
	_cleanup_str_ struct str path = STR_NULL, error = STR_NULL;
	struct stat file;
	char *key;

	if (!directory)
		return NULL;
	str_addf(&path, "%s/%s_api_key", directory, upstream);
	if (stat(str_text(&path), &file) == 0 ? file.st_size <= 1 : errno == ENOENT)
		return NULL;
	key = key_file_read_credential(str_text(&path), &error);
	if (!key)
		load_errorf(loader, "CREDENTIALS_DIRECTORY", "the credential of upstream %s: %s",
			upstream, str_text(&error));
	return key;
}

static char *read_environment(struct loader *loader)
{
	const char *text = loader->request->environment_key;
	char *key;

	if (!text)
		text = environment_value(loader, variable_name);
	if (!text || !*text)
		return NULL;
	key = key_parse(text, strlen(text));
	if (!key)
		load_error(loader, variable_name, "this is no key: it is not one word");
	else if (is_service(loader))
		loader->on_message(loader->arg, false, variable_name,
			"a unit's Environment= is shown to every user of the machine (systemctl "
			"show); better LoadCredential=fireworks_api_key:FILE in the unit, or "
			"api_key_file");
	return key;
}

/* File and credential replace every key; the environment's only a missing or foreign one. */
void load_key(struct loader *loader, struct upstream_config *upstream, const char *place)
{
	const char *path = upstream->options.api_key_file;

	upstream->api_key =
		*path ? read_file(loader, path, place) : read_credential(loader, upstream->name);
	if (upstream->api_key) {
		upstream->key_source = KEY_OF_FILE;
	} else if (str_same(upstream->name, "fireworks")) {
		upstream->api_key = read_environment(loader);
		if (upstream->api_key)
			upstream->key_source = KEY_OF_ENVIRONMENT;
	}
}
