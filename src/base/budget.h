#pragma once

/* What all workers share of something limited: memory, connections. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct budget {
	_Atomic int64_t limit; /* < 0: none; a reload may change it */
	_Atomic int64_t used;
};

/* Takes so much, or nothing at all. */
bool budget_take(struct budget *budget, int64_t amount);
void budget_give(struct budget *budget, int64_t amount);
