#include "app/daemon.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

#include "admin/admin.h"
#include "app/generations.h"
#include "app/hello.h"
#include "app/listeners.h"
#include "app/pulse.h"
#include "app/staff.h"
#include "base/budget.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/writer.h"
#include "net/timer.h"
#include "proxy/event_log.h"

enum {
	MAX_AUTO_WORKERS = 8,
	FLUSH_MS = 2000,      /* for the last log lines */
	LAST_WORDS_MS = 1000, /* for the error events of streams that were cut */
};

struct daemon {
	struct daemon_setup setup;
	struct writer *stderr_writer;
	struct event_log *log;
	struct generations generations;
	struct activation activation; /* what systemd has passed */
	struct listeners listeners, admin_listener;
	struct admin *admin;
	struct budget memory, connections; /* shared by the workers */
	struct staff staff;
	struct event_base *base;
	struct timer *drain_timer;
	int done_fd;
	struct pulse *pulse; /* NULL: nobody wants to feel it */
	bool draining, cutting;
	bool reloading; /* not every worker knows yet */
};

static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};

enum { SIGNAL_COUNT = sizeof(signals) / sizeof(signals[0]) };

static const struct config *config_of(const struct daemon *daemon)
{
	return daemon->generations.newest->config;
}

static void tell_state(struct daemon *daemon, const char *state, const char *detail)
{
	struct event event = EVENT_INIT;

	event.event = "state";
	event.state = state;
	event.detail = detail;
	event_log_write(daemon->log, &event);
}

/* ---- What must work before anything runs. */

static bool open_log(struct daemon *daemon)
{
	const struct log_options *options = &daemon->setup.config->log;

	log_set_level((enum log_level)options->level);
	daemon->stderr_writer = writer_new(STDERR_FILENO);
	daemon->log = event_log_new(options, daemon->stderr_writer);
	if (!daemon->log)
		log_error("cannot open the event log %s: %s", options->events, strerror(errno));
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
	static const struct listeners none = {.count = 0};

	return activation_open(&daemon->activation) &&
	       listeners_open(config_of(daemon), &daemon->activation, &none, &daemon->listeners) &&
	       listeners_open_admin(
		       config_of(daemon), &daemon->activation, &none, &daemon->admin_listener);
}

/* ---- The admin listener. */

static bool daemon_is_draining(void *arg)
{
	const struct daemon *daemon = arg;

	return daemon->draining;
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

static void reload_admin(struct daemon *daemon, struct listeners *next)
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

static void watch(struct daemon *daemon)
{
	struct pulse_subject subject = pulse_subject(daemon);

	pulse_watch(daemon->pulse, &subject);
}

static void tell_ready(struct daemon *daemon)
{
	struct pulse_subject subject = pulse_subject(daemon);

	pulse_ready(daemon->pulse, &subject);
}

/* ---- Reload. */

static size_t count_workers(const struct config *config)
{
	cpu_set_t allowed; /* a container may have less than the machine */
	int cores = sched_getaffinity(0, sizeof(allowed), &allowed) == 0 ? CPU_COUNT(&allowed) : 1;

	if (config->server.workers != OPTION_SPECIAL)
		return (size_t)config->server.workers;
	return cores > MAX_AUTO_WORKERS ? MAX_AUTO_WORKERS : (size_t)cores;
}

static void set_limits(struct daemon *daemon)
{
	daemon->memory.limit = config_of(daemon)->server.max_memory; /* OPTION_SPECIAL: none */
	daemon->connections.limit = config_of(daemon)->server.max_connections;
	log_set_level((enum log_level)config_of(daemon)->log.level);
}

static struct worker_news news_of(struct generation *generation, const struct listeners *listeners)
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

/* All or nothing: false, and everything is as it was. */
static bool prepare(struct daemon *daemon, struct config *config, struct generation **ret,
	struct listeners *ret_listeners, struct listeners *ret_admin)
{
	_cleanup_str_ struct str error = STR_NULL;

	if (!listeners_open(config, &daemon->activation, &daemon->listeners, ret_listeners))
		return false;
	if (listeners_open_admin(config, &daemon->activation, &daemon->admin_listener, ret_admin)) {
		*ret = generation_new(config, daemon->generations.newest, daemon->log, &error);
		if (*ret)
			return true;
		log_error("%s", str_text(&error));
	}
	listeners_discard(ret_listeners, &daemon->listeners);
	listeners_discard(ret_admin, &daemon->admin_listener);
	return false;
}

/* The destinations of the logs are those of the start. */
static void warn_of_log(const struct config *before, const struct config *now)
{
	if (!str_same(before->log.events, now->log.events) ||
		before->log.format != now->log.format ||
		before->log.body_bytes != now->log.body_bytes)
		log_warning("[log]: events, format and body_bytes change with the next start");
}

static bool try_reload(struct daemon *daemon)
{
	struct config *config = daemon->setup.load(daemon->setup.arg);
	struct listeners listeners = {.count = 0}, admin = {.count = 0};
	struct generation *next;
	struct worker_news news;
	bool prepared;

	if (!config)
		return false;
	prepared = prepare(daemon, config, &next, &listeners, &admin);
	config_unref(config);
	if (!prepared)
		return false;
	warn_of_log(config_of(daemon), next->config);
	generations_add(&daemon->generations, next);
	set_limits(daemon);
	news = news_of(next, &listeners);
	staff_reload(&daemon->staff, &news, count_workers(next->config));
	listeners_replace(&daemon->listeners, &listeners); /* no worker has news of the old ones */
	reload_admin(daemon, &admin);
	watch(daemon);
	return true;
}

/* It is done when every worker goes by it. */
static void finish_reload(struct daemon *daemon)
{
	_cleanup_str_ struct str text = STR_NULL;

	if (!daemon->reloading || staff_has_news(&daemon->staff))
		return;
	daemon->reloading = false;
	tell_ready(daemon);
	hello_render_listeners(&daemon->listeners, &text);
	log_info("reloaded: listening on%s", str_text(&text));
	tell_state(daemon, "reload", str_text(&text) + 1);
}

static void reload(struct daemon *daemon)
{
	const char *why = "the configuration stays as it was";

	if (daemon->draining)
		return;
	pulse_reloading(daemon->pulse);
	if (generations_are_full(&daemon->generations))
		why = "requests of too many earlier configurations still run; try again later";
	else if (try_reload(daemon))
		why = NULL;
	if (why) {
		log_error("not reloaded: %s", why);
		tell_state(daemon, "reload_failed", why);
		tell_ready(daemon); /* as it was */
		return;
	}
	daemon->reloading = true;
	finish_reload(daemon);
}

/* ---- Signals and the end. */

static void daemon_on_drain_timer(void *arg)
{
	struct daemon *daemon = arg;

	if (daemon->cutting) {
		staff_command(&daemon->staff, WORKER_STOP);
		return;
	}
	daemon->cutting = true;
	staff_command(&daemon->staff, WORKER_CUT);
	timer_start(daemon->drain_timer, LAST_WORDS_MS);
}

static void drain(struct daemon *daemon)
{
	msec_t timeout = config_of(daemon)->server.drain_timeout;

	if (daemon->draining) {
		log_warning("a second signal: ending at once");
		event_log_flush(daemon->log); /* the workers are still at it: nothing is freed */
		writer_flush(daemon->stderr_writer, FLUSH_MS);
		_exit(EX_OK);
	}
	daemon->draining = true;
	log_info("draining: running requests may go on for %lld s; a second signal ends at once",
		(long long)timeout / 1000);
	tell_state(daemon, "drain", NULL);
	pulse_stopping(daemon->pulse, timeout);
	listeners_close(&daemon->listeners);
	staff_command(&daemon->staff, WORKER_DRAIN);
	timer_start(daemon->drain_timer, timeout);
}

static void daemon_on_signal(evutil_socket_t number, short what, void *arg)
{
	struct daemon *daemon = arg;

	(void)what;
	if (number == SIGHUP)
		reload(daemon);
	else if (number == SIGUSR1)
		event_log_reopen(daemon->log);
	else
		drain(daemon);
}

static void daemon_on_done(evutil_socket_t fd, short what, void *arg)
{
	struct daemon *daemon = arg;
	eventfd_t count = 0;

	(void)what;
	eventfd_read(fd, &count);
	finish_reload(daemon);
	if (staff_sweep(&daemon->staff) == 0)
		event_base_loopbreak(daemon->base);
	watch(daemon);
}

/* ---- Running. */

/* Threads are started with the signals blocked, so that they reach the main loop. */
static void block_signals(int how)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < SIGNAL_COUNT; i++)
		sigaddset(&set, signals[i]);
	pthread_sigmask(how, &set, NULL);
}

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
	struct worker_news news = news_of(daemon->generations.newest, &daemon->listeners);

	raise_descriptor_limit();
	set_limits(daemon);
	staff_start(&daemon->staff, &setup, &news, count_workers(config_of(daemon)));
}

static void run_loop(struct daemon *daemon)
{
	struct event *events[SIGNAL_COUNT], *done;

	for (size_t i = 0; i < SIGNAL_COUNT; i++) {
		events[i] = evsignal_new(daemon->base, signals[i], daemon_on_signal, daemon);
		event_add(events[i], NULL);
	}
	done = event_new(
		daemon->base, daemon->done_fd, EV_READ | EV_PERSIST, daemon_on_done, daemon);
	event_add(done, NULL);
	block_signals(SIG_UNBLOCK);
	event_base_dispatch(daemon->base);
	block_signals(SIG_BLOCK); /* else the next one would find its default action again */
	event_free(done);
	for (size_t i = 0; i < SIGNAL_COUNT; i++)
		event_free(events[i]);
}

static void say_goodbye(const struct daemon *daemon)
{
	if (daemon->staff.cut)
		log_warning(
			"drain_timeout ran out: %zu requests were cut short", daemon->staff.cut);
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
	hello_say(config_of(daemon), &daemon->listeners, &daemon->admin_listener,
		daemon->setup.on_listening != NULL);
	activation_warn(&daemon->activation);
	hello_render_listeners(&daemon->listeners, &text);
	tell_state(daemon, "start", str_text(&text) + 1);
}

static void run(struct daemon *daemon)
{
	daemon->drain_timer = timer_new(daemon->base, daemon_on_drain_timer, daemon);
	say_hello(daemon);
	log_set_writer(daemon->stderr_writer);
	start_workers(daemon);
	start_admin(daemon);
	daemon->pulse = pulse_new(daemon->base);
	tell_ready(daemon);
	run_loop(daemon);
	pulse_free(daemon->pulse);
	say_goodbye(daemon);
	timer_free(daemon->drain_timer);
	admin_free(daemon->admin);
	staff_fini(&daemon->staff);
}

static void fini(struct daemon *daemon)
{
	config_unref(daemon->setup.config);
	listeners_close(&daemon->listeners);
	listeners_close(&daemon->admin_listener);
	activation_close(&daemon->activation);
	if (daemon->generations.newest)
		generations_fini(&daemon->generations);
	log_set_writer(NULL);
	event_log_free(daemon->log);
	writer_free(daemon->stderr_writer, FLUSH_MS);
	event_base_free(daemon->base);
	close(daemon->done_fd);
}

int daemon_run(const struct daemon_setup *setup)
{
	struct daemon daemon = {.setup = *setup};
	int code = EX_OK;

	signal(SIGPIPE, SIG_IGN);
	if (getpid() == 1) /* of a container, where orphans come to it: the kernel reaps them */
		signal(SIGCHLD, SIG_IGN);
	event_set_log_callback(on_libevent_message);
	block_signals(SIG_BLOCK);
	daemon.base = event_base_new();
	daemon.done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!daemon.base || daemon.done_fd < 0)
		abort();
	if (!open_log(&daemon))
		code = EX_CANTCREAT;
	else if (!open_generation(&daemon))
		code = EX_CONFIG;
	else if (!open_listeners(&daemon))
		code = EX_UNAVAILABLE;
	else
		run(&daemon);
	fini(&daemon);
	return code;
}
