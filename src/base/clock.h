#pragma once

/* Time as a type. Monotonic milliseconds for everything that is decided; the wall clock only for
 * what a person reads in a log. */

#include <stddef.h>
#include <stdint.h>

typedef int64_t msec_t; /* a monotonic instant, or (in names that end in _ms) a duration */

#define MSEC_NEVER INT64_MAX

msec_t clock_mono(void);
/* The first instant of which it is sure that at least `delay_ms` have gone by since `now`: the
 * millisecond of `now` may be nearly over. */
static inline msec_t clock_after(msec_t now, msec_t delay_ms)
{
	return now + delay_ms + (delay_ms > 0);
}

/* The wall clock in microseconds since the epoch. */
int64_t clock_wall_us(void);
/* RFC 3339 in UTC with microseconds: 2026-06-07T08:09:10.123456Z; `size` at least 28. */
void clock_render_rfc3339(int64_t wall_us, char *ret, size_t size);
