#pragma once

/* For the transports themselves: what each kind is made of. */

#include "net/transport.h"

struct transport_type {
	struct transport *(*start)(struct pool *pool, const struct transport_request *request,
		const struct transport_handler *handler, void *arg);
	void (*cancel)(struct transport *transport);
	void (*finish)(struct transport *transport);
	void (*pause)(struct transport *transport);
	void (*resume)(struct transport *transport);
	enum phase (*phase)(const struct transport *transport);
};

/* The first member of every kind. */
struct transport {
	const struct transport_type *type;
	struct transport_facts facts;
};

#define TRANSPORT_FACTS_INIT                                                                       \
	((struct transport_facts){.dns_ms = -1,                                                    \
		.connect_ms = -1,                                                                  \
		.tls_ms = -1,                                                                      \
		.write_ms = -1,                                                                    \
		.first_byte_ms = -1})
