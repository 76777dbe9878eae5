#include "app/daemon.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

#include "admin/admin.h"
#include "app/worker.h"
#include "base/address.h"
#include "base/budget.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/writer.h"
#include "net/listen.h"
#include "net/timer.h"
#include "net/tls.h"
#include "proxy/upstream.h"

enum {
	MAX_AUTO_WORKERS = 8,
	FLUSH_MS = 2000,      /* for the last log lines */
	LAST_WORDS_MS = 1000, /* for the error events of streams that were cut */
};

struct daemon {
	struct config *config;
	struct writer *stderr_writer;
	struct event_log *log;
	SSL_CTX **tls;
	struct listener listeners[WORKER_MAX_LISTENERS];
	size_t listener_count;
	struct listener admin_listener; /* fd -1: there is none */
	struct admin *admin;
	struct budget memory, connections; /* shared by the workers */
	struct upstream **upstreams;       /* likewise */
	struct event **alarms;             /* of those */
	struct worker **workers;
	struct metrics **metrics; /* one for each worker */
	size_t worker_count, workers_done;
	struct event_base *base;
	struct timer *drain_timer;
	int done_fd;
	bool draining, cutting;
};

static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};

enum { SIGNAL_COUNT = sizeof(signals) / sizeof(signals[0]) };

/* ---- What must work before anything runs. */

static bool is_missing_family(int error)
{
	return error == -EAFNOSUPPORT || error == -EADDRNOTAVAIL;
}

/* What is wrong, and what can be done about it. */
static void render_fault(int error, const char *flag, struct str *out)
{
	str_add(out, strerror(-error));
	if (error == -EADDRINUSE)
		str_addf(out,
			"; another program, perhaps another andiron, has it: stop that one, or "
			"choose another address with %s",
			flag);
	if (error == -ENOTSOCK)
		str_add(out, "; this file is something else, and stays as it is: choose another "
			     "path");
}

static bool open_listener(struct daemon *daemon, const char *text)
{
	_cleanup_str_ struct str fault = STR_NULL;
	struct address address;
	size_t i = daemon->listener_count;
	int error;

	if (i == WORKER_MAX_LISTENERS || !address_parse(text, &address)) {
		log_error("cannot listen on %s: too many addresses", text);
		return false;
	}
	error = listen_open(&address, daemon->config->unix_mode, &daemon->listeners[i]);
	if (error == 0) {
		daemon->listener_count++;
		return true;
	}
	if (daemon->config->listen_is_default && is_missing_family(error)) {
		log_info("not listening on %s: this machine has no such address", text);
		return true;
	}
	render_fault(error, "--listen", &fault);
	log_error("cannot listen on %s: %s", text, str_text(&fault));
	return false;
}

static bool open_listeners(struct daemon *daemon)
{
	const char *cursor = daemon->config->server.listen, *element;
	size_t len;

	while (str_next_element(&cursor, " \t", &element, &len)) {
		_cleanup_free_ char *text = xstrndup(element, len);

		if (!open_listener(daemon, text))
			return false;
	}
	if (!daemon->listener_count)
		log_error("there is no address to listen on");
	return daemon->listener_count > 0;
}

static void close_listeners(struct daemon *daemon)
{
	for (size_t i = 0; i < daemon->listener_count; i++)
		listen_close(&daemon->listeners[i]);
	daemon->listener_count = 0;
}

/* Of the default address only a warning: the proxy is what was asked for. */
static bool open_admin_listener(struct daemon *daemon)
{
	const char *text = daemon->config->server.admin;
	_cleanup_str_ struct str fault = STR_NULL;
	struct address address;
	int error = -EINVAL;

	if (str_same(text, "off"))
		return true;
	if (address_parse(text, &address))
		error = listen_open(&address, daemon->config->unix_mode, &daemon->admin_listener);
	if (error == 0)
		return true;
	render_fault(error, "--admin", &fault);
	if (daemon->config->admin_is_default)
		log_warning("the admin listener is off: cannot listen on %s: %s", text,
			str_text(&fault));
	else
		log_error("cannot listen on %s (admin): %s", text, str_text(&fault));
	return daemon->config->admin_is_default;
}

static void close_admin_listener(struct daemon *daemon)
{
	if (daemon->admin_listener.fd >= 0)
		listen_close(&daemon->admin_listener);
	daemon->admin_listener.fd = -1;
}

static bool open_tls(struct daemon *daemon)
{
	struct config *config = daemon->config;

	daemon->tls = xcalloc(config->upstream_count, sizeof(SSL_CTX *));
	for (size_t i = 0; i < config->upstream_count; i++) {
		_cleanup_str_ struct str error = STR_NULL;

		if (!config->upstreams[i].tls)
			continue;
		daemon->tls[i] = tls_context_new(config->upstreams[i].options.ca_file, &error);
		if (!daemon->tls[i]) {
			log_error("upstream %s: %s", config->upstreams[i].name, str_text(&error));
			return false;
		}
	}
	return true;
}

static bool open_log(struct daemon *daemon)
{
	const struct log_options *options = &daemon->config->log;

	log_set_level((enum log_level)options->level);
	daemon->stderr_writer = writer_new(STDERR_FILENO);
	daemon->log = event_log_new(options, daemon->stderr_writer);
	if (!daemon->log)
		log_error("cannot open the event log %s: %s", options->events, strerror(errno));
	return daemon->log != NULL;
}

/* ---- What the person who started it wants to know. */

static const char *key_text(const struct upstream_config *upstream)
{
	switch (upstream->key_source) {
	case KEY_OF_FILE:
		return *upstream->options.api_key_file ? upstream->options.api_key_file
						       : "the systemd credential";
	case KEY_OF_ENVIRONMENT:
		return "FIREWORKS_API_KEY, for clients without a Fireworks key of their own";
	case KEY_OF_CLIENT:
		break;
	}
	return "the client's own (set FIREWORKS_API_KEY or api_key_file to use one from here)";
}

static void render_listener(const struct listener *listener, struct str *out)
{
	char text[ADDRESS_TEXT_SIZE];

	address_render(&listener->address, text, sizeof(text));
	str_addf(out, " %s%s", address_is_unix(&listener->address) ? "" : "http://", text);
}

static void render_listeners(const struct daemon *daemon, struct str *out)
{
	for (size_t i = 0; i < daemon->listener_count; i++)
		render_listener(&daemon->listeners[i], out);
}

static void say_admin(const struct daemon *daemon)
{
	_cleanup_str_ struct str text = STR_NULL;

	if (daemon->admin_listener.fd < 0)
		return;
	render_listener(&daemon->admin_listener, &text);
	log_info("admin on%s", str_text(&text));
}

/* What an SDK on this machine would use; NULL: there are only Unix sockets. */
static const struct address *find_port(const struct daemon *daemon)
{
	for (size_t i = 0; i < daemon->listener_count; i++) {
		if (!address_is_unix(&daemon->listeners[i].address))
			return &daemon->listeners[i].address;
	}
	return NULL;
}

static bool is_local_name(const struct address *address)
{
	static const struct in6_addr any = IN6ADDR_ANY_INIT;

	if (address->any.sa_family == AF_INET && address->v4.sin_addr.s_addr == INADDR_ANY)
		return true;
	if (address->any.sa_family == AF_INET6 &&
		memcmp(&address->v6.sin6_addr, &any, sizeof(any)) == 0)
		return true;
	return address_is_loopback(address);
}

static void say_base_url(const struct address *address, const char *socket_path)
{
	char text[ADDRESS_TEXT_SIZE];

	if (!address) {
		log_info("your SDK speaks HTTP through %s, with base_url \"http://localhost/v1\"",
			socket_path);
	} else if (is_local_name(address)) {
		log_info("in your SDK, change base_url to \"http://localhost:%u/v1\"",
			address_port(address));
	} else {
		address_render(address, text, sizeof(text));
		log_info("in your SDK, change base_url to \"http://%s/v1\"", text);
	}
}

static void say_api_key(const struct config *config, bool is_demo)
{
	const char *file = config->server.client_token_file;
	bool own = config->upstreams[0].key_source == KEY_OF_CLIENT && !is_demo;

	if (*file && config->upstreams[0].key_source == KEY_OF_FILE) {
		log_info("in your SDK, change api_key to the token in %s", file);
		return;
	}
	log_info("in your SDK, change api_key to \"%s\"", own ? "your Fireworks key" : "andiron");
	if (*file)
		log_info("and send the token in %s as the header X-Andiron-Token", file);
}

static void say_hello(struct daemon *daemon, void (*on_listening)(unsigned port))
{
	_cleanup_str_ struct str listeners = STR_NULL;
	const struct config *config = daemon->config;
	const struct upstream_config *first = &config->upstreams[0];
	const struct address *address = find_port(daemon);
	struct event event = EVENT_INIT;

	render_listeners(daemon, &listeners);
	if (on_listening)
		on_listening(address ? address_port(address) : 0);
	log_info("listening on%s", str_text(&listeners));
	say_admin(daemon);
	log_info("forwarding to %s", first->options.url);
	log_info("key: %s", key_text(first));
	say_base_url(address, daemon->listeners[0].address.local.sun_path);
	say_api_key(config, on_listening != NULL);
	event.event = "state";
	event.state = "start";
	event.detail = str_text(&listeners) + 1;
	event_log_write(daemon->log, &event);
}

/* ---- Signals and the end. */

static void command_all(struct daemon *daemon, enum worker_command command)
{
	for (size_t i = 0; i < daemon->worker_count; i++)
		worker_command(daemon->workers[i], command);
}

static void daemon_on_drain_timer(void *arg)
{
	struct daemon *daemon = arg;

	if (daemon->cutting) {
		command_all(daemon, WORKER_STOP);
		return;
	}
	daemon->cutting = true;
	command_all(daemon, WORKER_CUT);
	timer_start(daemon->drain_timer, LAST_WORDS_MS);
}

static void drain(struct daemon *daemon)
{
	struct event event = EVENT_INIT;

	if (daemon->draining) {
		log_warning("a second signal: ending at once");
		event_log_flush(daemon->log); /* the workers are still at it: nothing is freed */
		writer_flush(daemon->stderr_writer, FLUSH_MS);
		_exit(EX_OK);
	}
	daemon->draining = true;
	log_info("draining: running requests may go on for %lld s; a second signal ends at once",
		(long long)daemon->config->server.drain_timeout / 1000);
	event.event = "state";
	event.state = "drain";
	event_log_write(daemon->log, &event);
	close_listeners(daemon);
	command_all(daemon, WORKER_DRAIN);
	timer_start(daemon->drain_timer, daemon->config->server.drain_timeout);
}

static void daemon_on_signal(evutil_socket_t number, short what, void *arg)
{
	struct daemon *daemon = arg;

	(void)what;
	if (number == SIGHUP)
		log_warning("SIGHUP: reloading is not built yet in this version; restart instead");
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
	daemon->workers_done += count;
	if (daemon->workers_done == daemon->worker_count)
		event_base_loopbreak(daemon->base);
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

static size_t count_workers(const struct config *config)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	if (config->server.workers != OPTION_SPECIAL)
		return (size_t)config->server.workers;
	return cores < 1 ? 1 : cores > MAX_AUTO_WORKERS ? MAX_AUTO_WORKERS : (size_t)cores;
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

static void daemon_on_alarm(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	upstream_on_time(arg);
}

static void open_upstreams(struct daemon *daemon)
{
	const struct config *config = daemon->config;

	daemon->upstreams = xcalloc(config->upstream_count, sizeof(struct upstream *));
	daemon->alarms = xcalloc(config->upstream_count, sizeof(struct event *));
	for (size_t i = 0; i < config->upstream_count; i++) {
		daemon->upstreams[i] = upstream_new(&config->upstreams[i], daemon->log);
		daemon->alarms[i] = event_new(daemon->base, upstream_fd(daemon->upstreams[i]),
			EV_READ | EV_PERSIST, daemon_on_alarm, daemon->upstreams[i]);
		event_add(daemon->alarms[i], NULL);
	}
}

static void close_upstreams(struct daemon *daemon)
{
	for (size_t i = 0; i < daemon->config->upstream_count; i++) {
		event_free(daemon->alarms[i]);
		upstream_free(daemon->upstreams[i]);
	}
	free(daemon->alarms);
	free(daemon->upstreams);
}

static bool daemon_is_draining(void *arg)
{
	const struct daemon *daemon = arg;

	return daemon->draining;
}

/* Stays until the process ends, so that /readyz tells of the drain. */
static void start_admin(struct daemon *daemon)
{
	const struct listener *listener = &daemon->admin_listener;
	struct admin_setup setup = {
		.base = daemon->base,
		.config = daemon->config,
		.upstreams = daemon->upstreams,
		.upstream_count = daemon->config->upstream_count,
		.metrics = daemon->metrics,
		.worker_count = daemon->worker_count,
		.log = daemon->log,
		.memory = &daemon->memory,
		.connections = &daemon->connections,
		.beyond_loopback = !address_is_loopback(&listener->address),
		.is_draining = daemon_is_draining,
		.arg = daemon,
	};
	int fd = listener->fd < 0 ? -1 : fcntl(listener->fd, F_DUPFD_CLOEXEC, 0);

	if (fd >= 0)
		daemon->admin = admin_new(&setup, fd);
}

static void start_workers(struct daemon *daemon)
{
	const struct server_options *options = &daemon->config->server;
	struct worker_setup setup = {
		.memory = &daemon->memory,
		.connections = &daemon->connections,
		.upstreams = daemon->upstreams,
		.config = daemon->config,
		.tls = daemon->tls,
		.log = daemon->log,
		.listeners = daemon->listeners,
		.listener_count = daemon->listener_count,
		.done_fd = daemon->done_fd,
	};

	raise_descriptor_limit();
	daemon->memory.limit = options->max_memory; /* OPTION_SPECIAL: none */
	daemon->connections.limit = options->max_connections;
	daemon->worker_count = count_workers(daemon->config);
	daemon->workers = xcalloc(daemon->worker_count, sizeof(struct worker *));
	daemon->metrics = xcalloc(daemon->worker_count, sizeof(struct metrics *));
	for (size_t i = 0; i < daemon->worker_count; i++) {
		daemon->metrics[i] = setup.metrics = metrics_new();
		setup.index = (int)i;
		daemon->workers[i] = worker_start(&setup);
	}
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

static void join_workers(struct daemon *daemon)
{
	size_t cut = 0;

	for (size_t i = 0; i < daemon->worker_count; i++)
		cut += worker_join(daemon->workers[i]);
	if (cut)
		log_warning("drain_timeout ran out: %zu requests were cut short", cut);
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

static void run(struct daemon *daemon, void (*on_listening)(unsigned port))
{
	daemon->base = event_base_new();
	daemon->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!daemon->base || daemon->done_fd < 0)
		abort();
	daemon->drain_timer = timer_new(daemon->base, daemon_on_drain_timer, daemon);
	say_hello(daemon, on_listening);
	log_set_writer(daemon->stderr_writer);
	open_upstreams(daemon);
	start_workers(daemon);
	start_admin(daemon);
	run_loop(daemon);
	join_workers(daemon);
	close_upstreams(daemon);
	timer_free(daemon->drain_timer);
	admin_free(daemon->admin);
	for (size_t i = 0; i < daemon->worker_count; i++)
		metrics_free(daemon->metrics[i]);
	free(daemon->metrics);
	event_base_free(daemon->base);
	close(daemon->done_fd);
}

static void fini(struct daemon *daemon)
{
	log_set_writer(NULL);
	event_log_free(daemon->log);
	writer_free(daemon->stderr_writer, FLUSH_MS);
	close_listeners(daemon);
	close_admin_listener(daemon);
	for (size_t i = 0; daemon->tls && i < daemon->config->upstream_count; i++)
		SSL_CTX_free(daemon->tls[i]);
	free(daemon->tls);
	free(daemon->workers);
	config_unref(daemon->config);
}

int daemon_run(struct config *config, void (*on_listening)(unsigned port))
{
	struct daemon daemon = {.config = config_ref(config), .admin_listener = {.fd = -1}};
	int code = EX_OK;

	signal(SIGPIPE, SIG_IGN);
	event_set_log_callback(on_libevent_message);
	block_signals(SIG_BLOCK);
	if (!open_log(&daemon))
		code = EX_CANTCREAT;
	else if (!open_tls(&daemon))
		code = EX_CONFIG;
	else if (!open_listeners(&daemon) || !open_admin_listener(&daemon))
		code = EX_UNAVAILABLE;
	else
		run(&daemon, on_listening);
	fini(&daemon);
	return code;
}
