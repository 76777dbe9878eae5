#pragma once

/* For net/http1.c: what the lines of a head say, as functions of their text. A line comes without
 * its end, and holds no control byte but HTAB. */

#include "net/http1.h"

#define HTTP1_BLANKS " \t"

/* Why a message is refused, as http1_error() and http1_error_status() say it. */
struct http1_fault {
	int status;
	const char *why;
};

/* Fills in the fault; always false, so that a parser can return it. */
bool http1_head_refuse(struct http1_fault *ret_fault, int status, const char *why);

/* Any control byte but HTAB, which no line may hold. */
bool http1_head_has_control(const char *bytes, size_t len);

/* `ret->minor`, `method` and `target` (RFC 9112, 3). */
bool http1_head_parse_request_line(
	const char *line, struct http1_head *ret, struct http1_fault *ret_fault);
/* `ret->minor`, `status` and `reason` (RFC 9112, 4). */
bool http1_head_parse_status_line(
	const char *line, struct http1_head *ret, struct http1_fault *ret_fault);
/* Cuts a line that holds a colon into its name and its value (RFC 9112, 5.1). */
bool http1_head_cut_field(enum http1_side side, char *line, const char **ret_name,
	const char **ret_value, struct http1_fault *ret_fault);

/* `head->framing` and `length`, of a head that is whole otherwise (RFC 9112, 6.3). */
bool http1_head_frame_request(struct http1_head *head, struct http1_fault *ret_fault);
bool http1_head_frame_response(
	struct http1_head *head, bool bodiless, struct http1_fault *ret_fault);
/* What http1_persists() says of a whole head. */
bool http1_head_persists(const struct http1_head *head);

void http1_head_fini(struct http1_head *head);
