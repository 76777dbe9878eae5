#include "policy/failure.h"

#include <errno.h>
#include <stdio.h>

static const char *const phase_names[] = {
#define PHASE(id, name, text) name,
#include "policy/failure.def"
};

static const char *const phase_texts[] = {
#define PHASE(id, name, text) text,
#include "policy/failure.def"
};

static const struct {
	const char *name;
	int status;
	const char *text;
} errors[] = {
#define ERROR(id, name, status, text) {name, status, text},
#include "policy/failure.def"
};

const char *phase_name(enum phase phase)
{
	return phase_names[phase];
}

const char *phase_text(enum phase phase)
{
	return phase_texts[phase];
}

const char *error_name(enum error error)
{
	return errors[error].name;
}

const char *error_text(enum error error)
{
	return errors[error].text;
}

int error_status(enum error error)
{
	return errors[error].status;
}

enum dashboard failure_dashboard(bool sent, bool answered)
{
	if (answered)
		return DASHBOARD_VISIBLE;
	return sent ? DASHBOARD_UNKNOWN : DASHBOARD_INVISIBLE;
}

const char *dashboard_name(enum dashboard dashboard)
{
	static const char *const names[] = {"invisible", "unknown", "visible"};

	return names[dashboard];
}

const char *dashboard_text(enum dashboard dashboard)
{
	static const char *const texts[] = {
		"Fireworks never saw the request",
		"Fireworks may or may not have seen the request",
		"Fireworks has seen the request",
	};

	return texts[dashboard];
}

void failure_set(struct failure *failure, enum phase phase, enum error error, const char *detail)
{
	failure->phase = phase;
	failure->error = error;
	snprintf(failure->detail, sizeof(failure->detail), "%s", detail ? detail : "");
}

enum error error_of_connect_errno(int error_number)
{
	switch (error_number) {
	case ECONNREFUSED:
		return ERROR_CONNECTION_REFUSED;
	case ETIMEDOUT:
		return ERROR_CONNECTION_TIMEOUT;
	case EINVAL: /* of a blackhole route */
	case ENETUNREACH:
	case EHOSTUNREACH:
	case EADDRNOTAVAIL:
	case EAFNOSUPPORT:
	case EACCES:
	case EPERM:
		return ERROR_DESTINATION_IP_UNROUTABLE;
	case EMFILE:
	case ENFILE:
		return ERROR_CONNECTION_LIMIT_REACHED;
	default:
		return ERROR_CONNECTION_TERMINATED;
	}
}

enum error error_of_timeout(enum phase phase)
{
	switch (phase) {
	case PHASE_DNS:
		return ERROR_DNS_TIMEOUT;
	case PHASE_CONNECT:
	case PHASE_TLS:
		return ERROR_CONNECTION_TIMEOUT;
	case PHASE_WRITE:
		return ERROR_CONNECTION_WRITE_TIMEOUT;
	case PHASE_BODY:
		return ERROR_CONNECTION_READ_TIMEOUT;
	case PHASE_POOL:
		return ERROR_CONNECTION_LIMIT_REACHED;
	default:
		return ERROR_HTTP_RESPONSE_TIMEOUT;
	}
}
