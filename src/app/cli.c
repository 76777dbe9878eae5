#include "app/cli.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "app/daemon.h"
#include "app/demo.h"
#include "app/harden.h"
#include "app/live.h"
#include "app/predecessor.h"
#include "app/version.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"
#include "config/config.h"

static const char usage[] =
	"usage: andiron [COMMAND] [OPTIONS]\n"
	"\n"
	"A local reverse proxy for the Fireworks AI API: timeouts, retries, and a record of the\n"
	"failures that the dashboard cannot show.\n"
	"\n"
	"commands:\n"
	"  run       run in the foreground (the default)\n"
	"  check     print the effective configuration, or every mistake in it\n"
	"  demo      run with a simulated Fireworks that fails on purpose: no key, no network\n"
	"  help      this text\n"
	"\n"
	"options:\n"
	"  -c, --config FILE     the configuration (default: $ANDIRON_CONFIG, else built in)\n"
	"      --listen LIST     addresses, as \"127.0.0.1:8787 [::1]:8787\"\n"
	"      --upstream URL    the first upstream's URL\n"
	"      --profile NAME    the first upstream's profile\n"
	"      --workers N       event loops\n"
	"      --log-level LEVEL error, warning, info, debug\n"
	"      --event-log WHERE stderr, stdout, off, or an absolute path\n"
	"      --admin ADDRESS   health, metrics, status: 127.0.0.1:8788; off: none\n"
	"      --live            with check: is the daemon that runs by it alive? exit 0 or 1\n"
	"  -h, --help            this text\n"
	"  -V, --version         versions\n"
	"\n"
	"Every key of the configuration is also an environment variable ANDIRON_<SECTION>_<KEY>.\n"
	"FIREWORKS_API_KEY is the key for clients that send none of their own.\n";

static const struct option_flag {
	const char *flag, *section, *key;
} option_flags[] = {
	{"--listen", "server", "listen"},
	{"--admin", "server", "admin"},
	{"--upstream", NULL, "url"},
	{"--profile", NULL, "profile"},
	{"--workers", "server", "workers"},
	{"--log-level", "log", "level"},
	{"--event-log", "log", "events"},
};

enum {
	FLAG_COUNT = sizeof(option_flags) / sizeof(option_flags[0]),
	FIRST_FLAG = 256, /* of getopt_long's values */
	LIVE = FIRST_FLAG - 1,
	MAX_FLAGS = 31, /* given at once; more are an error */
};

struct command_line {
	const char *command;
	const char *config;
	struct config_flag flags[MAX_FLAGS + 1]; /* the last one stays empty */
	size_t flag_count;
	char *environment_key; /* FIREWORKS_API_KEY, which is wiped from the environment */
	char **argv;           /* in the order in which they were given */
	bool has_predecessor;  /* it takes over from a running one */
	bool live, help, version, wrong;
};

static void add_flag(struct command_line *line, const struct option_flag *flag, const char *value)
{
	if (line->flag_count == MAX_FLAGS) {
		fputs("andiron: too many flags\n", stderr);
		line->wrong = true;
		return;
	}
	line->flags[line->flag_count++] =
		(struct config_flag){flag->flag, flag->section, flag->key, value};
}

static void parse_options(struct command_line *line, int argc, char **argv)
{
	struct option longs[FLAG_COUNT + 5] = {
		{"live", no_argument, NULL, LIVE},
		{"config", required_argument, NULL, 'c'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
	};
	int c;

	for (size_t i = 0; i < FLAG_COUNT; i++)
		longs[i + 4] = (struct option){
			option_flags[i].flag + 2, required_argument, NULL, FIRST_FLAG + (int)i};
	while ((c = getopt_long(argc, argv, "c:hV", longs, NULL)) != -1) {
		if (c == 'c')
			line->config = optarg;
		else if (c == LIVE)
			line->live = true;
		else if (c == 'h')
			line->help = true;
		else if (c == 'V')
			line->version = true;
		else if (c >= FIRST_FLAG)
			add_flag(line, &option_flags[c - FIRST_FLAG], optarg);
		else
			line->wrong = true;
	}
	line->command = optind < argc ? argv[optind++] : "run";
	if (optind < argc && !str_same(line->command, "help")) {
		fprintf(stderr, "andiron: %s takes no argument \"%s\"\n", line->command,
			argv[optind]);
		line->wrong = true;
	}
}

static void on_message(void *arg, bool fatal, const char *place, const char *message)
{
	(void)arg;
	log_place(fatal ? LOG_ERROR : LOG_WARNING, place, message);
}

static struct config *load(const struct command_line *line)
{
	struct config_request request = {
		.file = line->config ? line->config : getenv("ANDIRON_CONFIG"),
		.flags = line->flags,
		.environment = environ,
		.environment_key = line->environment_key,
	};
	const char *names[] = {"HTTPS_PROXY", "https_proxy"};

	for (size_t i = 0; i < 2; i++) {
		const char *proxy = getenv(names[i]);

		if (proxy && *proxy)
			on_message(NULL, false, names[i],
				"this version does not use a proxy yet; it connects directly");
	}
	if (request.file && !*request.file)
		request.file = NULL;
	return config_load(&request, on_message, NULL);
}

static struct config *reload(void *arg)
{
	return load(arg);
}

/* Runs it to its end. */
static int serve(struct command_line *line, void (*on_listening)(unsigned port))
{
	struct daemon_setup setup = {
		.load = reload,
		.arg = line,
		.on_listening = on_listening,
		.has_predecessor = line->has_predecessor,
		.argv = line->argv,
		.environment_key = line->environment_key,
	};

	setup.config = load(line);
	return setup.config ? daemon_run(&setup) : EX_CONFIG;
}

static int check(const struct command_line *line)
{
	struct config *config = load(line);
	_cleanup_str_ struct str text = STR_NULL;
	bool alive;

	if (!config)
		return EXIT_FAILURE;
	if (line->live) {
		alive = live_check(config);
		config_unref(config);
		return alive ? EX_OK : EXIT_FAILURE;
	}
	config_render(config, &text);
	fputs(str_text(&text), stdout);
	config_unref(config);
	return EX_OK;
}

static int run(struct command_line *line)
{
	harden();
	return serve(line, NULL);
}

/* The demo's upstream stands in for the first one, whatever is configured. */
static int demo(struct command_line *line)
{
	static const struct option_flag upstream = {"demo", NULL, "url"};
	const char *url;
	int code;

	harden();
	url = demo_start();
	add_flag(line, &upstream, url);
	code = serve(line, demo_say_hello);
	demo_stop();
	return code;
}

static int usage_error(const char *command, const char *wrong)
{
	fprintf(stderr, "andiron: %s: %s\nTry 'andiron --help'.\n", command, wrong);
	return EX_USAGE;
}

static int dispatch(struct command_line *line)
{
	static const char *const later[] = {"doctor", "report", "wait"};

	if (line->live && !str_same(line->command, "check"))
		return usage_error(line->command, "--live goes with check");
	if (str_same(line->command, "run"))
		return run(line);
	if (str_same(line->command, "check"))
		return check(line);
	if (str_same(line->command, "demo"))
		return demo(line);
	for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++) {
		if (str_same(line->command, later[i]))
			return usage_error(line->command, "not built yet in this version");
	}
	return usage_error(line->command, "there is no such command");
}

/* getopt_long() puts them into another order. */
static char **copy_arguments(int argc, char **argv)
{
	char **copy = xcalloc((size_t)argc + 1, sizeof(*copy));

	memcpy(copy, argv, (size_t)argc * sizeof(*copy));
	return copy;
}

int cli_main(int argc, char **argv)
{
	_cleanup_free_ char **arguments = copy_arguments(argc, argv);
	struct command_line line = {.argv = arguments, .has_predecessor = predecessor_enter()};
	_cleanup_str_ struct str version = STR_NULL;
	int code;

	parse_options(&line, argc, argv);
	if (line.wrong) {
		fputs("Try 'andiron --help'.\n", stderr);
		return EX_USAGE;
	}
	if (line.version) {
		version_render(&version);
		fputs(str_text(&version), stdout);
		return EX_OK;
	}
	if (line.help || str_same(line.command, "help")) {
		fputs(usage, stdout);
		return EX_OK;
	}
	line.environment_key = secret_take_variable("FIREWORKS_API_KEY");
	code = dispatch(&line);
	secret_free(line.environment_key);
	return code;
}
