#pragma once

/* A lane: the requests for one model with one key, which an upstream counts together. It has a
 * pace, a breaker and a queue in the order of arrival. The lanes of an upstream belong to its
 * struct lanes, which lets the longest idle one go when there are too many. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "policy/breaker.h"
#include "policy/failure.h"
#include "policy/pacer.h"

enum { LANES_MAX = 1024, LANE_NAME_SIZE = 160 };

struct ticket;
TAILQ_HEAD(ticket_list, ticket);

struct lane {
	TAILQ_ENTRY(lane) entry; /* in lanes.list */
	TAILQ_ENTRY(lane) turn;  /* among those with work; only while `waiting` is not empty */
	uint64_t id;             /* a keyed hash of key and model */
	char name[LANE_NAME_SIZE];
	size_t tickets; /* that know it: they keep it alive */
	size_t waiting_count, in_flight;
	struct ticket_list waiting; /* in the order of arrival */
	struct pacer pacer;
	struct breaker breaker; /* 5xx */
	struct failure last_failure;
	int last_status;
	msec_t asked_ms;  /* the last Retry-After; 0: none */
	double told_rate; /* what the event log was told of the pace last; 0: nothing */
	msec_t told_at;
	double answer_ms, answer_deviation_ms; /* how long an answer takes, smoothed; 0: unknown */
};

TAILQ_HEAD(lane_list, lane);

struct lanes {
	struct lane_list list; /* the last used one first */
	size_t count;
	struct lane *other; /* for newcomers while all are busy; NULL: not yet needed */
	unsigned char secret[16];
};

void lanes_init(struct lanes *lanes);
void lanes_fini(struct lanes *lanes);
/* What tells lanes apart: keyed hashes of the API key, and of that and the model. */
struct lane_key {
	uint64_t of_key, id;
};

/* Model and key may be NULL each, for none. */
struct lane_key lanes_key(const struct lanes *lanes, const char *model, const char *key);
/* The lane of these; the caller counts its ticket in it. */
struct lane *lanes_find(
	struct lanes *lanes, const struct lane_key *id, const char *model, const char *key);
