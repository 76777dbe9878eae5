#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *must(void *data)
{
	if (!data) {
		fputs("andiron: out of memory\n", stderr);
		abort();
	}
	return data;
}

void *xmalloc(size_t size)
{
	return must(malloc(size ? size : 1));
}

void *xcalloc(size_t count, size_t size)
{
	return must(calloc(count ? count : 1, size ? size : 1));
}

void *xrealloc(void *old, size_t size)
{
	return must(realloc(old, size ? size : 1));
}

char *xstrdup(const char *text)
{
	return must(strdup(text));
}

char *xstrndup(const char *text, size_t len)
{
	return must(strndup(text, len));
}

void mem_wipe(void *data, size_t size)
{
	explicit_bzero(data, size);
}

void mem_cleanup_free(void *pointer_to_pointer)
{
	free(*(void **)pointer_to_pointer);
}
