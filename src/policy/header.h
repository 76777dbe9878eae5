#pragma once

/* What header fields say, as pure functions of their text. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"

/* Fields of one connection, which are never passed on (RFC 9110, 7.6.1). What `Connection` names
 * comes on top. */
bool header_is_hop_by_hop(const char *name);

/* Does a comma-separated list hold this token, letter case aside? */
bool header_list_has(const char *list, const char *token);

/* A decimal number without a sign ("1.5"), times `scale`, what is smaller than one cut off; -1 if
 * the text is none. An absurdly large one stays large. */
int64_t header_parse_decimal(const char *text, int64_t scale);

/* How long the upstream asks to wait: `retry-after-ms` where it parses, else `Retry-After` (whole
 * or fractional seconds, or an HTTP-date against the wall clock). Milliseconds, or -1 where
 * neither says anything. NULL for a field that is missing. RFC 9110, 10.2.3. */
int64_t header_retry_after_ms(
	const char *retry_after, const char *retry_after_ms, int64_t wall_now_us);

/* How long the upstream's quota is used up: by `RateLimit` (draft-ietf-httpapi-ratelimit-headers, a
 * list of policies), the longest `t` of those with `r=0`; where that is missing or malformed, by
 * the older RateLimit-Remaining (`0`) and RateLimit-Reset (seconds). Milliseconds, or -1: there is
 * quota left, or nothing well-formed says how long. NULL for a field that is missing. */
msec_t header_ratelimit_wait_ms(const char *ratelimit, const char *remaining, const char *reset);

/* Is this a token, such as a field's name is (RFC 9110, 5.6.2)? */
bool header_is_token(const char *text, size_t len);
/* How many bytes of a token a text begins with. */
size_t header_token_span(const char *text);

/* Is this a `traceparent` to be passed on (W3C Trace Context, 3.2): version 00, no id all zero? */
bool header_is_traceparent(const char *value);

/* Is this Content-Type text/event-stream, with or without parameters? */
bool header_is_event_stream(const char *content_type);
