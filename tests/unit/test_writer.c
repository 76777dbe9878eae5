#include "base/writer.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include "temp.h"
#include "test.h"

enum { FLUSH_MS = 60000 }; /* a bound for a hang, never reached */

struct ends {
	FILE *read;
	int write;
};

static struct ends open_pipe(void)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) != 0)
		abort();
	return (struct ends){fdopen(fds[0], "re"), fds[1]};
}

static void close_pipe(struct ends *ends)
{
	close(ends->write);
	fclose(ends->read);
}

static void put(struct writer *writer, const char *line)
{
	writer_put(writer, line, strlen(line));
}

/* The next line, with its end; empty at the end of the file. */
static const char *read_line(FILE *file)
{
	static char line[256];

	return fgets(line, sizeof(line), file) ? line : "";
}

static void check_file(const char *path, const char *want)
{
	_cleanup_str_ struct str text = STR_NULL;
	FILE *file = fopen(path, "re");
	int c;

	while (file && (c = fgetc(file)) != EOF)
		str_add_char(&text, (char)c);
	if (file)
		fclose(file);
	CHECK_STR(str_text(&text), want);
}

/* A writer on a FIFO, so that a test can wait for its lines, and the FIFO's other end. */
static struct writer *open_fifo(const char *path, FILE **ret_file)
{
	int fd = mkfifo(path, 0600) == 0 ? open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC) : -1;
	struct writer *writer = fd >= 0 ? writer_new_file(path, false) : NULL;

	if (!writer)
		abort();
	fcntl(fd, F_SETFL, 0);
	*ret_file = fdopen(fd, "re");
	return writer;
}

/* Lines that would not fit the pipe wait in the ring; more of them than the ring is long, in
 * rounds, so that it wraps in the middle of a line. */
static void lines_arrive_in_order(void)
{
	enum { ROUNDS = 4, LINES = 15000 };
	struct ends ends = open_pipe();
	struct writer *writer = writer_new(ends.write);
	char text[64];
	int lost = 0;

	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < LINES; i++) {
			snprintf(text, sizeof(text), "round %d, a line of it: %d\n", round, i);
			put(writer, text);
		}
		for (int i = 0; i < LINES; i++) {
			snprintf(text, sizeof(text), "round %d, a line of it: %d\n", round, i);
			if (!str_same(read_line(ends.read), text))
				lost++;
		}
	}
	CHECK_INT(lost, 0);
	CHECK_INT(writer_dropped(writer), 0);
	put(writer, "last\n");
	writer_free(writer, FLUSH_MS);
	CHECK_INT(write(ends.write, "still open\n", 11), 11);
	CHECK_STR(read_line(ends.read), "last\n");
	CHECK_STR(read_line(ends.read), "still open\n");
	close_pipe(&ends);
}

/* Is it a number above `last`, and a hundred zeros? */
static bool is_next(const char *line, int *last)
{
	int number = atoi(line);
	bool whole = strlen(line) == strcspn(line, " ") + 102 && number > *last;

	*last = number;
	return whole;
}

/* Every put returns although nobody reads; what was taken arrives whole and in order. */
static void a_full_pipe_drops_and_counts(void)
{
	enum { AFTER = 500 };
	struct ends ends = open_pipe();
	struct writer *writer = writer_new(ends.write);
	int puts = 0, last = -1, arrived = 0, dropped;
	char text[200];

	while (writer_dropped(writer) < AFTER) {
		snprintf(text, sizeof(text), "%d %0100d\n", puts++, 0);
		put(writer, text);
	}
	dropped = (int)writer_dropped(writer);
	CHECK_INT(fcntl(ends.write, F_GETFL) & O_NONBLOCK, 0);
	CHECK(puts > WRITER_RING_BYTES / 110); /* the ring held its size */
	while (arrived < puts - dropped && is_next(read_line(ends.read), &last))
		arrived++;
	CHECK_INT(arrived, puts - dropped);
	put(writer, "after\n");
	CHECK_STR(read_line(ends.read), "after\n");
	CHECK_INT(writer_dropped(writer), dropped);
	writer_free(writer, FLUSH_MS);
	close_pipe(&ends);
}

/* Between two others: it comes whole, or is dropped and counted. */
static void check_long_line(size_t len)
{
	_cleanup_free_ char *line = xmalloc(len), *got = xmalloc(len + 16);
	struct ends ends = open_pipe();
	struct writer *writer = writer_new(ends.write);
	size_t arrived = 0;

	memset(line, 'x', len);
	line[len - 1] = '\n';
	put(writer, "before\n");
	writer_put(writer, line, len);
	put(writer, "after\n");
	CHECK_STR(read_line(ends.read), "before\n");
	while (fgets(got, (int)len + 16, ends.read) && !str_same(got, "after\n"))
		arrived += strlen(got) == len && memcmp(got, line, len) == 0 ? 1 : 100;
	CHECK_INT(arrived + writer_dropped(writer), 1);
	CHECK(len > 1000 || arrived);
	writer_free(writer, FLUSH_MS);
	close_pipe(&ends);
}

static void a_long_line_comes_whole_or_is_dropped(void)
{
	static const size_t lengths[] = {2, 1000, 32768, 65535, 65536, 65537, 100000,
		WRITER_RING_BYTES - 100, WRITER_RING_BYTES, WRITER_RING_BYTES + 1};

	for (size_t i = 0; i < COUNT_OF(lengths); i++) {
		ROW("%zu bytes", lengths[i]);
		check_long_line(lengths[i]);
	}
}

enum { TALKERS = 4, WORDS = 2000 };

struct talker {
	struct writer *writer;
	int number;
	pthread_t thread;
};

static void *talk(void *arg)
{
	struct talker *talker = arg;
	char text[64];

	for (int i = 0; i < WORDS; i++) {
		snprintf(text, sizeof(text), "%d %d\n", talker->number, i);
		put(talker->writer, text);
	}
	return NULL;
}

static void any_thread_may_write(void)
{
	struct ends ends = open_pipe();
	struct writer *writer = writer_new(ends.write);
	struct talker talkers[TALKERS];
	int next[TALKERS] = {0}, who, what, arrived = 0;

	for (int i = 0; i < TALKERS; i++) {
		talkers[i] = (struct talker){.writer = writer, .number = i};
		pthread_create(&talkers[i].thread, NULL, talk, &talkers[i]);
	}
	for (int i = 0; i < TALKERS * WORDS; i++) {
		if (sscanf(read_line(ends.read), "%d %d", &who, &what) != 2 || who < 0 ||
			who >= TALKERS || what != next[who]++)
			break;
		arrived++;
	}
	CHECK_INT(arrived, TALKERS * WORDS);
	for (int i = 0; i < TALKERS; i++)
		pthread_join(talkers[i].thread, NULL);
	CHECK_INT(writer_dropped(writer), 0);
	writer_free(writer, FLUSH_MS);
	close_pipe(&ends);
}

/* After a flush the lines are where they belong, without an end of the writer. */
static void flushes(void)
{
	_cleanup_free_ char *path = temp_path("flushed");
	struct writer *writer = writer_new_file(path, false);
	struct stat stats;
	int early = 0;

	if (!CHECK(writer != NULL))
		return;
	writer_flush(writer, FLUSH_MS); /* nothing to wait for */
	check_file(path, "");
	put(writer, "one\n");
	writer_flush(writer, FLUSH_MS);
	check_file(path, "one\n");
	put(writer, "two\n");
	put(writer, "three\n");
	writer_flush(writer, FLUSH_MS);
	writer_flush(writer, FLUSH_MS);
	check_file(path, "one\ntwo\nthree\n");
	for (off_t size = 14; size < 14 + 4 * 1000; size += 4) {
		put(writer, "two\n");
		if (size % 8)
			sched_yield();
		writer_flush(writer, FLUSH_MS);
		early += stat(path, &stats) != 0 || stats.st_size != size + 4;
	}
	CHECK_INT(early, 0);
	writer_free(writer, FLUSH_MS);
}

static void check_dropped(struct writer *writer, uint64_t count)
{
	while (writer_dropped(writer) < count)
		sched_yield();
	CHECK_INT(writer_dropped(writer), count);
}

static void what_cannot_be_written_is_counted(void)
{
	struct ends ends = open_pipe();
	struct writer *closed = writer_new(ends.write), *full = writer_new_file("/dev/full", false);

	signal(SIGPIPE, SIG_IGN);
	fclose(ends.read);
	for (int i = 0; i < 3; i++)
		put(closed, "nobody reads this\n");
	check_dropped(closed, 3);
	writer_free(closed, FLUSH_MS);
	close(ends.write);
	if (!CHECK(full != NULL))
		return;
	put(full, "one\n");
	put(full, "two\n");
	check_dropped(full, 2);
	writer_free(full, FLUSH_MS);
}

/* The pipe stays open, and the thread in it, until the process ends. */
static void a_stuck_pipe_does_not_hold_up_the_end(void)
{
	struct ends ends = open_pipe();
	struct writer *writer = writer_new(ends.write);
	struct pollfd readable = {.fd = fileno(ends.read), .events = POLLIN};
	char line[1000];

	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = '\n';
	for (int i = 0; i < 200; i++)
		writer_put(writer, line, sizeof(line));
	writer_flush(writer, 1);
	writer_free(writer, 1);
	writer_free(NULL, FLUSH_MS);
	CHECK_INT(poll(&readable, 1, FLUSH_MS), 1);
}

static void a_file_is_appended_to(void)
{
	_cleanup_free_ char *path = temp_file("log", "old\n", 4, 0600);
	_cleanup_free_ char *new_path = temp_path("new");
	_cleanup_free_ char *missing = temp_path("missing/log");
	mode_t mask = umask(0);
	struct writer *writer = writer_new_file(path, false),
		      *new_writer = writer_new_file(new_path, false);
	struct stat stats;

	umask(mask);
	put(writer, "one\n");
	put(writer, "two\n");
	writer_free(writer, FLUSH_MS);
	check_file(path, "old\none\ntwo\n");
	put(new_writer, "new\n");
	writer_free(new_writer, FLUSH_MS);
	check_file(new_path, "new\n");
	CHECK_INT(stat(new_path, &stats), 0);
	CHECK_INT(stats.st_mode & 0007, 0); /* others have no part in it */
	errno = 0;
	CHECK(!writer_new_file(missing, false));
	CHECK_INT(errno, ENOENT);
}

static void reopens_its_file(void)
{
	_cleanup_free_ char *path = temp_path("rotated");
	FILE *old;
	struct writer *writer = open_fifo(path, &old);

	put(writer, "one\n");
	CHECK_STR(read_line(old), "one\n");
	unlink(path);
	writer_reopen(writer);
	put(writer, "two\n");
	writer_free(writer, FLUSH_MS);
	check_file(path, "two\n");
	CHECK_STR(read_line(old), ""); /* it was closed, and got no more */
	fclose(old);
}

/* How many lines come up to the end of the file, each the next number and a hundred zeros. */
static int count_lines(FILE *file, int *last)
{
	int lines = 0;

	for (const char *line = read_line(file); *line; line = read_line(file))
		lines += is_next(line, last) ? 1 : 1000000;
	return lines;
}

/* Puts numbered lines until the writer is stuck in one and its ring is full, as far as can be told
 * from outside: a shorter calm makes the test weaker, never wrong. */
static void fill(struct writer *writer, int *puts)
{
	char text[200];
	int calm = 0;

	while (calm < 1000) {
		uint64_t dropped = writer_dropped(writer);

		snprintf(text, sizeof(text), "%d %0100d\n", (*puts)++, 0);
		put(writer, text);
		calm = writer_dropped(writer) > dropped ? calm + 1 : 0;
		if (calm)
			sched_yield();
	}
}

/* What has been begun goes to the old file, the rest to the new one. */
static void a_rotation_splits_no_line(void)
{
	_cleanup_free_ char *path = temp_path("split");
	FILE *old, *new_file;
	struct writer *writer = open_fifo(path, &old);
	int puts = 0, last = -1, lines = 0, dropped;

	fill(writer, &puts);
	while (lines < 1000 && is_next(read_line(old), &last))
		lines++;
	fill(writer, &puts);
	dropped = (int)writer_dropped(writer);
	unlink(path);
	writer_reopen(writer);
	lines += count_lines(old, &last);
	fclose(old);
	writer_free(writer, FLUSH_MS);
	new_file = fopen(path, "re");
	if (CHECK(new_file != NULL)) {
		lines += count_lines(new_file, &last);
		fclose(new_file);
	}
	CHECK_INT(lines, puts - dropped);
}

static void keeps_the_old_file_if_there_is_no_new_one(void)
{
	_cleanup_free_ char *path = temp_path("kept");
	FILE *old;
	struct writer *writer = open_fifo(path, &old);

	unlink(path);
	CHECK_INT(mkdir(path, 0700), 0);
	writer_reopen(writer);
	put(writer, "still here\n");
	CHECK_STR(read_line(old), "still here\n");
	CHECK_INT(writer_dropped(writer), 0);
	writer_free(writer, FLUSH_MS);
	fclose(old);
}

static void reopening_a_descriptor_changes_nothing(void)
{
	struct ends ends = open_pipe();
	struct writer *writer = writer_new(ends.write);

	put(writer, "one\n");
	writer_reopen(writer);
	put(writer, "two\n");
	CHECK_STR(read_line(ends.read), "one\n");
	CHECK_STR(read_line(ends.read), "two\n");
	writer_free(writer, FLUSH_MS);
	close_pipe(&ends);
}

/* Reading ends when the last line has been written: the file is closed then. */
static void a_stopped_one_writes_and_closes(void)
{
	_cleanup_free_ char *path = temp_path("stopped");
	FILE *file;
	struct writer *writer = open_fifo(path, &file);

	CHECK_STR(writer_path(writer), path);
	for (int i = 0; i < 3000; i++)
		put(writer, "a line of a pipe that is full soon, and the rest of it waits\n");
	writer_stop(writer);
	CHECK(!writer_has_stopped(writer));
	for (int i = 0; i < 3000; i++)
		CHECK_INT(strlen(read_line(file)), 61);
	CHECK_STR(read_line(file), "");
	while (!writer_has_stopped(writer))
		sched_yield();
	CHECK(!writer_resume(writer));
	writer_free(writer, 0);
	fclose(file);
}

static void a_stopped_one_that_has_lines_may_go_on(void)
{
	_cleanup_free_ char *path = temp_path("resumed");
	FILE *file;
	struct writer *writer = open_fifo(path, &file);

	for (int i = 0; i < 3000; i++)
		put(writer, "a line of a pipe that is full soon, and the rest of it waits\n");
	writer_stop(writer);
	CHECK(writer_resume(writer));
	for (int i = 0; i < 3000; i++)
		CHECK_INT(strlen(read_line(file)), 61);
	put(writer, "and on\n");
	CHECK_STR(read_line(file), "and on\n");
	writer_free(writer, FLUSH_MS);
	fclose(file);
}

static void a_fifo_without_a_reader(void)
{
	_cleanup_free_ char *path = temp_path("unread");

	CHECK_INT(mkfifo(path, 0600), 0);
	errno = 0;
	CHECK(!writer_new_file(path, true));
	CHECK_INT(errno, ENXIO);
}

TEST_MAIN(TEST(lines_arrive_in_order), TEST(a_full_pipe_drops_and_counts),
	TEST(a_long_line_comes_whole_or_is_dropped), TEST(any_thread_may_write), TEST(flushes),
	TEST(what_cannot_be_written_is_counted), TEST(a_stuck_pipe_does_not_hold_up_the_end),
	TEST(a_file_is_appended_to), TEST(reopens_its_file), TEST(a_rotation_splits_no_line),
	TEST(keeps_the_old_file_if_there_is_no_new_one),
	TEST(reopening_a_descriptor_changes_nothing), TEST(a_stopped_one_writes_and_closes),
	TEST(a_stopped_one_that_has_lines_may_go_on), TEST(a_fifo_without_a_reader))
