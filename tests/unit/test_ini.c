#include "config/ini.h"

#include <errno.h>

#include "temp.h"
#include "test.h"

/* What a file says: its entries as "LINE:[section]" and "LINE:section.key=value", and its mistakes
 * as "LINE:message", each followed by |. */
struct reading {
	struct ini ini;
	struct str entries, mistakes;
	char *path;
};

static void reading_fini(struct reading *reading)
{
	ini_fini(&reading->ini);
	str_fini(&reading->entries);
	str_fini(&reading->mistakes);
	free(reading->path);
}

#define _cleanup_reading_ __attribute__((cleanup(reading_fini)))

/* The line of a place in this file, or 0. */
static int line_of(const struct reading *reading, const char *place)
{
	size_t len = strlen(reading->path);

	return str_begins(place, reading->path) && place[len] == ':' ? atoi(place + len + 1) : 0;
}

static void on_error(void *arg, const char *place, const char *message)
{
	struct reading *reading = arg;

	str_addf(&reading->mistakes, "%d:%s|", line_of(reading, place), message);
}

static void read_bytes(struct reading *reading, const char *bytes, size_t len)
{
	*reading = (struct reading){.path = temp_file("andiron.conf", bytes, len, 0600)};
	CHECK(ini_read(&reading->ini, reading->path, on_error, reading));
	for (size_t i = 0; i < reading->ini.count; i++) {
		const struct ini_entry *entry = &reading->ini.entries[i];

		str_addf(&reading->entries, "%d:", line_of(reading, entry->place));
		if (entry->key)
			str_addf(&reading->entries, "%s.%s=%s|", entry->section, entry->key,
				entry->value);
		else
			str_addf(&reading->entries, "[%s]|", entry->section);
	}
}

static void read_text(struct reading *reading, const char *text)
{
	read_bytes(reading, text, strlen(text));
}

static void takes_what_is_right(void)
{
	static const struct {
		const char *text, *entries;
	} rows[] = {
		{"", ""},
		{"\n\n", ""},
		{"; a comment\n# another\n\t ; and an indented one\n", ""},
		{"[a]\n", "1:[a]|"},
		{"[a]\nk = v\n", "1:[a]|2:a.k=v|"},
		{"[a]\nk=v", "1:[a]|2:a.k=v|"},
		{"\n;x\n[a]\n\nk = v\n", "3:[a]|5:a.k=v|"},
		{"[a]\nk = v\nl = w\n[b]\nk = x\n", "1:[a]|2:a.k=v|3:a.l=w|4:[b]|5:b.k=x|"},
		{"[upstream.fireworks]\nurl = https://h:1\n",
			"1:[upstream.fireworks]|2:upstream.fireworks.url=https://h:1|"},
		{"[a]\r\nk = v\r\n\r\nl = w\r\n", "1:[a]|2:a.k=v|4:a.l=w|"},
		{"[a] ; c\nk = v ; c\n", "1:[a]|2:a.k=v|"},
		{"[a]\t# c\nk = v # no comment\n", "1:[a]|2:a.k=v # no comment|"},
		{"[a]\nk = v;w\nl = [::1]:8787   ; c; d\n", "1:[a]|2:a.k=v;w|3:a.l=[::1]:8787|"},
		{"[a]\nk =\nl = ; c\n", "1:[a]|2:a.k=|3:a.l=|"},
		{"[a]\nk \t=\t  v  w \t\n", "1:[a]|2:a.k=v  w|"},
		{"[a]\nk = a = b\nl = \"q\"\n", "1:[a]|2:a.k=a = b|3:a.l=\"q\"|"},
		{"[a]\nk: v\n", "1:[a]|2:a.k=v|"},
		{"[a]\n;k = v\n#k = v\n", "1:[a]|"},
		{"[a]\nk = \xc3\xa9\n", "1:[a]|2:a.k=\xc3\xa9|"},
		{"[a]\nK = v\nk = w\n", "1:[a]|2:a.K=v|3:a.k=w|"},
		{"[a]\n[A]\n", "1:[a]|2:[A]|"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		_cleanup_reading_ struct reading reading;

		ROW("%s", rows[i].text);
		read_text(&reading, rows[i].text);
		CHECK_STR(str_text(&reading.entries), rows[i].entries);
		CHECK_STR(str_text(&reading.mistakes), "");
	}
}

static void refuses_what_is_wrong(void)
{
	static const struct {
		const char *text, *entries;
		int line;
		const char *word; /* of the one message */
	} rows[] = {
		{"k = v\n[a]\nl = w\n", "2:[a]|3:a.l=w|", 1, "before the first"},
		{"[a]\nk\nl = w\n", "1:[a]|3:a.l=w|", 2, "neither"},
		{"[a]\nk v\n", "1:[a]|", 2, "neither"},
		{"[a]\n= v\n", "1:[a]|", 2, "a key has"},
		{"[a]\n : v\n", "1:[a]|", 2, "indented"},
		{"[a]\n k = v\n", "1:[a]|", 2, "indented"},
		{"[a]\n\tk = v\n", "1:[a]|", 2, "indented"},
		{"[a]\nk = v\n  w\nl = x\n", "1:[a]|2:a.k=v|4:a.l=x|", 3, "indented"},
		{"[a]\nk = v\n  l = w\n", "1:[a]|2:a.k=v|", 3, "indented"},
		{" [a]\n", "", 1, "indented"},
		{"[a]\nk = v\nk = w\n", "1:[a]|2:a.k=v|", 3, "twice"},
		{"[a]\nk = v\nk = v\n", "1:[a]|2:a.k=v|", 3, "twice"},
		{"[a]\nk = v\nl = w\nk =\n", "1:[a]|2:a.k=v|3:a.l=w|", 4, "twice"},
		{"[a]\nk = v\n[b]\n[a]\nl = w\n", "1:[a]|2:a.k=v|3:[b]|", 4, "twice"},
		{"[a]\n[a]\nk = v\n[b]\nk = w\n", "1:[a]|4:[b]|5:b.k=w|", 2, "twice"},
		{"[a\nk = v\n", "", 1, "section"},
		{"[]\nk = v\n", "", 1, "section"},
		{"[a]b\nk = v\n", "", 1, "section"},
		{"[a] k = v\n", "", 1, "section"},
		{"[a]]\n", "", 1, "section"},
		{"[a\n[b]\nk = v\n", "2:[b]|3:b.k=v|", 1, "section"},
		{"[b]\n[a\nk = v\n[c]\n", "1:[b]|4:[c]|", 2, "section"},
		/* the comment begins before the value does */
		{"[a]\nk ; = v\n", "1:[a]|", 2, ""},
		{"[a]\nk ;=\nl = w\n", "1:[a]|3:a.l=w|", 2, ""},
		{"[a]\nk ; l: v\n", "1:[a]|", 2, ""},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		_cleanup_reading_ struct reading reading;
		const char *mistakes;

		ROW("%s", rows[i].text);
		read_text(&reading, rows[i].text);
		mistakes = str_text(&reading.mistakes);
		CHECK_STR(str_text(&reading.entries), rows[i].entries);
		CHECK_INT(atoi(mistakes), rows[i].line);
		CHECK(strstr(mistakes, rows[i].word) != NULL);
		CHECK(strchr(mistakes, '|') && strchr(mistakes, '|')[1] == '\0'); /* one */
	}
}

static void goes_on_behind_a_mistake(void)
{
	_cleanup_reading_ struct reading reading;
	int lines[8] = {0}, count = 0;

	read_text(
		&reading, "x = y\n[a]\n k = v\nk = v\nk = w\nnothing\n[a]\n[b\n= v\n[c]\nk = v\n");
	CHECK_STR(str_text(&reading.entries), "2:[a]|4:a.k=v|10:[c]|11:c.k=v|");
	for (const char *p = str_text(&reading.mistakes); *p && count < 8; p = strchr(p, '|') + 1)
		lines[count++] = atoi(p);
	CHECK_INT(count, 7);
	CHECK_INT(lines[0], 1);
	CHECK_INT(lines[1], 3);
	CHECK_INT(lines[2], 5);
	CHECK_INT(lines[3], 6);
	CHECK_INT(lines[4], 7);
	CHECK_INT(lines[5], 8);
	CHECK_INT(lines[6], 9);
}

static void refuses_a_nul(void)
{
	static const char bytes[] = "[a]\nk = v\0w\nl = w\n\0\n";
	_cleanup_reading_ struct reading reading;

	read_bytes(&reading, bytes, sizeof(bytes) - 1);
	CHECK_STR(str_text(&reading.entries), "1:[a]|3:a.l=w|");
	CHECK_STR(str_text(&reading.mistakes),
		"2:the line holds a NUL byte|4:the line holds a NUL byte|");
}

/* A line of `len` bytes that sets [a] k. */
static char *line_of_length(size_t len, char fill)
{
	char *line = xmalloc(len + 1);

	memset(line, fill, len);
	memcpy(line, "k = ", 4);
	line[len] = '\0';
	return line;
}

static void refuses_long_lines(void)
{
	static const struct {
		size_t len;
		const char *end;
		bool fine;
	} rows[] = {{197, "\n", true}, {198, "\n", true}, {198, "\r\n", true}, {198, "", true},
		{199, "\n", false}, {199, "", false}, {200, "\n", false}, {201, "\r\n", false},
		{5000, "\n", false}, {100000, "\n", false}};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		_cleanup_free_ char *line = line_of_length(rows[i].len, 'v');
		_cleanup_str_ struct str text = STR_NULL;
		_cleanup_reading_ struct reading reading;
		const struct ini_entry *entry;

		ROW("%zu bytes", rows[i].len);
		str_addf(&text, "[a]\n%s%s", line, rows[i].end);
		read_text(&reading, str_text(&text));
		entry = ini_find(&reading.ini, "a", "k");
		CHECK_INT(entry != NULL, rows[i].fine);
		if (entry)
			CHECK_STR(entry->value, line + 4);
		CHECK_INT(reading.mistakes.len == 0, rows[i].fine);
		CHECK_INT(atoi(str_text(&reading.mistakes)), rows[i].fine ? 0 : 2);
	}
}

/* Behind a long line the count goes on. */
static void counts_lines_behind_a_long_one(void)
{
	_cleanup_free_ char *line = line_of_length(1000, 'v');
	_cleanup_str_ struct str text = STR_NULL;
	_cleanup_reading_ struct reading reading;

	str_addf(&text, "[a]\n%s\nl = w\n; %s\nm = x\n", line, line);
	read_text(&reading, str_text(&text));
	CHECK_STR(str_text(&reading.entries), "1:[a]|3:a.l=w|5:a.m=x|");
}

static void refuses_long_names(void)
{
	static const struct {
		int len;
		bool fine;
	} rows[] = {{1, true}, {48, true}, {49, true}, {50, false}, {100, false}};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		char name[128], key[160], section[160];
		_cleanup_reading_ struct reading with_key, with_section;

		memset(name, 'n', (size_t)rows[i].len);
		name[rows[i].len] = '\0';
		ROW("%d bytes", rows[i].len);
		snprintf(key, sizeof(key), "[a]\n%s = v\n", name);
		snprintf(section, sizeof(section), "[%s]\nk = v\n", name);
		read_text(&with_key, key);
		CHECK_INT(ini_find(&with_key.ini, "a", name) != NULL, rows[i].fine);
		CHECK_INT(atoi(str_text(&with_key.mistakes)), rows[i].fine ? 0 : 2);
		read_text(&with_section, section);
		CHECK_INT(ini_find(&with_section.ini, name, "k") != NULL, rows[i].fine);
		CHECK_INT(atoi(str_text(&with_section.mistakes)), rows[i].fine ? 0 : 1);
	}
}

static void a_file_that_cannot_be_read(void)
{
	_cleanup_free_ char *missing = temp_path("missing.conf"),
			    *directory = temp_path("dir.conf");
	struct reading reading = {.path = missing};

	errno = 0;
	CHECK(!ini_read(&reading.ini, missing, on_error, &reading));
	CHECK_INT(errno, ENOENT);
	CHECK_INT(mkdir(directory, 0700), 0);
	errno = 0;
	CHECK(!ini_read(&reading.ini, directory, on_error, &reading));
	CHECK_INT(errno, EISDIR);
	CHECK_INT(reading.ini.count, 0);
	CHECK_STR(str_text(&reading.mistakes), "");
}

static void finds_the_last_entry(void)
{
	struct ini ini = {NULL, 0};

	CHECK(!ini_find(&ini, "a", "k"));
	ini_add(&ini, "a", NULL, "", "f:1");
	ini_add(&ini, "a", "k", "v", "f:2");
	ini_add(&ini, "b", "k", "w", "f:4");
	ini_add(&ini, "a", "k", "x", "--flag");
	CHECK_STR(ini_find(&ini, "a", "k")->value, "x");
	CHECK_STR(ini_find(&ini, "a", "k")->place, "--flag");
	CHECK_STR(ini_find(&ini, "b", "k")->value, "w");
	CHECK_STR(ini_find(&ini, "a", NULL)->place, "f:1");
	CHECK(!ini_find(&ini, "b", NULL));
	CHECK(!ini_find(&ini, "a", "l"));
	CHECK(!ini_find(&ini, "c", "k"));
	ini_fini(&ini);
	CHECK_INT(ini.count, 0);
	CHECK(!ini_find(&ini, "a", "k"));
	ini_fini(&ini);
}

TEST_MAIN(TEST(takes_what_is_right), TEST(refuses_what_is_wrong), TEST(goes_on_behind_a_mistake),
	TEST(refuses_a_nul), TEST(refuses_long_lines), TEST(counts_lines_behind_a_long_one),
	TEST(refuses_long_names), TEST(a_file_that_cannot_be_read), TEST(finds_the_last_entry))
