#include "config/option.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "policy/backoff.h"

static const char *const auto_words[] = {"auto", NULL};
static const char *const off_words[] = {"off", NULL};
static const char *const bool_words[] = {"off", "on", NULL};
static const char *const log_format_names[] = {"auto", "json", "text", NULL};
static const char *const transport_names[] = {"native", "evhttp", NULL};

#define STATE_BUILT true
#define STATE_LATER false
#define OPTION_ROW(section, key, type, fallback, min, max, words, state, help)                     \
	{#key, OPTION_##type, fallback, min, max, words, STATE_##state, help,                      \
		offsetof(struct section##_options, key)},

static const struct config_option server_rows[] = {
#define SERVER_OPTION(...) OPTION_ROW(server, __VA_ARGS__)
#include "config/options.def"
};

static const struct config_option log_rows[] = {
#define LOG_OPTION(...) OPTION_ROW(log, __VA_ARGS__)
#include "config/options.def"
};

static const struct config_option upstream_rows[] = {
#define UPSTREAM_OPTION(...) OPTION_ROW(upstream, __VA_ARGS__)
#include "config/options.def"
};

static const struct config_option profile_rows[] = {
#define PROFILE_OPTION(...) OPTION_ROW(profile, __VA_ARGS__)
#include "config/options.def"
};

static const struct config_option route_rows[] = {
#define ROUTE_OPTION(...) OPTION_ROW(route, __VA_ARGS__)
#include "config/options.def"
};

#define ROWS(rows) rows, sizeof(rows) / sizeof((rows)[0])

const struct option_table option_tables[SECTION_COUNT] = {
	[SECTION_SERVER] = {"server", false, ROWS(server_rows)},
	[SECTION_LOG] = {"log", false, ROWS(log_rows)},
	[SECTION_UPSTREAM] = {"upstream", true, ROWS(upstream_rows)},
	[SECTION_PROFILE] = {"profile", true, ROWS(profile_rows)},
	[SECTION_ROUTE] = {"route", true, ROWS(route_rows)},
};

struct unit {
	const char *name;
	int64_t factor;
};

static const struct unit duration_units[] = {
	{"ms", 1}, {"s", 1000}, {"m", 60 * 1000LL}, {"h", 3600 * 1000LL}, {NULL, 0}};
static const struct unit size_units[] = {
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"", 1}, {NULL, 0}};
static const struct unit no_units[] = {{"", 1}, {NULL, 0}};
enum { PERCENT_PARTS = 1000 }; /* of one percent: what a share is rounded to */
static const struct unit percent_units[] = {{"%", PERCENT_PARTS}, {NULL, 0}};

const struct config_option *option_find(const struct option_table *table, const char *key)
{
	for (size_t i = 0; i < table->count; i++) {
		if (str_same(table->options[i].key, key))
			return &table->options[i];
	}
	return NULL;
}

static const struct unit *find_unit(const struct unit *units, const char *name)
{
	while (units->name && !str_same(units->name, name))
		units++;
	return units->name ? units : NULL;
}

/* A decimal number with an optional fraction and a unit; 0 needs none. -1: it is none. */
static int64_t parse_quantity(const char *text, const struct unit *units)
{
	const struct unit *unit;
	double value = 0, place = 1;

	if (!ascii_is_digit(*text))
		return -1;
	if (str_same(text, "0"))
		return 0;
	for (; ascii_is_digit(*text); text++)
		value = value * 10 + (*text - '0');
	if (*text == '.' && ascii_is_digit(text[1]) && units != no_units) {
		for (text++; ascii_is_digit(*text); text++)
			value += (*text - '0') * (place /= 10);
	}
	unit = find_unit(units, text);
	if (!unit || value * (double)unit->factor > 1e15)
		return -1;
	return (int64_t)(value * (double)unit->factor + 0.5);
}

msec_t duration_parse(const char *text)
{
	return parse_quantity(text, duration_units);
}

static const struct unit *units_of(const struct config_option *option)
{
	return option->type == OPTION_DURATION  ? duration_units
	       : option->type == OPTION_SIZE    ? size_units
	       : option->type == OPTION_PERCENT ? percent_units
						: no_units;
}

static void render_quantity(int64_t value, const struct unit *units, struct str *out)
{
	const struct unit *best = NULL;

	for (const struct unit *unit = units; unit->name; unit++) {
		if (value % unit->factor == 0 && (!best || unit->factor > best->factor))
			best = unit;
	}
	if (value == 0 || !best)
		str_addf(out, "%" PRId64, value);
	else
		str_addf(out, "%" PRId64 "%s", value / best->factor, best->name);
}

void option_render_bounds(const struct config_option *option, struct str *out)
{
	if (option->type == OPTION_PERCENT) {
		str_addf(out, "%" PRId64 "%% to %" PRId64 "%%", option->min, option->max);
		return;
	}
	render_quantity(option->min, units_of(option), out);
	str_add(out, " to ");
	render_quantity(option->max, units_of(option), out);
}

static int find_word(const char *const *words, const char *text)
{
	for (int i = 0; words && words[i]; i++) {
		if (str_same(words[i], text))
			return i;
	}
	return -1;
}

static void add_choices(struct str *out, const char *const *words)
{
	for (size_t i = 0; words[i]; i++)
		str_addf(out, "%s%s", i ? ", " : "", words[i]);
}

static bool set_quantity(
	const struct config_option *option, int64_t *field, const char *text, struct str *ret_error)
{
	const struct unit *units = units_of(option);
	int64_t value = parse_quantity(text, units);

	if (option->words && find_word(option->words, text) >= 0) {
		*field = OPTION_SPECIAL;
		return true;
	}
	if (value >= option->min && value <= option->max && value >= 0) {
		*field = value;
		return true;
	}
	if (value < 0 && option->type == OPTION_DURATION)
		str_addf(ret_error,
			"\"%s\" is no duration; write a number with ms, s, m or h, as 30s", text);
	else if (value < 0 && option->type == OPTION_SIZE)
		str_addf(ret_error,
			"\"%s\" is no size; write a number with KiB, MiB or GiB, as 4MiB", text);
	else if (value < 0)
		str_addf(ret_error, "\"%s\" is no number", text);
	if (value >= 0) {
		str_addf(ret_error, "%s is out of range; it takes ", text);
		option_render_bounds(option, ret_error);
	}
	return false;
}

static bool set_percent(
	const struct config_option *option, double *field, const char *text, struct str *ret_error)
{
	/* a bare 0 would leave open whether it is `off` or no share at all */
	int64_t parts = strchr(text, '%') ? parse_quantity(text, percent_units) : -1;

	if (find_word(option->words, text) >= 0) {
		*field = OPTION_SPECIAL;
		return true;
	}
	if (parts >= option->min * PERCENT_PARTS && parts <= option->max * PERCENT_PARTS) {
		*field = (double)parts / (100 * PERCENT_PARTS);
		return true;
	}
	if (parts < 0) {
		str_addf(ret_error, "\"%s\" is no share; write a number with %%, as 20%%", text);
	} else {
		str_addf(ret_error, "%s is out of range; it takes ", text);
		option_render_bounds(option, ret_error);
	}
	return false;
}

static void render_percent(double share, struct str *out)
{
	int64_t parts = (int64_t)(share * 100 * PERCENT_PARTS + 0.5);

	str_addf(out, "%.10g%%", (double)parts / PERCENT_PARTS);
}

static bool set_word(const char *const *words, const char *text, int *ret, struct str *ret_error)
{
	int word = find_word(words, text);

	if (word < 0) {
		str_addf(ret_error, "\"%s\" is not known here; it takes ", text);
		add_choices(ret_error, words);
		return false;
	}
	*ret = word;
	return true;
}

static bool set_field(
	const struct config_option *option, void *field, const char *text, struct str *ret_error)
{
	int word = 0;

	switch (option->type) {
	case OPTION_COUNT:
	case OPTION_DURATION:
	case OPTION_SIZE:
		return set_quantity(option, field, text, ret_error);
	case OPTION_PERCENT:
		return set_percent(option, field, text, ret_error);
	case OPTION_WORD:
		return set_word(option->words, text, field, ret_error);
	case OPTION_BOOL:
		if (!set_word(bool_words, text, &word, ret_error))
			return false;
		*(bool *)field = word;
		return true;
	case OPTION_TEXT:
	case OPTION_LIST:
		free(*(char **)field);
		*(char **)field = xstrdup(text);
		return true;
	}
	return false;
}

static void *field_of(const struct config_option *option, void *section)
{
	return (char *)section + option->offset;
}

/* A feature of a later version: only the value that turns it off. */
static bool accepts_later(
	const struct config_option *option, const char *text, struct str *ret_error)
{
	const struct unit *units = units_of(option);

	if (str_same(text, option->fallback) ||
		(option->type != OPTION_TEXT && parse_quantity(text, units) >= 0 &&
			parse_quantity(text, units) == parse_quantity(option->fallback, units)))
		return true;
	str_addf(ret_error, "%s is not built yet in this version; remove the line", option->key);
	if (*option->fallback)
		str_addf(ret_error, " or write %s = %s", option->key, option->fallback);
	return false;
}

bool option_set(
	const struct config_option *option, void *section, const char *text, struct str *ret_error)
{
	if (!option->built && !accepts_later(option, text, ret_error))
		return false;
	return set_field(option, field_of(option, section), text, ret_error);
}

void option_init_section(const struct option_table *table, void *section)
{
	_cleanup_str_ struct str error = STR_NULL;

	for (size_t i = 0; i < table->count; i++)
		set_field(&table->options[i], field_of(&table->options[i], section),
			table->options[i].fallback, &error);
}

static bool is_text(const struct config_option *option)
{
	return option->type == OPTION_TEXT || option->type == OPTION_LIST;
}

void option_fini_section(const struct option_table *table, void *section)
{
	for (size_t i = 0; i < table->count; i++) {
		if (is_text(&table->options[i]))
			free(*(char **)field_of(&table->options[i], section));
	}
}

void option_copy_section(const struct option_table *table, void *to, const void *from)
{
	for (size_t i = 0; i < table->count; i++) {
		const struct config_option *option = &table->options[i];
		_cleanup_str_ struct str text = STR_NULL, error = STR_NULL;

		option_render(option, from, &text);
		set_field(option, field_of(option, to), str_text(&text), &error);
	}
}

void option_render(const struct config_option *option, const void *section, struct str *out)
{
	const void *field = (const char *)section + option->offset;

	switch (option->type) {
	case OPTION_COUNT:
	case OPTION_DURATION:
	case OPTION_SIZE:
		if (*(const int64_t *)field == OPTION_SPECIAL)
			str_add(out, option->words[0]);
		else
			render_quantity(*(const int64_t *)field, units_of(option), out);
		break;
	case OPTION_PERCENT:
		if (*(const double *)field < 0)
			str_add(out, option->words[0]);
		else
			render_percent(*(const double *)field, out);
		break;
	case OPTION_BOOL:
		str_add(out, bool_words[*(const bool *)field]);
		break;
	case OPTION_WORD:
		str_add(out, option->words[*(const int *)field]);
		break;
	case OPTION_TEXT:
	case OPTION_LIST:
		str_add(out, *(char *const *)field);
		break;
	}
}
