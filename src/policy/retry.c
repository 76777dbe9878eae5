#include "policy/retry.h"

static const char *const reason_names[] = {
#define RETRY_NAME(id, name) name,
	RETRY_REASONS(RETRY_NAME)
#undef RETRY_NAME
};

const char *retry_reason_name(enum retry_reason reason)
{
	return reason_names[reason];
}

bool retry_is_listed(const struct retry_policy *policy, int status)
{
	for (size_t i = 0; i < RETRY_MAX_STATUSES && policy->statuses[i]; i++) {
		if (policy->statuses[i] == status)
			return true;
	}
	return false;
}

bool retry_may_resend(enum request_class request_class)
{
	return request_class == CLASS_REPLAYABLE || request_class == CLASS_CREATE_WITH_ID;
}

/* What the class says to a status that is worth another attempt. */
static bool class_repeats_status(const struct retry_facts *facts)
{
	switch (facts->request_class) {
	case CLASS_REPLAYABLE:
		return true;
	case CLASS_CREATE_WITH_ID:
		return facts->status != 429; /* there it is a quota */
	case CLASS_GUARDED:
		return facts->status == 503 || (facts->status == 429 && facts->inference);
	case CLASS_NEVER:
		break;
	}
	return false;
}

static struct retry_verdict end(const struct retry_facts *facts, enum retry_reason reason)
{
	enum retry_action action = facts->status ? RETRY_RELAY : RETRY_GIVE_UP;

	return (struct retry_verdict){.action = action, .reason = reason};
}

/* Another attempt, if the count, the upstream's wish and the deadline allow it. */
static struct retry_verdict again(const struct retry_policy *policy,
	const struct retry_facts *facts, enum retry_reason reason)
{
	msec_t delay = backoff_delay(
		&policy->backoff, facts->attempts - 1, facts->random, facts->previous_ms);

	if (facts->attempts >= policy->max_attempts)
		return end(facts, RETRY_REASON_ATTEMPTS);
	if (facts->retry_after_ms > policy->retry_after_cap_ms)
		return end(facts, RETRY_REASON_RETRY_AFTER);
	if (facts->retry_after_ms > delay)
		delay = facts->retry_after_ms;
	if (delay >= facts->deadline - facts->now)
		return end(facts, RETRY_REASON_DEADLINE);
	return (struct retry_verdict){RETRY_AGAIN, delay, reason};
}

static struct retry_verdict decide_on_status(
	const struct retry_policy *policy, const struct retry_facts *facts)
{
	if (!retry_is_listed(policy, facts->status))
		return end(facts, RETRY_REASON_FINAL);
	if (!class_repeats_status(facts))
		return end(facts, RETRY_REASON_CLASS);
	return again(policy, facts, RETRY_REASON_STATUS);
}

/* A kept connection that the server closed just as it was used again says nothing about the
 * request: the next one is made at once (RFC 9112, 9.3.1), and only once. */
static bool is_stale_connection(const struct retry_facts *facts)
{
	return facts->reused && !facts->answer_begun && !facts->replaced &&
	       facts->error == ERROR_CONNECTION_TERMINATED &&
	       retry_may_resend(facts->request_class) && facts->now < facts->deadline;
}

struct retry_verdict retry_decide(
	const struct retry_policy *policy, const struct retry_facts *facts)
{
	if (facts->status)
		return decide_on_status(policy, facts);
	if (facts->error == ERROR_TLS_CERTIFICATE_ERROR)
		return end(facts, RETRY_REASON_CERTIFICATE);
	if (is_stale_connection(facts) && policy->max_attempts > 1)
		return (struct retry_verdict){RETRY_REPLACE, 0, RETRY_REASON_REPLACED};
	if (!facts->sent)
		return again(policy, facts, RETRY_REASON_CONNECTION);
	if (!retry_may_resend(facts->request_class))
		return end(facts, RETRY_REASON_CLASS);
	return again(policy, facts, RETRY_REASON_NO_ANSWER);
}
