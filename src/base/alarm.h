#pragma once

/* A clock that rings at an instant, set by any thread and heard by one: its descriptor becomes
 * readable. */

#include "base/clock.h"

struct alarm;

struct alarm *alarm_new(void);
void alarm_free(struct alarm *alarm);
/* Rings at `due`, or at once if that is over; MSEC_NEVER: not at all. Replaces what was set. */
void alarm_set(struct alarm *alarm, msec_t due);
int alarm_fd(const struct alarm *alarm);
/* It was heard: the descriptor is quiet again. */
void alarm_clear(struct alarm *alarm);
