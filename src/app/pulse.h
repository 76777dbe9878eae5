#pragma once

/* What systemd hears of a running daemon: that it is ready, reloads, stops; how much there is to do
 * (`systemctl status`), at most once a second; and the watchdog's keep-alives, each only if every
 * loop has turned since the last one. It lives on the main loop, and does nothing where systemd did
 * not start this process. */

#include <stddef.h>

#include "base/clock.h"

struct event_base;
struct pulse;
struct upstream;
struct worker;

/* What it watches; all of it is the caller's and outlives the pulse, or the next subject. */
struct pulse_subject {
	struct worker *const *workers;
	size_t worker_count;
	struct upstream *const *upstreams;
	size_t upstream_count;
};

struct pulse *pulse_new(struct event_base *base);
void pulse_free(struct pulse *pulse);
/* It is ready (READY=1), after its start or a reload, and this is what there is to watch. */
void pulse_ready(struct pulse *pulse, const struct pulse_subject *subject);
/* Something of that has changed. */
void pulse_watch(struct pulse *pulse, const struct pulse_subject *subject);
/* A reload begins; pulse_ready() ends it, also one that changed nothing. */
void pulse_reloading(struct pulse *pulse);
/* What people should know, beside the status, until the next note; NULL: nothing. */
void pulse_note(struct pulse *pulse, const char *note);
/* The drain begins; so long it may take, whatever the unit's TimeoutStopSec= is. */
void pulse_stopping(struct pulse *pulse, msec_t drain_ms);
/* Another process is the service's main one from here on. Ends the pulse. */
void pulse_hand_over(struct pulse *pulse, long long pid);
