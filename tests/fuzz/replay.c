/* What stands in for libFuzzer in an ordinary test: feeds each file of the given folders to the
 * target, whole and without its last bytes. */

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PREFIXES = 16 };

/* From a copy without a byte to spare, so that a sanitizer sees each one too many. */
static void feed(const char *bytes, size_t len)
{
	_cleanup_free_ uint8_t *exact = xmalloc(len);

	if (len > 0)
		memcpy(exact, bytes, len);
	LLVMFuzzerTestOneInput(exact, len);
}

static bool replay_file(const char *path)
{
	_cleanup_str_ struct str all = STR_NULL;
	FILE *file = fopen(path, "rb");
	char piece[4096];
	size_t len;

	if (!file)
		return false;
	while ((len = fread(piece, 1, sizeof(piece), file)) > 0)
		str_add_bytes(&all, piece, len);
	fclose(file);
	for (size_t i = 0; i < PREFIXES && i <= all.len; i++)
		feed(str_text(&all), all.len - i);
	return true;
}

static int replay_folder(const char *folder)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	int count = 0;

	if (!dir)
		return 0;
	while ((entry = readdir(dir))) {
		_cleanup_str_ struct str path = STR_NULL;

		str_addf(&path, "%s/%s", folder, entry->d_name);
		if (entry->d_name[0] != '.' && replay_file(str_text(&path)))
			count++;
	}
	closedir(dir);
	return count;
}

int main(int argc, char **argv)
{
	int count = 0;

	feed("", 0);
	for (int i = 1; i < argc; i++)
		count += replay_folder(argv[i]);
	printf("%d files\n", count);
	return count > 0 ? 0 : 1;
}
