#pragma once

/* Secrets at rest: texts in pages of their own, which are left out of core images (also those that
 * a debugger writes), kept out of the swap as far as the process may lock memory, and wiped when
 * they end. Copies that are made for use are short-lived, and wiped by whoever made them. */

#include <stddef.h>

/* A copy of the text; secret_free() ends it, never free(). */
char *secret_new(const char *text, size_t len) __attribute__((returns_nonnull));
/* Wipes it. NULL: nothing. */
void secret_free(char *secret);

void secret_cleanup(char **secret);
#define _cleanup_secret_ __attribute__((cleanup(secret_cleanup)))

/* The value of an environment variable, which is gone from the environment, its bytes wiped: they
 * are what /proc/PID/environ shows. NULL if it is not set or empty. Before there are threads. */
char *secret_take_variable(const char *name);
