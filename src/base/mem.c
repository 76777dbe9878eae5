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

void mem_wipe_free(char *text)
{
	if (text)
		mem_wipe(text, strlen(text));
	free(text);
}

bool mem_same_secret(const char *secret, const char *given)
{
	size_t len = strlen(secret), given_len = strlen(given);
	volatile unsigned char difference = len != given_len;

	/* Every byte of `given` is compared, whatever the ones before it were; the NUL behind the
	 * secret counts as one of its own, so that an empty one is no division by zero. */
	for (size_t i = 0; i < given_len; i++)
		difference = (unsigned char)(difference | (secret[i % (len + 1)] ^ given[i]));
	return difference == 0;
}

void mem_cleanup_free(void *pointer_to_pointer)
{
	free(*(void **)pointer_to_pointer);
}
