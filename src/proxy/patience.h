#pragma once

/* When a stream's client needs a sign of life: before it gives up waiting for the first byte, and
 * in every silence after that. What it gets is the exchange's to say. Lives inside its exchange. */

#include <stdbool.h>

#include "base/clock.h"

struct event_base;
struct request;
struct timer;

struct patience {
	struct timer *timer;
	msec_t last;                   /* the silence began */
	msec_t wait_ms;                /* how long it may last; MSEC_NEVER */
	msec_t waiting_ms, running_ms; /* the same after the first sign, and in a stream */
	bool running;
};

typedef void patience_on_timer(void *arg);

/* The silence begins now. `on_timer` comes from the loop and asks patience_is_due(). */
void patience_init(struct patience *patience, struct event_base *base,
	const struct request *request, patience_on_timer *on_timer, void *arg);
/* Has the silence lasted long enough? Then a sign is due, and another silence begins. */
bool patience_is_due(struct patience *patience);
/* Something has gone to the client. */
void patience_touch(struct patience *patience);
/* The upstream's stream has begun. */
void patience_run(struct patience *patience);
/* Both also of a zeroed one. */
void patience_stop(struct patience *patience);
void patience_fini(struct patience *patience);
