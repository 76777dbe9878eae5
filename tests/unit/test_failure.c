#include "policy/failure.h"

#include <errno.h>

#include "test.h"

static void phases_have_their_names(void)
{
	static const struct {
		enum phase phase;
		const char *name;
	} rows[] = {
		{PHASE_NONE, ""},
		{PHASE_POOL, "pool"},
		{PHASE_DNS, "dns"},
		{PHASE_CONNECT, "connect"},
		{PHASE_TLS, "tls"},
		{PHASE_WRITE, "write"},
		{PHASE_FIRST_BYTE, "first_byte"},
		{PHASE_BODY, "body"},
		{PHASE_CLIENT, "client"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		ROW("%s", rows[i].name);
		CHECK_STR(phase_name(rows[i].phase), rows[i].name);
		CHECK(*phase_text(rows[i].phase));
		CHECK(i == 0 || rows[i].phase > rows[i - 1].phase); /* in the order of an attempt */
	}
}

/* The client's status: 502 where the request did not get through or its answer was lost, 504 where
 * it was sent and no answer came in time, 503 where andiron had no place for it. */
static void errors_have_their_names_and_statuses(void)
{
	static const struct {
		enum error error;
		const char *name;
		int status;
	} rows[] = {
		{ERROR_DNS_TIMEOUT, "dns_timeout", 502},
		{ERROR_DNS_ERROR, "dns_error", 502},
		{ERROR_DESTINATION_NOT_FOUND, "destination_not_found", 404},
		{ERROR_DESTINATION_UNAVAILABLE, "destination_unavailable", 503},
		{ERROR_DESTINATION_IP_UNROUTABLE, "destination_ip_unroutable", 502},
		{ERROR_CONNECTION_REFUSED, "connection_refused", 502},
		{ERROR_CONNECTION_TIMEOUT, "connection_timeout", 502},
		{ERROR_CONNECTION_TERMINATED, "connection_terminated", 502},
		{ERROR_TLS_CERTIFICATE_ERROR, "tls_certificate_error", 502},
		{ERROR_TLS_PROTOCOL_ERROR, "tls_protocol_error", 502},
		{ERROR_TLS_ALERT_RECEIVED, "tls_alert_received", 502},
		{ERROR_CONNECTION_WRITE_TIMEOUT, "connection_write_timeout", 504},
		{ERROR_HTTP_RESPONSE_TIMEOUT, "http_response_timeout", 504},
		{ERROR_CONNECTION_READ_TIMEOUT, "connection_read_timeout", 504},
		{ERROR_HTTP_RESPONSE_INCOMPLETE, "http_response_incomplete", 502},
		{ERROR_HTTP_PROTOCOL_ERROR, "http_protocol_error", 502},
		{ERROR_CONNECTION_LIMIT_REACHED, "connection_limit_reached", 503},
		{ERROR_HTTP_REQUEST_ERROR, "http_request_error", 400},
		{ERROR_HTTP_REQUEST_DENIED, "http_request_denied", 403},
		{ERROR_PROXY_INTERNAL_ERROR, "proxy_internal_error", 500},
		{ERROR_UPSTREAM_STATUS, "upstream_status", 502},
		{ERROR_STREAM_TRUNCATED, "stream_truncated", 502},
		{ERROR_STREAM_ERROR, "stream_error", 502},
		{ERROR_CLIENT_CLOSED, "client_closed", 499},
		{ERROR_DRAINING, "draining", 503},
	};

	CHECK_STR(error_name(ERROR_NONE), "");
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		ROW("%s", rows[i].name);
		CHECK_STR(error_name(rows[i].error), rows[i].name);
		CHECK_INT(error_status(rows[i].error), rows[i].status);
		CHECK(*error_text(rows[i].error));
	}
}

/* One vocabulary: no name stands for two things. */
static void names_are_unique(void)
{
	for (int a = PHASE_NONE; a <= PHASE_CLIENT; a++) {
		for (int b = a + 1; b <= PHASE_CLIENT; b++) {
			ROW("phases %d and %d", a, b);
			CHECK(strcmp(phase_name((enum phase)a), phase_name((enum phase)b)) != 0);
		}
	}
	for (int a = ERROR_NONE; a <= ERROR_DRAINING; a++) {
		for (int b = a + 1; b <= ERROR_DRAINING; b++) {
			ROW("errors %d and %d", a, b);
			CHECK(strcmp(error_name((enum error)a), error_name((enum error)b)) != 0);
			CHECK(strcmp(error_text((enum error)a), error_text((enum error)b)) != 0);
		}
	}
}

/* The dashboard counts what Fireworks has acknowledged. */
static void the_dashboard_sees_what_was_answered(void)
{
	static const struct {
		bool sent, answered;
		enum dashboard want;
		const char *name;
	} rows[] = {
		{false, false, DASHBOARD_INVISIBLE, "invisible"},
		{true, false, DASHBOARD_UNKNOWN, "unknown"},
		{true, true, DASHBOARD_VISIBLE, "visible"},
		{false, true, DASHBOARD_VISIBLE, "visible"}, /* refused before it was all sent */
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		ROW("sent %d, answered %d", rows[i].sent, rows[i].answered);
		CHECK_INT(failure_dashboard(rows[i].sent, rows[i].answered), rows[i].want);
		CHECK_STR(dashboard_name(rows[i].want), rows[i].name);
	}
	CHECK_STR(dashboard_text(DASHBOARD_INVISIBLE), "Fireworks never saw the request");
	CHECK_STR(dashboard_text(DASHBOARD_UNKNOWN),
		"Fireworks may or may not have seen the request");
	CHECK_STR(dashboard_text(DASHBOARD_VISIBLE), "Fireworks has seen the request");
}

static void errno_while_connecting(void)
{
	static const struct {
		int error_number;
		enum error want;
	} rows[] = {
		{ECONNREFUSED, ERROR_CONNECTION_REFUSED},
		{ETIMEDOUT, ERROR_CONNECTION_TIMEOUT},
		{ENETUNREACH, ERROR_DESTINATION_IP_UNROUTABLE},
		{EHOSTUNREACH, ERROR_DESTINATION_IP_UNROUTABLE},
		{EADDRNOTAVAIL, ERROR_DESTINATION_IP_UNROUTABLE},
		{EAFNOSUPPORT, ERROR_DESTINATION_IP_UNROUTABLE},
		{EACCES, ERROR_DESTINATION_IP_UNROUTABLE},
		{EPERM, ERROR_DESTINATION_IP_UNROUTABLE},
		{EMFILE, ERROR_CONNECTION_LIMIT_REACHED},
		{ENFILE, ERROR_CONNECTION_LIMIT_REACHED},
		{ECONNRESET, ERROR_CONNECTION_TERMINATED},
		{EPIPE, ERROR_CONNECTION_TERMINATED},
		{0, ERROR_CONNECTION_TERMINATED},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		ROW("%s", strerror(rows[i].error_number));
		CHECK_INT(error_of_connect_errno(rows[i].error_number), rows[i].want);
	}
}

static void what_ran_out_in_each_phase(void)
{
	static const struct {
		enum phase phase;
		enum error want;
	} rows[] = {
		{PHASE_POOL, ERROR_CONNECTION_LIMIT_REACHED},
		{PHASE_DNS, ERROR_DNS_TIMEOUT},
		{PHASE_CONNECT, ERROR_CONNECTION_TIMEOUT},
		{PHASE_TLS, ERROR_CONNECTION_TIMEOUT},
		{PHASE_WRITE, ERROR_CONNECTION_WRITE_TIMEOUT},
		{PHASE_FIRST_BYTE, ERROR_HTTP_RESPONSE_TIMEOUT},
		{PHASE_BODY, ERROR_CONNECTION_READ_TIMEOUT},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		ROW("%s", phase_name(rows[i].phase));
		CHECK_INT(error_of_timeout(rows[i].phase), rows[i].want);
	}
}

static void is_a_value(void)
{
	char long_text[1000];
	struct failure failure;

	memset(&failure, 0x5a, sizeof(failure));
	failure_set(&failure, PHASE_TLS, ERROR_TLS_ALERT_RECEIVED, "handshake failure");
	CHECK_INT(failure.phase, PHASE_TLS);
	CHECK_INT(failure.error, ERROR_TLS_ALERT_RECEIVED);
	CHECK_STR(failure.detail, "handshake failure");
	failure_set(&failure, PHASE_DNS, ERROR_DNS_ERROR, NULL);
	CHECK_STR(failure.detail, "");
	failure_set(&failure, PHASE_DNS, ERROR_DNS_ERROR, "100%s %n");
	CHECK_STR(failure.detail, "100%s %n");
	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	failure_set(&failure, PHASE_DNS, ERROR_DNS_ERROR, long_text);
	CHECK_INT(strlen(failure.detail), sizeof(failure.detail) - 1);
}

TEST_MAIN(TEST(phases_have_their_names), TEST(errors_have_their_names_and_statuses),
	TEST(names_are_unique), TEST(the_dashboard_sees_what_was_answered),
	TEST(errno_while_connecting), TEST(what_ran_out_in_each_phase), TEST(is_a_value))
