#pragma once

/* A one-shot timer of an event loop. */

#include "base/clock.h"

struct event_base;
struct timer;

typedef void timer_on_fire(void *arg);

struct timer *timer_new(struct event_base *base, timer_on_fire *on_fire, void *arg);
/* Stops it first; NULL is fine. */
void timer_free(struct timer *timer);
/* Fires once, `delay_ms` from now at the earliest; a running timer starts anew. 0: in the next
 * turn of the loop, never inside this call. */
void timer_start(struct timer *timer, msec_t delay_ms);
void timer_stop(struct timer *timer);
