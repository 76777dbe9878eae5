#include "app/daemon.h"

#include <event2/event.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

#include "admin/admin.h"
#include "app/daemon_parts.h"
#include "app/hello.h"
#include "app/predecessor.h"
#include "app/pulse.h"
#include "app/signals.h"
#include "app/successor.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/writer.h"
#include "net/timer.h"
#include "proxy/event_log.h"

enum { MAX_AUTO_WORKERS = 8 };

const struct config *daemon_config(const struct daemon *daemon)
{
	return daemon->generations.newest->config;
}

const char *daemon_is_at(const struct daemon *daemon)
{
	if (daemon->phase == DAEMON_WAITING)
		return "waiting for the one from which it takes over";
	return daemon->phase == DAEMON_SERVING ? NULL : "ending";
}

static void tell(struct daemon *daemon, const char *level, const char *state, const char *detail)
{
	struct event event = EVENT_INIT;

	event.event = "state";
	event.level = level;
	event.state = state;
	event.detail = detail;
	event_log_write(daemon->log, &event);
}

void daemon_tell_state(struct daemon *daemon, const char *state, const char *detail)
{
	tell(daemon, "info", state, detail);
}

void daemon_tell_failure(struct daemon *daemon, const char *state, const char *why)
{
	tell(daemon, "error", state, why);
}

/* ---- What must work before anything runs. */

static bool open_log(struct daemon *daemon)
{
	_cleanup_str_ struct str error = STR_NULL;
	const struct log_options *options = &daemon->setup.config->log;

	log_set_level((enum log_level)options->level);
	daemon->stderr_writer = writer_new(STDERR_FILENO);
	daemon->log = event_log_new(options, daemon->stderr_writer, &error);
	if (!daemon->log)
		log_error("%s", str_text(&error));
	return daemon->log != NULL;
}

static bool open_generation(struct daemon *daemon)
{
	_cleanup_str_ struct str error = STR_NULL;
	struct generation *first = generation_new(daemon->setup.config, NULL, daemon->log, &error);

	config_unref(daemon->setup.config); /* its keys are to go when its generation goes */
	daemon->setup.config = NULL;
	if (!first) {
		log_error("%s", str_text(&error));
		return false;
	}
	generations_init(&daemon->generations, daemon->base, first);
	return true;
}

static bool open_listeners(struct daemon *daemon)
{
	return activation_open(&daemon->activation) && daemon_inherit(daemon) &&
	       listeners_open(daemon_config(daemon), &daemon->activation, &daemon->inherited,
		       &daemon->listeners) &&
	       listeners_open_admin(daemon_config(daemon), &daemon->activation,
		       &daemon->inherited_admin, &daemon->admin_listener);
}

/* ---- The admin listener. */

static bool daemon_is_draining(void *arg)
{
	const struct daemon *daemon = arg;

	return daemon->phase >= DAEMON_DRAINING;
}

static struct admin_setup admin_setup(struct daemon *daemon)
{
	const struct listeners *at = &daemon->admin_listener;

	return (struct admin_setup){
		.base = daemon->base,
		.config = daemon->generations.newest->config,
		.upstreams = daemon->generations.newest->upstreams,
		.upstream_count = daemon->generations.newest->count,
		.metrics = daemon->staff.metrics,
		.worker_count = daemon->staff.metrics_count,
		.log = daemon->log,
		.memory = &daemon->memory,
		.connections = &daemon->connections,
		.beyond_loopback =
			at->count > 0 && !address_is_loopback(&at->list[0].listener.address),
		.is_draining = daemon_is_draining,
		.arg = daemon,
	};
}

/* Stays until the process ends, so that /readyz tells of the drain. */
static void start_admin(struct daemon *daemon)
{
	struct admin_setup setup = admin_setup(daemon);
	int fd = -1;

	if (daemon->admin_listener.count > 0)
		fd = fcntl(daemon->admin_listener.list[0].listener.fd, F_DUPFD_CLOEXEC, 0);
	if (fd >= 0)
		daemon->admin = admin_new(&setup, fd);
}

void daemon_reload_admin(struct daemon *daemon, struct listeners *next)
{
	struct admin_setup setup;
	bool same = next->count == daemon->admin_listener.count &&
		    (next->count == 0 || next->list[0].id == daemon->admin_listener.list[0].id);

	listeners_replace(&daemon->admin_listener, next);
	if (same && daemon->admin) {
		setup = admin_setup(daemon);
		admin_reload(daemon->admin, &setup);
	}
	if (same)
		return;
	admin_free(daemon->admin);
	daemon->admin = NULL;
	start_admin(daemon);
}

/* ---- What systemd feels. */

static struct pulse_subject pulse_subject(const struct daemon *daemon)
{
	return (struct pulse_subject){
		.workers = daemon->staff.workers,
		.worker_count = daemon->staff.count,
		.upstreams = daemon->generations.newest->upstreams,
		.upstream_count = daemon->generations.newest->count,
	};
}

void daemon_watch(struct daemon *daemon)
{
	struct pulse_subject subject = pulse_subject(daemon);

	pulse_watch(daemon->pulse, &subject);
}

void daemon_tell_ready(struct daemon *daemon)
{
	struct pulse_subject subject = pulse_subject(daemon);

	pulse_ready(daemon->pulse, &subject);
}

/* ---- The workers. */

size_t daemon_count_workers(const struct config *config)
{
	cpu_set_t allowed; /* a container may have less than the machine */
	int cores = sched_getaffinity(0, sizeof(allowed), &allowed) == 0 ? CPU_COUNT(&allowed) : 1;

	if (config->server.workers != OPTION_SPECIAL)
		return (size_t)config->server.workers;
	return cores > MAX_AUTO_WORKERS ? MAX_AUTO_WORKERS : (size_t)cores;
}

void daemon_set_limits(struct daemon *daemon)
{
	daemon->memory.limit = daemon_config(daemon)->server.max_memory; /* OPTION_SPECIAL: none */
	daemon->connections.limit = daemon_config(daemon)->server.max_connections;
	log_set_level((enum log_level)daemon_config(daemon)->log.level);
}

struct worker_news daemon_news(struct generation *generation, const struct listeners *listeners)
{
	struct worker_news news = {
		.generation = generation,
		.listener_count = listeners->count,
	};

	for (size_t i = 0; i < listeners->count; i++) {
		news.listeners[i].id = listeners->list[i].id;
		news.listeners[i].fd = listeners->list[i].listener.fd;
	}
	return news;
}

/* ---- Signals. */

/* Somebody closes the window: nobody means a reload, and nobody could end it any more. */
static bool has_lost_terminal(const struct daemon *daemon)
{
	return daemon->on_terminal && !isatty(STDERR_FILENO);
}

static void daemon_on_signal(int number, void *arg)
{
	struct daemon *daemon = arg;

	if (number == SIGHUP && !has_lost_terminal(daemon))
		daemon_reload(daemon);
	else if (number == SIGUSR1)
		event_log_reopen(daemon->log);
	else if (number == SIGUSR2)
		daemon_upgrade(daemon);
	else
		daemon_end(daemon);
}

static void daemon_on_done(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *daemon = arg;
	eventfd_t count = 0;

	(void)what;
	eventfd_read(fd, &count);
	daemon_go_on_reloading(daemon);
	daemon_end_if_done(daemon);
	daemon_watch(daemon);
}

/* ---- Running. */

/* As many descriptors as the machine allows: two for each request, and what listens. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static void start_workers(struct daemon *daemon)
{
	struct worker_setup setup = {
		.memory = &daemon->memory,
		.connections = &daemon->connections,
		.log = daemon->log,
		.done_fd = daemon->done_fd,
	};
	static const struct listeners none = {.count = 0};
	struct worker_news news = daemon_news(daemon->generations.newest, &none);

	raise_descriptor_limit();
	daemon_set_limits(daemon);
	staff_start(&daemon->staff, &setup, &news, daemon_count_workers(daemon_config(daemon)));
}

static void run_loop(struct daemon *daemon)
{
	struct signals *signals = signals_new(daemon->base, daemon_on_signal, daemon);
	struct event *done = event_new(
		daemon->base, daemon->done_fd, EV_READ | EV_PERSIST, daemon_on_done, daemon);

	event_add(done, NULL);
	event_base_dispatch(daemon->base);
	event_free(done);
	signals_free(signals);
}

static void say_goodbye(const struct daemon *daemon)
{
	if (daemon->staff.cut)
		log_warning("drain_timeout ran out; requests that were cut short: %zu",
			daemon->staff.cut);
	else
		log_info("every request has been answered");
	if (event_log_dropped(daemon->log))
		log_warning("%llu lines of the event log were dropped",
			(unsigned long long)event_log_dropped(daemon->log));
}

/* libevent's own complaints, in our words' place. */
static void on_libevent_message(int severity, const char *message)
{
	if (severity >= EVENT_LOG_WARN)
		log_warning("libevent: %s", message);
	else
		log_debug("libevent: %s", message);
}

static void say_hello(struct daemon *daemon)
{
	_cleanup_str_ struct str text = STR_NULL;

	if (daemon->setup.on_listening)
		daemon->setup.on_listening(hello_port(&daemon->listeners));
	hello_say(daemon_config(daemon), &daemon->listeners, &daemon->admin_listener,
		daemon->setup.on_listening != NULL);
	activation_warn(&daemon->activation);
	hello_render_listeners(&daemon->listeners, &text);
	daemon_tell_state(daemon, "start", str_text(&text) + 1);
}

static void let_go_of_inheritance(struct daemon *daemon)
{
	listeners_close(&daemon->inherited);
	listeners_close(&daemon->inherited_admin);
}

void daemon_serve(struct daemon *daemon)
{
	struct worker_news news = daemon_news(daemon->generations.newest, &daemon->listeners);

	daemon->phase = DAEMON_SERVING;
	say_hello(daemon);
	staff_reload(&daemon->staff, &news, daemon->staff.count);
	start_admin(daemon);
}

void daemon_be_the_one(struct daemon *daemon)
{
	daemon->is_the_one = true;
	let_go_of_inheritance(daemon);
	if (daemon->pulse || daemon->phase != DAEMON_SERVING)
		return;
	daemon->pulse = pulse_new(daemon->base);
	daemon_tell_ready(daemon);
}

static void run(struct daemon *daemon)
{
	daemon->phase_timer = timer_new(daemon->base, daemon_on_phase_timer, daemon);
	daemon_prepare_upgrade(daemon);
	log_set_writer(daemon->stderr_writer);
	start_workers(daemon);
	if (daemon->predecessor) {
		daemon_ask_to_go(daemon);
	} else {
		daemon_serve(daemon);
		daemon_be_the_one(daemon);
	}
	run_loop(daemon);
	pulse_free(daemon->pulse);
	say_goodbye(daemon);
	successor_free(daemon->successor);
	timer_free(daemon->phase_timer);
	admin_free(daemon->admin);
	staff_fini(&daemon->staff);
}

static void fini(struct daemon *daemon)
{
	config_unref(daemon->setup.config);
	let_go_of_inheritance(daemon);
	listeners_close(&daemon->listeners);
	listeners_close(&daemon->admin_listener);
	activation_close(&daemon->activation);
	predecessor_free(daemon->predecessor);
	if (daemon->generations.newest)
		generations_fini(&daemon->generations);
	log_set_writer(NULL);
	event_log_free(daemon->log);
	writer_free(daemon->stderr_writer, DAEMON_FLUSH_MS);
	event_base_free(daemon->base);
	close(daemon->done_fd);
}

/* The code to exit with, if it cannot run. */
static int open_all(struct daemon *daemon)
{
	bool opened;

	if (!open_log(daemon))
		return EX_CANTCREAT;
	if (!open_generation(daemon))
		return EX_CONFIG;
	opened = open_listeners(daemon);
	listeners_forget(&daemon->inherited, &daemon->listeners);
	listeners_forget(&daemon->inherited_admin, &daemon->admin_listener);
	return opened ? EX_OK : EX_UNAVAILABLE;
}

int daemon_run(const struct daemon_setup *setup)
{
	struct daemon daemon = {.setup = *setup, .on_terminal = isatty(STDERR_FILENO)};

	signal(SIGPIPE, SIG_IGN);
	if (getpid() == 1) /* of a container, where orphans come to it: the kernel reaps them */
		signal(SIGCHLD, SIG_IGN);
	event_set_log_callback(on_libevent_message);
	signals_hold();
	daemon.base = event_base_new();
	daemon.done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!daemon.base || daemon.done_fd < 0)
		abort();
	daemon.code = open_all(&daemon);
	if (daemon.code == EX_OK)
		run(&daemon);
	fini(&daemon);
	return daemon.code;
}
