#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "policy/retry.h"
#include "proxy/turns.h"

/* What the attempts say, to the pace of their lane, its breaker and the path's. */

enum { TELL_PACE_MS = 60000 };

static void note(struct notices *notices, const char *state, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void note(struct notices *notices, const char *state, const char *format, ...)
{
	struct notice *notice = &notices->list[notices->count];
	va_list args;

	assert(notices->count < NOTICES_MAX);
	notices->count++;
	notice->state = state;
	va_start(args, format);
	vsnprintf(notice->detail, sizeof(notice->detail), format, args);
	va_end(args);
}

static void close_lane(
	struct turns *turns, struct lane *lane, msec_t asked, msec_t now, double random)
{
	msec_t closed = asked + (msec_t)((double)asked * random / 10);

	lane->asked_ms = asked;
	if (closed > RETRY_MAX_CLOSED_MS)
		closed = RETRY_MAX_CLOSED_MS;
	pacer_close(&lane->pacer, clock_after(now, closed));
	turns_refuse_impatient(turns, lane, asked, now);
}

/* A busy lane is cut every few seconds: what is new is a pace, half a pace, and once a minute. */
static void tell_pace(struct lane *lane, double before, msec_t now, struct notices *ret)
{
	double rate = pacer_rate(&lane->pacer);

	if (before > 0 && rate > lane->told_rate / 2 && now - lane->told_at < TELL_PACE_MS)
		return;
	lane->told_rate = rate;
	lane->told_at = now;
	if (before > 0)
		note(ret, "pace_cut", "%s: 429; %.2f requests a second instead of %.2f", lane->name,
			rate, before);
	else
		note(ret, "pace_cut", "%s: 429; from now on %.2f requests a second", lane->name,
			rate);
}

static void throttled(struct turns *turns, struct ticket *ticket, const struct report *report,
	msec_t now, double random, struct notices *ret)
{
	struct lane *lane = ticket->lane;
	double before = pacer_rate(&lane->pacer);

	if (!turns->pacing)
		return;
	if (pacer_on_throttled(&lane->pacer, now, ticket->sent_at))
		tell_pace(lane, before, now, ret);
	if (report->retry_after_ms > 0)
		close_lane(turns, lane, report->retry_after_ms, now, random);
}

static const char *failure_words(const struct report *report, char *buffer, size_t size)
{
	if (report->status)
		snprintf(buffer, size, "%d", report->status);
	else
		snprintf(buffer, size, "%s in phase %s", error_name(report->failure.error),
			phase_name(report->failure.phase));
	return buffer;
}

static void judge_lane(struct ticket *ticket, const struct report *report, msec_t now,
	double random, struct notices *ret)
{
	struct lane *lane = ticket->lane;
	bool probe = ticket->probes_lane;
	bool failed = report->outcome == OUTCOME_SERVER_ERROR ||
		      (probe && (report->outcome == OUTCOME_LOST ||
					report->outcome == OUTCOME_NOT_CONNECTED));
	enum breaker_change change = BREAKER_SAME;
	char words[80];

	if (failed)
		change = breaker_on_failure(&lane->breaker, ticket->arrival, probe, now, random);
	else if (report->outcome <= OUTCOME_THROTTLED)
		change = breaker_on_success(&lane->breaker, probe, now);
	if (change == BREAKER_TRIPPED)
		note(ret, "lane_closed",
			"%s: %d failures in a row, the last one %s; one probe at "
			"a time from %lld ms on",
			lane->name, lane->breaker.failures,
			failure_words(report, words, sizeof(words)),
			(long long)(lane->breaker.probe_at - now));
	if (change == BREAKER_RECOVERED) {
		pacer_ease_in(&lane->pacer, now);
		note(ret, "lane_open", "%s: after %d failed probes", lane->name,
			lane->breaker.failed_probes);
	}
}

static void ease_in_all(struct turns *turns, msec_t now)
{
	struct lane *lane;

	for (lane = TAILQ_FIRST(&turns->lanes.list); lane; lane = TAILQ_NEXT(lane, entry))
		pacer_ease_in(&lane->pacer, now);
}

static void judge_path(struct turns *turns, struct ticket *ticket, const struct report *report,
	msec_t now, double random, struct notices *ret)
{
	bool probe = ticket->probes_path;
	bool reached = report->status || report->failure.phase > PHASE_TLS;
	enum breaker_change change = BREAKER_SAME;
	char words[80];

	if (reached)
		change = breaker_on_success(&turns->path, probe, now);
	else if (report->outcome == OUTCOME_NOT_CONNECTED || probe)
		change = breaker_on_failure(&turns->path, ticket->arrival, probe, now, random);
	if (!reached)
		turns->path_failure = report->failure;
	if (change == BREAKER_TRIPPED)
		note(ret, "path_lost",
			"%d connection failures in a row, the last one %s%s%s%s; "
			"one probe at a time from %lld ms on",
			turns->path.failures, failure_words(report, words, sizeof(words)),
			*report->failure.detail ? " (" : "", report->failure.detail,
			*report->failure.detail ? ")" : "",
			(long long)(turns->path.probe_at - now));
	if (change == BREAKER_RECOVERED) {
		ease_in_all(turns, now);
		note(ret, "path_back", "after %d failed probes", turns->path.failed_probes);
	}
}

/* As RFC 6298 has it for round trips. */
static void measure_answer(struct lane *lane, double took_ms)
{
	double off =
		took_ms > lane->answer_ms ? took_ms - lane->answer_ms : lane->answer_ms - took_ms;

	if (lane->answer_ms > 0) {
		lane->answer_deviation_ms += (off - lane->answer_deviation_ms) / 4;
		lane->answer_ms += (took_ms - lane->answer_ms) / 8;
	} else {
		lane->answer_ms = took_ms;
		lane->answer_deviation_ms = took_ms / 2;
	}
}

void turns_report(struct turns *turns, struct ticket *ticket, const struct report *report,
	msec_t now, double random, struct notices *ret)
{
	struct lane *lane = ticket->lane;

	if (ticket->state != TICKET_HOLDING || ticket->reported)
		return;
	ticket->reported = true;
	if (report->outcome != OUTCOME_SUCCESS && report->outcome != OUTCOME_ANSWERED) {
		lane->last_failure = report->failure;
		lane->last_status = report->status;
	}
	if (report->outcome == OUTCOME_SUCCESS)
		measure_answer(lane, (double)(now - ticket->sent_at));
	if (report->outcome == OUTCOME_SUCCESS && turns->pacing)
		pacer_on_success(&lane->pacer, now, lane->waiting_count > 0);
	if (report->outcome == OUTCOME_THROTTLED)
		throttled(turns, ticket, report, now, random, ret);
	if (!turns->breaking)
		return;
	judge_lane(ticket, report, now, random, ret);
	judge_path(turns, ticket, report, now, random, ret);
}
