#include "app/pulse.h"

#include <stdlib.h>
#include <string.h>

#include "app/systemd.h"
#include "app/worker.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/timer.h"
#include "proxy/upstream.h"

enum {
	STATUS_MS = 1000,
	LATE_PARTS = 8,            /* a late loop is looked after so much more often */
	MAX_PERIOD_MS = 3600000,   /* of keep-alives, whatever WATCHDOG_USEC is */
	AFTER_DRAIN_MS = 10 * 1000 /* last words, last lines of the log */
};

struct pulse {
	struct pulse_subject subject;
	struct timer *status_timer, *watchdog_timer;
	msec_t period_ms; /* of keep-alives; 0: nobody wants any */
	struct str told;  /* the last status */
	struct str note;
	bool stopping, late;
};

static void tell(const char *assignments)
{
	int error = systemd_notify(assignments);

	if (error < 0)
		log_warning("cannot tell systemd: %s", strerror(-error));
}

/* ---- How much there is to do. */

static void render_status(const struct pulse *pulse, struct str *out)
{
	size_t in_flight = 0, waiting = 0;

	for (size_t i = 0; i < pulse->subject.upstream_count; i++)
		upstream_add_counts(pulse->subject.upstreams[i], &in_flight, &waiting);
	str_addf(out, "STATUS=%s%zu in flight, %zu waiting", pulse->stopping ? "draining: " : "",
		in_flight, waiting);
	if (pulse->note.len)
		str_addf(out, "; %s", str_text(&pulse->note));
}

static void pulse_on_status(void *arg)
{
	struct pulse *pulse = arg;
	_cleanup_str_ struct str status = STR_NULL;

	render_status(pulse, &status);
	if (!str_same(str_text(&status), str_text(&pulse->told))) {
		systemd_notify(str_text(&status));
		str_clear(&pulse->told);
		str_add(&pulse->told, str_text(&status));
	}
	timer_start(pulse->status_timer, STATUS_MS);
}

/* `change` and the status in one datagram. */
static void tell_with_status(struct pulse *pulse, const char *change)
{
	_cleanup_str_ struct str text = STR_NULL;

	str_clear(&pulse->told);
	render_status(pulse, &pulse->told);
	str_addf(&text, "%s\n%s", change, str_text(&pulse->told));
	tell(str_text(&text));
	timer_start(pulse->status_timer, STATUS_MS);
}

/* ---- The watchdog. */

/* The first worker whose loop has not turned since it was asked to; -1: there is none. */
static int find_late(const struct pulse *pulse)
{
	for (size_t i = 0; i < pulse->subject.worker_count; i++) {
		if (!worker_has_turned(pulse->subject.workers[i]))
			return (int)i;
	}
	return -1;
}

static void ask_workers(const struct pulse *pulse)
{
	for (size_t i = 0; i < pulse->subject.worker_count; i++)
		worker_ask_to_turn(pulse->subject.workers[i]);
}

static void keep_alive(struct pulse *pulse)
{
	systemd_notify("WATCHDOG=1");
	pulse->late = false;
	ask_workers(pulse);
	timer_start(pulse->watchdog_timer, pulse->period_ms);
}

/* That it is called says that the main loop turns. */
static void pulse_on_watchdog(void *arg)
{
	struct pulse *pulse = arg;
	int late = find_late(pulse);

	if (late < 0) {
		keep_alive(pulse);
		return;
	}
	if (!pulse->late)
		log_warning("worker %d hangs: systemd's watchdog is told nothing until it goes on",
			late);
	pulse->late = true;
	timer_start(pulse->watchdog_timer, pulse->period_ms / LATE_PARTS);
}

/* ---- Life. */

/* Half of what systemd waits, as sd_watchdog_enabled(3) has it. */
static msec_t find_period(void)
{
	msec_t period_ms = systemd_watchdog_ms();

	if (!period_ms)
		return 0;
	period_ms = period_ms < 2 ? 1 : period_ms / 2;
	return period_ms < MAX_PERIOD_MS ? period_ms : MAX_PERIOD_MS;
}

struct pulse *pulse_new(struct event_base *base)
{
	struct pulse *pulse;

	if (!systemd_is_listening())
		return NULL;
	pulse = xcalloc(1, sizeof(*pulse));
	pulse->period_ms = find_period();
	pulse->status_timer = timer_new(base, pulse_on_status, pulse);
	pulse->watchdog_timer = timer_new(base, pulse_on_watchdog, pulse);
	return pulse;
}

void pulse_ready(struct pulse *pulse, const struct pulse_subject *subject)
{
	if (!pulse || pulse->stopping)
		return;
	pulse->subject = *subject;
	tell_with_status(pulse, "READY=1");
	if (pulse->period_ms)
		keep_alive(pulse);
}

void pulse_watch(struct pulse *pulse, const struct pulse_subject *subject)
{
	if (pulse)
		pulse->subject = *subject;
}

void pulse_reloading(struct pulse *pulse)
{
	if (pulse && !pulse->stopping)
		systemd_notify_reloading();
}

void pulse_note(struct pulse *pulse, const char *note)
{
	if (!pulse)
		return;
	str_clear(&pulse->note);
	str_add(&pulse->note, note ? note : "");
	pulse_on_status(pulse);
}

void pulse_stopping(struct pulse *pulse, msec_t drain_ms)
{
	_cleanup_str_ struct str text = STR_NULL;

	if (!pulse)
		return;
	pulse->stopping = true;
	str_addf(&text, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%lld",
		(long long)(drain_ms + AFTER_DRAIN_MS) * 1000);
	tell_with_status(pulse, str_text(&text));
}

void pulse_free(struct pulse *pulse)
{
	if (!pulse)
		return;
	timer_free(pulse->status_timer);
	timer_free(pulse->watchdog_timer);
	str_fini(&pulse->told);
	str_fini(&pulse->note);
	free(pulse);
}

void pulse_hand_over(struct pulse *pulse, long long pid)
{
	_cleanup_str_ struct str text = STR_NULL;

	str_addf(&text, "MAINPID=%lld", pid);
	if (pulse)
		tell(str_text(&text));
	pulse_free(pulse);
}
