/* Of the daemon: a new configuration takes the place of the old one, whole or not at all. */
#include "app/daemon_parts.h"
#include "app/hello.h"
#include "app/pulse.h"
#include "app/successor.h"
#include "base/log.h"
#include "base/str.h"
#include "proxy/event_log.h"

/* The log, and last the generation: with it the upstreams that stay have their new limits. */
static struct generation *open_rest(
	struct daemon *daemon, struct config *config, struct str *ret_error)
{
	struct generation *next;

	if (!event_log_prepare(daemon->log, &config->log, ret_error))
		return NULL;
	next = generation_new(config, daemon->generations.newest, daemon->log, ret_error);
	if (!next)
		event_log_discard(daemon->log);
	return next;
}

/* All or nothing: false, and everything is as it was. */
static bool prepare(struct daemon *daemon, struct config *config, struct generation **ret,
	struct listeners *ret_listeners, struct listeners *ret_admin)
{
	_cleanup_str_ struct str error = STR_NULL;

	if (!listeners_open(config, &daemon->activation, &daemon->listeners, ret_listeners))
		return false;
	if (listeners_open_admin(config, &daemon->activation, &daemon->admin_listener, ret_admin)) {
		*ret = open_rest(daemon, config, &error);
		if (*ret)
			return true;
		log_error("%s", str_text(&error));
	}
	listeners_discard(ret_listeners, &daemon->listeners);
	listeners_discard(ret_admin, &daemon->admin_listener);
	return false;
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
	event_log_commit(daemon->log);
	generations_add(&daemon->generations, next);
	daemon_set_limits(daemon);
	news = daemon_news(next, &listeners);
	staff_reload(&daemon->staff, &news, daemon_count_workers(next->config));
	listeners_replace(&daemon->listeners, &listeners);
	daemon_reload_admin(daemon, &admin);
	daemon_watch(daemon);
	return true;
}

/* It is done when every worker goes by it. */
void daemon_go_on_reloading(struct daemon *daemon)
{
	_cleanup_str_ struct str text = STR_NULL;

	if (!daemon->reloading || staff_has_news(&daemon->staff))
		return;
	daemon->reloading = false;
	pulse_note(daemon->pulse, NULL);
	daemon_tell_ready(daemon);
	hello_render_listeners(&daemon->listeners, &text);
	log_info("reloaded: listening on%s", str_text(&text));
	daemon_tell_state(daemon, "reload", str_text(&text) + 1);
}

void daemon_reload(struct daemon *daemon)
{
	const char *why = "the configuration stays as it was";

	if (daemon_is_at(daemon)) {
		log_warning("not reloaded: this process is %s", daemon_is_at(daemon));
		return;
	}
	pulse_reloading(daemon->pulse);
	if (!daemon->is_the_one)
		why = "this process is only just taking over itself";
	else if (successor_is_starting(daemon->successor))
		why = "a new process is starting, which reads the configuration itself";
	else if (generations_are_full(&daemon->generations))
		why = "requests of too many earlier configurations still run; try again later";
	else if (try_reload(daemon))
		why = NULL;
	if (why) {
		log_error("not reloaded: %s", why);
		pulse_note(daemon->pulse, "the last reload failed");
		daemon_tell_failure(daemon, "reload_failed", why);
		daemon_tell_ready(daemon); /* as it was */
		return;
	}
	daemon->reloading = true;
	daemon_go_on_reloading(daemon);
}
