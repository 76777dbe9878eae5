#include "config/config.h"

#include "temp.h"
#include "test.h"

#define LONG_NAME      "12345678901234567890123456789012345678901234567890"
#define VARIABLE(text) ((char[]){text})

/* One loading: the snapshot, or NULL, and what was said, as "PLACE: message" with a W before a
 * warning; the file's own path reads as FILE. */
struct loading {
	struct config *config;
	struct str said;
	char *path;
	int errors, warnings;
};

static void loading_fini(struct loading *loading)
{
	config_unref(loading->config);
	str_fini(&loading->said);
	free(loading->path);
}

#define _cleanup_loading_ __attribute__((cleanup(loading_fini)))

static void on_message(void *arg, bool fatal, const char *place, const char *message)
{
	struct loading *loading = arg;
	size_t len = loading->path ? strlen(loading->path) : 0;
	bool in_file = place && len && str_begins(place, loading->path);

	if (fatal)
		loading->errors++;
	else
		loading->warnings++;
	str_addf(&loading->said, "%s%s%s: %s\n", fatal ? "" : "W ", in_file ? "FILE" : "",
		!place    ? "nowhere"
		: in_file ? place + len
			  : place,
		message);
}

/* `text`: the file's, or NULL for none. */
static void load(struct loading *loading, const char *text, char *const *environment,
	const struct config_flag *flags)
{
	struct config_request request = {.flags = flags, .environment = environment};

	*loading = (struct loading){.config = NULL};
	if (text)
		loading->path = temp_file("andiron.conf", text, strlen(text), 0600);
	request.file = loading->path;
	loading->config = config_load(&request, on_message, loading);
	CHECK_INT(loading->config == NULL, loading->errors > 0);
}

static void load_text(struct loading *loading, const char *text)
{
	load(loading, text, NULL, NULL);
}

/* It loads without a word. */
static bool load_fine(struct loading *loading, const char *text)
{
	load_text(loading, text);
	CHECK_STR(str_text(&loading->said), "");
	return loading->config != NULL;
}

static const struct profile_config *profile(const struct loading *loading, const char *name)
{
	int index = config_find_profile(loading->config, name);

	return index < 0 ? NULL : &loading->config->profiles[index];
}

/* Is there a message at this place that has this word? */
static bool says(const struct loading *loading, const char *place, const char *word)
{
	_cleanup_str_ struct str start = STR_NULL;

	str_addf(&start, "%s: ", place);
	for (const char *line = str_text(&loading->said); *line; line = strchr(line, '\n') + 1) {
		const char *found = strstr(line, word);

		if (str_begins(line, str_text(&start)) && found && found < strchr(line, '\n'))
			return true;
	}
	return false;
}

static void check_says(const struct loading *loading, const char *place, const char *word)
{
	if (!CHECK(says(loading, place, word)))
		printf("\tat %s, \"%s\" in: %s\n", place, word, str_text(&loading->said));
}

/* ---- Without a file */

static void works_without_a_file(void)
{
	_cleanup_loading_ struct loading loading;
	const struct upstream_config *upstream;

	load(&loading, NULL, NULL, NULL);
	CHECK_STR(str_text(&loading.said), "");
	if (!CHECK(loading.config != NULL))
		return;
	CHECK(!loading.config->file);
	CHECK(loading.config->listen_is_default);
	CHECK(loading.config->admin_is_default);
	CHECK_STR(loading.config->server.listen, "127.0.0.1:8787 [::1]:8787");
	CHECK_STR(loading.config->server.admin, "127.0.0.1:8788");
	CHECK_INT(loading.config->upstream_count, 1);
	CHECK_INT(loading.config->route_count, 0);
	upstream = &loading.config->upstreams[0];
	CHECK_STR(upstream->name, "fireworks");
	CHECK_STR(upstream->options.url, "https://api.fireworks.ai");
	CHECK_STR(upstream->host, "api.fireworks.ai");
	CHECK_STR(upstream->authority, "api.fireworks.ai");
	CHECK_INT(upstream->port, 443);
	CHECK(upstream->tls);
	CHECK_INT(upstream->key_source, KEY_OF_CLIENT);
	CHECK_STR(upstream->api_key, NULL);
	CHECK_INT(upstream->profile, -1);
	CHECK_INT(config_find_upstream(loading.config, "fireworks"), 0);
	CHECK_INT(config_find_upstream(loading.config, "other"), -1);
	CHECK_INT(config_find_profile(loading.config, "default"), 0);
	CHECK_INT(config_find_profile(loading.config, "other"), -1);
}

static void an_empty_file_is_none(void)
{
	_cleanup_loading_ struct loading none, empty;
	_cleanup_str_ struct str none_text = STR_NULL, empty_text = STR_NULL;

	load(&none, NULL, NULL, NULL);
	if (!load_fine(&empty, "; nothing\n"))
		return;
	config_render(none.config, &none_text);
	config_render(empty.config, &empty_text);
	CHECK_STR(str_text(&empty_text), str_text(&none_text));
	CHECK_STR(empty.config->file, empty.path);
}

/* ---- Profiles */

/* The table of the built-in profiles. */
static const struct {
	const char *name;
	msec_t first_byte, idle, total;
	int max_attempts;
	msec_t backoff_base, scale_up_wait, outage_wait, pool_timeout;
} builtin[] = {
	{"default", 1800000, 1800000, 1800000, 5, 1000, 0, 60000, 10000},
	{"interactive", 30000, 30000, 60000, 3, 500, 0, 15000, 10000},
	{"agentic", 600000, 300000, 1800000, 5, 1000, 600000, 600000, 600000},
	{"large", 1800000, 600000, 1800000, 5, 1000, 1560000, 600000, 600000},
	{"batch", 60000, 60000, 60000, 5, 1000, 0, 60000, 10000},
	{"control", 15000, 15000, 20000, 3, 1000, 0, 60000, 10000},
};

static void check_builtin_rows(const struct loading *loading, size_t first)
{
	for (size_t i = first; i < COUNT_OF(builtin); i++) {
		const struct profile_config *got = profile(loading, builtin[i].name);

		ROW("%s", builtin[i].name);
		if (!CHECK(got != NULL))
			continue;
		CHECK_STR(got->name, builtin[i].name);
		CHECK_INT(got->options.first_byte_timeout, builtin[i].first_byte);
		CHECK_INT(got->options.idle_timeout, builtin[i].idle);
		CHECK_INT(got->options.total_timeout, builtin[i].total);
		CHECK_INT(got->options.max_attempts, builtin[i].max_attempts);
		CHECK_INT(got->retry.max_attempts, builtin[i].max_attempts);
	}
}

static void builtin_profiles_are_the_tables(void)
{
	static const int statuses[] = {408, 429, 500, 502, 503, 504, 520, 0};
	_cleanup_loading_ struct loading loading;

	load(&loading, NULL, NULL, NULL);
	CHECK_INT(loading.config->profile_count, COUNT_OF(builtin));
	check_builtin_rows(&loading, 0);
	for (size_t i = 0; i < COUNT_OF(builtin); i++) {
		const struct profile_config *got = profile(&loading, builtin[i].name);

		ROW("%s", builtin[i].name);
		CHECK_INT(got->options.backoff_base, builtin[i].backoff_base);
		CHECK_INT(got->retry.backoff.base_ms, builtin[i].backoff_base);
		CHECK_INT(got->options.scale_up_wait, builtin[i].scale_up_wait);
		CHECK_INT(got->options.outage_wait, builtin[i].outage_wait);
		CHECK_INT(got->options.pool_timeout, builtin[i].pool_timeout);
		CHECK_INT(got->options.hedge_after, 0);
		CHECK_INT(got->retry.backoff.cap_ms, 60000);
		CHECK_INT(got->retry.backoff.jitter, JITTER_ADDITIVE);
		CHECK_INT(got->retry.retry_after_cap_ms, 60000);
		CHECK_INT(got->options.connect_timeout, 10000);
		CHECK_INT(got->options.write_timeout, 30000);
		CHECK_INT(got->options.hold_body, 4 << 20);
		CHECK(memcmp(got->retry.statuses, statuses, sizeof(statuses)) == 0);
	}
}

/* A built-in keeps the values of its row, those that are the default's too, and takes the rest
 * from `default` as configured. */
static void builtin_profiles_keep_their_rows(void)
{
	_cleanup_loading_ struct loading loading;

	if (!load_fine(&loading, "[profile.default]\n"
				 "first_byte_timeout = 7m\nidle_timeout = 7m\ntotal_timeout = 7m\n"
				 "max_attempts = 2\nconnect_timeout = 3s\nretry_statuses = 503\n"
				 "jitter = full\nhold_body = 0\nhedge_after = 9s\n"
				 "outage_wait = 7s\npool_timeout = 7s\nscale_up_wait = 7s\n"))
		return;
	check_builtin_rows(&loading, 1);
	for (size_t i = 0; i < COUNT_OF(builtin); i++) {
		const struct profile_config *got = profile(&loading, builtin[i].name);

		ROW("%s", builtin[i].name);
		CHECK_INT(got->options.connect_timeout, 3000);
		CHECK_INT(got->retry.statuses[0], 503);
		CHECK_INT(got->retry.statuses[1], 0);
		CHECK_INT(got->retry.backoff.jitter, JITTER_FULL);
		CHECK_INT(got->options.hold_body, 0);
		CHECK_INT(got->options.hedge_after, 9000);
		CHECK_INT(got->options.outage_wait,
			builtin[i].outage_wait == 60000 ? 7000 : builtin[i].outage_wait);
		CHECK_INT(got->options.pool_timeout,
			builtin[i].pool_timeout == 10000 ? 7000 : builtin[i].pool_timeout);
		CHECK_INT(got->options.scale_up_wait,
			builtin[i].scale_up_wait == 0 ? 7000 : builtin[i].scale_up_wait);
	}
}

static void profiles_are_changed_key_by_key(void)
{
	_cleanup_loading_ struct loading loading;
	const struct profile_config *got;

	/* the order in the file does not matter */
	if (!load_fine(&loading, "[profile.mine]\nmax_attempts = 9\n"
				 "[profile.interactive]\ntotal_timeout = 90s\n"
				 "[profile.default]\nwrite_timeout = 4s\nbackoff_base = 250ms\n"
				 "[profile.empty]\n"))
		return;
	CHECK_INT(loading.config->profile_count, COUNT_OF(builtin) + 2);
	got = profile(&loading, "mine");
	CHECK_INT(got->options.max_attempts, 9);
	CHECK_INT(got->retry.max_attempts, 9);
	CHECK_INT(got->options.write_timeout, 4000);
	CHECK_INT(got->options.first_byte_timeout, 1800000);
	CHECK_INT(got->retry.backoff.base_ms, 250);
	got = profile(&loading, "interactive");
	CHECK_INT(got->options.total_timeout, 90000);
	CHECK_INT(got->options.first_byte_timeout, 30000);
	CHECK_INT(got->options.max_attempts, 3);
	CHECK_INT(got->options.write_timeout, 4000);
	CHECK_INT(got->retry.backoff.base_ms, 500); /* of its row */
	CHECK_INT(profile(&loading, "empty")->options.write_timeout, 4000);
	CHECK_INT(profile(&loading, "empty")->options.max_attempts, 5);
}

/* ---- Upstreams and routes */

static void upstreams_stand_in_order(void)
{
	_cleanup_loading_ struct loading loading;
	const struct config *config = NULL;

	if (!load_fine(&loading,
		    "[upstream.audio]\nurl = https://audio-prod.api.fireworks.ai:8443/\n"
		    "profile = large\n"
		    "[upstream.local]\nurl = http://[::1]:9000\npool_idle = 5s\n"
		    "[upstream.fireworks]\n"))
		return;
	config = loading.config;
	CHECK_INT(config->upstream_count, 3);
	CHECK_STR(config->upstreams[0].name, "audio");
	CHECK_STR(config->upstreams[0].authority, "audio-prod.api.fireworks.ai:8443");
	CHECK_INT(config->upstreams[0].profile, config_find_profile(config, "large"));
	CHECK_STR(config->upstreams[1].host, "::1");
	CHECK_STR(config->upstreams[1].authority, "[::1]:9000");
	CHECK(!config->upstreams[1].tls);
	CHECK_INT(config->upstreams[1].options.pool_idle, 5000);
	CHECK_INT(config->upstreams[1].profile, -1);
	CHECK_STR(config->upstreams[2].options.url, "https://api.fireworks.ai");
	CHECK_INT(config_find_upstream(config, "local"), 1);
}

static void routes_stand_in_order(void)
{
	_cleanup_loading_ struct loading loading;
	const struct config *config;

	if (!load_fine(&loading, "[route.z]\npath = /inference/v1/chat/*\nmodel = *deployments*\n"
				 "profile = mine\nupstream = two\n"
				 "[upstream.one]\nurl = https://one.example\n"
				 "[upstream.two]\nurl = https://two.example\n"
				 "[route.a]\n[profile.mine]\n"))
		return;
	config = loading.config;
	CHECK_INT(config->route_count, 2);
	CHECK_STR(config->routes[0].name, "z");
	CHECK_INT(config->routes[0].upstream, 1);
	CHECK_INT(config->routes[0].profile, config_find_profile(config, "mine"));
	CHECK_STR(config->route_globs[0].path, "/inference/v1/chat/*");
	CHECK_STR(config->route_globs[0].model, "*deployments*");
	CHECK_STR(config->routes[1].name, "a");
	CHECK_INT(config->routes[1].upstream, 0);
	CHECK_INT(config->routes[1].profile, -1);
	CHECK_STR(config->route_globs[1].path, NULL);
	CHECK_STR(config->route_globs[1].model, NULL);
}

static const char two_upstreams[] = "[upstream.one]\nurl = https://one.example\n"
				    "[upstream.two]\nurl = https://two.example\n";

static void check_fallback(
	const char *value, const char *routes_own, const char *model, int upstream)
{
	_cleanup_free_ char *two = temp_file("two_api_key", "fw_two", 6, 0400);
	_cleanup_str_ struct str directory = STR_NULL, text = STR_NULL;
	_cleanup_loading_ struct loading loading;
	char *environment[] = {NULL, NULL};

	ROW("fallback = %s", value);
	CHECK(two != NULL);
	str_addf(&directory, "CREDENTIALS_DIRECTORY=%s", temp_directory);
	environment[0] = directory.data;
	str_addf(&text, "%s[route.a]\nupstream = %s\nfallback = %s\n", two_upstreams, routes_own,
		value);
	load(&loading, str_text(&text), environment, NULL);
	CHECK_STR(str_text(&loading.said), "");
	if (!CHECK(loading.config != NULL))
		return;
	CHECK_STR(loading.config->routes[0].fallback_model, model);
	CHECK_INT(loading.config->routes[0].fallback_upstream, upstream);
}

static void routes_have_fallbacks(void)
{
	static const struct {
		const char *value, *routes_own, *model;
		int upstream;
	} rows[] = {
		{"", "", NULL, -1},
		{"m", "", "m", -1},
		{"accounts/fireworks/models/m", "two", "accounts/fireworks/models/m", -1},
		{"accounts/a/models/m:free", "", "accounts/a/models/m:free", -1},
		{"o.1:m", "", "o.1:m", -1},
		{"one:m", "", "m", 0},
		{"two:m", "", "m", 1},
		{"two:m", "two", "m", 1},
		{"two:gpt:large", "", "gpt:large", 1},
		{"two:accounts/a/deployments/d", "", "accounts/a/deployments/d", 1},
		{"two: spaced out", "", " spaced out", 1},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		check_fallback(rows[i].value, rows[i].routes_own, rows[i].model, rows[i].upstream);
}

/* A key goes to its own upstream only, and the client's to the one that it was sent for. */
static void a_fallback_needs_a_key_of_its_upstream(void)
{
	_cleanup_free_ char *path = temp_file("key", "fw_two", 6, 0600);
	_cleanup_str_ struct str with = STR_NULL, without = STR_NULL;
	_cleanup_loading_ struct loading given, missing, foreign, unreadable;

	str_addf(&with, "%sapi_key_file = %s\n[route.a]\nfallback = two:m\n", two_upstreams, path);
	if (load_fine(&given, str_text(&with)))
		CHECK_INT(given.config->routes[0].fallback_upstream, 1);
	str_addf(&without, "%s[route.a]\nfallback = two:m\n", two_upstreams);
	load_text(&missing, str_text(&without));
	CHECK_INT(missing.errors, 1);
	check_says(&missing, "FILE:6", "api_key_file");
	str_clear(&without);
	str_addf(&without, "%s[route.a]\nupstream = two\nfallback = one:m\n", two_upstreams);
	load_text(&foreign, str_text(&without)); /* what it sends has two's key, or none */
	check_says(&foreign, "FILE:7", "api_key_file");
	str_clear(&without);
	str_addf(&without, "%sapi_key_file = /nonexistent/key\n[route.a]\nfallback = two:m\n",
		two_upstreams);
	load_text(&unreadable, str_text(&without));
	CHECK_INT(unreadable.errors, 1);
	check_says(&unreadable, "FILE:5", "/nonexistent/key");
}

/* From the environment anything may come. */
static void a_fallback_has_no_control_bytes(void)
{
	static const char *const values[] = {"a\tb", "a\n", "two:\x7f", "\x01"};

	for (size_t i = 0; i < COUNT_OF(values); i++) {
		_cleanup_str_ struct str variable = STR_NULL;
		_cleanup_loading_ struct loading loading;
		char *environment[] = {NULL, NULL};

		ROW("value %zu", i);
		str_addf(&variable, "ANDIRON_ROUTE_A_FALLBACK=%s", values[i]);
		environment[0] = variable.data;
		load(&loading, "[route.a]\n", environment, NULL);
		CHECK_INT(loading.errors, 1);
		check_says(&loading, "ANDIRON_ROUTE_A_FALLBACK", "control");
	}
}

static void the_admin_listener_has_an_address(void)
{
	static const char *const good[] = {"off", "127.0.0.1:8788", "[::1]:9", "0.0.0.0:8788",
		"[::]:8788", "192.0.2.1:1", "127.0.0.1:0"};
	const struct config_flag flags[] = {
		{"--admin", "server", "admin", "off"}, {NULL, NULL, NULL, NULL}};
	_cleanup_loading_ struct loading flag;

	for (size_t i = 0; i < COUNT_OF(good); i++) {
		_cleanup_str_ struct str text = STR_NULL;
		_cleanup_loading_ struct loading loading;

		ROW("admin = %s", good[i]);
		str_addf(&text, "[server]\nlisten = 127.0.0.1:0\nadmin = %s\n", good[i]);
		if (!load_fine(&loading, str_text(&text)))
			continue;
		CHECK_STR(loading.config->server.admin, good[i]);
		CHECK(!loading.config->admin_is_default);
	}
	ROW("%s", "");
	load(&flag, NULL, NULL, flags);
	CHECK_STR(flag.config->server.admin, "off");
	CHECK(!flag.config->admin_is_default);
}

/* ---- Precedence */

static void flags_beat_the_environment_beats_the_file(void)
{
	static const char text[] = "[server]\nworkers = 1\n[log]\nlevel = error\n"
				   "[upstream.one]\nurl = https://file.example\n"
				   "[profile.default]\nmax_attempts = 2\nwrite_timeout = 2s\n";
	char *const environment[] = {VARIABLE("PATH=/bin"),
		VARIABLE("ANDIRON_PROFILE_DEFAULT_MAX_ATTEMPTS=3"),
		VARIABLE("ANDIRON_SERVER_WORKERS=2"),
		VARIABLE("ANDIRON_UPSTREAM_ONE_URL=https://environment.example"), NULL};
	const struct config_flag flags[] = {{"--upstream", NULL, "url", "https://flag.example"},
		{"--workers", "server", "workers", "3"}, {"--workers", "server", "workers", "4"},
		{NULL, NULL, NULL, NULL}};
	_cleanup_loading_ struct loading file, both, all;

	load_text(&file, text);
	CHECK_INT(file.config->server.workers, 1);
	CHECK_STR(file.config->upstreams[0].host, "file.example");
	CHECK_INT(profile(&file, "default")->options.max_attempts, 2);
	load(&both, text, environment, NULL);
	CHECK_INT(both.config->server.workers, 2);
	CHECK_STR(both.config->upstreams[0].host, "environment.example");
	CHECK_INT(profile(&both, "default")->options.max_attempts, 3);
	load(&all, text, environment, flags);
	CHECK_STR(str_text(&all.said), "");
	CHECK_INT(all.config->server.workers, 4);
	CHECK_STR(all.config->upstreams[0].host, "flag.example");
	CHECK_INT(profile(&all, "default")->options.max_attempts, 3);
	CHECK_INT(profile(&all, "default")->options.write_timeout, 2000);
	CHECK_INT(all.config->log.level, 0);
}

static void flags_are_for_the_first_upstream(void)
{
	const struct config_flag flags[] = {{"--upstream", NULL, "url", "http://127.0.0.1:1"},
		{"--profile", NULL, "profile", "batch"}, {NULL, NULL, NULL, NULL}};
	_cleanup_loading_ struct loading none, two;

	load(&none, NULL, NULL, flags);
	CHECK_STR(none.config->upstreams[0].name, "fireworks");
	CHECK_STR(none.config->upstreams[0].authority, "127.0.0.1:1");
	CHECK_INT(none.config->upstreams[0].profile, config_find_profile(none.config, "batch"));
	load(&two, "[upstream.a]\n[upstream.b]\nurl = https://b.example\n", NULL, flags);
	CHECK_STR(two.config->upstreams[0].authority, "127.0.0.1:1");
	CHECK_STR(two.config->upstreams[1].authority, "b.example");
	CHECK_INT(two.config->upstreams[1].profile, -1);
}

/* The environment reaches every section that is there, with or without a file. */
static void the_environment_reaches_every_section(void)
{
	char *const environment[] = {VARIABLE("ANDIRON_SERVER_MAX_BODY=1MiB"),
		VARIABLE("ANDIRON_LOG_LEVEL=debug"), VARIABLE("ANDIRON_LOG_EVENTS=off"),
		VARIABLE("ANDIRON_UPSTREAM_FIREWORKS_POOL_IDLE=7s"),
		VARIABLE("ANDIRON_UPSTREAM_MY_BOX_2_URL=https://box.example"),
		VARIABLE("ANDIRON_PROFILE_INTERACTIVE_MAX_ATTEMPTS=4"),
		VARIABLE("ANDIRON_PROFILE_MINE_JITTER=none"),
		VARIABLE("ANDIRON_ROUTE_CHAT_MODEL=m*"), VARIABLE("ANDIRON_CONFIG=/elsewhere"),
		VARIABLE("andiron_log_level=error"), VARIABLE("NOT_ANDIRON_LOG_LEVEL=error"), NULL};
	_cleanup_loading_ struct loading loading;

	load(&loading, "[upstream.fireworks]\n[upstream.my-Box_2]\n[profile.mine]\n[route.chat]\n",
		environment, NULL);
	CHECK_STR(str_text(&loading.said), "");
	if (!CHECK(loading.config != NULL))
		return;
	CHECK_INT(loading.config->server.max_body, 1 << 20);
	CHECK_INT(loading.config->log.level, 3);
	CHECK_STR(loading.config->log.events, "off");
	CHECK_INT(loading.config->upstreams[0].options.pool_idle, 7000);
	CHECK_STR(loading.config->upstreams[1].host, "box.example");
	CHECK_INT(profile(&loading, "interactive")->options.max_attempts, 4);
	CHECK_INT(profile(&loading, "mine")->retry.backoff.jitter, JITTER_NONE);
	CHECK_STR(loading.config->route_globs[0].model, "m*");
}

static void unknown_variables_warn(void)
{
	static const char *const names[] = {"ANDIRON_SERVER_WORKER", "ANDIRON_LISTEN",
		"ANDIRON_UPSTREAM_OTHER_URL", "ANDIRON_PROFILE_MINE_MAX_ATTEMPTS",
		"ANDIRON_server_workers", "ANDIRON_", "ANDIRON_CONFIGS"};

	for (size_t i = 0; i < COUNT_OF(names); i++) {
		_cleanup_loading_ struct loading loading;
		_cleanup_str_ struct str variable = STR_NULL, place = STR_NULL;
		char *environment[] = {NULL, NULL};

		ROW("%s", names[i]);
		str_addf(&variable, "%s=1", names[i]);
		str_addf(&place, "W %s", names[i]);
		environment[0] = variable.data;
		load(&loading, NULL, environment, NULL);
		CHECK(loading.config != NULL);
		CHECK_INT(loading.warnings, 1);
		check_says(&loading, str_text(&place), "");
	}
}

static void wrong_values_are_named_by_their_source(void)
{
	char *const environment[] = {VARIABLE("ANDIRON_SERVER_WORKERS=many"),
		VARIABLE("ANDIRON_UPSTREAM_FIREWORKS_URL=http://api.fireworks.ai"), NULL};
	const struct config_flag flags[] = {{"--log-level", "log", "level", "loud"},
		{"--profile", NULL, "profile", "quick"}, {NULL, NULL, NULL, NULL}};
	_cleanup_loading_ struct loading loading;

	load(&loading, "[server]\nworkers = 0\n[log]\nlevel = quiet\n", environment, flags);
	CHECK_INT(loading.errors, 6);
	check_says(&loading, "FILE:2", "workers");
	check_says(&loading, "FILE:4", "quiet");
	check_says(&loading, "ANDIRON_SERVER_WORKERS", "many");
	check_says(&loading, "ANDIRON_UPSTREAM_FIREWORKS_URL", "loopback");
	check_says(&loading, "--log-level", "loud");
	check_says(&loading, "--profile", "quick");
}

static void a_listen_that_was_written_down_is_no_default(void)
{
	char *const environment[] = {VARIABLE("ANDIRON_SERVER_LISTEN=127.0.0.1:1"), NULL};
	const struct config_flag flags[] = {
		{"--listen", "server", "listen", "127.0.0.1:2"}, {NULL, NULL, NULL, NULL}};
	_cleanup_loading_ struct loading file, variable, flag, other, systemd;

	load_text(&file, "[server]\nlisten = 127.0.0.1:8787 [::1]:8787\n");
	load_fine(&systemd, "[server]\nlisten = systemd unix:/run/a\n");
	CHECK(!systemd.config->listen_is_default);
	CHECK(!file.config->listen_is_default);
	load(&variable, NULL, environment, NULL);
	CHECK(!variable.config->listen_is_default);
	load(&flag, NULL, NULL, flags);
	CHECK(!flag.config->listen_is_default);
	CHECK_STR(flag.config->server.listen, "127.0.0.1:2");
	load_text(&other, "[server]\nworkers = 1\n");
	CHECK(other.config->listen_is_default);
}

/* ---- Mistakes */

static void each_mistake_has_its_place(void)
{
	static const struct {
		const char *text, *place, *word;
	} rows[] = {
		/* sections and keys */
		{"[servers]\n", "FILE:1", "[servers]"},
		{"\n[server.x]\n", "FILE:2", "[server.x]"},
		{"[upstream]\n", "FILE:1", "[upstream]"},
		{"[profile.]\n", "FILE:1", "name"},
		{"[profile.a b]\n", "FILE:1", "a b"},
		{"[route.a.b]\n", "FILE:1", "a.b"},
		{"[route.\xc3\xa9]\n", "FILE:1", "name"},
		{"[server]\nworker = 1\n", "FILE:2", "worker"},
		{"[server]\nListen = 127.0.0.1:1\n", "FILE:2", "Listen"},
		{"[log]\n\nurl = https://x\n", "FILE:3", "url"},
		{"[profile.mine]\nmax_attempt = 1\n", "FILE:2", "max_attempt"},
		{"[server]\n[server]\n", "FILE:2", "twice"},
		{"[server]\nworkers = 1\nworkers = 1\n", "FILE:3", "twice"},
		{"workers = 1\n", "FILE:1", "before"},
		{"[server]\n workers = 1\n", "FILE:2", "indented"},
		/* values */
		{"[server]\nworkers = 0\n", "FILE:2", "out of range"},
		{"[server]\nworkers = 257\n", "FILE:2", "out of range"},
		{"[server]\nworkers = two\n", "FILE:2", "two"},
		{"[server]\nworkers =\n", "FILE:2", "workers"},
		{"[server]\nmax_body = 0\n", "FILE:2", "out of range"},
		{"[server]\nmax_body = 64MB\n", "FILE:2", "64MB"},
		{"[server]\nidle_timeout = 0\n", "FILE:2", "out of range"},
		{"[server]\nidle_timeout = 120\n", "FILE:2", "120"},
		{"[profile.default]\nmax_attempts = 0\n", "FILE:2", "out of range"},
		{"[profile.default]\nmax_attempts = 65\n", "FILE:2", "out of range"},
		{"[profile.default]\njitter = some\n", "FILE:2", "additive"},
		{"[profile.batch]\ntotal_timeout = 0\n", "FILE:2", "out of range"},
		{"[log]\nlevel = loud\n", "FILE:2", "debug"},
		{"[log]\nformat = xml\n", "FILE:2", "json"},
		{"[log]\nevents = here.jsonl\n", "FILE:2", "here.jsonl"},
		{"[log]\nevents = journald\n", "FILE:2", "not built"},
		{"[log]\nevents =\n", "FILE:2", "events"},
		/* addresses */
		{"[server]\nlisten =\n", "FILE:2", "no address"},
		{"[server]\nlisten = 8787\n", "FILE:2", "8787"},
		{"[server]\nlisten = localhost:8787\n", "FILE:2", "localhost:8787"},
		{"[server]\nlisten = 127.0.0.1:8787 ::1:8787\n", "FILE:2", "::1:8787"},
		{"[server]\nlisten = 127.0.0.1:8787,[::1]:8787\n", "FILE:2", "no address"},
		{"[server]\nlisten = 0.0.0.0:8787\n", "FILE:2", "beyond loopback"},
		{"[server]\nlisten = [::]:8787\n", "FILE:2", "beyond loopback"},
		{"[server]\nlisten = 127.0.0.1:1 192.168.1.5:1\n", "FILE:2", "192.168.1.5:1"},
		{"[server]\nlisten = unix:run/a\n", "FILE:2", "absolute"},
		{"[server]\nlisten = unix:\n", "FILE:2", "absolute"},
		{"[server]\nlisten = unix:@a\n", "FILE:2", "absolute"},
		{"[server]\nlisten = unix:/" LONG_NAME LONG_NAME "1234567\n", "FILE:2",
			"107 bytes"},
		{"[server]\nlisten = 0.0.0.0:1 unix:/run/a\n", "FILE:2", "client_token_file"},
		/* who may come in */
		{"[server]\nallow_origins = *\n", "FILE:2", "any page"},
		{"[server]\nallow_origins = null\n", "FILE:2", "sandboxed"},
		{"[server]\n\nallow_origins = https://a.example https://b.example/\n", "FILE:3",
			"https://b.example/"},
		{"[server]\nallow_origins = a.example\n", "FILE:2", "scheme://"},
		{"[server]\nallow_origins = https://a.example,https://b.example\n", "FILE:2",
			"path"},
		{"[server]\nclient_token_file = /nonexistent/token\n", "FILE:2",
			"/nonexistent/token"},
		{"[server]\nclient_token_file = /\n", "FILE:2", "regular"},
		{"[server]\nlisten = 0.0.0.0:1\nclient_token_file = /\n", "FILE:3", "regular"},
		{"[server]\nunix_mode =\n", "FILE:2", "octal"},
		{"[server]\nunix_mode = 0800\n", "FILE:2", "octal"},
		{"[server]\nunix_mode = rw\n", "FILE:2", "octal"},
		{"[server]\nunix_mode = 1777\n", "FILE:2", "octal"},
		{"[server]\nunix_mode = 000000600\n", "FILE:2", "octal"},
		{"[server]\nunix_mode = -600\n", "FILE:2", "octal"},
		{"[server]\nunix_users = root no-such-user-here\n", "FILE:2", "no-such-user-here"},
		{"[server]\nunix_users = -1\n", "FILE:2", "-1"},
		{"[server]\nunix_users = 4294967295\n", "FILE:2", "4294967295"},
		{"[server]\nunix_users = 18446744073709551616\n", "FILE:2", "no user"},
		/* the admin listener */
		{"[server]\nadmin =\n", "FILE:2", "no address"},
		{"[server]\nadmin = on\n", "FILE:2", "no address"},
		{"[server]\nadmin = 8788\n", "FILE:2", "no address"},
		{"[server]\nadmin = localhost:8788\n", "FILE:2", "no address"},
		{"[server]\nadmin = unix:/run/admin\n", "FILE:2", "no address"},
		{"[server]\nadmin = systemd\n", "FILE:2", "no address"},
		{"[server]\nadmin = 127.0.0.1:1 [::1]:1\n", "FILE:2", "no address"},
		{"[server]\nadmin = 127.0.0.1:8787\n", "FILE:2", "listen"},
		{"[server]\nlisten = [::1]:1 127.0.0.1:8788\n", "FILE:1", "admin"},
		/* upstreams */
		{"[upstream.other]\n", "FILE:1", "no url"},
		{"[upstream.other]\nurl =\n", "FILE:2", "no url"},
		{"[upstream.other]\npool_idle = 5s\n", "FILE:1", "no url"},
		{"[upstream.fireworks]\nurl = api.fireworks.ai\n", "FILE:2", "scheme"},
		{"[upstream.fireworks]\nurl = http://api.fireworks.ai\n", "FILE:2", "loopback"},
		{"[upstream.fireworks]\nurl = https://h/inference/v1\n", "FILE:2", "path"},
		{"[upstream.fireworks]\nca_file = /nonexistent/ca.pem\n", "FILE:2",
			"/nonexistent/ca.pem"},
		{"[upstream.fireworks]\napi_key_file = /nonexistent/key\n", "FILE:2",
			"/nonexistent/key"},
		{"[upstream.fireworks]\napi_key_file = /\n", "FILE:2", "regular"},
		{"[upstream.fireworks]\ntransport = carrier-pigeon\n", "FILE:2", "evhttp"},
		{"[upstream.fireworks]\nmax_in_flight = 0\n", "FILE:2", "out of range"},
		{"[upstream.fireworks]\nqueue = off\n", "FILE:2", "off"},
		{"[upstream.fireworks]\nqueue_bytes = 0\n", "FILE:2", "out of range"},
		{"[upstream.fireworks]\npacing = auto\n", "FILE:2", "auto"},
		{"[upstream.fireworks]\nretry_budget = 20\n", "FILE:2", "20%"},
		{"[upstream.fireworks]\nretry_budget = 1001%\n", "FILE:2", "0% to 1000%"},
		{"[profile.mine]\npool_timeout = 0\n", "FILE:2", "out of range"},
		{"[profile.mine]\noutage_wait = 0\n", "FILE:2", "out of range"},
		{"[profile.mine]\noutage_wait = off\n", "FILE:2", "off"},
		/* names that nothing defines */
		{"[upstream.fireworks]\nprofile = quick\n", "FILE:2", "quick"},
		{"[route.a]\nprofile = quick\n", "FILE:2", "quick"},
		{"[route.a]\npath = /x\nupstream = other\n", "FILE:3", "other"},
		{"[route.a]\nprofile = Default\n", "FILE:2", "Default"},
		{"[route.a]\nfallback = other:m\n", "FILE:2", "other"},
		{"[route.a]\nfallback = fireworks:\n", "FILE:2", "no model"},
		{"[route.a]\nfallback = :m\n", "FILE:2", "no model"},
		{"[route.a]\nfallback = fireworks::m\n", "FILE:2", "no model"},
		/* lists of statuses */
		{"[profile.default]\nretry_statuses = 200\n", "FILE:2", "400 to 599"},
		{"[profile.default]\nretry_statuses = 503 600\n", "FILE:2", "400 to 599"},
		{"[profile.default]\nretry_statuses = 50\n", "FILE:2", "400 to 599"},
		{"[profile.default]\nretry_statuses = 5000\n", "FILE:2", "400 to 599"},
		{"[profile.default]\nretry_statuses = 503 5xx\n", "FILE:2", "400 to 599"},
		{"[profile.default]\nretry_statuses = all\n", "FILE:2", "400 to 599"},
		{"[profile.default]\nretry_statuses = -50\n", "FILE:2", "400 to 599"},
		{"[profile.mine]\nretry_statuses = 429;500\n", "FILE:2", "400 to 599"},
		/* what is not part of this version */
		{"[upstream.fireworks]\nproxy = http://127.0.0.1:3128\n", "FILE:2", "not built"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		_cleanup_loading_ struct loading loading;

		ROW("%s", rows[i].text);
		load_text(&loading, rows[i].text);
		CHECK(!loading.config);
		CHECK_INT(loading.errors, 1);
		CHECK_INT(loading.warnings, 0);
		check_says(&loading, rows[i].place, rows[i].word);
	}
}

static void every_mistake_is_said(void)
{
	_cleanup_loading_ struct loading loading;

	load_text(&loading, "[server]\n"
			    "workers = 0\n"
			    "listen = nowhere\n"
			    "colour = red\n"
			    "[log]\n"
			    "level = loud\n"
			    "events = somewhere\n"
			    "[extra]\n"
			    "x = y\n"
			    "[profile.mine]\n"
			    "jitter = some\n"
			    "retry_statuses = 1\n"
			    "[upstream.a]\n"
			    "url = nowhere\n"
			    "profile = quick\n"
			    "[route.r]\n"
			    "upstream = b\n"
			    " indented = 1\n");
	CHECK_INT(loading.errors, 12);
	check_says(&loading, "FILE:2", "workers");
	check_says(&loading, "FILE:3", "listen");
	check_says(&loading, "FILE:4", "colour");
	check_says(&loading, "FILE:6", "level");
	check_says(&loading, "FILE:7", "events");
	check_says(&loading, "FILE:8", "[extra]");
	check_says(&loading, "FILE:11", "jitter");
	check_says(&loading, "FILE:12", "retry_statuses");
	check_says(&loading, "FILE:14", "url");
	check_says(&loading, "FILE:15", "quick");
	check_says(&loading, "FILE:17", "upstream");
	check_says(&loading, "FILE:18", "indented");
	CHECK(!strstr(str_text(&loading.said), "FILE:9")); /* said once, of its section */
}

/* A wrong list of `default` is said once, not again for each profile that inherits it. */
static void an_inherited_mistake_is_said_once(void)
{
	_cleanup_loading_ struct loading loading;

	load_text(&loading, "[profile.mine]\n[profile.default]\nretry_statuses = nothing\n");
	CHECK_INT(loading.errors, 1);
	check_says(&loading, "FILE:3", "retry_statuses");
}

static void a_file_that_cannot_be_read(void)
{
	_cleanup_free_ char *missing = temp_path("missing.conf"),
			    *directory = temp_path("dir.conf");
	_cleanup_loading_ struct loading none = {.config = NULL}, dir = {.config = NULL};
	struct config_request request = {.file = missing};

	CHECK(!config_load(&request, on_message, &none));
	CHECK_INT(none.errors, 1);
	check_says(&none, missing, "No such file");
	CHECK_INT(mkdir(directory, 0700), 0);
	request.file = directory;
	CHECK(!config_load(&request, on_message, &dir));
	CHECK_INT(dir.errors, 1);
	check_says(&dir, directory, "directory");
}

static void takes_lists_of_statuses(void)
{
	static const int want[] = {404, 425, 599, 400, 0};
	_cleanup_loading_ struct loading loading, empty, full;
	_cleanup_str_ struct str many = STR_NULL;

	if (load_fine(&loading, "[profile.default]\nretry_statuses = 404  425 599 400 ; c\n"))
		CHECK(memcmp(profile(&loading, "default")->retry.statuses, want, sizeof(want)) ==
			0);
	if (load_fine(&empty, "[profile.default]\nretry_statuses =\n"))
		CHECK_INT(profile(&empty, "default")->retry.statuses[0], 0);
	str_add(&many, "[profile.default]\nretry_statuses =");
	for (int i = 0; i < RETRY_MAX_STATUSES - 1; i++)
		str_addf(&many, " %d", 500 + i);
	if (load_fine(&full, str_text(&many)))
		CHECK_INT(profile(&full, "default")->retry.statuses[RETRY_MAX_STATUSES - 2],
			500 + RETRY_MAX_STATUSES - 2);
	loading_fini(&full);
	str_addf(&many, " %d", 599);
	load_text(&full, str_text(&many));
	check_says(&full, "FILE:2", "retry_statuses");
}

/* ---- Keys */

static const char key[] = "fw_canaryfile0123456789";
static char variable_key[] = "FIREWORKS_API_KEY=fw_canaryvariable";

static void check_key(const struct loading *loading, const char *want, enum key_source source)
{
	if (!CHECK(loading->config != NULL))
		return;
	CHECK_STR(loading->config->upstreams[0].api_key, want);
	CHECK_INT(loading->config->upstreams[0].key_source, source);
}

static void a_key_comes_from_a_file(void)
{
	_cleanup_free_ char *path = temp_file("key", "fw_canaryfile0123456789\n", 24, 0600);
	char *const environment[] = {variable_key, NULL};
	_cleanup_str_ struct str text = STR_NULL, rendered = STR_NULL;
	_cleanup_loading_ struct loading alone, both;

	str_addf(&text, "[upstream.fireworks]\napi_key_file = %s\n", path);
	load_text(&alone, str_text(&text));
	check_key(&alone, key, KEY_OF_FILE);
	load(&both, str_text(&text), environment, NULL);
	check_key(&both, key, KEY_OF_FILE);
	config_render(both.config, &rendered);
	CHECK(strstr(str_text(&rendered), path) != NULL);
	CHECK(!strstr(str_text(&rendered), "canary"));
}

static void a_key_file_that_others_can_read_is_an_error(void)
{
	static const mode_t modes[] = {0644, 0640, 0604, 0660};
	char *const environment[] = {variable_key, NULL};

	for (size_t i = 0; i < COUNT_OF(modes); i++) {
		_cleanup_free_ char *path = temp_file("key", key, strlen(key), modes[i]);
		_cleanup_str_ struct str text = STR_NULL;
		_cleanup_loading_ struct loading loading;

		ROW("mode %04o", modes[i]);
		str_addf(&text, "[upstream.fireworks]\n\napi_key_file = %s\n", path);
		load(&loading, str_text(&text), environment, NULL);
		CHECK_INT(loading.errors, 1);
		check_says(&loading, "FILE:3", "chmod 600");
		CHECK(!strstr(str_text(&loading.said), "canary"));
	}
}

static void a_key_comes_from_the_environment(void)
{
	char *const environment[] = {variable_key, NULL};
	char *const empty[] = {VARIABLE("FIREWORKS_API_KEY="), NULL};
	char *const similar[] = {VARIABLE("FIREWORKS_API_KEY_OLD=fw_x"), NULL};
	_cleanup_loading_ struct loading fireworks, other, of_empty, of_similar;

	load(&fireworks, NULL, environment, NULL);
	check_key(&fireworks, "fw_canaryvariable", KEY_OF_ENVIRONMENT);
	load(&other, "[upstream.other]\nurl = https://h\n[upstream.fireworks]\n", environment,
		NULL);
	check_key(&other, NULL, KEY_OF_CLIENT);
	CHECK_STR(other.config->upstreams[1].api_key, "fw_canaryvariable");
	load(&of_empty, NULL, empty, NULL);
	check_key(&of_empty, NULL, KEY_OF_CLIENT);
	load(&of_similar, NULL, similar, NULL);
	check_key(&of_similar, NULL, KEY_OF_CLIENT);
}

/* A stray line end must not become a part of a header field, whatever else is done about it. */
static void a_key_of_the_environment_is_judged_too(void)
{
	static const char *const values[] = {"fw_canary\n", "fw_canary\r", "\tfw_canary",
		"fw_canary\r\nX-Evil: 1", "fw_canary key", "fw_canary\x7f", "fw_canary\xc3\xa9"};

	for (size_t i = 0; i < COUNT_OF(values); i++) {
		_cleanup_str_ struct str variable = STR_NULL;
		_cleanup_loading_ struct loading loading;
		char *environment[] = {NULL, NULL};
		const char *got;

		ROW("value %zu", i);
		str_addf(&variable, "FIREWORKS_API_KEY=%s", values[i]);
		environment[0] = variable.data;
		load(&loading, NULL, environment, NULL);
		got = loading.config ? loading.config->upstreams[0].api_key : NULL;
		CHECK(!got || str_same(got, "fw_canary"));
		CHECK(!strstr(str_text(&loading.said), "canary"));
	}
}

/* The caller has taken it out of the environment; it is judged like the variable. */
static void a_key_comes_from_the_caller(void)
{
	struct config_request request = {.environment_key = "fw_canarytaken"};
	_cleanup_loading_ struct loading loading = {.config = NULL}, wrong = {.config = NULL};

	loading.config = config_load(&request, on_message, &loading);
	check_key(&loading, "fw_canarytaken", KEY_OF_ENVIRONMENT);
	request.environment_key = "fw_canary taken";
	wrong.config = config_load(&request, on_message, &wrong);
	check_says(&wrong, "FIREWORKS_API_KEY", "one word");
	CHECK(!strstr(str_text(&wrong.said), "canary"));
}

/* INVOCATION_ID is inherited by all that a desktop's terminal starts. */
static void a_services_environment_is_no_place_for_a_key(void)
{
	_cleanup_str_ struct str own = STR_NULL;
	char *environment[] = {variable_key, VARIABLE("CREDENTIALS_DIRECTORY=/nonexistent"), NULL};
	_cleanup_loading_ struct loading credentials, exec, terminal;

	load(&credentials, NULL, environment, NULL);
	check_says(&credentials, "W FIREWORKS_API_KEY", "LoadCredential");
	check_key(&credentials, "fw_canaryvariable", KEY_OF_ENVIRONMENT);
	str_addf(&own, "SYSTEMD_EXEC_PID=%d", (int)getpid());
	environment[1] = own.data;
	load(&exec, NULL, environment, NULL);
	CHECK_INT(exec.warnings, 1);
	environment[1] = VARIABLE("SYSTEMD_EXEC_PID=1");
	load(&terminal, NULL, environment, NULL);
	CHECK_INT(terminal.warnings, 0);
}

static void a_key_in_its_files_place_is_not_repeated(void)
{
	_cleanup_loading_ struct loading loading;

	load_text(&loading, "[upstream.fireworks]\napi_key_file = fw_canary0123456789\n");
	check_says(&loading, "FILE:2", "this is a key");
	CHECK(!strstr(str_text(&loading.said), "canary"));
}

/* A request would go round in a circle. */
static void an_upstream_is_not_andiron_itself(void)
{
	static const struct {
		const char *listen, *url;
		bool fine;
	} rows[] = {
		{"127.0.0.1:8787", "http://127.0.0.1:8787", false},
		{"127.0.0.1:8787", "http://localhost:8787/", false},
		{"127.0.0.1:8787", "https://LocalHost:8787", false},
		{"127.0.0.1:8787", "https://api.localhost:8787", false},
		{"127.0.0.1:8787", "https://0.0.0.0:8787", false},
		{"127.0.0.1:8787", "https://[::ffff:127.0.0.1]:8787", false},
		{"127.0.0.1:1 [::1]:443", "https://[::1]", false},
		{"127.0.0.1:1 [::1]:443", "https://[::]", false},
		{"127.0.0.1:8787", "http://127.0.0.1:8788", false}, /* admin */
		{"127.0.0.1:8787", "http://127.0.0.1:8789", true},
		{"127.0.0.1:8787", "http://127.0.0.2:8787", true},
		{"127.0.0.1:8787", "http://[::1]:8787", true},
		{"[::1]:8787", "http://127.0.0.1:8787", true},
		{"127.0.0.1:8787", "https://localhost.example:8787", true},
		{"127.0.0.1:443", "https://api.fireworks.ai", true},
		{"127.0.0.1:0", "http://127.0.0.1:8787", true},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		_cleanup_str_ struct str text = STR_NULL;
		_cleanup_loading_ struct loading loading;

		ROW("%s, %s", rows[i].listen, rows[i].url);
		str_addf(&text, "[server]\nlisten = %s\n[upstream.fireworks]\nurl = %s\n",
			rows[i].listen, rows[i].url);
		load_text(&loading, str_text(&text));
		CHECK_INT(loading.errors, !rows[i].fine);
		if (!rows[i].fine)
			check_says(&loading, "FILE:4", "andiron itself");
	}
}

/* Loading refuses it until there is a client token; the circle is seen all the same. */
static void a_wildcard_listens_on_every_address(void)
{
	static const char *const urls[] = {"http://127.0.0.1:8787", "http://127.9.9.9:8787",
		"http://localhost:8787", "https://0.0.0.0:8787"};

	for (size_t i = 0; i < COUNT_OF(urls); i++) {
		_cleanup_str_ struct str text = STR_NULL;
		_cleanup_loading_ struct loading loading;

		ROW("%s", urls[i]);
		str_addf(&text, "[server]\nlisten = 0.0.0.0:8787\n[upstream.fireworks]\nurl = %s\n",
			urls[i]);
		load_text(&loading, str_text(&text));
		check_says(&loading, "FILE:4", "andiron itself");
	}
}

/* LoadCredential=NAME_api_key:... for the upstream of that name, whatever its mode. */
static void a_key_comes_from_systemd(void)
{
	_cleanup_free_ char *fireworks = temp_file("fireworks_api_key", key, strlen(key), 0440);
	_cleanup_free_ char *audio = temp_file("audio_api_key", "fw_audio", 8, 0440);
	_cleanup_free_ char *file = temp_file("key", "fw_file", 7, 0600);
	_cleanup_str_ struct str directory = STR_NULL, text = STR_NULL;
	_cleanup_loading_ struct loading alone, several, beaten, blank, broken;
	char *environment[] = {variable_key, NULL, NULL};

	CHECK(fireworks && audio);
	str_addf(&directory, "CREDENTIALS_DIRECTORY=%s", temp_directory);
	environment[1] = directory.data;
	load(&alone, NULL, environment, NULL);
	check_key(&alone, key, KEY_OF_FILE);
	load(&several, "[upstream.audio]\nurl = https://a\n[upstream.none]\nurl = https://n\n",
		environment, NULL);
	check_key(&several, "fw_audio", KEY_OF_FILE);
	CHECK_STR(several.config->upstreams[1].api_key, NULL);
	str_addf(&text, "[upstream.fireworks]\napi_key_file = %s\n", file);
	load(&beaten, str_text(&text), environment, NULL);
	check_key(&beaten, "fw_file", KEY_OF_FILE);
	free(temp_file("fireworks_api_key", "\n", 1, 0400));
	load(&blank, NULL, environment, NULL);
	check_key(&blank, variable_key + strlen("FIREWORKS_API_KEY="), KEY_OF_ENVIRONMENT);
	free(temp_file("fireworks_api_key", "two\nlines\n", 10, 0400));
	load(&broken, NULL, environment, NULL);
	CHECK_INT(broken.errors, 1);
	CHECK(strstr(str_text(&broken.said), "fireworks_api_key") != NULL);
}

/* ---- Who may come in */

static const char token[] = "canarytoken0123456789";

static void a_token_comes_from_a_file(void)
{
	_cleanup_free_ char *path = temp_file("token", "canarytoken0123456789\n", 22, 0600);
	_cleanup_free_ char *open = temp_file("open", token, strlen(token), 0644);
	_cleanup_free_ char *words = temp_file("words", "canary token\n", 13, 0600);
	_cleanup_str_ struct str text = STR_NULL, rendered = STR_NULL;
	_cleanup_loading_ struct loading without, with, readable, two;

	load_fine(&without, "[server]\n");
	CHECK(!without.config->client_token);
	str_addf(&text, "[server]\nlisten = 0.0.0.0:1 [::]:1\nclient_token_file = %s\n", path);
	if (load_fine(&with, str_text(&text))) {
		CHECK_STR(with.config->client_token, token);
		config_render(with.config, &rendered);
		CHECK(!strstr(str_text(&rendered), "canary"));
	}
	str_clear(&text);
	str_addf(&text, "[server]\nclient_token_file = %s\n", open);
	load_text(&readable, str_text(&text));
	check_says(&readable, "FILE:2", "chmod 600");
	str_clear(&text);
	str_addf(&text, "[server]\nclient_token_file = %s\n", words);
	load_text(&two, str_text(&text));
	check_says(&two, "FILE:2", "one word");
	CHECK(!strstr(str_text(&two.said), "canary"));
}

static void unix_sockets_have_modes_and_users(void)
{
	static const struct {
		const char *text;
		unsigned mode;
	} rows[] = {
		{"", 0600},
		{"unix_mode = 0600\n", 0600},
		{"unix_mode = 660\n", 0660},
		{"unix_mode = 0777\n", 0777},
		{"unix_mode = 0\n", 0},
	};
	_cleanup_loading_ struct loading nobody, some;

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		_cleanup_str_ struct str text = STR_NULL;
		_cleanup_loading_ struct loading loading;

		ROW("%s", rows[i].text);
		str_addf(&text, "[server]\nlisten = unix:/run/a\n%s", rows[i].text);
		if (load_fine(&loading, str_text(&text)))
			CHECK_INT(loading.config->unix_mode, rows[i].mode);
	}
	if (load_fine(&nobody, "") && CHECK_INT(nobody.config->unix_user_count, 2)) {
		CHECK_INT(nobody.config->unix_users[0], geteuid());
		CHECK_INT(nobody.config->unix_users[1], 0);
	}
	if (load_fine(&some, "[server]\nunix_users = 4294967294  root 12\n") &&
		CHECK_INT(some.config->unix_user_count, 3)) {
		CHECK_INT(some.config->unix_users[0], 4294967294);
		CHECK_INT(some.config->unix_users[1], 0);
		CHECK_INT(some.config->unix_users[2], 12);
	}
}

/* ---- Rendering */

/* What is rendered loads again, without a word, to the same text. */
static void check_renders(const char *text)
{
	_cleanup_str_ struct str first = STR_NULL, second = STR_NULL;
	_cleanup_loading_ struct loading loading, again;

	ROW("%s", text);
	if (!load_fine(&loading, text))
		return;
	config_render(loading.config, &first);
	ROW("%.60s..., rendered", text);
	if (!load_fine(&again, str_text(&first)))
		return;
	config_render(again.config, &second);
	CHECK_STR(str_text(&second), str_text(&first));
}

static void what_is_rendered_loads_again(void)
{
	static const char *const texts[] = {
		"",
		"[server]\nlisten = 127.0.0.1:1 [::1]:2\nworkers = 3\nmax_body = 1025\n"
		"max_header = 1.5KiB\nidle_timeout = 1500ms\nallow_hosts = a b  c\n"
		"allow_origins = https://a.example http://[::1]:3000\n",
		"[server]\nlisten = unix:/run/a 127.0.0.1:1\nunix_mode = 0660\n"
		"unix_users = root 1000\n",
		"[log]\nevents = /var/log/andiron.jsonl\nformat = text\nlevel = debug\n",
		"[upstream.one]\nurl = https://one.example:8443/\nprofile = mine\n"
		"[upstream.fireworks]\n[profile.mine]\nhold_body = 0\n",
		"[profile.default]\nmax_attempts = 2\njitter = decorrelated\n"
		"retry_statuses = 503\nbackoff_base = 0.5s\ntotal_timeout = 1.5h\n"
		"[profile.interactive]\nfirst_byte_timeout = 31s\n[profile.z]\n[profile.a]\n",
		"[profile.default]\nfirst_byte_timeout = 7m\ntotal_timeout = 7m\n"
		"max_attempts = 1\n",
		"[profile.default]\nretry_statuses =\n",
		"[route.b]\npath = /inference/v1/chat/*\nmodel = accounts/*/deployments/*\n"
		"profile = agentic\nupstream = fireworks\n[route.a]\n[route.c]\nmodel = *#*\n",
		"[upstream.u]\nurl = http://[::1]:1\nca_file =\npool_idle = 90s\n",
		"[server]\nadmin = off\n[upstream.fireworks]\nmax_in_flight = off\nqueue = 0\n"
		"queue_bytes = off\npacing = off\nbreaker = off\nretry_budget = 0.5%\n"
		"[profile.default]\npool_timeout = 1.5s\noutage_wait = 2h\nhedge_after = 1s\n"
		"[route.a]\nfallback = fireworks:accounts/a/models/m:free\n",
		"[upstream.fireworks]\nretry_budget = off\n",
	};

	for (size_t i = 0; i < COUNT_OF(texts); i++)
		check_renders(texts[i]);
}

/* A value that one line of a file can hold: rendered, one line holds it again. */
static void a_long_value_is_rendered_to_load_again(void)
{
	_cleanup_str_ struct str text = STR_NULL;

	str_add(&text, "[server]\nallow_hosts=");
	for (int i = 0; i < 198 - (int)strlen("allow_hosts="); i++)
		str_add_char(&text, i % 10 == 9 ? ' ' : 'h');
	text.data[text.len - 1] = 'h';
	str_add(&text, "\n");
	check_renders(str_text(&text));
}

static void renders_every_key(void)
{
	_cleanup_str_ struct str text = STR_NULL;
	_cleanup_loading_ struct loading loading;

	if (!load_fine(&loading, "[route.a]\n"))
		return;
	config_render(loading.config, &text);
	CHECK(str_begins(str_text(&text), "[server]\n"));
	for (int section = 0; section < SECTION_COUNT; section++) {
		const struct option_table *table = &option_tables[section];

		for (size_t i = 0; i < table->count; i++) {
			_cleanup_str_ struct str line = STR_NULL;
			const char *found;

			ROW("[%s] %s", table->section, table->options[i].key);
			str_addf(&line, "\n%s ", table->options[i].key);
			found = strstr(str_text(&text), str_text(&line));
			if (CHECK(found != NULL)) {
				found += line.len;
				CHECK_INT(found[strspn(found, " ")], '=');
			}
		}
	}
	CHECK(strstr(str_text(&text), "\n[upstream.fireworks]\n") != NULL);
	CHECK(strstr(str_text(&text), "\n[profile.control]\n") != NULL);
	CHECK(strstr(str_text(&text), "\n[route.a]\n") != NULL);
}

/* ---- References */

static void lives_as_long_as_its_last_reference(void)
{
	_cleanup_loading_ struct loading loading;
	struct config *config;

	load(&loading, NULL, NULL, NULL);
	config = config_ref(loading.config);
	CHECK(config == loading.config);
	config_unref(loading.config);
	loading.config = NULL;
	CHECK_STR(config->upstreams[0].name, "fireworks"); /* a sanitizer would object */
	config_unref(config);
	config_unref(NULL);
}

TEST_MAIN(TEST(works_without_a_file), TEST(an_empty_file_is_none),
	TEST(builtin_profiles_are_the_tables), TEST(builtin_profiles_keep_their_rows),
	TEST(profiles_are_changed_key_by_key), TEST(upstreams_stand_in_order),
	TEST(routes_stand_in_order), TEST(routes_have_fallbacks),
	TEST(a_fallback_needs_a_key_of_its_upstream), TEST(a_fallback_has_no_control_bytes),
	TEST(the_admin_listener_has_an_address), TEST(flags_beat_the_environment_beats_the_file),
	TEST(flags_are_for_the_first_upstream), TEST(the_environment_reaches_every_section),
	TEST(unknown_variables_warn), TEST(wrong_values_are_named_by_their_source),
	TEST(a_listen_that_was_written_down_is_no_default), TEST(each_mistake_has_its_place),
	TEST(every_mistake_is_said), TEST(an_inherited_mistake_is_said_once),
	TEST(a_file_that_cannot_be_read), TEST(takes_lists_of_statuses),
	TEST(a_key_comes_from_a_file), TEST(a_key_file_that_others_can_read_is_an_error),
	TEST(a_key_comes_from_the_environment), TEST(a_key_of_the_environment_is_judged_too),
	TEST(a_key_comes_from_systemd), TEST(a_key_comes_from_the_caller),
	TEST(a_services_environment_is_no_place_for_a_key),
	TEST(a_key_in_its_files_place_is_not_repeated), TEST(an_upstream_is_not_andiron_itself),
	TEST(a_wildcard_listens_on_every_address), TEST(a_key_comes_from_systemd),
	TEST(a_token_comes_from_a_file), TEST(unix_sockets_have_modes_and_users),
	TEST(what_is_rendered_loads_again), TEST(a_long_value_is_rendered_to_load_again),
	TEST(renders_every_key), TEST(lives_as_long_as_its_last_reference))
