#pragma once

/* A create met a 409 that an earlier attempt of its own may have caused: what that one made is read
 * in its place (CONTRACT, create_with_id). Lives inside its exchange. */

#include <stdbool.h>

#include "proxy/attempt.h"
#include "proxy/request.h"

struct created {
	struct attempt *conflict; /* with the 409; NULL: it has not come to that */
	struct answer *answer;    /* the 409 */
	char *target;
	struct fields fields;
	struct evbuffer *nothing; /* the body of a GET */
};

/* Takes over the attempt that has brought this 409, and says what to ask. False, and nothing is
 * changed, if what was created has no name. */
bool created_begin(struct created *created, const struct request *request, struct attempt *attempt,
	struct answer *conflict, struct transport_request *ret_asked);
/* Of a zeroed one, too. */
void created_fini(struct created *created);
