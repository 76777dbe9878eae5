#pragma once

/* The daemon's own parts, for its four files: daemon (start and run), daemon_reload,
 * daemon_upgrade, daemon_end. All of it belongs to the main thread. */

#include "app/daemon.h"
#include "app/generations.h"
#include "app/listeners.h"
#include "app/staff.h"
#include "base/budget.h"

struct admin;
struct event_base;
struct event_log;
struct predecessor;
struct pulse;
struct successor;
struct timer;
struct writer;

enum daemon_phase {
	DAEMON_WAITING, /* all is made; for the predecessor's word */
	DAEMON_SERVING,
	DAEMON_RETIRING, /* the successor serves; what runs here goes on */
	DAEMON_DRAINING, /* told to end: what runs here goes on, within drain_timeout */
	DAEMON_CUTTING,  /* the last words of what did not end in it */
	DAEMON_STOPPING, /* the loops are told to stop as they are */
};

enum { DAEMON_FLUSH_MS = 2000 }; /* for the last log lines */

struct daemon {
	struct daemon_setup setup;
	enum daemon_phase phase;
	int code; /* to exit with */
	struct writer *stderr_writer;
	struct event_log *log;
	struct generations generations;
	struct activation activation; /* what systemd has passed */
	struct listeners listeners, admin_listener;
	struct listeners inherited,
		inherited_admin; /* what it has not taken of them; until it is the one */
	struct admin *admin;
	struct budget memory, connections; /* shared by the workers */
	struct staff staff;
	struct event_base *base;
	struct timer *phase_timer; /* of the phases at the end */
	int done_fd;
	struct pulse *pulse;             /* NULL: nobody wants to feel it */
	struct predecessor *predecessor; /* NULL: there was none */
	struct successor *successor;
	bool on_terminal; /* started there */
	bool is_the_one;  /* nobody else serves here */
	bool signalled;   /* it has been told to end */
	bool called_off;  /* the predecessor goes on: what it has handed over stays its own */
	bool reloading;   /* not every worker knows yet */
};

/* ---- daemon */

const struct config *daemon_config(const struct daemon *daemon);
/* What it is at, when it does not serve; else NULL. */
const char *daemon_is_at(const struct daemon *daemon);
/* An event of state; `detail` may be NULL. */
void daemon_tell_state(struct daemon *daemon, const char *state, const char *detail);
/* The same at the level of an error. */
void daemon_tell_failure(struct daemon *daemon, const char *state, const char *why);
size_t daemon_count_workers(const struct config *config);
/* Those of the newest configuration. */
void daemon_set_limits(struct daemon *daemon);
struct worker_news daemon_news(struct generation *generation, const struct listeners *listeners);
/* `next` takes the place of the admin listener. */
void daemon_reload_admin(struct daemon *daemon, struct listeners *next);
void daemon_watch(struct daemon *daemon);
void daemon_tell_ready(struct daemon *daemon);
/* From here on it accepts. */
void daemon_serve(struct daemon *daemon);
/* And nobody else does: what it has not taken of its inheritance is closed, and systemd may know.
 */
void daemon_be_the_one(struct daemon *daemon);

/* ---- daemon_reload */

void daemon_reload(struct daemon *daemon);
/* A worker has taken its news: was it the last one? */
void daemon_go_on_reloading(struct daemon *daemon);

/* ---- daemon_upgrade */

/* At the start: takes what the predecessor hands over. False, after an error line. */
bool daemon_inherit(struct daemon *daemon);
/* All is made; the predecessor is to say when this process serves. */
void daemon_ask_to_go(struct daemon *daemon);
void daemon_prepare_upgrade(struct daemon *daemon);
void daemon_upgrade(struct daemon *daemon);

/* ---- daemon_end */

void daemon_on_phase_timer(void *arg);
/* The successor serves. */
void daemon_retire(struct daemon *daemon);
/* As a signal has it: drains, or, if it is the second one, ends at once. */
void daemon_end(struct daemon *daemon);
void daemon_drain(struct daemon *daemon);
/* As it is, without a drain. */
void daemon_stop(struct daemon *daemon);
void daemon_end_if_done(struct daemon *daemon);
