#pragma once

/* Random numbers from the kernel; any thread. */

#include <stddef.h>

void random_bytes(void *ret, size_t size);
/* Uniform in [0, 1). */
double random_unit(void);
