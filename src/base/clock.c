#include "base/clock.h"

#include <stdio.h>
#include <time.h>

msec_t clock_mono(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (msec_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t clock_wall_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void clock_render_rfc3339(int64_t wall_us, char *ret, size_t size)
{
	time_t seconds = (time_t)(wall_us / 1000000);
	struct tm utc;
	char date[24];

	gmtime_r(&seconds, &utc);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(ret, size, "%s.%06dZ", date, (int)(wall_us % 1000000));
}
