/* The rules of what is sent again: which attempts count, which are free and how often they may be,
 * and what the retry budget has room for. */

#include <string.h>

#include "policy/class.h"

#include "sim.h"

enum { MAX_THROTTLED = 64, BUDGET_CAPACITY = 100, BUDGET_PER_SECOND = 10 };

static const struct retry_policy *policy(void)
{
	return &world->scenario->profile.retry;
}

bool is_listed(int status)
{
	const int *list = policy()->statuses;

	while (*list && *list != status)
		list++;
	return *list != 0;
}

int made_attempts(void)
{
	int made = 0;

	for (size_t i = 0; i < world->transport_count; i++) {
		const struct transport *transport = world->transports[i];

		made += !transport->follow_up && !transport->replaced;
	}
	return made;
}

/* A second one makes nothing twice. */
bool may_resend(void)
{
	enum request_class request_class = world->scenario->request_class;

	return request_class == CLASS_REPLAYABLE || request_class == CLASS_CREATE_WITH_ID;
}

/* For others it is a quota. */
static bool is_paced_class(void)
{
	enum request_class request_class = world->scenario->request_class;

	return request_class == CLASS_REPLAYABLE ||
	       (request_class == CLASS_GUARDED && path_is_inference(world->scenario->path));
}

bool is_paced(void)
{
	return world->scenario->crowd.upstream.pacing && is_paced_class();
}

msec_t floor_of(const struct transport *transport)
{
	const struct script *script = transport->script;
	msec_t date = script->retry_after_date * 1000 - clock_wall_us() / 1000;

	if (script->retry_after_date)
		return date > 0 ? date : 0;
	return script->floor_ms;
}

/* ---- The retry budget, a second time. */

static bool has_budget(void)
{
	return world->scenario->crowd.upstream.retry_budget >= 0;
}

static void add_budget(double retries)
{
	double *budget = &world->queueing.budget;

	*budget = *budget + retries < BUDGET_CAPACITY ? *budget + retries : BUDGET_CAPACITY;
}

void budget_earn(void)
{
	add_budget(world->scenario->crowd.upstream.retry_budget);
}

bool budget_spend(void)
{
	struct queueing *queueing = &world->queueing;

	if (!has_budget())
		return true;
	add_budget((double)(world->now - queueing->budget_filled_at) * BUDGET_PER_SECOND / 1000);
	queueing->budget_filled_at = world->now;
	if (queueing->budget < 1)
		return false;
	queueing->budget -= 1;
	return true;
}

/* ---- How many there may be. */

struct tally {
	int counting;  /* attempts that count */
	int sends;     /* all but paced 429s and answers of a deployment that is waited for */
	int throttled; /* 429s */
	int scaling, replaced, all;
};

static bool stands_apart(const struct transport *transport)
{
	return (transport->throttled && is_paced()) ||
	       (transport->scaling && policy()->scale_up_wait_ms > 0);
}

static struct tally tally(void)
{
	struct tally tally = {0};

	for (size_t i = 0; i < world->transport_count; i++) {
		const struct transport *transport = world->transports[i];
		bool counts = !transport->follow_up && !transport->replaced;

		tally.counting += counts && !transport->is_free;
		tally.sends += counts && !stands_apart(transport);
		tally.throttled += transport->throttled;
		tally.scaling += transport->scaling;
		tally.replaced += transport->replaced;
		tally.all += !transport->follow_up;
	}
	return tally;
}

/* `transport` begins, and is not yet among them. */
void check_count(const struct transport *transport)
{
	struct tally before = tally();
	int max = policy()->max_attempts;

	MUST(before.replaced <= 1, "two connections are replaced");
	MUST(before.counting < max, "more attempts than max_attempts");
	MUST(before.sends < 2 * max, "more sends than twice max_attempts");
	MUST(before.throttled <= MAX_THROTTLED, "%d 429s, and another attempt", before.throttled);
	MUST(max > 1 || before.all == 0, "what may be sent once is sent again");
	MUST(!before.replaced || transport->max_idle_ms < 0,
		"a kept connection is used again after one was replaced");
}

/* ---- The line of an attempt: what came of it. */

/* The answer's words decide; of a part of them nobody knows. */
static bool is_scaling(const struct transport *transport, const struct event *event)
{
	bool whole = transport->fate == FATE_ENDED &&
		     transport->delivered == transport->script->body.len;

	if (!transport->script->scaling || event->status != 503 || transport->script->encoded)
		return false;
	return whole || str_same(event->reason, "scaling_up");
}

/* 5 s, x 1.5, at most 60 s; up to a tenth comes to that. */
static double scale_up_delay(void)
{
	double delay = 5000;

	for (int i = tally().scaling; i > 1 && delay < 60000; i--)
		delay *= 1.5;
	return delay < 60000 ? delay : 60000;
}

static void check_scale_up(const struct transport *transport, const struct event *event)
{
	double least = scale_up_delay(), most = least * 1.1;
	msec_t asked = floor_of(transport);

	if ((double)asked > least)
		least = (double)asked;
	if (least > most)
		most = least;
	MUST((double)event->retry_in_ms >= least - 1 && (double)event->retry_in_ms <= most,
		"a deployment starts, and is asked again in %lld ms, not %.0f to %.0f",
		(long long)event->retry_in_ms, least, most);
	MUST(world->now + event->retry_in_ms <=
				world->queueing.scaling_since + policy()->scale_up_wait_ms ||
			event->retry_in_ms == asked,
		"a deployment is waited for longer than scale_up_wait");
	count(COUNT_SCALED);
}

static void check_free(const struct transport *transport, const struct event *event)
{
	bool probe = str_same(event->reason, "probe"), paced = transport->throttled && is_paced();
	bool scaling = transport->scaling && policy()->scale_up_wait_ms > 0;
	msec_t asked = floor_of(transport);

	MUST(paced == str_same(event->reason, "paced"), "a 429's reason is %s", event->reason);
	MUST(scaling == str_same(event->reason, "scaling_up"), "a starting deployment's is %s",
		event->reason);
	MUST(probe == (transport->probe && !paced && !scaling), "a probe's reason is %s",
		event->reason);
	if (paced)
		MUST(event->retry_in_ms == 0, "a paced request backs off");
	else if (probe)
		MUST(event->retry_in_ms == (event->status && asked > 0 ? asked : 0),
			"a probe backs off");
	else if (scaling)
		check_scale_up(transport, event);
	count(probe ? COUNT_PROBE_FAILED : paced ? COUNT_PACED : COUNT_RETRIED);
}

static bool is_again(const struct event *event)
{
	return event->retry_in_ms >= 0 && !str_same(event->reason, "replaced");
}

void check_outcome(struct transport *transport, const struct event *event)
{
	bool paced, scaling;

	if (world->source || transport->follow_up || world->cutting)
		return;
	transport->throttled = event->status == 429;
	transport->scaling = is_scaling(transport, event);
	note_own_report(transport, event);
	transport->told = event->failure->error;
	if (transport->throttled && is_paced())
		note_throttled(OWN_LANE, world->queueing.granted_at, floor_of(transport));
	else if (transport->throttled && !is_paced_class())
		note_quota();
	if (transport->scaling && tally().scaling == 1)
		world->queueing.scaling_since = world->now;
	paced = transport->throttled && is_paced();
	scaling = transport->scaling && policy()->scale_up_wait_ms > 0;
	if (is_again(event)) {
		transport->is_free = transport->probe || paced || scaling;
		check_free(transport, event);
	}
	if ((is_again(event) && !transport->is_free) || str_same(event->reason, "budget")) {
		transport->budget_was_empty = !budget_spend();
		MUST(transport->budget_was_empty == !is_again(event),
			"the retry budget says otherwise");
	}
}

/* ---- Giving up. */

static bool wait_would_fit(void)
{
	const struct backoff *backoff = &policy()->backoff;
	msec_t wait = backoff->base_ms;

	for (int i = 1; i < made_attempts() && wait < backoff->cap_ms; i++)
		wait *= 2;
	if (wait > backoff->cap_ms || backoff->jitter == JITTER_DECORRELATED)
		wait = backoff->cap_ms;
	return world->now + wait + 1001 < world->deadline;
}

static bool is_used_up(const struct transport *transport)
{
	struct tally made = tally();
	int max = policy()->max_attempts;
	msec_t after = world->now + (msec_t)(scale_up_delay() * 1.1);

	if (max == 1)
		return true;
	if (transport->throttled && is_paced())
		return made.throttled >= MAX_THROTTLED;
	if (transport->scaling && policy()->scale_up_wait_ms > 0)
		return after >= world->deadline ||
		       after > world->queueing.scaling_since + policy()->scale_up_wait_ms;
	return made.sends >= 2 * max || (!transport->probe && made.counting >= max);
}

static void count_used_up(const struct transport *transport)
{
	struct tally made = tally();
	int max = policy()->max_attempts;

	if (transport->throttled && is_paced())
		count(max == 1 ? COUNT_ONE_SEND : COUNT_PACED_OUT);
	else if (transport->scaling && policy()->scale_up_wait_ms > 0)
		count(COUNT_SCALED_OUT);
	else if (made.sends >= 2 * max && max > 1)
		count(COUNT_SENDS_USED_UP);
	if (transport->budget_was_empty)
		count(COUNT_BUDGET_EMPTY);
}

/* Giving up is only right for a reason. */
void check_given_up(const struct transport *transport, int status)
{
	const struct script *script = transport->script;
	bool asks = status && (script->retry_after || script->retry_after_ms);

	if (world->source || world->cutting || asks || transport->follow_up ||
		transport->error == ERROR_TLS_CERTIFICATE_ERROR || !may_resend())
		return;
	if (status == 429 && world->scenario->request_class == CLASS_CREATE_WITH_ID)
		return;
	if (status && (!is_listed(status) || (script->scaling && !transport->scaling)))
		return; /* of half an answer nobody knows whether it says that it starts */
	if (is_used_up(transport) || transport->budget_was_empty) {
		count_used_up(transport);
		return;
	}
	if (transport->probe || (transport->throttled && is_paced()))
		MUST(world->now >= world->deadline, "what is free is not repeated");
	MUST(!wait_would_fit(), "attempt %zu could have been repeated", transport->index);
}
