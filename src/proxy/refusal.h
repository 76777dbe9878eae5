#pragma once

/* What andiron answers in the upstream's place, before anything is sent there: an error, or the
 * answer to a preflight. */

#include <stdbool.h>

#include "base/str.h"
#include "net/fields.h"
#include "policy/failure.h"

struct refusal {
	int status;       /* 0: there is none; 204: no error, and no body */
	enum error error; /* ERROR_NONE of a 204 */
	struct str message;
	struct fields fields; /* of the answer, beside those that every answer has */
	bool close;           /* the connection ends with the answer */
	bool may_retry;       /* it may go well in a moment */
};

/* Always false, so that it can end a check. */
bool refusal_set(struct refusal *refusal, int status, enum error error, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
void refusal_fini(struct refusal *refusal);
