#pragma once

/* Messages on their way through: which header fields go on to the other side, and the answers
 * that andiron makes itself. */

#include <stdbool.h>

#include "base/str.h"
#include "net/fields.h"
#include "policy/failure.h"
#include "policy/soft_error.h"

/* The client's fields as the upstream gets them: without those of the connection, Host, Expect,
 * framing and X-Andiron-*. For a streamed answer `Accept-Encoding` becomes `identity`: a stream
 * must be read to be kept whole. The caller adds Host, length, key and request id. */
void message_copy_request_fields(const struct fields *from, bool stream, struct fields *ret);

/* The upstream's fields as the client gets them: without those of the connection, andiron's own
 * names, Access-Control-* (proxy/cors.h) and, with `keep_length` false, Content-Length. */
void message_copy_response_fields(const struct fields *from, bool keep_length, struct fields *ret);

/* Those statuses on which an SDK's own retries would multiply andiron's (x-should-retry). */
bool message_stops_sdk_retries(int status);

/* The body of andiron's own errors: {"error":{message,type,param,code}}; Anthropic's clients want
 * a type beside it. */
void message_render_error(enum error error, const char *message, bool anthropic, struct str *ret);
/* The same as a server-sent event, the shape that every SDK raises on; with the upstream's own
 * message, type and code where it `said` them. */
void message_render_error_event(
	enum error error, const char *message, const struct soft_error *said, struct str *ret);
/* An error body of what an upstream said in an event. */
void message_render_upstream_error(const struct soft_error *said, struct str *ret);

/* The standard reason phrase (RFC 9110, 15); some SDKs show nothing else. */
const char *message_reason(int status);
