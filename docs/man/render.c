/* Makes a manual page of its template: a line `@NAME` becomes the list of that name, made of the
 * program's own tables, so that no page can lack an option, a phase, an error or a reason.
 *
 *   render TEMPLATE > PAGE */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "config/load.h"
#include "policy/failure.h"
#include "policy/retry.h"

/* Words of the program are data: no control line, no macro, no escape is to be made of them. */
static void put(const char *text)
{
	if (*text < 'a' || *text > 'z')
		fputs("\\&", stdout);
	for (; *text; text++) {
		switch (*text) {
		case '\\':
			fputs("\\e", stdout);
			break;
		case '^':
			fputs("\\(ha", stdout);
			break;
		case '~':
			fputs("\\(ti", stdout);
			break;
		case '`':
			fputs("\\(ga", stdout);
			break;
		case '"':
			fputs("\\(dq", stdout);
			break;
		default:
			putchar(*text);
		}
	}
}

static void put_item(const char *name)
{
	fputs(".It Cm ", stdout);
	put(name);
}

static void put_text(const char *text)
{
	put(text);
	putchar('\n');
}

/* ---- Options. */

static void add_words(const char *const *words, struct str *out)
{
	for (size_t i = 0; words[i]; i++)
		str_addf(out, "%s%s", i == 0 ? "" : words[i + 1] ? ", " : " or ", words[i]);
}

/* What its value may be. */
static void describe(const struct config_option *option, struct str *out)
{
	static const char *const names[] = {
		[OPTION_BOOL] = "on or off",
		[OPTION_COUNT] = "number",
		[OPTION_DURATION] = "duration",
		[OPTION_SIZE] = "size",
		[OPTION_PERCENT] = "share",
		[OPTION_WORD] = "",
		[OPTION_TEXT] = "text",
		[OPTION_LIST] = "list",
	};

	str_add(out, names[option->type]);
	if (option->type == OPTION_WORD)
		add_words(option->words, out);
	if (option->type == OPTION_COUNT || option->type == OPTION_DURATION ||
		option->type == OPTION_SIZE || option->type == OPTION_PERCENT) {
		str_add(out, ", ");
		option_render_bounds(option, out);
		if (option->words)
			str_addf(out, ", or %s", option->words[0]);
	}
}

static void put_option(const struct config_option *option)
{
	_cleanup_str_ struct str kind = STR_NULL;

	put_item(option->key);
	fputs(" No =", stdout);
	if (*option->fallback) {
		fputs(" Ar \"", stdout);
		put(option->fallback);
		putchar('"');
	}
	describe(option, &kind);
	printf(" Pq \"%s\"\n", str_text(&kind));
	put_text(option->help);
	if (!option->built)
		puts("(not built yet: refused, unless the value turns it off)");
}

static void put_options(enum option_section section)
{
	for (size_t i = 0; i < option_tables[section].count; i++)
		put_option(&option_tables[section].options[i]);
}

static void put_server(void)
{
	put_options(SECTION_SERVER);
}

static void put_log(void)
{
	put_options(SECTION_LOG);
}

static void put_upstream(void)
{
	put_options(SECTION_UPSTREAM);
}

static void put_profile(void)
{
	put_options(SECTION_PROFILE);
}

static void put_route(void)
{
	put_options(SECTION_ROUTE);
}

/* The built-in profiles, each with what it has of its own; `default` has nothing. */
static void put_profiles(void)
{
	const char *last = "";

	for (const struct builtin_row *row = load_builtin_rows; row->name; row++) {
		if (!str_same(row->name, last)) {
			put_item(row->name);
			putchar('\n');
		}
		last = row->name;
		printf("%s\\~=\\~%s%s\n", row->key, row->value,
			row[1].name && str_same(row[1].name, last) ? "," : "");
	}
}

/* ---- The event log's names. */

static void put_name(const char *name, const char *text)
{
	if (!*name)
		return;
	put_item(name);
	putchar('\n');
	put_text(text);
}

static void put_phases(void)
{
#define PHASE(id, name, text) put_name(name, text);
#include "policy/failure.def"
}

static void put_errors(void)
{
#define ERROR(id, name, status, text) put_name(name, text);
#include "policy/failure.def"
}

static void put_reasons(void)
{
#define PUT_REASON(id, name, text) put_name(name, text);
	RETRY_REASONS(PUT_REASON)
#undef PUT_REASON
}

static void put_verdicts(void)
{
	for (int i = DASHBOARD_INVISIBLE; i <= DASHBOARD_VISIBLE; i++)
		put_name(dashboard_name((enum dashboard)i), dashboard_text((enum dashboard)i));
}

/* ---- The template. */

static const struct {
	const char *name;
	void (*put)(void);
} lists[] = {
	{"@server", put_server},
	{"@log", put_log},
	{"@upstream", put_upstream},
	{"@profile", put_profile},
	{"@route", put_route},
	{"@profiles", put_profiles},
	{"@phases", put_phases},
	{"@errors", put_errors},
	{"@reasons", put_reasons},
	{"@verdicts", put_verdicts},
};

static bool put_line(const char *line)
{
	if (*line != '@') {
		puts(line);
		return true;
	}
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		if (str_same(lists[i].name, line)) {
			lists[i].put();
			return true;
		}
	}
	fprintf(stderr, "render: there is no list %s\n", line);
	return false;
}

int main(int argc, char **argv)
{
	FILE *template = argc == 2 ? fopen(argv[1], "re") : NULL;
	char *line = NULL;
	size_t cap = 0;
	bool good = template;

	if (!template)
		perror(argc == 2 ? argv[1] : "usage: render TEMPLATE");
	while (good && getline(&line, &cap, template) > 0) {
		line[strcspn(line, "\n")] = '\0';
		good = put_line(line);
	}
	free(line);
	if (template)
		fclose(template);
	return good && fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
