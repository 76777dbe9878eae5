#pragma once

/* For net/http1.c: the line before a chunk's data (RFC 9112, 7.1). */

#include "net/http1_head.h"

/* Of a line without its end, and with no control byte but HTAB. The extensions of a response are
 * skipped, and so are blanks behind its size; those of a request must be as 7.1.1 writes them. */
bool http1_chunk_parse_size(
	enum http1_side side, const char *line, uint64_t *ret_size, struct http1_fault *ret_fault);
