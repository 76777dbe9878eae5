#include "proxy/created.h"

#include <event2/buffer.h>
#include <stdlib.h>

bool created_begin(struct created *created, const struct request *request, struct attempt *attempt,
	struct answer *conflict, struct transport_request *ret_asked)
{
	created->target = request_created_target(request, &created->fields);
	if (!created->target)
		return false;
	created->nothing = evbuffer_new();
	if (!created->nothing)
		abort();
	created->conflict = attempt;
	created->answer = conflict;
	*ret_asked = (struct transport_request){
		.method = "GET",
		.target = created->target,
		.fields = &created->fields,
		.body = created->nothing,
		.max_idle_ms = MSEC_NEVER,
	};
	return true;
}

void created_fini(struct created *created)
{
	attempt_cancel(created->conflict);
	if (created->nothing)
		evbuffer_free(created->nothing);
	fields_fini(&created->fields);
	free(created->target);
	*created = (struct created){.conflict = NULL};
}
