/* Of the daemon: another process takes over from it, and it from another (app/handover). */
#include <stdio.h>
#include <sysexits.h>
#include <unistd.h>

#include "app/daemon_parts.h"
#include "app/predecessor.h"
#include "app/pulse.h"
#include "app/successor.h"
#include "base/log.h"
#include "base/str.h"

enum { MAX_DEPTH = 8 }; /* of processes that have requests still */

/* ---- From the predecessor. */

static void daemon_on_go(void *arg)
{
	struct daemon *daemon = arg;

	if (daemon->phase == DAEMON_WAITING)
		daemon_serve(daemon);
}

static void daemon_on_called_off(void *arg)
{
	struct daemon *daemon = arg;

	daemon->called_off = true;
	if (daemon->phase == DAEMON_SERVING)
		daemon_drain(daemon);
}

static void daemon_on_yours(void *arg)
{
	struct daemon *daemon = arg;

	listeners_lend(&daemon->listeners, false);
	listeners_lend(&daemon->admin_listener, false);
	listeners_lend(&daemon->inherited, false);
	listeners_lend(&daemon->inherited_admin, false);
	daemon_be_the_one(daemon);
}

static void daemon_on_predecessor_end(void *arg)
{
	struct daemon *daemon = arg;

	if (daemon->phase == DAEMON_WAITING) {
		log_error("nothing is taken over: the process that has started this one has ended, "
			  "or has given it up");
		daemon->code = EX_TEMPFAIL;
		daemon_stop(daemon);
	} else if (!daemon->called_off) {
		daemon_on_yours(daemon);
	}
	daemon_end_if_done(daemon);
}

bool daemon_inherit(struct daemon *daemon)
{
	static const struct predecessor_handler handler = {
		.on_go = daemon_on_go,
		.on_called_off = daemon_on_called_off,
		.on_yours = daemon_on_yours,
		.on_end = daemon_on_predecessor_end,
	};

	if (!daemon->setup.has_predecessor)
		return true;
	daemon->predecessor = predecessor_new(daemon->base, &handler, daemon, &daemon->inherited,
		&daemon->inherited_admin, &daemon->activation);
	return daemon->predecessor != NULL;
}

void daemon_ask_to_go(struct daemon *daemon)
{
	daemon->phase = DAEMON_WAITING;
	predecessor_tell_ready(daemon->predecessor); /* where it has gone, its end is seen */
}

/* ---- To the successor. */

static void daemon_on_failed(void *arg, const char *why)
{
	_cleanup_str_ struct str note = STR_NULL;
	struct daemon *daemon = arg;

	log_error("not upgraded, and everything goes on as it was: %s", why);
	str_addf(&note, "not upgraded: %s", why);
	pulse_note(daemon->pulse, str_text(&note));
	daemon_tell_failure(daemon, "upgrade_failed", why);
}

static void daemon_on_serving(void *arg, long long pid)
{
	struct daemon *daemon = arg;
	char detail[64];

	snprintf(detail, sizeof(detail), "process %lld has taken over", pid);
	log_info("%s: what runs here goes on to its end", detail);
	daemon_tell_state(daemon, "upgrade", detail);
	pulse_hand_over(daemon->pulse, pid);
	daemon->pulse = NULL;
	daemon_retire(daemon);
}

static void daemon_on_drain(void *arg)
{
	struct daemon *daemon = arg;

	daemon_drain(daemon);
}

void daemon_prepare_upgrade(struct daemon *daemon)
{
	static const struct successor_handler handler = {
		.on_failed = daemon_on_failed,
		.on_serving = daemon_on_serving,
		.on_drain = daemon_on_drain,
	};
	struct successor_program program = {
		.argv = daemon->setup.argv,
		.environment_key = daemon->setup.environment_key,
	};

	daemon->successor = successor_new(daemon->base, &program, &handler, daemon);
}

void daemon_upgrade(struct daemon *daemon)
{
	if (daemon_is_at(daemon)) {
		log_warning("not upgraded: this process is %s", daemon_is_at(daemon));
	} else if (!daemon->is_the_one) {
		daemon_on_failed(daemon, "this process is only just taking over itself");
	} else if (successor_is_starting(daemon->successor)) {
		log_warning("not upgraded again: a new process is starting already");
	} else if (predecessor_depth(daemon->predecessor) >= MAX_DEPTH) {
		daemon_on_failed(daemon, "too many earlier processes have requests still; try "
					 "again when they have ended");
	} else if (getpid() == 1) {
		daemon_on_failed(daemon,
			"a container ends with its first process; start a new container instead");
	} else {
		log_info("upgrading: %s is started, and takes over when it is ready",
			daemon->setup.argv[0]);
		pulse_note(daemon->pulse, NULL);
		successor_start(daemon->successor, &daemon->listeners, &daemon->admin_listener,
			&daemon->activation, predecessor_depth(daemon->predecessor) + 1);
	}
}
