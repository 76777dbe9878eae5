#include "proxy/record.h"

#include <stdio.h>

#include "proxy/message.h"

/* ---- Metrics. */

static double seconds(msec_t ms)
{
	return (double)ms / 1000;
}

static const char *upstream_of(const struct record *record)
{
	return record->request->upstream ? record->request->upstream->name : "none";
}

/* A status, or, where there was none, what failed. */
static const char *code_of(int status, enum error error, char *buffer, size_t size)
{
	if (!status)
		return error_name(error);
	snprintf(buffer, size, "%d", status);
	return buffer;
}

/* Once for each attempt: with its answer, or with what came in an answer's place. */
static void count_attempt(struct record *record, int status, enum error error)
{
	char code[16];

	if (record->to_count)
		metrics_add(record->metrics, METRIC_ATTEMPTS,
			(const char *[]){
				upstream_of(record), code_of(status, error, code, sizeof(code))},
			1);
	record->to_count = false;
}

static void observe_connect(const struct record *record, const char *phase, msec_t ms)
{
	if (ms >= 0)
		metrics_observe(
			record->metrics, METRIC_CONNECT, (const char *[]){phase}, seconds(ms));
}

static void time_attempt(struct record *record)
{
	const struct transport_facts *facts = &record->facts;

	record->idle_since = clock_mono();
	if (!record->to_time)
		return;
	record->to_time = false;
	if (facts->first_byte_ms >= 0)
		metrics_observe(
			record->metrics, METRIC_FIRST_BYTE, NULL, seconds(facts->first_byte_ms));
	observe_connect(record, "dns", facts->dns_ms);
	observe_connect(record, "connect", facts->connect_ms);
	observe_connect(record, "tls", facts->tls_ms);
}

static void count_failure(const struct record *record, bool retried)
{
	const char *upstream = upstream_of(record), *reason = retry_reason_name(record->reason);

	metrics_add(record->metrics, METRIC_ATTEMPT_FAILURES,
		(const char *[]){upstream, phase_name(record->failure.phase),
			error_name(record->failure.error), dashboard_name(record->dashboard)},
		1);
	if (retried)
		metrics_add(record->metrics, METRIC_RETRIES, (const char *[]){upstream, reason}, 1);
	else if (record->reason != RETRY_REASON_FINAL) /* else there was nothing to retry */
		metrics_add(record->metrics, METRIC_RETRIES_REFUSED, &reason, 1);
}

static void count_request(const struct record *record)
{
	const struct request *request = record->request;
	char code[16];

	metrics_add(record->metrics, METRIC_REQUESTS,
		(const char *[]){upstream_of(record),
			request->route ? request->route->name : "none",
			request->profile ? request->profile->name : "none",
			code_of(record->status, record->failure.error, code, sizeof(code))},
		1);
	metrics_observe(record->metrics, METRIC_REQUEST_DURATION, NULL,
		seconds(clock_mono() - record->began));
	if (record->attempt_began)
		metrics_observe(
			record->metrics, METRIC_ADDED_LATENCY, NULL, seconds(record->added_ms));
}

/* ---- What happens. */

void record_begin_attempt(struct record *record)
{
	record->attempt_began = clock_mono();
	record->added_ms +=
		record->attempt_began - (record->idle_since ? record->idle_since : record->began);
	record->to_count = record->to_time = true;
	record->error_code[0] = '\0';
	record->upstream_request_id[0] = '\0';
}

void record_expect_another(struct record *record)
{
	record->to_count = record->to_time = true;
}

void record_facts(struct record *record, const struct attempt *attempt, bool answered)
{
	record->tried = true;
	record->facts = *attempt_facts(attempt);
	record->dashboard = failure_dashboard(record->facts.bytes_sent > 0, answered);
	time_attempt(record);
}

/* The names in the order in which Fireworks' own SDK reads them. */
static void keep_upstream_id(struct record *record, const struct fields *fields)
{
	static const char *const names[] = {"x-request-id", "x-fireworks-request-id", "cf-ray"};
	const char *id = NULL;

	for (size_t i = 0; !id && i < sizeof(names) / sizeof(names[0]); i++)
		id = fields_get(fields, names[i]);
	snprintf(record->upstream_request_id, sizeof(record->upstream_request_id), "%s",
		id ? id : "");
}

static struct redact_sent sent_with(const struct request *request)
{
	return (struct redact_sent){&request->fields, request->target};
}

/* The upstream's words become a part of andiron's own error. */
static void keep_words(struct record *record, const struct soft_error *said)
{
	struct redact_sent sent = sent_with(record->request);

	record->said = *said;
	redact(record->said.message, &sent);
	redact(record->said.type, &sent);
	redact(record->said.code, &sent);
}

static void remember(struct record *record, int status)
{
	if (record->failure.error == ERROR_NONE)
		return;
	record->mishap.failure = record->failure;
	record->mishap.status = status;
	snprintf(record->mishap.address, sizeof(record->mishap.address), "%s",
		record->facts.address);
}

void record_answer(struct record *record, const struct answer *answer)
{
	bool failed = answer->status >= 400;

	keep_upstream_id(record, &answer->fields);
	snprintf(record->error_code, sizeof(record->error_code), "%s", answer->error_code);
	keep_words(record, &answer->said);
	failure_set(&record->failure, PHASE_BODY, failed ? ERROR_UPSTREAM_STATUS : ERROR_NONE,
		answer->own_status ? "a status of 2xx, and no answer of the kind that was asked for"
				   : "");
	remember(record, answer->received_status);
	count_attempt(record, answer->status, record->failure.error);
}

void record_failure(
	struct record *record, const struct failure *failure, const struct soft_error *said)
{
	record->failure = *failure;
	keep_words(record, said ? said : &(struct soft_error){.status = 0});
	if (said)
		snprintf(record->error_code, sizeof(record->error_code), "%s",
			*said->code ? said->code : said->type);
	remember(record, 0);
	count_attempt(record, 0, failure->error);
}

static struct event new_event(const struct record *record, const char *name)
{
	const struct request *request = record->request;
	struct event event = EVENT_INIT;

	event.event = name;
	event.sent = sent_with(request);
	event.worker = record->worker;
	event.request_id = request->id;
	event.traceparent = request->trace;
	event.method = request->method;
	event.path = request->path;
	event.model = request->model;
	event.stream = request->stream;
	event.sdk_retry = request->sdk_retry;
	event.dashboard = dashboard_name(record->dashboard);
	if (*record->upstream_request_id)
		event.upstream_request_id = record->upstream_request_id;
	if (*record->error_code)
		event.error_code = record->error_code;
	if (request->target)
		event.request_class = class_name(request->request_class);
	if (request->profile)
		event.profile = request->profile->name;
	if (request->upstream)
		event.upstream = request->upstream->name;
	if (record->failure.error != ERROR_NONE)
		event.failure = &record->failure;
	if (record->tried)
		event.facts = &record->facts;
	return event;
}

void record_log_attempt(const struct record *record, const struct attempt *attempt,
	const struct answer *answer, msec_t retry_in_ms)
{
	struct event event = new_event(record, "attempt");

	event.level = "warning";
	event.attempt = record->attempts;
	event.total_ms = attempt_total_ms(attempt);
	event.retry_in_ms = retry_in_ms;
	event.reason = retry_reason_name(record->reason);
	if (answer) {
		event.status = answer->status;
		event.answer_fields = &answer->fields;
		event.body = answer->held;
	}
	event_log_write(record->log, &event);
	count_failure(record, retry_in_ms >= 0);
}

void record_log_request(const struct record *record)
{
	struct event event = new_event(record, "request");
	enum error error = record->failure.error;

	if (error != ERROR_NONE && error != ERROR_CLIENT_CLOSED)
		event.level = "error";
	event.attempts = record->attempts;
	event.status = record->status;
	event.total_ms = clock_mono() - record->began;
	event.wait_ms = record->wait_ms + record->queue_ms;
	event_log_write(record->log, &event);
	count_request(record);
}

void record_render_message(const struct record *record, struct str *out)
{
	const struct failure *failure = &record->failure;

	str_addf(out, "andiron: %s failed: %s", phase_text(failure->phase),
		error_text(failure->error));
	if (*failure->detail)
		str_addf(out, " (%s)", failure->detail);
	str_addf(out, "; upstream %s", record->request->upstream->options.url);
	if (*record->facts.address)
		str_addf(out, " at %s", record->facts.address);
	str_addf(out, ", %d attempt%s. %s.", record->attempts, record->attempts == 1 ? "" : "s",
		dashboard_text(record->dashboard));
}

void record_render_error_event(const struct record *record, struct str *out)
{
	_cleanup_str_ struct str sentence = STR_NULL;

	record_render_message(record, &sentence);
	message_render_error_event(record->failure.error, str_text(&sentence), &record->said, out);
}

void record_render_comment(const struct record *record, msec_t next_in_ms, struct str *out)
{
	const struct mishap *mishap = &record->mishap;
	int next = record->attempts - record->uncounted + (next_in_ms >= 0);

	str_addf(out, ": andiron: attempt %d of %d", next, record->request->retry.max_attempts);
	if (mishap->status)
		str_addf(out, ", %d from upstream", mishap->status);
	else if (mishap->failure.error != ERROR_NONE)
		str_addf(out, ", %s in phase %s", error_name(mishap->failure.error),
			phase_name(mishap->failure.phase));
	if (next_in_ms == MSEC_NEVER)
		str_add(out, ", waiting for its turn");
	else if (next_in_ms >= 0)
		str_addf(out, ", next in %lld s", (long long)((next_in_ms + 999) / 1000));
	str_add(out, "\n\n");
}
