#include "policy/retry.h"

#include "test.h"

/* Short names, so that a row is a line. */
enum { R = CLASS_REPLAYABLE, C = CLASS_CREATE_WITH_ID, G = CLASS_GUARDED, N = CLASS_NEVER };
enum { CONTROL, INFERENCE };
enum { SENT = 1, REUSED = 2, BEGUN = 4, REPLACED = 8 };
enum { LONG = 1800000, NOW = 5000000, NO = -1 };
enum {
	RELAY = RETRY_RELAY,
	AGAIN = RETRY_AGAIN,
	REPLACE = RETRY_REPLACE,
	GIVE_UP = RETRY_GIVE_UP,
	ANOTHER, /* an attempt or a replacement: either will do */
};

#define WHY(reason) RETRY_REASON_##reason

static const struct retry_policy guide = {
	.max_attempts = 5,
	.backoff = {1000, 60000, JITTER_ADDITIVE},
	.retry_after_cap_ms = 60000,
	.statuses = {408, 429, 500, 502, 503, 504, 520},
};

/* ---- An answer has come. The random number is 0.5: the delay is 2^n s and a half. */

struct status_row {
	int request_class, plane, status, attempts;
	msec_t left_ms, retry_after_ms; /* to the deadline; what the upstream asks for */
	int action;
	msec_t delay_ms;
	enum retry_reason reason;
};

static const struct status_row statuses[] = {
	/* what the guide and Fireworks' error page call worth another attempt */
	{R, INFERENCE, 408, 1, LONG, NO, AGAIN, 1500, WHY(STATUS)},
	{R, INFERENCE, 429, 1, LONG, NO, AGAIN, 1500, WHY(STATUS)},
	{R, INFERENCE, 500, 1, LONG, NO, AGAIN, 1500, WHY(STATUS)},
	{R, INFERENCE, 502, 1, LONG, NO, AGAIN, 1500, WHY(STATUS)},
	{R, INFERENCE, 503, 1, LONG, NO, AGAIN, 1500, WHY(STATUS)},
	{R, INFERENCE, 504, 1, LONG, NO, AGAIN, 1500, WHY(STATUS)},
	{R, INFERENCE, 520, 1, LONG, NO, AGAIN, 1500, WHY(STATUS)},
	{R, CONTROL, 408, 1, LONG, NO, AGAIN, 1500, WHY(STATUS)},
	{R, CONTROL, 429, 1, LONG, NO, AGAIN, 1500, WHY(STATUS)},
	{R, CONTROL, 500, 1, LONG, NO, AGAIN, 1500, WHY(STATUS)},
	{R, CONTROL, 503, 1, LONG, NO, AGAIN, 1500, WHY(STATUS)},
	/* what is not */
	{R, INFERENCE, 200, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{R, INFERENCE, 201, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{R, INFERENCE, 204, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{R, INFERENCE, 206, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{R, INFERENCE, 301, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{R, INFERENCE, 304, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{R, INFERENCE, 400, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{R, INFERENCE, 401, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{R, INFERENCE, 402, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{R, INFERENCE, 403, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{R, INFERENCE, 404, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{R, INFERENCE, 405, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{R, INFERENCE, 409, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{R, INFERENCE, 412, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{R, INFERENCE, 413, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{R, INFERENCE, 422, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{R, INFERENCE, 425, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{R, INFERENCE, 501, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{R, INFERENCE, 505, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{R, INFERENCE, 524, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{R, INFERENCE, 599, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{R, INFERENCE, 404, 1, LONG, 5000, RELAY, 0, WHY(FINAL)},
	{R, INFERENCE, 200, 5, LONG, NO, RELAY, 0, WHY(FINAL)},
	{R, INFERENCE, 200, 1, 0, NO, RELAY, 0, WHY(FINAL)},
	/* a create whose id the client chose: the same, save that a 429 is a quota */
	{C, CONTROL, 408, 1, LONG, NO, AGAIN, 1500, WHY(STATUS)},
	{C, CONTROL, 500, 1, LONG, NO, AGAIN, 1500, WHY(STATUS)},
	{C, CONTROL, 502, 1, LONG, NO, AGAIN, 1500, WHY(STATUS)},
	{C, CONTROL, 503, 1, LONG, NO, AGAIN, 1500, WHY(STATUS)},
	{C, CONTROL, 504, 1, LONG, NO, AGAIN, 1500, WHY(STATUS)},
	{C, CONTROL, 520, 1, LONG, NO, AGAIN, 1500, WHY(STATUS)},
	{C, CONTROL, 200, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{C, CONTROL, 201, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{C, CONTROL, 400, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{C, CONTROL, 401, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{C, CONTROL, 402, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{C, CONTROL, 403, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{C, CONTROL, 404, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{C, CONTROL, 405, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{C, CONTROL, 409, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{C, CONTROL, 412, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{C, CONTROL, 413, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{C, CONTROL, 422, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{C, CONTROL, 425, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{C, CONTROL, 501, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{C, CONTROL, 524, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{C, CONTROL, 409, 2, LONG, NO, RELAY, 0, WHY(FINAL)}, /* the exchange reads what is there */
	{C, CONTROL, 409, 2, LONG, 1000, RELAY, 0, WHY(FINAL)},
	{C, CONTROL, 429, 1, LONG, NO, RELAY, 0, WHY(CLASS)},
	{C, CONTROL, 429, 1, LONG, 1000, RELAY, 0, WHY(CLASS)},
	{C, CONTROL, 429, 1, LONG, 60001, RELAY, 0, WHY(CLASS)},
	{C, CONTROL, 429, 5, LONG, NO, RELAY, 0, WHY(CLASS)},
	{C, CONTROL, 429, 1, 0, NO, RELAY, 0, WHY(CLASS)},
	{C, INFERENCE, 429, 1, LONG, NO, RELAY, 0, WHY(CLASS)},
	{C, CONTROL, 503, 2, LONG, NO, AGAIN, 2500, WHY(STATUS)},
	{C, CONTROL, 500, 4, LONG, NO, AGAIN, 8500, WHY(STATUS)},
	{C, CONTROL, 503, 5, LONG, NO, RELAY, 0, WHY(ATTEMPTS)},
	{C, CONTROL, 502, 6, LONG, NO, RELAY, 0, WHY(ATTEMPTS)},
	{C, CONTROL, 503, 1, 1501, NO, AGAIN, 1500, WHY(STATUS)},
	{C, CONTROL, 503, 1, 1500, NO, RELAY, 0, WHY(DEADLINE)},
	{C, CONTROL, 504, 1, -5, NO, RELAY, 0, WHY(DEADLINE)},
	{C, CONTROL, 503, 1, LONG, 1499, AGAIN, 1500, WHY(STATUS)},
	{C, CONTROL, 503, 1, LONG, 20000, AGAIN, 20000, WHY(STATUS)},
	{C, CONTROL, 503, 1, LONG, 60000, AGAIN, 60000, WHY(STATUS)},
	{C, CONTROL, 503, 1, LONG, 60001, RELAY, 0, WHY(RETRY_AFTER)},
	{C, CONTROL, 503, 1, 20000, 20000, RELAY, 0, WHY(DEADLINE)},
	/* guarded: 503, and on inference paths 429 */
	{G, INFERENCE, 200, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{G, INFERENCE, 400, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{G, INFERENCE, 404, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{G, INFERENCE, 408, 1, LONG, NO, RELAY, 0, WHY(CLASS)},
	{G, INFERENCE, 429, 1, LONG, NO, AGAIN, 1500, WHY(STATUS)},
	{G, INFERENCE, 429, 2, LONG, 7000, AGAIN, 7000, WHY(STATUS)},
	{G, INFERENCE, 500, 1, LONG, NO, RELAY, 0, WHY(CLASS)},
	{G, INFERENCE, 502, 1, LONG, NO, RELAY, 0, WHY(CLASS)},
	{G, INFERENCE, 503, 1, LONG, NO, AGAIN, 1500, WHY(STATUS)},
	{G, INFERENCE, 504, 1, LONG, NO, RELAY, 0, WHY(CLASS)},
	{G, INFERENCE, 520, 1, LONG, NO, RELAY, 0, WHY(CLASS)},
	{G, CONTROL, 200, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{G, CONTROL, 408, 1, LONG, NO, RELAY, 0, WHY(CLASS)},
	{G, CONTROL, 409, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{G, CONTROL, 409, 2, LONG, NO, RELAY, 0, WHY(FINAL)},
	{G, CONTROL, 429, 1, LONG, NO, RELAY, 0, WHY(CLASS)}, /* a quota */
	{G, CONTROL, 429, 1, LONG, 1000, RELAY, 0, WHY(CLASS)},
	{G, CONTROL, 500, 1, LONG, NO, RELAY, 0, WHY(CLASS)},
	{G, CONTROL, 502, 1, LONG, NO, RELAY, 0, WHY(CLASS)},
	{G, CONTROL, 503, 1, LONG, NO, AGAIN, 1500, WHY(STATUS)},
	{G, CONTROL, 503, 4, LONG, NO, AGAIN, 8500, WHY(STATUS)},
	{G, CONTROL, 503, 5, LONG, NO, RELAY, 0, WHY(ATTEMPTS)},
	{G, CONTROL, 504, 1, LONG, NO, RELAY, 0, WHY(CLASS)},
	{G, CONTROL, 520, 1, LONG, NO, RELAY, 0, WHY(CLASS)},
	{G, CONTROL, 500, 5, LONG, NO, RELAY, 0, WHY(CLASS)},
	{G, CONTROL, 503, 1, LONG, 60001, RELAY, 0, WHY(RETRY_AFTER)},
	{G, CONTROL, 503, 1, 20000, 20000, RELAY, 0, WHY(DEADLINE)},
	{G, INFERENCE, 429, 5, LONG, NO, RELAY, 0, WHY(ATTEMPTS)},
	{G, INFERENCE, 429, 1, 1500, NO, RELAY, 0, WHY(DEADLINE)},
	/* never: no answer at all is worth another */
	{N, CONTROL, 200, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{N, CONTROL, 404, 1, LONG, NO, RELAY, 0, WHY(FINAL)},
	{N, CONTROL, 408, 1, LONG, NO, RELAY, 0, WHY(CLASS)},
	{N, CONTROL, 429, 1, LONG, NO, RELAY, 0, WHY(CLASS)},
	{N, INFERENCE, 429, 1, LONG, NO, RELAY, 0, WHY(CLASS)},
	{N, CONTROL, 500, 1, LONG, NO, RELAY, 0, WHY(CLASS)},
	{N, CONTROL, 502, 1, LONG, NO, RELAY, 0, WHY(CLASS)},
	{N, CONTROL, 503, 1, LONG, NO, RELAY, 0, WHY(CLASS)},
	{N, CONTROL, 503, 1, LONG, 1000, RELAY, 0, WHY(CLASS)},
	{N, CONTROL, 504, 1, LONG, NO, RELAY, 0, WHY(CLASS)},
	{N, CONTROL, 520, 1, LONG, NO, RELAY, 0, WHY(CLASS)},
	{N, INFERENCE, 503, 1, LONG, NO, RELAY, 0, WHY(CLASS)},
	{N, CONTROL, 503, 5, LONG, NO, RELAY, 0, WHY(CLASS)},
	{N, CONTROL, 503, 1, 0, 60001, RELAY, 0, WHY(CLASS)},
	{N, CONTROL, 409, 2, LONG, NO, RELAY, 0, WHY(FINAL)},
	/* the count */
	{R, INFERENCE, 503, 2, LONG, NO, AGAIN, 2500, WHY(STATUS)},
	{R, INFERENCE, 503, 3, LONG, NO, AGAIN, 4500, WHY(STATUS)},
	{R, INFERENCE, 503, 4, LONG, NO, AGAIN, 8500, WHY(STATUS)},
	{R, INFERENCE, 503, 5, LONG, NO, RELAY, 0, WHY(ATTEMPTS)},
	{R, INFERENCE, 503, 6, LONG, NO, RELAY, 0, WHY(ATTEMPTS)},
	{R, INFERENCE, 429, 5, LONG, 1000, RELAY, 0, WHY(ATTEMPTS)},
	/* the deadline: the wait must end before it */
	{R, INFERENCE, 503, 1, 1501, NO, AGAIN, 1500, WHY(STATUS)},
	{R, INFERENCE, 503, 1, 1500, NO, RELAY, 0, WHY(DEADLINE)},
	{R, INFERENCE, 503, 1, 1, NO, RELAY, 0, WHY(DEADLINE)},
	{R, INFERENCE, 503, 1, 0, NO, RELAY, 0, WHY(DEADLINE)},
	{R, INFERENCE, 503, 1, -5, NO, RELAY, 0, WHY(DEADLINE)},
	{R, INFERENCE, 503, 3, 4501, NO, AGAIN, 4500, WHY(STATUS)},
	{R, INFERENCE, 503, 3, 4000, NO, RELAY, 0, WHY(DEADLINE)},
	{G, CONTROL, 503, 1, 1000, NO, RELAY, 0, WHY(DEADLINE)},
	/* the upstream's wish is a floor, up to its cap and the deadline */
	{R, INFERENCE, 429, 1, LONG, 0, AGAIN, 1500, WHY(STATUS)},
	{R, INFERENCE, 429, 1, LONG, 1499, AGAIN, 1500, WHY(STATUS)},
	{R, INFERENCE, 429, 1, LONG, 1501, AGAIN, 1501, WHY(STATUS)},
	{R, INFERENCE, 429, 3, LONG, 3000, AGAIN, 4500, WHY(STATUS)},
	{R, INFERENCE, 503, 1, LONG, 30000, AGAIN, 30000, WHY(STATUS)},
	{R, INFERENCE, 503, 1, LONG, 60000, AGAIN, 60000, WHY(STATUS)},
	{R, INFERENCE, 503, 1, LONG, 60001, RELAY, 0, WHY(RETRY_AFTER)},
	{R, INFERENCE, 429, 1, LONG, INT64_MAX, RELAY, 0, WHY(RETRY_AFTER)},
	{R, INFERENCE, 429, 1, 30000, 29999, AGAIN, 29999, WHY(STATUS)},
	{R, INFERENCE, 429, 1, 30000, 30000, RELAY, 0, WHY(DEADLINE)},
	{G, INFERENCE, 429, 1, LONG, 60001, RELAY, 0, WHY(RETRY_AFTER)},
	{G, CONTROL, 503, 1, LONG, 20000, AGAIN, 20000, WHY(STATUS)},
};

static struct retry_facts facts_of_status(const struct status_row *row)
{
	return (struct retry_facts){
		.request_class = (enum request_class)row->request_class,
		.inference = row->plane == INFERENCE,
		.status = row->status,
		.sent = true,
		.answer_begun = true,
		.attempts = row->attempts,
		.retry_after_ms = row->retry_after_ms,
		.now = NOW,
		.deadline = NOW + row->left_ms,
		.random = 0.5,
	};
}

static void check_verdict(struct retry_verdict got, int action, msec_t delay_ms, int reason)
{
	if (action == ANOTHER) {
		CHECK(got.action == RETRY_AGAIN || got.action == RETRY_REPLACE);
		return;
	}
	CHECK_INT(got.action, action);
	CHECK_INT(got.delay_ms, delay_ms);
	CHECK_STR(retry_reason_name(got.reason), retry_reason_name((enum retry_reason)reason));
}

static void an_answer_has_come(void)
{
	for (size_t i = 0; i < COUNT_OF(statuses); i++) {
		const struct status_row *row = &statuses[i];
		struct retry_facts facts = facts_of_status(row);

		ROW("%s, %s, status %d, attempt %d, %lld ms left, Retry-After %lld",
			class_name(facts.request_class), row->plane ? "inference" : "control plane",
			row->status, row->attempts, (long long)row->left_ms,
			(long long)row->retry_after_ms);
		check_verdict(
			retry_decide(&guide, &facts), row->action, row->delay_ms, row->reason);
		facts.reused = true; /* which connection carried an answer does not matter */
		check_verdict(
			retry_decide(&guide, &facts), row->action, row->delay_ms, row->reason);
	}
}

/* ---- No answer has come. */

struct failure_row {
	int request_class;
	enum error error;
	unsigned flags;
	int attempts;
	msec_t left_ms;
	int action;
	msec_t delay_ms;
	enum retry_reason reason;
};

static const struct failure_row failures[] = {
	/* nothing was sent: every class */
	{R, ERROR_DNS_TIMEOUT, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{G, ERROR_DNS_TIMEOUT, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{N, ERROR_DNS_TIMEOUT, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{R, ERROR_DNS_ERROR, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{G, ERROR_DNS_ERROR, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{N, ERROR_DNS_ERROR, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{R, ERROR_DESTINATION_IP_UNROUTABLE, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{G, ERROR_DESTINATION_IP_UNROUTABLE, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{N, ERROR_DESTINATION_IP_UNROUTABLE, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{R, ERROR_CONNECTION_REFUSED, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{G, ERROR_CONNECTION_REFUSED, 0, 2, LONG, AGAIN, 2500, WHY(CONNECTION)},
	{N, ERROR_CONNECTION_REFUSED, 0, 3, LONG, AGAIN, 4500, WHY(CONNECTION)},
	{R, ERROR_CONNECTION_TIMEOUT, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{G, ERROR_CONNECTION_TIMEOUT, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{N, ERROR_CONNECTION_TIMEOUT, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{R, ERROR_CONNECTION_TERMINATED, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{G, ERROR_CONNECTION_TERMINATED, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{N, ERROR_CONNECTION_TERMINATED, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{R, ERROR_TLS_PROTOCOL_ERROR, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{N, ERROR_TLS_PROTOCOL_ERROR, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{R, ERROR_TLS_ALERT_RECEIVED, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{G, ERROR_TLS_ALERT_RECEIVED, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{R, ERROR_CONNECTION_LIMIT_REACHED, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{N, ERROR_CONNECTION_LIMIT_REACHED, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{R, ERROR_CONNECTION_WRITE_TIMEOUT, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{N, ERROR_CONNECTION_WRITE_TIMEOUT, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{C, ERROR_DNS_TIMEOUT, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{C, ERROR_DNS_ERROR, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{C, ERROR_DESTINATION_IP_UNROUTABLE, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{C, ERROR_CONNECTION_REFUSED, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{C, ERROR_CONNECTION_TIMEOUT, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{C, ERROR_CONNECTION_TERMINATED, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{C, ERROR_TLS_PROTOCOL_ERROR, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{C, ERROR_TLS_ALERT_RECEIVED, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{C, ERROR_CONNECTION_LIMIT_REACHED, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{C, ERROR_CONNECTION_WRITE_TIMEOUT, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{G, ERROR_TLS_PROTOCOL_ERROR, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{N, ERROR_TLS_ALERT_RECEIVED, 0, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	/* a wrong certificate stays wrong */
	{C, ERROR_TLS_CERTIFICATE_ERROR, 0, 1, LONG, GIVE_UP, 0, WHY(CERTIFICATE)},
	{C, ERROR_TLS_CERTIFICATE_ERROR, REUSED, 2, LONG, GIVE_UP, 0, WHY(CERTIFICATE)},
	{R, ERROR_TLS_CERTIFICATE_ERROR, 0, 1, LONG, GIVE_UP, 0, WHY(CERTIFICATE)},
	{G, ERROR_TLS_CERTIFICATE_ERROR, 0, 1, LONG, GIVE_UP, 0, WHY(CERTIFICATE)},
	{N, ERROR_TLS_CERTIFICATE_ERROR, 0, 1, LONG, GIVE_UP, 0, WHY(CERTIFICATE)},
	{R, ERROR_TLS_CERTIFICATE_ERROR, 0, 5, LONG, GIVE_UP, 0, WHY(CERTIFICATE)},
	/* sent, and no answer, or not a whole one: only what may be sent again */
	{R, ERROR_CONNECTION_TERMINATED, SENT, 1, LONG, AGAIN, 1500, WHY(NO_ANSWER)},
	{R, ERROR_CONNECTION_WRITE_TIMEOUT, SENT, 1, LONG, AGAIN, 1500, WHY(NO_ANSWER)},
	{R, ERROR_HTTP_RESPONSE_TIMEOUT, SENT, 1, LONG, AGAIN, 1500, WHY(NO_ANSWER)},
	{R, ERROR_CONNECTION_READ_TIMEOUT, SENT | BEGUN, 1, LONG, AGAIN, 1500, WHY(NO_ANSWER)},
	{R, ERROR_HTTP_RESPONSE_INCOMPLETE, SENT | BEGUN, 2, LONG, AGAIN, 2500, WHY(NO_ANSWER)},
	{R, ERROR_HTTP_PROTOCOL_ERROR, SENT | BEGUN, 1, LONG, AGAIN, 1500, WHY(NO_ANSWER)},
	{R, ERROR_CONNECTION_TERMINATED, SENT | BEGUN, 4, LONG, AGAIN, 8500, WHY(NO_ANSWER)},
	{C, ERROR_CONNECTION_TERMINATED, SENT, 1, LONG, AGAIN, 1500, WHY(NO_ANSWER)},
	{C, ERROR_CONNECTION_WRITE_TIMEOUT, SENT, 1, LONG, AGAIN, 1500, WHY(NO_ANSWER)},
	{C, ERROR_HTTP_RESPONSE_TIMEOUT, SENT, 1, LONG, AGAIN, 1500, WHY(NO_ANSWER)},
	{C, ERROR_CONNECTION_READ_TIMEOUT, SENT | BEGUN, 1, LONG, AGAIN, 1500, WHY(NO_ANSWER)},
	{C, ERROR_HTTP_RESPONSE_INCOMPLETE, SENT | BEGUN, 2, LONG, AGAIN, 2500, WHY(NO_ANSWER)},
	{C, ERROR_HTTP_PROTOCOL_ERROR, SENT | BEGUN, 1, LONG, AGAIN, 1500, WHY(NO_ANSWER)},
	{C, ERROR_CONNECTION_TERMINATED, SENT | BEGUN, 4, LONG, AGAIN, 8500, WHY(NO_ANSWER)},
	{G, ERROR_CONNECTION_TERMINATED, SENT, 1, LONG, GIVE_UP, 0, WHY(CLASS)},
	{G, ERROR_CONNECTION_WRITE_TIMEOUT, SENT, 1, LONG, GIVE_UP, 0, WHY(CLASS)},
	{G, ERROR_HTTP_RESPONSE_TIMEOUT, SENT, 1, LONG, GIVE_UP, 0, WHY(CLASS)},
	{G, ERROR_CONNECTION_READ_TIMEOUT, SENT | BEGUN, 1, LONG, GIVE_UP, 0, WHY(CLASS)},
	{G, ERROR_HTTP_RESPONSE_INCOMPLETE, SENT | BEGUN, 1, LONG, GIVE_UP, 0, WHY(CLASS)},
	{G, ERROR_HTTP_PROTOCOL_ERROR, SENT | BEGUN, 1, LONG, GIVE_UP, 0, WHY(CLASS)},
	{N, ERROR_CONNECTION_TERMINATED, SENT, 1, LONG, GIVE_UP, 0, WHY(CLASS)},
	{N, ERROR_CONNECTION_WRITE_TIMEOUT, SENT, 1, LONG, GIVE_UP, 0, WHY(CLASS)},
	{N, ERROR_HTTP_RESPONSE_TIMEOUT, SENT, 1, LONG, GIVE_UP, 0, WHY(CLASS)},
	{N, ERROR_CONNECTION_READ_TIMEOUT, SENT | BEGUN, 1, LONG, GIVE_UP, 0, WHY(CLASS)},
	{N, ERROR_HTTP_RESPONSE_INCOMPLETE, SENT | BEGUN, 1, LONG, GIVE_UP, 0, WHY(CLASS)},
	/* a kept connection that died as it was used again: at once, once, uncounted */
	{R, ERROR_CONNECTION_TERMINATED, SENT | REUSED, 1, LONG, REPLACE, 0, WHY(REPLACED)},
	{R, ERROR_CONNECTION_TERMINATED, REUSED, 1, LONG, REPLACE, 0, WHY(REPLACED)},
	{R, ERROR_CONNECTION_TERMINATED, SENT | REUSED, 5, LONG, REPLACE, 0, WHY(REPLACED)},
	{R, ERROR_CONNECTION_TERMINATED, SENT | REUSED, 1, 1, REPLACE, 0, WHY(REPLACED)},
	{R, ERROR_CONNECTION_TERMINATED, SENT | REUSED, 1, 0, GIVE_UP, 0, WHY(DEADLINE)},
	{R, ERROR_CONNECTION_TERMINATED, SENT | REUSED, 1, -9, GIVE_UP, 0, WHY(DEADLINE)},
	{R, ERROR_CONNECTION_TERMINATED, SENT | REUSED | REPLACED, 1, LONG, AGAIN, 1500,
		WHY(NO_ANSWER)},
	{R, ERROR_CONNECTION_TERMINATED, REUSED | REPLACED, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{R, ERROR_CONNECTION_TERMINATED, SENT | REUSED | BEGUN, 1, LONG, AGAIN, 1500,
		WHY(NO_ANSWER)},
	{R, ERROR_CONNECTION_TERMINATED, SENT | REPLACED, 1, LONG, AGAIN, 1500, WHY(NO_ANSWER)},
	{R, ERROR_HTTP_RESPONSE_TIMEOUT, SENT | REUSED, 1, LONG, AGAIN, 1500, WHY(NO_ANSWER)},
	{R, ERROR_CONNECTION_WRITE_TIMEOUT, SENT | REUSED, 1, LONG, AGAIN, 1500, WHY(NO_ANSWER)},
	{R, ERROR_HTTP_RESPONSE_INCOMPLETE, SENT | REUSED | BEGUN, 1, LONG, AGAIN, 1500,
		WHY(NO_ANSWER)},
	{C, ERROR_CONNECTION_TERMINATED, SENT | REUSED, 1, LONG, REPLACE, 0, WHY(REPLACED)},
	{C, ERROR_CONNECTION_TERMINATED, REUSED, 1, LONG, REPLACE, 0, WHY(REPLACED)},
	{C, ERROR_CONNECTION_TERMINATED, SENT | REUSED, 5, LONG, REPLACE, 0, WHY(REPLACED)},
	{C, ERROR_CONNECTION_TERMINATED, SENT | REUSED, 1, 1, REPLACE, 0, WHY(REPLACED)},
	{C, ERROR_CONNECTION_TERMINATED, SENT | REUSED, 1, 0, GIVE_UP, 0, WHY(DEADLINE)},
	{C, ERROR_CONNECTION_TERMINATED, SENT | REUSED | REPLACED, 1, LONG, AGAIN, 1500,
		WHY(NO_ANSWER)},
	{C, ERROR_CONNECTION_TERMINATED, SENT | REUSED | BEGUN, 1, LONG, AGAIN, 1500,
		WHY(NO_ANSWER)},
	{C, ERROR_HTTP_RESPONSE_TIMEOUT, SENT | REUSED, 1, LONG, AGAIN, 1500, WHY(NO_ANSWER)},
	{G, ERROR_CONNECTION_TERMINATED, SENT | REUSED, 1, LONG, GIVE_UP, 0, WHY(CLASS)},
	{N, ERROR_CONNECTION_TERMINATED, SENT | REUSED, 1, LONG, GIVE_UP, 0, WHY(CLASS)},
	{N, ERROR_CONNECTION_TERMINATED, SENT | REUSED | REPLACED, 1, LONG, GIVE_UP, 0, WHY(CLASS)},
	{N, ERROR_HTTP_PROTOCOL_ERROR, SENT | BEGUN, 1, LONG, GIVE_UP, 0, WHY(CLASS)},
	{G, ERROR_CONNECTION_TERMINATED, SENT | REUSED | BEGUN, 1, LONG, GIVE_UP, 0, WHY(CLASS)},
	{G, ERROR_CONNECTION_TERMINATED, REUSED, 1, LONG, ANOTHER, 0, 0},
	{N, ERROR_CONNECTION_TERMINATED, REUSED, 1, LONG, ANOTHER, 0, 0},
	{G, ERROR_CONNECTION_TERMINATED, REUSED | REPLACED, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	{N, ERROR_CONNECTION_TERMINATED, REUSED | REPLACED, 1, LONG, AGAIN, 1500, WHY(CONNECTION)},
	/* the count and the deadline */
	{R, ERROR_CONNECTION_REFUSED, 0, 4, LONG, AGAIN, 8500, WHY(CONNECTION)},
	{R, ERROR_CONNECTION_REFUSED, 0, 5, LONG, GIVE_UP, 0, WHY(ATTEMPTS)},
	{C, ERROR_CONNECTION_REFUSED, 0, 4, LONG, AGAIN, 8500, WHY(CONNECTION)},
	{C, ERROR_CONNECTION_REFUSED, 0, 5, LONG, GIVE_UP, 0, WHY(ATTEMPTS)},
	{C, ERROR_HTTP_RESPONSE_TIMEOUT, SENT, 5, LONG, GIVE_UP, 0, WHY(ATTEMPTS)},
	{C, ERROR_CONNECTION_REFUSED, 0, 1, 1501, AGAIN, 1500, WHY(CONNECTION)},
	{C, ERROR_CONNECTION_REFUSED, 0, 1, 1500, GIVE_UP, 0, WHY(DEADLINE)},
	{C, ERROR_HTTP_RESPONSE_TIMEOUT, SENT, 1, 0, GIVE_UP, 0, WHY(DEADLINE)},
	{G, ERROR_DNS_ERROR, 0, 5, LONG, GIVE_UP, 0, WHY(ATTEMPTS)},
	{N, ERROR_DNS_ERROR, 0, 6, LONG, GIVE_UP, 0, WHY(ATTEMPTS)},
	{R, ERROR_HTTP_RESPONSE_TIMEOUT, SENT, 5, LONG, GIVE_UP, 0, WHY(ATTEMPTS)},
	{R, ERROR_CONNECTION_REFUSED, 0, 1, 1501, AGAIN, 1500, WHY(CONNECTION)},
	{R, ERROR_CONNECTION_REFUSED, 0, 1, 1500, GIVE_UP, 0, WHY(DEADLINE)},
	{N, ERROR_CONNECTION_TIMEOUT, 0, 2, 2000, GIVE_UP, 0, WHY(DEADLINE)},
	{R, ERROR_HTTP_RESPONSE_TIMEOUT, SENT, 1, 0, GIVE_UP, 0, WHY(DEADLINE)},
	{R, ERROR_HTTP_RESPONSE_TIMEOUT, SENT, 1, -100, GIVE_UP, 0, WHY(DEADLINE)},
};

static struct retry_facts facts_of_failure(const struct failure_row *row)
{
	return (struct retry_facts){
		.request_class = (enum request_class)row->request_class,
		.error = row->error,
		.sent = row->flags & SENT,
		.reused = row->flags & REUSED,
		.answer_begun = row->flags & BEGUN,
		.replaced = row->flags & REPLACED,
		.attempts = row->attempts,
		.retry_after_ms = -1,
		.now = NOW,
		.deadline = NOW + row->left_ms,
		.random = 0.5,
	};
}

static void no_answer_has_come(void)
{
	for (size_t i = 0; i < COUNT_OF(failures); i++) {
		const struct failure_row *row = &failures[i];
		struct retry_facts facts = facts_of_failure(row);

		ROW("%s, %s,%s%s%s%s attempt %d, %lld ms left", class_name(facts.request_class),
			error_name(row->error), facts.sent ? " sent," : "",
			facts.reused ? " reused," : "", facts.answer_begun ? " begun," : "",
			facts.replaced ? " replaced," : "", row->attempts, (long long)row->left_ms);
		check_verdict(
			retry_decide(&guide, &facts), row->action, row->delay_ms, row->reason);
		facts.inference = true; /* the plane matters for a 429 only */
		check_verdict(
			retry_decide(&guide, &facts), row->action, row->delay_ms, row->reason);
	}
}

/* ---- Other policies. */

/* X-Andiron-Max-Attempts: 1 means one send: not even a dead connection is replaced. */
static void one_attempt_is_one_send(void)
{
	struct retry_policy once = guide;
	struct failure_row stale = {
		R, ERROR_CONNECTION_TERMINATED, SENT | REUSED, 1, LONG, 0, 0, 0};
	struct failure_row refused = {R, ERROR_CONNECTION_REFUSED, 0, 1, LONG, 0, 0, 0};
	struct status_row busy = {R, INFERENCE, 429, 1, LONG, 100, 0, 0, 0};
	struct retry_facts facts;

	once.max_attempts = 1;
	facts = facts_of_failure(&stale);
	check_verdict(retry_decide(&once, &facts), GIVE_UP, 0, WHY(ATTEMPTS));
	facts.request_class = CLASS_CREATE_WITH_ID;
	check_verdict(retry_decide(&once, &facts), GIVE_UP, 0, WHY(ATTEMPTS));
	facts = facts_of_failure(&refused);
	check_verdict(retry_decide(&once, &facts), GIVE_UP, 0, WHY(ATTEMPTS));
	facts = facts_of_status(&busy);
	check_verdict(retry_decide(&once, &facts), RELAY, 0, WHY(ATTEMPTS));
}

static void statuses_are_the_policys(void)
{
	struct retry_policy policy = guide;
	struct status_row row = {R, INFERENCE, 503, 1, LONG, NO, 0, 0, 0};
	struct retry_facts facts = facts_of_status(&row);

	memset(policy.statuses, 0, sizeof(policy.statuses));
	check_verdict(retry_decide(&policy, &facts), RELAY, 0, WHY(FINAL));
	policy.statuses[0] = 425;
	check_verdict(retry_decide(&policy, &facts), RELAY, 0, WHY(FINAL));
	facts.status = 425;
	check_verdict(retry_decide(&policy, &facts), AGAIN, 1500, WHY(STATUS));
	facts.request_class = CLASS_GUARDED;
	check_verdict(retry_decide(&policy, &facts), RELAY, 0, WHY(CLASS));
	for (int i = 0; i < RETRY_MAX_STATUSES; i++)
		policy.statuses[i] = 500 + i;
	CHECK(retry_is_listed(&policy, 500));
	CHECK(retry_is_listed(&policy, 500 + RETRY_MAX_STATUSES - 1));
	CHECK(!retry_is_listed(&policy, 500 + RETRY_MAX_STATUSES));
	CHECK(!retry_is_listed(&policy, 200));
	CHECK(!retry_is_listed(&guide, 0));
}

static void the_delay_is_the_policys(void)
{
	struct retry_policy policy = guide;
	struct status_row row = {R, INFERENCE, 503, 3, LONG, NO, 0, 0, 0};
	struct retry_facts facts = facts_of_status(&row);

	facts.deadline = MSEC_NEVER;
	policy.backoff = (struct backoff){500, 60000, JITTER_NONE};
	check_verdict(retry_decide(&policy, &facts), AGAIN, 2000, WHY(STATUS));
	policy.backoff.cap_ms = 1200;
	check_verdict(retry_decide(&policy, &facts), AGAIN, 1200, WHY(STATUS));
	policy.backoff = (struct backoff){1000, 60000, JITTER_FULL};
	facts.random = 0;
	check_verdict(retry_decide(&policy, &facts), AGAIN, 0, WHY(STATUS));
	facts.retry_after_ms = 10;
	check_verdict(retry_decide(&policy, &facts), AGAIN, 10, WHY(STATUS));
	policy.retry_after_cap_ms = 9;
	check_verdict(retry_decide(&policy, &facts), RELAY, 0, WHY(RETRY_AFTER));
	policy.backoff.jitter = JITTER_DECORRELATED;
	facts.retry_after_ms = -1;
	facts.previous_ms = 5000;
	facts.random = 0.5;
	check_verdict(retry_decide(&policy, &facts), AGAIN, 8000, WHY(STATUS));
}

static void knows_what_may_be_sent_again(void)
{
	CHECK(retry_may_resend(CLASS_REPLAYABLE));
	CHECK(retry_may_resend(CLASS_CREATE_WITH_ID));
	CHECK(!retry_may_resend(CLASS_GUARDED));
	CHECK(!retry_may_resend(CLASS_NEVER));
}

static void reasons_have_names(void)
{
	static const struct {
		enum retry_reason reason;
		const char *name;
	} rows[] = {
		{WHY(STATUS), "status"},
		{WHY(CONNECTION), "connection"},
		{WHY(NO_ANSWER), "no_answer"},
		{WHY(REPLACED), "replaced"},
		{WHY(FINAL), "final"},
		{WHY(CLASS), "class"},
		{WHY(ATTEMPTS), "attempts"},
		{WHY(DEADLINE), "deadline"},
		{WHY(RETRY_AFTER), "retry_after"},
		{WHY(CERTIFICATE), "certificate"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		CHECK_STR(retry_reason_name(rows[i].reason), rows[i].name);
}

TEST_MAIN(TEST(an_answer_has_come), TEST(no_answer_has_come), TEST(one_attempt_is_one_send),
	TEST(statuses_are_the_policys), TEST(the_delay_is_the_policys),
	TEST(knows_what_may_be_sent_again), TEST(reasons_have_names))
