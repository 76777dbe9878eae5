#pragma once

/* Three failures in a row, of at least two requests, pause the sends; then one request at a time
 * probes, until one of them succeeds. One that is out for five seconds lets another one go: whole
 * answers of models take minutes, and an outage answers at once. Whether a failure was a 5xx (of a
 * lane) or a connection that could not be made (of an upstream) is its owner's to know. */

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

enum breaker_state {
	BREAKER_PASSING,
	BREAKER_PAUSED,  /* until `probe_at`, and from then on until somebody probes */
	BREAKER_PROBING, /* one request is out; if it is silent until `probe_at`, one more may go */
};

struct breaker {
	enum breaker_state state;
	int failures;           /* in a row */
	uint64_t first_request; /* whose the first of them was */
	bool several;           /* they were of more than one request */
	int failed_probes;      /* since it paused */
	msec_t probe_at;
	msec_t paused_ms, paused_at; /* all the pauses that are over; the one that runs */
};

/* What a report has changed. */
enum breaker_change { BREAKER_SAME, BREAKER_TRIPPED, BREAKER_RECOVERED };

/* May a request go? If it is to be a probe, breaker_begin_probe() follows. */
bool breaker_may_send(const struct breaker *breaker, msec_t now);
bool breaker_is_paused(const struct breaker *breaker);
void breaker_begin_probe(struct breaker *breaker, msec_t now);
/* The probe ended, and told nothing: its client left. Another one may go at once. */
void breaker_abandon_probe(struct breaker *breaker, msec_t now);
/* `request` tells requests apart; `probe`: it was the probe; `random` is uniform in [0, 1). */
enum breaker_change breaker_on_failure(
	struct breaker *breaker, uint64_t request, bool probe, msec_t now, double random);
enum breaker_change breaker_on_success(struct breaker *breaker, bool probe, msec_t now);
/* Open, whatever it was. */
void breaker_reset(struct breaker *breaker, msec_t now);
/* How long it has been paused, all pauses together. */
msec_t breaker_paused_ms(const struct breaker *breaker, msec_t now);
