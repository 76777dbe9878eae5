#include "app/harden.h"

#include <event2/event.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/log.h"
#include "base/mem.h"

/* Of what libevent frees: a head, and a key with it, is at the front of its block. The rest of a
 * large body is not worth the time. */
enum { WIPED_BYTES = 64 << 10 };

static void wiping_free(void *data)
{
	size_t size = data ? malloc_usable_size(data) : 0;

	if (data)
		mem_wipe(data, size < WIPED_BYTES ? size : WIPED_BYTES);
	free(data);
}

static void *wiping_realloc(void *old, size_t size)
{
	size_t old_size = old ? malloc_usable_size(old) : 0;
	void *data = malloc(size);

	if (data && old) {
		memcpy(data, old, old_size < size ? old_size : size);
		wiping_free(old);
	}
	return data;
}

void harden(void)
{
	struct rlimit none = {0, 0};

	/* Both: a handler that core_pattern pipes to does not ask for the limit, and the limit
	 * holds where something makes the process dumpable again. */
	if (prctl(PR_SET_DUMPABLE, 0) != 0 || setrlimit(RLIMIT_CORE, &none) != 0)
		log_warning("core images cannot be turned off: %m");
	event_set_mem_functions(malloc, wiping_realloc, wiping_free);
}
