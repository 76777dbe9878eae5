#include "policy/retry.h"

enum {
	MAX_THROTTLED = 64, /* 429s of one request */
	SCALE_UP_FIRST_MS = 5000,
	SCALE_UP_CAP_MS = 60000,
};

static const char *const reason_names[] = {
#define RETRY_NAME(id, name, ...) name,
	RETRY_REASONS(RETRY_NAME)
#undef RETRY_NAME
};

const char *retry_reason_name(enum retry_reason reason)
{
	return reason_names[reason];
}

bool retry_is_exhausted(enum retry_reason reason)
{
	return reason == RETRY_REASON_ATTEMPTS || reason == RETRY_REASON_DEADLINE ||
	       reason == RETRY_REASON_RETRY_AFTER || reason == RETRY_REASON_BUDGET ||
	       reason == RETRY_REASON_SCALING_UP;
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

static bool is_used_up(const struct retry_policy *policy, const struct retry_facts *facts)
{
	if (policy->max_attempts == 1)
		return true;
	return facts->sends >= 2 * policy->max_attempts ||
	       (!facts->probe && facts->attempts >= policy->max_attempts);
}

/* Another attempt after `delay`, or what the upstream asks for, if that and the deadline allow
 * it. */
static struct retry_verdict after(const struct retry_policy *policy,
	const struct retry_facts *facts, msec_t delay, enum retry_reason reason)
{
	if (facts->retry_after_ms > policy->retry_after_cap_ms)
		return end(facts, RETRY_REASON_RETRY_AFTER);
	if (facts->retry_after_ms > delay)
		delay = facts->retry_after_ms;
	if (delay >= facts->deadline - facts->now)
		return end(facts, RETRY_REASON_DEADLINE);
	return (struct retry_verdict){RETRY_AGAIN, delay, reason, false};
}

static struct retry_verdict for_free(struct retry_verdict verdict)
{
	verdict.is_free = verdict.action == RETRY_AGAIN;
	return verdict;
}

static struct retry_verdict again(const struct retry_policy *policy,
	const struct retry_facts *facts, enum retry_reason reason)
{
	struct retry_verdict verdict;

	if (is_used_up(policy, facts))
		return end(facts, RETRY_REASON_ATTEMPTS);
	if (facts->probe)
		return for_free(after(policy, facts, 0, RETRY_REASON_PROBE));
	verdict = after(policy, facts,
		backoff_delay(
			&policy->backoff, facts->attempts - 1, facts->random, facts->previous_ms),
		reason);
	if (verdict.action == RETRY_AGAIN && facts->budget_empty)
		return end(facts, RETRY_REASON_BUDGET);
	return verdict;
}

/* The lane decides when: it has cut its pace, and has closed for as long as the upstream asks. */
static struct retry_verdict again_paced(
	const struct retry_policy *policy, const struct retry_facts *facts)
{
	struct retry_verdict verdict = for_free(after(policy, facts, 0, RETRY_REASON_PACED));

	if (policy->max_attempts == 1 || facts->throttled >= MAX_THROTTLED)
		return end(facts, RETRY_REASON_ATTEMPTS);
	if (facts->retry_after_ms > RETRY_MAX_CLOSED_MS)
		return end(facts, RETRY_REASON_RETRY_AFTER);
	if (verdict.action == RETRY_AGAIN)
		verdict.delay_ms = 0;
	return verdict;
}

/* 5 s, x 1.5, at most 60 s, and up to a tenth more, so that those who wait do not march in step
 * (numbers: Fireworks' guide to autoscaling). */
static struct retry_verdict again_scaling(
	const struct retry_policy *policy, const struct retry_facts *facts)
{
	double delay = SCALE_UP_FIRST_MS;

	for (int i = 1; i < facts->scale_ups && delay < SCALE_UP_CAP_MS; i++)
		delay *= 1.5;
	if (delay > SCALE_UP_CAP_MS)
		delay = SCALE_UP_CAP_MS;
	delay += delay * facts->random / 10;
	if (policy->max_attempts == 1)
		return end(facts, RETRY_REASON_ATTEMPTS);
	if (facts->scaling_ms + (msec_t)delay > policy->scale_up_wait_ms)
		return end(facts, RETRY_REASON_SCALING_UP);
	return for_free(after(policy, facts, (msec_t)delay, RETRY_REASON_SCALING_UP));
}

static struct retry_verdict decide_on_status(
	const struct retry_policy *policy, const struct retry_facts *facts)
{
	if (!retry_is_listed(policy, facts->status))
		return end(facts, RETRY_REASON_FINAL);
	if (!class_repeats_status(facts))
		return end(facts, RETRY_REASON_CLASS);
	if (facts->scaling_up && policy->scale_up_wait_ms > 0)
		return again_scaling(policy, facts);
	if (facts->status == 429 && facts->paced)
		return again_paced(policy, facts);
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
		return (struct retry_verdict){RETRY_REPLACE, 0, RETRY_REASON_REPLACED, true};
	if (!facts->sent)
		return again(policy, facts, RETRY_REASON_CONNECTION);
	if (!retry_may_resend(facts->request_class))
		return end(facts, RETRY_REASON_CLASS);
	return again(policy, facts, RETRY_REASON_NO_ANSWER);
}
