#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

#include "base/str.h"
#include "base/writer.h"

const char *const log_level_names[] = {"error", "warning", "info", "debug", NULL};

static _Atomic(enum log_level) current_level = LOG_INFO;
static _Atomic(struct writer *) current_writer;

void log_set_level(enum log_level level)
{
	current_level = level;
}

void log_set_writer(struct writer *writer)
{
	current_writer = writer;
}

static void put(const struct str *line)
{
	struct writer *writer = current_writer;

	if (writer)
		writer_put(writer, line->data, line->len);
	else if (write(STDERR_FILENO, line->data, line->len) < 0)
		return; /* nobody reads; there is nowhere else to say it */
}

void log_place(enum log_level level, const char *place, const char *message)
{
	_cleanup_str_ struct str line = STR_NULL;

	str_addf(&line, "%s: %s%s\n", place ? place : "andiron",
		level == LOG_WARNING ? "warning: " : "", message);
	put(&line);
}

static void log_line(enum log_level level, const char *format, va_list args)
{
	_cleanup_str_ struct str line = STR_NULL;

	if (level > current_level)
		return;
	str_add(&line, "andiron: ");
	if (level != LOG_INFO)
		str_addf(&line, "%s: ", log_level_names[level]);
	str_addv(&line, format, args);
	str_add_char(&line, '\n');
	put(&line);
}

#define LOG_FUNCTION(name, level)                                                                  \
	void name(const char *format, ...)                                                         \
	{                                                                                          \
		va_list args;                                                                      \
                                                                                                   \
		va_start(args, format);                                                            \
		log_line(level, format, args);                                                     \
		va_end(args);                                                                      \
	}

LOG_FUNCTION(log_error, LOG_ERROR)
LOG_FUNCTION(log_warning, LOG_WARNING)
LOG_FUNCTION(log_info, LOG_INFO)
LOG_FUNCTION(log_debug, LOG_DEBUG)
