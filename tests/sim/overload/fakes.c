/* What upstream.c calls. */

#include <stdlib.h>
#include <string.h>

#include "base/alarm.h"
#include "base/mem.h"
#include "base/random.h"
#include "overload.h"
#include "proxy/event_log.h"

/* ---- base/clock.h, base/random.h */

msec_t clock_mono(void)
{
	return world_now;
}

int64_t clock_wall_us(void)
{
	return world_now * 1000;
}

double random_unit(void)
{
	return rng_unit(&world_rng);
}

void random_bytes(void *ret, size_t size)
{
	memset(ret, 0x5a, size);
}

/* ---- base/alarm.h: rings in the loop. */

struct alarm {
	struct task task;
	struct upstream *upstream;
};

static struct alarm *newest;

static void on_alarm(void *arg)
{
	struct alarm *alarm = arg;

	upstream_on_time(alarm->upstream);
}

struct alarm *alarm_new(void)
{
	newest = xcalloc(1, sizeof(*newest));
	task_init(&newest->task, on_alarm, newest);
	return newest;
}

void fakes_attach(struct upstream *upstream)
{
	newest->upstream = upstream;
}

void alarm_free(struct alarm *alarm)
{
	if (alarm)
		task_stop(&alarm->task);
	free(alarm);
}

void alarm_set(struct alarm *alarm, msec_t due)
{
	if (due == MSEC_NEVER)
		task_stop(&alarm->task);
	else
		task_start(&alarm->task, due);
}

int alarm_fd(const struct alarm *alarm)
{
	(void)alarm;
	return -1;
}

void alarm_clear(struct alarm *alarm)
{
	(void)alarm;
}

/* ---- proxy/mailbox.h: one of them, and a letter is delivered next. */

static TAILQ_HEAD(, letter) letters = TAILQ_HEAD_INITIALIZER(letters);
static struct task delivery;

static void on_delivery(void *arg)
{
	struct letter *letter = TAILQ_FIRST(&letters);

	(void)arg;
	if (!letter)
		return;
	TAILQ_REMOVE(&letters, letter, entry);
	letter->posted = false;
	if (!TAILQ_EMPTY(&letters))
		task_start(&delivery, world_now);
	letter->on_delivery(letter->arg);
}

void mailbox_post(struct mailbox *mailbox, struct letter *letter)
{
	(void)mailbox;
	if (letter->posted)
		return;
	letter->posted = true;
	if (TAILQ_EMPTY(&letters)) {
		task_stop(&delivery);
		task_init(&delivery, on_delivery, NULL);
		task_start(&delivery, world_now);
	}
	TAILQ_INSERT_TAIL(&letters, letter, entry);
}

void mailbox_withdraw(struct mailbox *mailbox, struct letter *letter)
{
	(void)mailbox;
	if (letter->posted)
		TAILQ_REMOVE(&letters, letter, entry);
	if (TAILQ_EMPTY(&letters))
		task_stop(&delivery);
	letter->posted = false;
}

/* ---- proxy/event_log.h */

void event_log_write(struct event_log *log, const struct event *event)
{
	(void)log;
	measures->notes += event->state != NULL;
}
