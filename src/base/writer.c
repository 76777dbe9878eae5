#include "base/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"

enum { BATCH_BYTES = 64 << 10 };

struct writer {
	int fd;
	char *path; /* NULL: the descriptor is the caller's */
	pthread_t thread;
	pthread_mutex_t lock; /* guards what follows; never held across I/O */
	pthread_cond_t changed;
	char *ring;
	size_t head, used;                    /* oldest byte, bytes queued */
	bool busy, stopping, stopped, reopen; /* busy: the thread is writing */
	bool orphan;                          /* the thread frees the writer */
	uint64_t dropped;
};

static size_t count_lines(const char *data, size_t len)
{
	size_t lines = 0;

	for (size_t i = 0; i < len; i++)
		lines += data[i] == '\n';
	return lines;
}

/* Takes whole lines, oldest first, as many as fit the batch. The lock is held. */
static size_t take_batch(struct writer *writer, char *batch)
{
	size_t len = writer->used < BATCH_BYTES ? writer->used : BATCH_BYTES;
	size_t first = WRITER_RING_BYTES - writer->head;

	if (first > len)
		first = len;
	memcpy(batch, writer->ring + writer->head, first);
	memcpy(batch + first, writer->ring, len - first);
	while (len < writer->used && len > 0 && batch[len - 1] != '\n')
		len--;
	writer->head = (writer->head + len) % WRITER_RING_BYTES;
	writer->used -= len;
	return len;
}

/* Returns how many bytes reached the descriptor; the rest are lost (full disk, closed pipe). */
static size_t write_all(int fd, const char *data, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = write(fd, data + done, len - done);

		if (n >= 0) {
			done += (size_t)n;
		} else if (errno == EAGAIN) { /* somebody who shares it made it non-blocking */
			struct pollfd wait = {.fd = fd, .events = POLLOUT};

			poll(&wait, 1, 1000);
		} else if (errno != EINTR) {
			break;
		}
	}
	return done;
}

static int open_log(const char *path, int flags)
{
	return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | flags, 0640);
}

static void reopen_file(struct writer *writer)
{
	int fd = open_log(writer->path, 0);

	if (fd < 0) {
		log_error("cannot open %s again: %s; the lines go on into the file of before",
			writer->path, strerror(errno));
		return;
	}
	close(writer->fd);
	writer->fd = fd;
}

static void dispose(struct writer *writer)
{
	pthread_cond_destroy(&writer->changed);
	pthread_mutex_destroy(&writer->lock);
	free(writer->path);
	free(writer->ring);
	free(writer);
}

static void *run(void *arg)
{
	struct writer *writer = arg;
	char *batch = xmalloc(BATCH_BYTES);
	bool orphan;

	pthread_mutex_lock(&writer->lock);
	while (writer->used || writer->reopen || !writer->stopping) {
		bool reopen = writer->reopen;
		size_t len = take_batch(writer, batch), done;

		if (!len && !reopen) {
			writer->busy = false;
			pthread_cond_broadcast(&writer->changed);
			pthread_cond_wait(&writer->changed, &writer->lock);
			continue;
		}
		writer->reopen = false;
		writer->busy = true;
		pthread_mutex_unlock(&writer->lock);
		if (reopen && writer->path)
			reopen_file(writer);
		done = write_all(writer->fd, batch, len);
		pthread_mutex_lock(&writer->lock);
		writer->dropped += count_lines(batch + done, len - done);
	}
	writer->busy = false;
	pthread_mutex_unlock(&writer->lock);
	if (writer->path)
		close(writer->fd);
	pthread_mutex_lock(&writer->lock);
	writer->stopped = true;
	orphan = writer->orphan;
	pthread_cond_broadcast(&writer->changed);
	pthread_mutex_unlock(&writer->lock);
	if (orphan)
		dispose(writer);
	free(batch);
	return NULL;
}

struct writer *writer_new(int fd)
{
	struct writer *writer = xcalloc(1, sizeof(*writer));
	pthread_condattr_t attributes;

	writer->fd = fd;
	writer->ring = xmalloc(WRITER_RING_BYTES);
	pthread_mutex_init(&writer->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&writer->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	if (thread_start(&writer->thread, run, writer) != 0)
		abort();
	return writer;
}

struct writer *writer_new_file(const char *path, bool at_once)
{
	int fd = open_log(path, at_once ? O_NONBLOCK : 0);
	struct writer *writer;

	if (fd < 0)
		return NULL;
	writer = writer_new(fd);
	writer->path = xstrdup(path);
	return writer;
}

const char *writer_path(const struct writer *writer)
{
	return writer->path;
}

void writer_stop(struct writer *writer)
{
	pthread_mutex_lock(&writer->lock);
	writer->stopping = true;
	pthread_cond_broadcast(&writer->changed);
	pthread_mutex_unlock(&writer->lock);
}

bool writer_has_stopped(struct writer *writer)
{
	bool stopped;

	pthread_mutex_lock(&writer->lock);
	stopped = writer->stopped;
	pthread_mutex_unlock(&writer->lock);
	return stopped;
}

bool writer_resume(struct writer *writer)
{
	bool resumed;

	pthread_mutex_lock(&writer->lock);
	resumed = writer->used || writer->busy;
	if (resumed)
		writer->stopping = false;
	pthread_mutex_unlock(&writer->lock);
	return resumed;
}

static struct timespec deadline_in(int ms)
{
	struct timespec deadline;

	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += ms / 1000;
	deadline.tv_nsec += (long)(ms % 1000) * 1000000;
	if (deadline.tv_nsec >= 1000000000) {
		deadline.tv_sec++;
		deadline.tv_nsec -= 1000000000;
	}
	return deadline;
}

void writer_flush(struct writer *writer, int ms)
{
	struct timespec deadline = deadline_in(ms);
	int error = 0;

	pthread_mutex_lock(&writer->lock);
	while ((writer->used || writer->busy) && error == 0)
		error = pthread_cond_timedwait(&writer->changed, &writer->lock, &deadline);
	pthread_mutex_unlock(&writer->lock);
}

void writer_free(struct writer *writer, int flush_ms)
{
	struct timespec deadline = deadline_in(flush_ms);
	pthread_t thread;
	bool stopped;
	int error = 0;

	if (!writer)
		return;
	writer_stop(writer);
	pthread_mutex_lock(&writer->lock);
	while (!writer->stopped && error == 0)
		error = pthread_cond_timedwait(&writer->changed, &writer->lock, &deadline);
	thread = writer->thread;
	stopped = writer->stopped;
	writer->orphan = !stopped; /* stuck in write(2) */
	pthread_mutex_unlock(&writer->lock);
	if (!stopped) {
		pthread_detach(thread);
		return;
	}
	pthread_join(thread, NULL);
	dispose(writer);
}

void writer_put(struct writer *writer, const char *line, size_t len)
{
	size_t tail, first;

	pthread_mutex_lock(&writer->lock);
	if (len > WRITER_RING_BYTES - writer->used || len > BATCH_BYTES) {
		writer->dropped++;
		pthread_mutex_unlock(&writer->lock);
		return;
	}
	tail = (writer->head + writer->used) % WRITER_RING_BYTES;
	first = WRITER_RING_BYTES - tail;
	if (first > len)
		first = len;
	memcpy(writer->ring + tail, line, first);
	memcpy(writer->ring, line + first, len - first);
	writer->used += len;
	pthread_cond_broadcast(&writer->changed);
	pthread_mutex_unlock(&writer->lock);
}

void writer_reopen(struct writer *writer)
{
	pthread_mutex_lock(&writer->lock);
	writer->reopen = true;
	pthread_cond_broadcast(&writer->changed);
	pthread_mutex_unlock(&writer->lock);
}

uint64_t writer_dropped(struct writer *writer)
{
	uint64_t dropped;

	pthread_mutex_lock(&writer->lock);
	dropped = writer->dropped;
	pthread_mutex_unlock(&writer->lock);
	return dropped;
}
