#include "base/secret.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"

/* What stands at the start of a secret's pages. */
struct pages {
	size_t size;
	char text[];
};

static size_t whole_pages(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (size + page - 1) / page * page;
}

char *secret_new(const char *text, size_t len)
{
	size_t size = whole_pages(sizeof(struct pages) + len + 1);
	struct pages *pages =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (pages == MAP_FAILED)
		abort();
	/* Both may be denied (an old kernel, RLIMIT_MEMLOCK); the secret is needed all the same. */
	(void)madvise(pages, size, MADV_DONTDUMP);
	(void)mlock(pages, size);
	pages->size = size;
	memcpy(pages->text, text, len);
	return pages->text;
}

void secret_free(char *secret)
{
	struct pages *pages;

	if (!secret)
		return;
	pages = (struct pages *)(secret - offsetof(struct pages, text));
	mem_wipe(secret, pages->size - sizeof(*pages));
	munmap(pages, pages->size);
}

void secret_cleanup(char **secret)
{
	secret_free(*secret);
}

static void remove_entry(char **entry)
{
	mem_wipe(*entry, strlen(*entry));
	for (; *entry; entry++)
		entry[0] = entry[1];
}

/* By hand: unsetenv() would lose sight of the second entry of a name that is there twice. */
char *secret_take_variable(const char *name)
{
	size_t len = strlen(name);
	char **entry = environ, *secret = NULL;

	while (*entry) {
		const char *value = *entry + len + 1;

		if (strncmp(*entry, name, len) != 0 || (*entry)[len] != '=') {
			entry++;
			continue;
		}
		if (!secret && *value)
			secret = secret_new(value, strlen(value));
		remove_entry(entry);
	}
	return secret;
}
