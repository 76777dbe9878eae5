#pragma once

/* What an attempt says of the upstream: to the pace, and to the breakers of the lane and the path.
 */

#include <stdbool.h>

#include "policy/class.h"
#include "policy/failure.h"

enum outcome {
	OUTCOME_SUCCESS,       /* an answer that is no refusal */
	OUTCOME_ANSWERED,      /* another one, which says nothing of the load: 400, 401, 404 */
	OUTCOME_THROTTLED,     /* 429 */
	OUTCOME_SERVER_ERROR,  /* 5xx */
	OUTCOME_NOT_CONNECTED, /* the request could not be sent: DNS, connect, TLS */
	OUTCOME_LOST, /* sent, and no answer; or nothing that the load could be blamed for */
};

struct outcome_facts {
	enum request_class request_class;
	bool inference;   /* path_is_inference() */
	int status;       /* of an answer; 0: none */
	bool scaling_up;  /* it says so: a deployment that starts is no failure */
	enum error error; /* without an answer */
	enum phase phase;
};

enum outcome outcome_of(const struct outcome_facts *facts);
