#include "proxy/tries.h"

#include "policy/header.h"
#include "proxy/answer.h"

static bool is_scaling_up(const struct answer *answer)
{
	return answer && answer->status == 503 &&
	       str_same(answer->error_code, "DEPLOYMENT_SCALING_UP");
}

/* What the upstream asks for; -1: nothing. Retry-After has precedence over the RateLimit fields;
 * x-ratelimit-* are only logged: nobody knows in which units they are. */
static msec_t retry_after_ms(const struct answer *answer)
{
	const struct fields *fields = answer ? &answer->fields : NULL;
	msec_t asked;

	if (!fields)
		return -1;
	asked = header_retry_after_ms(fields_get(fields, "Retry-After"),
		fields_get(fields, "retry-after-ms"), clock_wall_us());
	if (asked >= 0 || answer->status != 429)
		return asked;
	return header_ratelimit_wait_ms(fields_get(fields, "RateLimit"),
		fields_get(fields, "RateLimit-Remaining"), fields_get(fields, "RateLimit-Reset"));
}

void tries_tell(const struct record *record, const struct answer *answer, struct ticket *ticket)
{
	const struct request *request = record->request;
	struct outcome_facts known = {
		.request_class = request->request_class,
		.inference = path_is_inference(request->path),
		.status = answer ? answer->status : 0,
		.scaling_up = is_scaling_up(answer) && request->retry.scale_up_wait_ms > 0,
		.error = record->failure.error,
		.phase = record->failure.phase,
	};
	struct report report = {
		.outcome = outcome_of(&known),
		.retry_after_ms = retry_after_ms(answer),
		.status = known.status,
		.failure = record->failure,
	};

	ticket_report(ticket, &report);
}

/* Of what stands apart from the attempts; an ordinary 429 or 503 does not. */
static void take_note(
	struct tries *tries, const struct retry_policy *policy, const struct retry_facts *facts)
{
	tries->throttled += facts->status == 429 && facts->paced;
	if (!facts->scaling_up || policy->scale_up_wait_ms == 0)
		return;
	if (tries->scale_ups++ == 0)
		tries->scaling_since = facts->now;
}

struct retry_verdict tries_judge(struct tries *tries, struct record *record,
	const struct answer *answer, struct ticket *ticket, msec_t deadline, double random)
{
	const struct request *request = record->request;
	struct retry_verdict verdict;
	struct retry_facts facts = {
		.request_class = request->request_class,
		.inference = path_is_inference(request->path),
		.status = answer ? answer->status : 0,
		.error = record->failure.error,
		.sent = record->facts.bytes_sent > 0,
		.reused = record->facts.reused,
		.answer_begun = record->facts.answer_begun,
		.replaced = tries->replaced,
		.probe = ticket_is_probe(ticket),
		.paced = request->upstream->options.pacing,
		.scaling_up = is_scaling_up(answer),
		.retry_after_ms = retry_after_ms(answer),
		.previous_ms = tries->delay_ms,
		.now = clock_mono(),
		.deadline = deadline,
		.random = random,
	};

	take_note(tries, &request->retry, &facts);
	facts.throttled = tries->throttled;
	facts.scale_ups = tries->scale_ups;
	facts.scaling_ms = facts.now - tries->scaling_since;
	facts.attempts = record->attempts - record->uncounted - facts.probe;
	facts.sends = record->attempts - tries->before - tries->throttled - tries->scale_ups;
	verdict = retry_decide(&request->retry, &facts);
	if (verdict.action == RETRY_AGAIN && !verdict.is_free && !ticket_spend_retry(ticket)) {
		facts.budget_empty = true;
		verdict = retry_decide(&request->retry, &facts);
	}
	if (verdict.action != RETRY_REPLACE) /* a dead kept connection says nothing */
		tries_tell(record, answer, ticket);
	record->uncounted += verdict.action == RETRY_AGAIN && verdict.is_free;
	tries->replaced |= verdict.action == RETRY_REPLACE;
	tries->delay_ms = verdict.delay_ms;
	return verdict;
}

void tries_start_over(struct tries *tries, struct record *record)
{
	*tries = (struct tries){.before = record->attempts};
	record->uncounted = record->attempts;
}
