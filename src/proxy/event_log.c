#include "proxy/event_log.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/writer.h"

enum {
	FLUSH_MS = 2000,
	MAX_OLD = 8,
};

/* Where the lines go, and how. */
struct sink {
	struct writer *writer; /* NULL: events = off */
	bool text;
	size_t body_bytes;
};

struct event_log {
	pthread_rwlock_t lock; /* guards `now`; shared while a line is made and queued */
	struct sink now;
	/* Of the main thread only: */
	struct sink next;
	struct writer *stderr_writer; /* the daemon's */
	struct writer *stdout_writer; /* NULL: not needed yet; from then on it stays */
	struct writer *old[MAX_OLD];  /* files of before, which are being written still */
	size_t old_count;
	uint64_t dropped;      /* by writers that are gone, and by stderr's while it served */
	uint64_t stderr_start; /* what that one had dropped before */
};

/* ---- The destination. */

static bool wants_text(const struct log_options *options, int fd)
{
	if (options->format == LOG_FORMAT_AUTO)
		return fd >= 0 && isatty(fd);
	return options->format == LOG_FORMAT_TEXT;
}

static bool is_file_of(const struct writer *writer, const char *path)
{
	return writer && writer_path(writer) && str_same(writer_path(writer), path);
}

static void forget_old(struct event_log *log, size_t i)
{
	for (log->old_count--; i < log->old_count; i++)
		log->old[i] = log->old[i + 1];
}

/* One that is not through yet is on its own from here on. */
static void let_go(struct event_log *log, size_t i)
{
	log->dropped += writer_dropped(log->old[i]);
	writer_free(log->old[i], 0);
	forget_old(log, i);
}

/* Those that are through. */
static void sweep_old(struct event_log *log)
{
	for (size_t i = log->old_count; i-- > 0;) {
		if (writer_has_stopped(log->old[i]))
			let_go(log, i);
	}
}

/* The old one of this path, whose lines would mix with those of a second writer; NULL: none. */
static struct writer *take_back(struct event_log *log, const char *path)
{
	for (size_t i = 0; i < log->old_count; i++) {
		struct writer *writer = log->old[i];

		if (!is_file_of(writer, path) || !writer_resume(writer))
			continue;
		forget_old(log, i);
		return writer;
	}
	return NULL;
}

/* NULL and errno on failure. */
static struct writer *open_file(struct event_log *log, const char *path, bool at_once)
{
	struct writer *writer, *old;

	if (is_file_of(log->now.writer, path))
		return log->now.writer;
	writer = writer_new_file(path, at_once);
	old = writer ? take_back(log, path) : NULL;
	if (!old)
		return writer;
	writer_free(writer, FLUSH_MS); /* has nothing to write */
	return old;
}

static struct writer *open_stdout(struct event_log *log)
{
	if (!log->stdout_writer)
		log->stdout_writer = writer_new(STDOUT_FILENO);
	return log->stdout_writer;
}

static bool open_next(struct event_log *log, const struct log_options *options, bool at_once,
	struct str *ret_error)
{
	const char *events = options->events;
	struct sink next = {.body_bytes = (size_t)options->body_bytes};
	int fd = -1;

	if (str_same(events, "stderr")) {
		next.writer = log->stderr_writer;
		fd = STDERR_FILENO;
	} else if (str_same(events, "stdout")) {
		next.writer = open_stdout(log);
		fd = STDOUT_FILENO;
	} else if (!str_same(events, "off")) {
		next.writer = open_file(log, events, at_once);
		if (!next.writer) {
			str_addf(ret_error,
				"cannot open the event log %s: %s; its folder must exist, andiron "
				"must be allowed to write there, and a FIFO needs a reader; or "
				"change events in [log]",
				events, strerror(errno));
			return false;
		}
	}
	next.text = wants_text(options, fd);
	log->next = next;
	return true;
}

bool event_log_prepare(
	struct event_log *log, const struct log_options *options, struct str *ret_error)
{
	return open_next(log, options, true, ret_error);
}

static uint64_t dropped_by_stderr(const struct event_log *log)
{
	return writer_dropped(log->stderr_writer) - log->stderr_start;
}

/* Nobody writes to it any more; a file is closed. Never waits: a blocked pipe may take for ever. */
static void leave(struct event_log *log, struct writer *writer)
{
	if (!writer || !writer_path(writer))
		return;
	sweep_old(log);
	if (log->old_count == MAX_OLD)
		let_go(log, 0);
	writer_stop(writer);
	log->old[log->old_count++] = writer;
}

void event_log_commit(struct event_log *log)
{
	struct writer *before = log->now.writer;

	pthread_rwlock_wrlock(&log->lock);
	log->now = log->next;
	pthread_rwlock_unlock(&log->lock);
	if (before == log->next.writer)
		return;
	if (before == log->stderr_writer)
		log->dropped += dropped_by_stderr(log);
	leave(log, before);
	log->stderr_start = writer_dropped(log->stderr_writer);
}

void event_log_discard(struct event_log *log)
{
	if (log->next.writer != log->now.writer)
		leave(log, log->next.writer);
}

/* ---- Life. */

struct event_log *event_log_new(
	const struct log_options *options, struct writer *stderr_writer, struct str *ret_error)
{
	struct event_log *log = xcalloc(1, sizeof(*log));
	pthread_rwlockattr_t attributes;

	log->stderr_writer = stderr_writer;
	if (!open_next(log, options, false, ret_error)) {
		free(log);
		return NULL;
	}
	log->now = log->next;
	pthread_rwlockattr_init(&attributes);
	/* Else the workers, who always write something, would keep a reload waiting. */
	pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&log->lock, &attributes);
	pthread_rwlockattr_destroy(&attributes);
	return log;
}

/* All of them have FLUSH_MS together. */
static int left(msec_t until)
{
	msec_t now = clock_mono();

	return now < until ? (int)(until - now) : 0;
}

void event_log_free(struct event_log *log)
{
	msec_t until = clock_mono() + FLUSH_MS;

	if (!log)
		return;
	if (log->now.writer && writer_path(log->now.writer))
		writer_free(log->now.writer, left(until));
	writer_free(log->stdout_writer, left(until));
	for (size_t i = 0; i < log->old_count; i++)
		writer_free(log->old[i], left(until));
	pthread_rwlock_destroy(&log->lock);
	free(log);
}

void event_log_flush(struct event_log *log)
{
	msec_t until = clock_mono() + FLUSH_MS;

	if (log->now.writer)
		writer_flush(log->now.writer, left(until));
	for (size_t i = 0; i < log->old_count; i++)
		writer_flush(log->old[i], left(until));
}

void event_log_reopen(struct event_log *log)
{
	if (log->now.writer)
		writer_reopen(log->now.writer);
}

uint64_t event_log_dropped(struct event_log *log)
{
	const struct writer *now = log->now.writer;
	uint64_t dropped;

	sweep_old(log);
	dropped = log->dropped;
	for (size_t i = 0; i < log->old_count; i++)
		dropped += writer_dropped(log->old[i]);
	if (log->stdout_writer)
		dropped += writer_dropped(log->stdout_writer);
	if (now && now == log->stderr_writer)
		dropped += dropped_by_stderr(log);
	else if (now && now != log->stdout_writer)
		dropped += writer_dropped(log->now.writer);
	return dropped;
}

/* ---- Lines. */

static void write_to(const struct sink *sink, const struct event *event)
{
	_cleanup_str_ struct str line = STR_NULL;

	if (!sink->writer)
		return;
	if (sink->text)
		event_render_text(event, &line);
	else
		event_render_json(event, sink->body_bytes, &line);
	str_add_char(&line, '\n');
	writer_put(sink->writer, line.data, line.len);
}

void event_log_write(struct event_log *log, const struct event *event)
{
	pthread_rwlock_rdlock(&log->lock);
	write_to(&log->now, event);
	pthread_rwlock_unlock(&log->lock);
}
