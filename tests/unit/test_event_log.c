#include "proxy/event_log.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#include "base/writer.h"

#include "temp.h"
#include "test.h"

static void put(struct event_log *log)
{
	struct event event = EVENT_INIT;

	event.event = "state";
	event.state = "test";
	event_log_write(log, &event);
}

static void check_dropped(struct event_log *log, uint64_t count)
{
	while (event_log_dropped(log) < count)
		sched_yield();
	CHECK_INT(event_log_dropped(log), count);
}

static void change(struct event_log *log, char *events)
{
	_cleanup_str_ struct str error = STR_NULL;
	struct log_options options = {.events = events};

	CHECK(event_log_prepare(log, &options, &error));
	event_log_commit(log);
}

/* Every line is lost, wherever it goes; stderr loses some that are not the log's, too. */
static void what_was_dropped_stays_counted(void)
{
	static char to_stderr[] = "stderr", off[] = "off", full[] = "/dev/full";
	_cleanup_str_ struct str error = STR_NULL;
	int fd = open(full, O_WRONLY | O_CLOEXEC);
	struct writer *writer = writer_new(fd);
	struct log_options options = {.events = to_stderr};
	struct event_log *log = event_log_new(&options, writer, &error);

	put(log);
	check_dropped(log, 1);
	change(log, off);
	put(log); /* nowhere */
	writer_put(writer, "another's\n", 10);
	while (writer_dropped(writer) < 2)
		sched_yield();
	check_dropped(log, 1);
	change(log, to_stderr);
	check_dropped(log, 1);
	put(log);
	check_dropped(log, 2);
	change(log, full);
	put(log);
	check_dropped(log, 3);
	change(log, off);
	check_dropped(log, 3);
	change(log, full);
	check_dropped(log, 3);
	put(log);
	change(log, to_stderr); /* with a line that waits */
	check_dropped(log, 4);
	event_log_free(log);
	writer_free(writer, 0);
	close(fd);
}

TEST_MAIN(TEST(what_was_dropped_stays_counted))
