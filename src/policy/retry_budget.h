#pragma once

/* A storm of failures adds at most a share of the requests, and ten a second, in retries: a token
 * bucket that starts full (Finagle's RetryBudget). */

#include <stdbool.h>

#include "base/clock.h"

struct retry_budget {
	double share; /* of a retry that each request earns; < 0: no limit */
	double tokens;
	msec_t filled_at;
};

void retry_budget_init(struct retry_budget *budget, double share, msec_t now);
/* Another share, from now on. */
void retry_budget_set(struct retry_budget *budget, double share);
/* A request has come. */
void retry_budget_earn(struct retry_budget *budget);
/* A retry: false if there is no room for it. */
bool retry_budget_spend(struct retry_budget *budget, msec_t now);
