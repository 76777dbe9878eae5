#include "base/budget.h"

bool budget_take(struct budget *budget, int64_t amount)
{
	int64_t before = atomic_fetch_add(&budget->used, amount);

	int64_t limit = budget->limit;

	if (limit < 0 || before + amount <= limit)
		return true;
	atomic_fetch_sub(&budget->used, amount);
	return false;
}

void budget_give(struct budget *budget, int64_t amount)
{
	atomic_fetch_sub(&budget->used, amount);
}
