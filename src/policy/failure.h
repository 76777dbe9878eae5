#pragma once

/* A failure is a value: where it happened, what it was, and whether the upstream can know. */

#include <stdbool.h>

enum phase {
#define PHASE(id, ...) id,
#include "policy/failure.def"
};

enum error {
#define ERROR(id, ...) id,
#include "policy/failure.def"
};

/* Can the Fireworks dashboard have counted the attempt? It counts what its servers acknowledged. */
enum dashboard {
	DASHBOARD_INVISIBLE, /* failed before a byte of the request was sent */
	DASHBOARD_UNKNOWN,   /* sent, at least in part, and no answer that is HTTP */
	DASHBOARD_VISIBLE,   /* answered */
};

struct failure {
	enum phase phase;
	enum error error;
	char detail[160]; /* the errno, resolver code or OpenSSL reason, in words; may be empty */
};

const char *phase_name(enum phase phase);
const char *phase_text(enum phase phase);
const char *error_name(enum error error);
const char *error_text(enum error error);
/* The status that the client gets for this error when the upstream gave none (RFC 9209, 2.3). */
int error_status(enum error error);

enum dashboard failure_dashboard(bool sent, bool answered);
const char *dashboard_name(enum dashboard dashboard);
/* The same for a person: "Fireworks never saw this request". */
const char *dashboard_text(enum dashboard dashboard);

void failure_set(struct failure *failure, enum phase phase, enum error error, const char *detail);

/* The RFC 9209 type of a socket error number while the connection is being made. */
enum error error_of_connect_errno(int error_number);
/* What ran out when this phase took too long. */
enum error error_of_timeout(enum phase phase);
