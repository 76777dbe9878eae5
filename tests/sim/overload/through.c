/* The policy `andiron`: what exchange.c does with its ticket. Everything that decides is the real
 * code: upstream.c and what it is made of, retry.c, backoff.c, outcome.c. */

#include <assert.h>
#include <stdio.h>

#include "overload.h"

static struct config *config;
static struct upstream *upstream;
static const char *const models[] = {"a", "b", "c", "d", "e", "f", "g", "h"};

static const struct profile_config *profile(void)
{
	return &config->profiles[config_find_profile(config, "default")];
}

static void on_message(void *arg, bool fatal, const char *place, const char *message)
{
	(void)arg;
	(void)fatal;
	fprintf(stderr, "%s: %s\n", place ? place : "", message);
}

void through_open(void)
{
	/* the defaults, save that the largest worlds have more callers than places */
	static char queue[] = "ANDIRON_UPSTREAM_FIREWORKS_QUEUE=4096";
	static char places[] = "ANDIRON_UPSTREAM_FIREWORKS_MAX_IN_FLIGHT=4096";
	static char *const environment[] = {queue, places, NULL};
	struct config_request request = {.environment = environment};

	config = config_load(&request, on_message, NULL);
	assert(config);
	upstream = upstream_new(&config->upstreams[0], NULL);
	fakes_attach(upstream);
}

void through_close(void)
{
	upstream_unref(upstream);
	config_unref(config);
}

/* ---- A request: asks for its turn, is sent, reports, and asks again or ends. */

static void on_pause_end(void *arg);

static void end(struct caller *caller, bool success)
{
	ticket_fini(&caller->ticket);
	caller_finish(caller, success);
}

/* Where it waits, it does not wait for ever. */
static void on_wait(void *arg)
{
	struct caller *caller = arg;
	struct clocks waited = ticket_wait(&caller->ticket).waited;
	msec_t outage_ms = waited.lane > waited.path ? waited.lane : waited.path;
	msec_t full_left = profile()->options.pool_timeout - waited.full;
	msec_t outage_left = profile()->options.outage_wait - outage_ms;

	if (full_left <= 0 || outage_left <= 0) {
		end(caller, false);
		return;
	}
	task_init(&caller->next, on_wait, caller);
	task_start(&caller->next, world_now + (full_left < outage_left ? full_left : outage_left));
}

static void obey(struct caller *caller, enum turn turn)
{
	task_stop(&caller->next);
	switch (turn) {
	case TURN_GO:
		server_send(caller, ticket_is_probe(&caller->ticket));
		break;
	case TURN_WAIT:
		on_wait(caller);
		break;
	case TURN_FULL:
	case TURN_LATE:
	case TURN_TOO_LONG:
		end(caller, false);
		break;
	}
}

static void ask(struct caller *caller)
{
	obey(caller, ticket_enter(&caller->ticket, caller->deadline, true));
}

static void on_turn(void *arg)
{
	struct caller *caller = arg;

	obey(caller, ticket_turn(&caller->ticket));
}

static void through_begin(struct caller *caller)
{
	struct ticket_request request = {
		.upstream = upstream,
		.model = models[caller->lane],
		.key = "key",
		.bytes = 1000,
		.retry_after_cap_ms = profile()->retry.retry_after_cap_ms,
		.on_turn = on_turn,
		.arg = caller,
	};

	ticket_init(&caller->ticket, &request);
	ask(caller);
}

static void report(struct caller *caller, int status, msec_t retry_after_ms)
{
	struct outcome_facts facts = {
		.request_class = CLASS_REPLAYABLE,
		.inference = true,
		.status = status,
		.error = status ? ERROR_NONE : ERROR_CONNECTION_REFUSED,
		.phase = status ? PHASE_FIRST_BYTE : PHASE_CONNECT,
	};
	struct report report = {
		.outcome = outcome_of(&facts),
		.retry_after_ms = retry_after_ms,
		.status = status,
		.failure = {.phase = facts.phase,
			.error = status ? ERROR_UPSTREAM_STATUS : facts.error},
	};

	ticket_report(&caller->ticket, &report);
}

static struct retry_verdict decide(struct caller *caller, int status, msec_t retry_after_ms)
{
	bool probe = ticket_is_probe(&caller->ticket);
	struct retry_facts facts = {
		.request_class = CLASS_REPLAYABLE,
		.inference = true,
		.status = status,
		.error = status ? ERROR_NONE : ERROR_CONNECTION_REFUSED,
		.sent = status != 0,
		.answer_begun = status != 0,
		.attempts = caller->attempts - caller->uncounted - probe,
		.sends = caller->attempts - caller->throttled,
		.probe = probe,
		.paced = config->upstreams[0].options.pacing,
		.throttled = caller->throttled,
		.retry_after_ms = retry_after_ms,
		.previous_ms = caller->previous_ms,
		.now = world_now,
		.deadline = caller->deadline,
		.random = rng_unit(&world_rng),
	};
	struct retry_verdict verdict = retry_decide(&profile()->retry, &facts);

	if (verdict.action == RETRY_AGAIN && !verdict.is_free &&
		!ticket_spend_retry(&caller->ticket))
		verdict.action = RETRY_GIVE_UP;
	return verdict;
}

static void through_on_answer(struct caller *caller, int status, msec_t retry_after_ms)
{
	struct retry_verdict verdict = {.action = RETRY_RELAY};

	caller->throttled += status == 429;
	if (status != 200)
		verdict = decide(caller, status, retry_after_ms);
	report(caller, status, retry_after_ms);
	if (status == 200)
		return;
	ticket_release(&caller->ticket);
	if (verdict.action != RETRY_AGAIN) {
		end(caller, false);
		return;
	}
	caller->uncounted += verdict.is_free;
	caller->previous_ms = verdict.delay_ms;
	task_init(&caller->next, on_pause_end, caller);
	task_start(&caller->next, world_now + verdict.delay_ms);
}

static void on_pause_end(void *arg)
{
	struct caller *caller = arg;

	ask(caller);
}

static void through_on_end(struct caller *caller)
{
	ticket_release(&caller->ticket);
	end(caller, true);
}

static void through_cancel(struct caller *caller)
{
	task_stop(&caller->next);
	ticket_fini(&caller->ticket);
}

const struct policy through_andiron = {
	.name = "andiron",
	.begin = through_begin,
	.on_answer = through_on_answer,
	.on_end = through_on_end,
	.cancel = through_cancel,
};

double through_pace(void)
{
	struct upstream_status status;
	double pace;

	upstream_read_status(upstream, &status);
	pace = status.lane_count ? status.lanes[0].pace : 0;
	upstream_status_fini(&status);
	return pace;
}
