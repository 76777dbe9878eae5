#include "net/transport.h"

#include <assert.h>

#include "net/pool.h"
#include "net/transport_type.h"

struct transport *transport_start(struct pool *pool, const struct transport_request *request,
	const struct transport_handler *handler, void *arg)
{
	assert(fields_are_sendable(request->fields));
	return pool_transport(pool)->start(pool, request, handler, arg);
}

void transport_cancel(struct transport *transport)
{
	transport->type->cancel(transport);
}

void transport_finish(struct transport *transport)
{
	transport->type->finish(transport);
}

void transport_pause(struct transport *transport)
{
	transport->type->pause(transport);
}

void transport_resume(struct transport *transport)
{
	transport->type->resume(transport);
}

enum phase transport_phase(const struct transport *transport)
{
	return transport->type->phase(transport);
}

const struct transport_facts *transport_facts(const struct transport *transport)
{
	return &transport->facts;
}
