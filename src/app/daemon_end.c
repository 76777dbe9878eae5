/* Of the daemon: its last phases, each of which leads to a later one only. */
#include <event2/event.h>
#include <sysexits.h>
#include <unistd.h>

#include "admin/admin.h"
#include "app/daemon_parts.h"
#include "app/predecessor.h"
#include "app/pulse.h"
#include "app/successor.h"
#include "base/log.h"
#include "base/writer.h"
#include "net/timer.h"
#include "proxy/event_log.h"

enum {
	LOOK_MS = 50, /* how often a retiring process looks for admin connections that ended */
	LAST_WORDS_MS = 1000, /* for the error events of streams that were cut */
};

static bool is_done(struct daemon *daemon)
{
	return staff_sweep(&daemon->staff) == 0 && !predecessor_is_alive(daemon->predecessor) &&
	       (daemon->phase != DAEMON_RETIRING || admin_has_retired(daemon->admin));
}

void daemon_end_if_done(struct daemon *daemon)
{
	if (is_done(daemon))
		event_base_loopbreak(daemon->base);
}

void daemon_stop(struct daemon *daemon)
{
	daemon->phase = DAEMON_STOPPING;
	staff_command(&daemon->staff, WORKER_STOP);
	timer_start(daemon->phase_timer, LAST_WORDS_MS); /* a predecessor may be still at it */
}

void daemon_on_phase_timer(void *arg)
{
	struct daemon *daemon = arg;

	switch (daemon->phase) {
	case DAEMON_WAITING:
	case DAEMON_SERVING:
		break;
	case DAEMON_RETIRING:
		daemon_end_if_done(daemon);
		timer_start(daemon->phase_timer, LOOK_MS);
		break;
	case DAEMON_DRAINING:
		daemon->phase = DAEMON_CUTTING;
		staff_command(&daemon->staff, WORKER_CUT);
		timer_start(daemon->phase_timer, LAST_WORDS_MS);
		break;
	case DAEMON_CUTTING:
		daemon_stop(daemon);
		break;
	case DAEMON_STOPPING:
		event_base_loopbreak(daemon->base);
		break;
	}
}

void daemon_retire(struct daemon *daemon)
{
	daemon->phase = DAEMON_RETIRING;
	daemon->reloading = false;
	listeners_lend(&daemon->listeners, true);
	listeners_lend(&daemon->admin_listener, true);
	listeners_close(&daemon->listeners);
	listeners_close(&daemon->admin_listener);
	admin_retire(daemon->admin);
	staff_command(&daemon->staff, WORKER_RETIRE);
	timer_start(daemon->phase_timer, LOOK_MS);
}

static void end_at_once(struct daemon *daemon)
{
	log_warning("a second signal: ending at once");
	event_log_flush(daemon->log); /* the workers are still at it: nothing is freed */
	writer_flush(daemon->stderr_writer, DAEMON_FLUSH_MS);
	_exit(EX_OK);
}

/* Whoever ends an old and a new process by signals means one each, although the new one passes its
 * own on. */
void daemon_end(struct daemon *daemon)
{
	if (daemon->signalled)
		end_at_once(daemon);
	daemon->signalled = true;
	daemon_drain(daemon);
}

void daemon_drain(struct daemon *daemon)
{
	msec_t timeout = daemon_config(daemon)->server.drain_timeout;

	if (daemon->phase >= DAEMON_DRAINING)
		return;
	daemon->phase = DAEMON_DRAINING;
	daemon->reloading = false;
	log_info("draining: running requests may go on for %lld s; a second signal ends at once",
		(long long)timeout / 1000);
	daemon_tell_state(daemon, "drain", NULL);
	successor_give_up(daemon->successor, "this process has been told to end");
	pulse_stopping(daemon->pulse, timeout);
	predecessor_drain(daemon->predecessor);
	listeners_close(&daemon->listeners);
	staff_command(&daemon->staff, WORKER_DRAIN);
	timer_start(daemon->phase_timer, timeout);
	daemon_end_if_done(daemon); /* a retiring process may have had admin connections only */
}
