#include "policy/outcome.h"

/* Of a control-plane write a 429 is a quota, which no pace helps. */
static bool is_paced_class(const struct outcome_facts *facts)
{
	return facts->request_class == CLASS_REPLAYABLE ||
	       (facts->request_class == CLASS_GUARDED && facts->inference);
}

enum outcome outcome_of(const struct outcome_facts *facts)
{
	if (facts->status == 429)
		return is_paced_class(facts) ? OUTCOME_THROTTLED : OUTCOME_ANSWERED;
	if (facts->status >= 500)
		return facts->scaling_up ? OUTCOME_ANSWERED : OUTCOME_SERVER_ERROR;
	if (facts->status)
		return facts->status < 400 ? OUTCOME_SUCCESS : OUTCOME_ANSWERED;
	/* A wrong certificate stays wrong: to wait for it would only hide it. */
	if (facts->error == ERROR_TLS_CERTIFICATE_ERROR || facts->phase > PHASE_TLS)
		return OUTCOME_LOST;
	return OUTCOME_NOT_CONNECTED;
}
