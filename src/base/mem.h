#pragma once

/* Memory that never fails: out of memory aborts the process. Every size that a client or an
 * upstream controls has a configured limit, so an abort here is a bug or a machine at its end. */

#include <stdbool.h>
#include <stddef.h>

void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *old, size_t size) __attribute__((returns_nonnull));
char *xstrdup(const char *text) __attribute__((malloc, returns_nonnull));
char *xstrndup(const char *text, size_t len) __attribute__((malloc, returns_nonnull));

/* Overwrites memory that held a secret, in a way that no optimiser removes. */
void mem_wipe(void *data, size_t size);
/* Wipes a text that held a secret, and frees it. NULL: nothing. */
void mem_wipe_free(char *text);
/* Is `given` the secret? The time that it takes tells nothing of the secret but, at most, its
 * length. */
bool mem_same_secret(const char *secret, const char *given);

void mem_cleanup_free(void *pointer_to_pointer);
#define _cleanup_free_ __attribute__((cleanup(mem_cleanup_free)))
