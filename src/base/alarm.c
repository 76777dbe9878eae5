#include "base/alarm.h"

#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/mem.h"

struct alarm {
	int fd;
};

struct alarm *alarm_new(void)
{
	struct alarm *alarm = xcalloc(1, sizeof(*alarm));

	alarm->fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (alarm->fd < 0)
		abort();
	return alarm;
}

void alarm_free(struct alarm *alarm)
{
	if (!alarm)
		return;
	close(alarm->fd);
	free(alarm);
}

void alarm_set(struct alarm *alarm, msec_t due)
{
	struct itimerspec when = {.it_value = {.tv_sec = 0}};

	if (due != MSEC_NEVER) {
		when.it_value.tv_sec = due / 1000;
		when.it_value.tv_nsec = due % 1000 * 1000000 + 1; /* all zero would stop it */
	}
	timerfd_settime(alarm->fd, TFD_TIMER_ABSTIME, &when, NULL);
}

int alarm_fd(const struct alarm *alarm)
{
	return alarm->fd;
}

void alarm_clear(struct alarm *alarm)
{
	uint64_t count;

	(void)!read(alarm->fd, &count, sizeof(count));
}
