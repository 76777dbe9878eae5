#include "base/random.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/random.h>

void random_bytes(void *ret, size_t size)
{
	/* Up to 256 bytes come whole and without blocking once the kernel has started. */
	if (getrandom(ret, size, 0) != (ssize_t)size)
		abort();
}

double random_unit(void)
{
	uint32_t bits;

	random_bytes(&bits, sizeof(bits));
	return (double)bits / 4294967296.0;
}
