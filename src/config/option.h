#pragma once

/* One option as a value: the table made of options.def, and parsing and printing by its row. The
 * rows of a section fill a struct that has one field for each key. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/str.h"

enum option_type {
	OPTION_BOOL,
	OPTION_COUNT,
	OPTION_DURATION,
	OPTION_SIZE,
	OPTION_PERCENT,
	OPTION_WORD,
	OPTION_TEXT,
	OPTION_LIST,
};

/* The C type of each option type. */
typedef bool option_bool_t;
typedef int64_t option_count_t;
typedef msec_t option_duration_t;
typedef int64_t option_size_t;
typedef double option_percent_t; /* the share: 0.2 of 20% */
typedef int option_word_t;
typedef char *option_text_t;
typedef char *option_list_t;

/* The value of an option whose one word is `off` or `auto`; of a PERCENT, too. */
#define OPTION_SPECIAL ((int64_t)-1)

struct config_option {
	const char *key;
	enum option_type type;
	const char *fallback;
	int64_t min, max;
	const char *const *words; /* of WORD: the choices; of numbers: the one word beside them */
	bool built;
	const char *help;
	size_t offset;
};

enum option_section {
	SECTION_SERVER,
	SECTION_LOG,
	SECTION_UPSTREAM,
	SECTION_PROFILE,
	SECTION_ROUTE,
	SECTION_COUNT,
};

struct option_table {
	const char *section; /* "server"; of named sections the part before the dot */
	bool named;
	const struct config_option *options;
	size_t count;
};

extern const struct option_table option_tables[SECTION_COUNT];

#define TYPE_BOOL                    option_bool_t
#define TYPE_COUNT                   option_count_t
#define TYPE_DURATION                option_duration_t
#define TYPE_SIZE                    option_size_t
#define TYPE_PERCENT                 option_percent_t
#define TYPE_WORD                    option_word_t
#define TYPE_TEXT                    option_text_t
#define TYPE_LIST                    option_list_t
#define OPTION_FIELD(key, type, ...) TYPE_##type key;

struct server_options {
#define SERVER_OPTION OPTION_FIELD
#include "config/options.def"
};

struct log_options {
#define LOG_OPTION OPTION_FIELD
#include "config/options.def"
};

struct upstream_options {
#define UPSTREAM_OPTION OPTION_FIELD
#include "config/options.def"
};

struct profile_options {
#define PROFILE_OPTION OPTION_FIELD
#include "config/options.def"
};

struct route_options {
#define ROUTE_OPTION OPTION_FIELD
#include "config/options.def"
};

enum transport_kind { TRANSPORT_NATIVE, TRANSPORT_EVHTTP };
enum log_format { LOG_FORMAT_AUTO, LOG_FORMAT_JSON, LOG_FORMAT_TEXT };

const struct config_option *option_find(const struct option_table *table, const char *key);

/* Sets the field of `section` (the struct of that table) from text. On failure the field is
 * untouched and `ret_error` says what is wrong and what would be right. */
bool option_set(
	const struct config_option *option, void *section, const char *text, struct str *ret_error);
/* Fills all fields with their defaults; frees all fields. */
void option_init_section(const struct option_table *table, void *section);
void option_fini_section(const struct option_table *table, void *section);
void option_copy_section(const struct option_table *table, void *to, const void *from);
/* Appends the field's value as it would be written in a file. */
void option_render(const struct config_option *option, const void *section, struct str *out);
/* Appends what a COUNT, DURATION, SIZE or PERCENT may be beside its word: `1KiB to 1GiB`. */
void option_render_bounds(const struct config_option *option, struct str *out);

/* For headers too: a duration such as `45s`, `500ms`, `1.5m`; -1 if it is none. */
msec_t duration_parse(const char *text);
