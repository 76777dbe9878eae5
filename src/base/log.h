#pragma once

/* andiron's own messages, for the person who runs it: on stderr, one line each. What happened to
 * requests goes to the event log instead (proxy/event_log.h). Only owners log: base, policy and
 * net stay silent, save at debug. */

struct writer;

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

extern const char *const log_level_names[];

void log_set_level(enum log_level level);
/* From here on lines go through this writer, so that no event loop blocks on stderr; NULL: write
 * them directly again. The writer stays the caller's. */
void log_set_writer(struct writer *writer);

/* A mistake or a warning with its place, FILE:LINE or the like, in front; NULL: there is none. */
void log_place(enum log_level level, const char *place, const char *message);
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));
