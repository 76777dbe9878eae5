#pragma once

/* The event log: where the lines of events go. One log serves all workers; a writer thread does the
 * writing. */

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "proxy/event.h"

struct event_log;
struct str;
struct writer;

/* Opens the log. `stderr_writer` serves events = stderr. NULL and why if a file cannot be opened.
 */
struct event_log *event_log_new(
	const struct log_options *options, struct writer *stderr_writer, struct str *ret_error);
/* Waits a moment for what is queued. */
void event_log_free(struct event_log *log);
/* Any thread. */
void event_log_write(struct event_log *log, const struct event *event);

/* ---- For the main thread only. */

/* Other options, in two steps. The first opens what they name and changes nothing; false, and why,
 * if it cannot. Then one of the others follows. */
bool event_log_prepare(
	struct event_log *log, const struct log_options *options, struct str *ret_error);
/* The lines that are made from now on go there. What is queued for an earlier file is written, by
 * its own thread, which then closes it. */
void event_log_commit(struct event_log *log);
void event_log_discard(struct event_log *log);
/* Waits a moment for what is queued; any thread may go on writing. */
void event_log_flush(struct event_log *log);
void event_log_reopen(struct event_log *log);
/* Of all its destinations, so far. */
uint64_t event_log_dropped(struct event_log *log);
