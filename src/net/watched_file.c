#include "net/watched_file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"

enum { LOOK_EVERY_MS = 2000, MAX_SIZE = 1024 * 1024 };

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static void cut_last_line(struct str *text)
{
	while (text->len && text->data[text->len - 1] != '\n')
		text->len--;
	text->data[text->len] = '\0';
}

static char *read_text(int fd)
{
	struct str text = STR_NULL;
	char piece[4096];
	ssize_t got;

	while (text.len < MAX_SIZE && (got = read(fd, piece, sizeof(piece))) > 0)
		str_add_bytes(&text, piece, (size_t)got);
	if (text.len >= MAX_SIZE)
		cut_last_line(&text);
	return str_steal(&text);
}

static void read_again(struct watched_file *file)
{
	/* Before it is read: what changes in between is seen the next time. */
	bool exists = stat(file->path, &file->seen) == 0;
	bool regular = exists && S_ISREG(file->seen.st_mode); /* a FIFO would hang the loop */
	int fd = regular ? open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;

	if (!exists)
		memset(&file->seen, 0, sizeof(file->seen));
	free(file->text);
	file->text = fd >= 0 ? read_text(fd) : xstrdup("");
	if (fd >= 0)
		close(fd);
}

void watched_file_init(struct watched_file *file, const char *path, msec_t now)
{
	memset(file, 0, sizeof(*file));
	file->path = path;
	file->looked = now;
	read_again(file);
}

void watched_file_fini(struct watched_file *file)
{
	free(file->text);
	file->text = NULL;
}

bool watched_file_look(struct watched_file *file, msec_t now)
{
	struct stat found;

	if (now - file->looked < LOOK_EVERY_MS)
		return false;
	file->looked = now;
	if (stat(file->path, &found) != 0)
		memset(&found, 0, sizeof(found));
	if (is_same(&found, &file->seen))
		return false;
	read_again(file);
	return true;
}
