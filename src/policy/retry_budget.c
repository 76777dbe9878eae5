#include "policy/retry_budget.h"

enum { PER_SECOND = 10, CAPACITY = 100 };

static void add(struct retry_budget *budget, double tokens)
{
	budget->tokens += tokens;
	if (budget->tokens > CAPACITY)
		budget->tokens = CAPACITY;
}

void retry_budget_init(struct retry_budget *budget, double share, msec_t now)
{
	*budget = (struct retry_budget){.share = share, .tokens = CAPACITY, .filled_at = now};
}

void retry_budget_set(struct retry_budget *budget, double share)
{
	budget->share = share;
}

void retry_budget_earn(struct retry_budget *budget)
{
	add(budget, budget->share);
}

bool retry_budget_spend(struct retry_budget *budget, msec_t now)
{
	if (budget->share < 0)
		return true;
	add(budget, (double)(now - budget->filled_at) * PER_SECOND / 1000);
	budget->filled_at = now;
	if (budget->tokens < 1)
		return false;
	budget->tokens -= 1;
	return true;
}
