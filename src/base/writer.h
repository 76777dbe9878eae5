#pragma once

/* A writer: lines for one descriptor, written by a thread of its own, so that a full disk or a
 * blocked pipe never blocks the thread that has something to say. The lines wait in a bounded
 * ring; when it is full, or the write fails, lines are dropped and counted. The descriptor stays
 * blocking: O_NONBLOCK on a shared stdout would break whoever shares it. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct writer;

enum { WRITER_RING_BYTES = 1 << 20 };

/* Starts a writer on a descriptor that stays the caller's (stderr, stdout). */
struct writer *writer_new(int fd);
/* Opens or creates a file for appending and starts a writer on it; NULL and errno on failure. A
 * FIFO that nobody reads yet is waited for, or, with `at_once`, a failure (ENXIO). */
struct writer *writer_new_file(const char *path, bool at_once);
/* NULL: it is a descriptor's. */
const char *writer_path(const struct writer *writer);
/* Ends it without waiting: when what is queued has been written its thread closes the file, and
 * ends. To be freed all the same. */
void writer_stop(struct writer *writer);
bool writer_has_stopped(struct writer *writer);
/* It goes on after all, if lines of it are still to be written; else false. */
bool writer_resume(struct writer *writer);
/* Waits at most `flush_ms` for what is queued, then ends the thread; one that is stuck ends, and
 * frees the writer, when it is through. NULL is fine. */
void writer_free(struct writer *writer, int flush_ms);
/* Waits, at most so long, until what is queued has been written. */
void writer_flush(struct writer *writer, int ms);
/* Queues one line (`line` holds its newline); any thread; never blocks on I/O. A line over 64 KiB
 * is dropped and counted. */
void writer_put(struct writer *writer, const char *line, size_t len);
/* Reopens the file before the next line, after a log rotation; of a descriptor: nothing. */
void writer_reopen(struct writer *writer);
uint64_t writer_dropped(struct writer *writer);
