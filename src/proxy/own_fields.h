#pragma once

/* The header fields that andiron adds to every answer: X-Andiron-Attempts and -Source, request
 * ids, x-should-retry, Server-Timing, Proxy-Status (RFC 9209) when something failed, and, where a
 * web page asks that may, what lets it read the answer (proxy/cors.h). */

#include <stdbool.h>

#include "net/fields.h"
#include "proxy/record.h"

/* `from_upstream`: the status is the upstream's. Adds to what the upstream sent of the same
 * name where that is a list, and keeps its request id. */
void own_fields_add(const struct record *record, bool from_upstream, struct fields *fields);
