#pragma once

/* An answer that andiron makes itself: an error as the SDKs expect it, or a 204 without a body. */

#include <stdbool.h>

#include "policy/failure.h"
#include "proxy/client.h"
#include "proxy/record.h"

struct reply {
	int status;
	enum error error;
	const char *message;
	const struct fields *fields; /* more of the answer's; NULL: none */
	bool may_retry;              /* the SDK may, soon: Retry-After, x-should-retry: true */
	msec_t retry_after_ms;       /* 0: none, or a second if it may retry */
	bool close;                  /* the connection ends with it */
};

/* Sends it and ends the answer; the client may be gone when this returns. */
void reply_send(struct client *client, const struct record *record, const struct reply *reply);
/* The early head of a stream whose client would not wait any longer. */
void reply_start_stream(struct client *client, const struct record *record, bool close);
