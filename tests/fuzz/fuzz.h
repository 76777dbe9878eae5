#pragma once

/* For the fuzz targets: a broken promise ends the process, so that libFuzzer keeps the input. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(cond) fuzz_require(cond, __FILE__, __LINE__, #cond)

static inline void fuzz_require(bool holds, const char *file, int line, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "%s:%d: %s does not hold\n", file, line, what);
	abort();
}

/* The next NUL-ended text of the input, as a copy of exactly its size; never NULL. */
static inline char *fuzz_text(const uint8_t **data, size_t *size)
{
	const uint8_t *end = *size ? memchr(*data, '\0', *size) : NULL;
	size_t len = end ? (size_t)(end - *data) : *size;
	char *text = xmalloc(len + 1);

	if (len > 0)
		memcpy(text, *data, len);
	text[len] = '\0';
	*data += len + (end ? 1 : 0);
	*size -= len + (end ? 1 : 0);
	return text;
}

/* How many bytes to feed next: all, one, or what the bytes at hand say; `cuts` is 0 to 15. */
static inline size_t fuzz_piece(unsigned cuts, const uint8_t *bytes, size_t left)
{
	size_t len = cuts == 0 ? left : cuts == 1 ? 1 : 1 + bytes[0] % (3 * (size_t)cuts);

	return len < left ? len : left;
}
