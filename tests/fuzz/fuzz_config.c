/* Fuzzes config/config.h with the text of a file: each mistake has a place, and what is accepted
 * renders to a text that is accepted and renders to the same. */

#include <sys/mman.h>
#include <unistd.h>

#include "config/config.h"
#include "fuzz.h"

static void on_message(void *arg, bool fatal, const char *place, const char *message)
{
	int *fatals = arg;

	(void)place;
	REQUIRE(message && *message);
	*fatals += fatal;
}

static struct config *load(const void *text, size_t len)
{
	static char *no_environment[] = {NULL};
	int fd = memfd_create("config", MFD_CLOEXEC), fatals = 0;
	struct config_request request = {.environment = no_environment};
	char path[64];
	struct config *config;

	REQUIRE(fd >= 0 && write(fd, text, len) == (ssize_t)len);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	request.file = path;
	config = config_load(&request, on_message, &fatals);
	REQUIRE(!config == (fatals > 0));
	close(fd);
	return config;
}

/* Reading what a key names could go on for ever (/dev/zero) or wait (a pipe). */
static bool names_a_file(const uint8_t *data, size_t size)
{
	return data && size > 0 &&
	       (memmem(data, size, "_file", 5) || memmem(data, size, "/dev", 4) ||
		       memmem(data, size, "/proc", 5));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config *config = names_a_file(data, size) ? NULL : load(data, size), *again;
	struct str text = STR_NULL, same = STR_NULL;

	if (!config)
		return 0;
	config_render(config, &text);
	again = load(str_text(&text), text.len);
	REQUIRE(again);
	config_render(again, &same);
	REQUIRE(str_same(str_text(&text), str_text(&same)));
	str_fini(&text);
	str_fini(&same);
	config_unref(again);
	config_unref(config);
	return 0;
}
