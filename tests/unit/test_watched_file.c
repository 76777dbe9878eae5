#include "net/watched_file.h"

#include "temp.h"
#include "test.h"

enum { LATER_MS = 2000, LIMIT = 1024 * 1024 };

static void put(const char *text)
{
	free(temp_file("watched", text, strlen(text), 0600));
}

static void sees_changes(void)
{
	_cleanup_free_ char *path = temp_path("watched");
	struct watched_file file;
	msec_t now = 5;

	watched_file_init(&file, path, now);
	CHECK_STR(file.text, "");
	put("one");
	CHECK(!watched_file_look(&file, now + LATER_MS - 1));
	CHECK(watched_file_look(&file, now += LATER_MS));
	CHECK_STR(file.text, "one");
	CHECK(!watched_file_look(&file, now += LATER_MS));
	put("three");
	CHECK(!watched_file_look(&file, now + 1));
	CHECK(watched_file_look(&file, now += LATER_MS));
	CHECK_STR(file.text, "three");
	unlink(path);
	CHECK(watched_file_look(&file, now += LATER_MS));
	CHECK_STR(file.text, "");
	CHECK(!watched_file_look(&file, now += LATER_MS));
	watched_file_fini(&file);
}

static void reads_no_fifo(void)
{
	_cleanup_free_ char *path = temp_path("fifo");
	struct watched_file file;

	CHECK_INT(mkfifo(path, 0600), 0);
	watched_file_init(&file, path, 0);
	CHECK_STR(file.text, "");
	CHECK(!watched_file_look(&file, LATER_MS));
	watched_file_fini(&file);
}

static void reads_whole_lines_of_a_long_one(void)
{
	size_t size = LIMIT + 10000;
	_cleanup_free_ char *text = xmalloc(size);
	_cleanup_free_ char *path = NULL;
	struct watched_file file;

	memset(text, 'x', size);
	for (size_t i = 99; i < size; i += 100)
		text[i] = '\n';
	path = temp_file("long", text, size, 0600);
	watched_file_init(&file, path, 0);
	CHECK_INT(strlen(file.text), LIMIT / 100 * 100);
	CHECK_INT(file.text[strlen(file.text) - 1], '\n');
	watched_file_fini(&file);
}

TEST_MAIN(TEST(sees_changes), TEST(reads_no_fifo), TEST(reads_whole_lines_of_a_long_one))
