#include "config/ini.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

/* inih cuts names at 50 bytes and lines at 200 without a word: refused here instead. */
enum { MAX_NAME = 49, MAX_LINE = 198 };

struct reader {
	struct ini *ini;
	const char *path;
	FILE *file;
	int line;
	char section[MAX_NAME + 1];
	bool skip; /* below a header that was refused: its keys are judged no further */
	ini_on_error *on_error;
	void *arg;
};

void ini_add(
	struct ini *ini, const char *section, const char *key, const char *value, const char *place)
{
	ini->entries = xrealloc(ini->entries, (ini->count + 1) * sizeof(*ini->entries));
	ini->entries[ini->count++] = (struct ini_entry){
		.section = xstrdup(section),
		.key = key ? xstrdup(key) : NULL,
		.value = xstrdup(value),
		.place = xstrdup(place),
	};
}

const struct ini_entry *ini_find(const struct ini *ini, const char *section, const char *key)
{
	for (size_t i = ini->count; i-- > 0;) {
		const struct ini_entry *entry = &ini->entries[i];

		if (str_same(entry->section, section) &&
			(key ? entry->key && str_same(entry->key, key) : !entry->key))
			return entry;
	}
	return NULL;
}

void ini_fini(struct ini *ini)
{
	for (size_t i = 0; i < ini->count; i++) {
		free(ini->entries[i].section);
		free(ini->entries[i].key);
		free(ini->entries[i].value);
		free(ini->entries[i].place);
	}
	free(ini->entries);
	*ini = (struct ini){NULL, 0};
}

static char *place_of(const struct reader *reader)
{
	_cleanup_str_ struct str place = STR_NULL;

	str_addf(&place, "%s:%d", reader->path, reader->line);
	return str_steal(&place);
}

static void complain(struct reader *reader, const char *message)
{
	_cleanup_free_ char *place = place_of(reader);

	reader->on_error(reader->arg, place, message);
}

/* A section header; it is taken here, and inih sees it too. */
static const char *judge_header(struct reader *reader, const char *line)
{
	const char *end = strchr(line, ']');
	const char *rest = end ? end + 1 + strspn(end + 1, " \t") : NULL;
	size_t len = end ? (size_t)(end - line - 1) : 0;
	_cleanup_free_ char *place = place_of(reader);

	reader->skip = true;
	if (!end || (*rest && *rest != ';' && *rest != '#'))
		return "a section begins with [NAME] alone on its line";
	if (len == 0 || len > MAX_NAME)
		return "a section's name has 1 to 49 characters";
	memcpy(reader->section, line + 1, len);
	reader->section[len] = '\0';
	if (ini_find(reader->ini, reader->section, NULL))
		return "this section stands here twice";
	ini_add(reader->ini, reader->section, NULL, "", place);
	reader->skip = false;
	return NULL;
}

/* Up to the = or : behind a key; up to the line's end where a comment comes first, as inih has it.
 */
static size_t name_length(const char *line)
{
	size_t i = 0;

	while (line[i] && line[i] != '=' && line[i] != ':') {
		if (i > 0 && line[i] == ';' && (line[i - 1] == ' ' || line[i - 1] == '\t'))
			return strlen(line);
		i++;
	}
	return i;
}

/* NULL if inih may see this line, else what is wrong with it. */
static const char *judge_line(struct reader *reader, const char *line)
{
	size_t indent = strspn(line, " \t");
	size_t name = name_length(line);

	if (line[indent] == '\0' || line[indent] == ';' || line[indent] == '#')
		return NULL;
	if (indent)
		return "the line is indented; a value cannot go on on a second line";
	if (line[0] == '[')
		return judge_header(reader, line);
	if (line[name] == '\0')
		return "the line is neither a [section], nor KEY = VALUE, nor a comment";
	while (name > 0 && (line[name - 1] == ' ' || line[name - 1] == '\t'))
		name--;
	if (name == 0 || name > MAX_NAME)
		return "a key has 1 to 49 characters";
	return NULL;
}

/* inih's reader: one line, judged; a bad one is reported and reaches inih empty. */
static char *read_line(char *buffer, int size, void *stream)
{
	struct reader *reader = stream;
	_cleanup_free_ char *line = NULL;
	size_t cap = 0;
	ssize_t len = getline(&line, &cap, reader->file);
	const char *wrong;

	if (len < 0)
		return NULL;
	reader->line++;
	while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
		line[--len] = '\0';
	if (strlen(line) != (size_t)len)
		wrong = "the line holds a NUL byte";
	else if (len > MAX_LINE)
		wrong = "the line is longer than 198 bytes";
	else
		wrong = judge_line(reader, line);
	if (wrong)
		complain(reader, wrong);
	snprintf(buffer, (size_t)size, "%s\n", wrong ? "" : line);
	return buffer;
}

static int on_value(void *arg, const char *section, const char *key, const char *value)
{
	struct reader *reader = arg;
	_cleanup_free_ char *place = place_of(reader);
	const struct ini_entry *twin = ini_find(reader->ini, section, key);

	if (reader->skip)
		return 1;
	if (!*section)
		reader->on_error(reader->arg, place, "a key stands before the first [section]");
	else if (twin && str_begins(twin->place, reader->path))
		reader->on_error(reader->arg, place, "this key stands here twice");
	else
		ini_add(reader->ini, section, key, value, place);
	return 1;
}

bool ini_read(struct ini *ini, const char *path, ini_on_error *on_error, void *arg)
{
	struct reader reader = {
		.ini = ini,
		.path = path,
		.file = fopen(path, "re"),
		.on_error = on_error,
		.arg = arg,
	};
	bool failed;
	int saved;

	if (!reader.file)
		return false;
	ini_parse_stream(read_line, &reader, on_value, &reader);
	failed = ferror(reader.file);
	saved = errno;
	fclose(reader.file);
	errno = saved;
	return !failed;
}
