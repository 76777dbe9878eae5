#include "config/key_file.h"

#include "temp.h"
#include "test.h"

static const char key[] = "fw_canary0123456789";

typedef char *read_function(const char *path, struct str *ret_error);

/* The key is read; `error` stays empty. */
static void check_key(read_function *read_key, const char *path, const char *want)
{
	_cleanup_str_ struct str error = STR_NULL;
	_cleanup_secret_ char *got = read_key(path, &error);

	CHECK_STR(got, want);
	CHECK_STR(str_text(&error), "");
}

/* It is refused, with a message that names the file, has `word`, and does not show the key. */
static void check_refused(read_function *read_key, const char *path, const char *word)
{
	_cleanup_str_ struct str error = STR_NULL;
	_cleanup_secret_ char *got = read_key(path, &error);

	CHECK_STR(got, NULL);
	CHECK(strstr(str_text(&error), path) != NULL);
	CHECK(strstr(str_text(&error), word) != NULL);
	CHECK(!strstr(str_text(&error), "canary"));
}

static void reads_one_line(void)
{
	static const struct {
		const char *text, *want; /* NULL: refused */
	} rows[] = {
		{"fw_canary0123456789", key},
		{"fw_canary0123456789\n", key},
		{"fw_canary0123456789\r\n", key},
		{"\n \t fw_canary0123456789 \t\r\n\n", key},
		{"!~", "!~"},
		{"fw=a\"b'", "fw=a\"b'"},
		{"\"", "\""},
		{"FIREWORKS_API_KEY=fw_canary", NULL},
		{"\"fw_canary\"\n", NULL},
		{"'fw_canary'", NULL},
		{"", NULL},
		{"\n", NULL},
		{" \t\r\n", NULL},
		{"fw_canary\nfw_canary2\n", NULL},
		{"fw_canary\r\nfw_canary2\r\n", NULL},
		{"fw_canary key", NULL},
		{"fw_canary\tkey", NULL},
		{"fw_canary\rkey", NULL},
		{"fw_canary\x01", NULL},
		{"fw_canary\x7f", NULL},
		{"fw_canary\xc3\xa9", NULL},
		{"\xef\xbb\xbf"
		 "fw_canary",
			NULL},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		_cleanup_free_ char *path =
			temp_file("key", rows[i].text, strlen(rows[i].text), 0600);

		ROW("row %zu", i);
		if (rows[i].want) {
			check_key(key_file_read, path, rows[i].want);
			check_key(key_file_read_credential, path, rows[i].want);
		} else {
			check_refused(key_file_read, path, "one line");
			check_refused(key_file_read_credential, path, "one line");
		}
	}
}

static void parses_a_key(void)
{
	static const struct {
		const char *text;
		size_t len;
		const char *want; /* NULL: refused */
	} rows[] = {
#define TEXT(text) text, sizeof(text) - 1
		{TEXT("fw_canary"), "fw_canary"},
		{TEXT(" \t\r\nfw_canary\n\r\t "), "fw_canary"},
		{TEXT("x"), "x"},
		{TEXT("!~"), "!~"},
		{"fw_canary and more", 9, "fw_canary"},
		{TEXT(""), NULL},
		{TEXT(" "), NULL},
		{TEXT("\r\n"), NULL},
		{TEXT("fw canary"), NULL},
		{TEXT("fw\ncanary"), NULL},
		{TEXT("fw\r\nX-Evil: 1"), NULL},
		{TEXT("\0"), NULL},
		{TEXT("fw_canary\0"), NULL},
		{TEXT("\0fw_canary"), NULL},
		{TEXT("fw\0canary"), NULL},
		{TEXT("\x1f"), NULL},
		{TEXT("\x7f"), NULL},
		{TEXT("\x80"), NULL},
		{TEXT("\xff"), NULL},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		_cleanup_free_ char *exact = xmalloc(rows[i].len);
		_cleanup_secret_ char *got = NULL;

		ROW("row %zu", i);
		memcpy(exact, rows[i].text, rows[i].len);
		got = key_parse(exact, rows[i].len);
		CHECK_STR(got, rows[i].want);
	}
}

/* Text behind a NUL is text too. */
static void a_nul_is_not_printable(void)
{
	_cleanup_free_ char *path = temp_file("nul", "fw_canary\0more", 14, 0600);

	check_refused(key_file_read, path, "one line");
}

/* A key is never a part of what the file holds. */
static void a_long_line_is_whole_or_refused(void)
{
	static const size_t lengths[] = {1000, 4095, 4096, 4097, 10000};
	char text[10001];

	for (size_t i = 0; i < COUNT_OF(lengths); i++) {
		_cleanup_str_ struct str error = STR_NULL;
		_cleanup_free_ char *path = NULL;
		_cleanup_secret_ char *got = NULL;

		ROW("%zu bytes", lengths[i]);
		memset(text, 'k', lengths[i]);
		text[lengths[i]] = '\0';
		path = temp_file("long", text, lengths[i], 0600);
		got = key_file_read(path, &error);
		CHECK_INT(error.len != 0, got == NULL);
		CHECK(!got || strcmp(got, text) == 0);
		CHECK(got || lengths[i] > 1000);
	}
}

static void others_must_not_read_it(void)
{
	static const struct {
		mode_t mode;
		bool fine;
	} rows[] = {{0600, true}, {0400, true}, {0700, true}, {0640, false}, {0604, false},
		{0644, false}, {0660, false}, {0620, false}, {0602, false}, {0666, false},
		{0440, false}, {0404, false}, {0777, false}};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		_cleanup_free_ char *path = temp_file("key", key, strlen(key), rows[i].mode);

		ROW("mode %04o", rows[i].mode);
		if (rows[i].fine)
			check_key(key_file_read, path, key);
		else
			check_refused(key_file_read, path, "chmod 600");
	}
}

/* systemd guards a credential by its directory; an access list shows as a group's right. */
static void a_credentials_mode_is_not_judged(void)
{
	static const mode_t modes[] = {0400, 0440, 0600, 0640};

	for (size_t i = 0; i < COUNT_OF(modes); i++) {
		_cleanup_free_ char *path =
			temp_file("fireworks_api_key", key, strlen(key), modes[i]);

		ROW("mode %04o", modes[i]);
		check_key(key_file_read_credential, path, key);
	}
}

static void it_must_be_a_regular_file(void)
{
	_cleanup_free_ char *missing = temp_path("missing"), *directory = temp_path("directory");
	_cleanup_free_ char *fifo = temp_path("fifo"), *dangling = temp_path("dangling");

	ROW("missing");
	check_refused(key_file_read, missing, "No such file");
	check_refused(key_file_read_credential, missing, "No such file");
	ROW("a directory");
	CHECK_INT(mkdir(directory, 0700), 0);
	check_refused(key_file_read, directory, "regular");
	check_refused(key_file_read_credential, directory, "regular");
	ROW("a FIFO that nobody writes to");
	CHECK_INT(mkfifo(fifo, 0600), 0);
	check_refused(key_file_read, fifo, "regular");
	check_refused(key_file_read_credential, fifo, "regular");
	ROW("a device");
	check_refused(key_file_read, "/dev/null", "regular");
	ROW("a link to nothing");
	CHECK_INT(symlink("nothing", dangling), 0);
	check_refused(key_file_read, dangling, "No such file");
}

static void a_large_file_is_none(void)
{
	_cleanup_free_ char *text = xcalloc(1, 5000), *path = NULL;

	memset(text, ' ', 5000);
	memcpy(text, key, strlen(key));
	path = temp_file("large", text, 5000, 0600);
	check_refused(key_file_read, path, "larger than 4096");
	check_refused(key_file_read_credential, path, "larger than 4096");
}

/* Who owns a file can put another key into it. Only root can give a file away. */
static void it_must_be_ones_own(void)
{
	_cleanup_free_ char *path = temp_file("key", key, strlen(key), 0600);

	check_key(key_file_read, path, key);
	if (chown(path, 12345, 12345) != 0)
		return;
	check_refused(key_file_read, path, "chown");
	check_refused(key_file_read_credential, path, "12345");
}

/* As a Secret of Kubernetes comes to a container that is not root: root's, readable by a group. */
static void roots_file_may_be_for_a_group(void)
{
	static const struct {
		mode_t mode;
		bool fine;
	} rows[] = {{0440, true}, {0640, true}, {0040, true}, {0444, false}, {0460, false},
		{0450, false}, {0441, false}, {0644, false}, {0660, false}, {0442, false}};

	if (geteuid() != 0)
		return;
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		_cleanup_free_ char *path = temp_file("shared", key, strlen(key), 0600);

		ROW("mode %04o", rows[i].mode);
		CHECK_INT(chown(path, 0, 12345), 0);
		CHECK_INT(chmod(path, rows[i].mode), 0);
		CHECK_INT(chmod(temp_directory, 0711), 0);
		check_refused(key_file_read, path, "chmod 600"); /* by root itself */
		CHECK(setegid(12345) == 0 && seteuid(12345) == 0);
		if (rows[i].fine)
			check_key(key_file_read, path, key);
		else
			check_refused(key_file_read, path, "chmod 440");
		CHECK(seteuid(0) == 0 && setegid(0) == 0);
	}
}

static void a_link_is_judged_by_what_it_names(void)
{
	_cleanup_free_ char *good = temp_file("good", key, strlen(key), 0600);
	_cleanup_free_ char *open = temp_file("open", key, strlen(key), 0644);
	_cleanup_free_ char *to_good = temp_path("to_good"), *to_open = temp_path("to_open");

	CHECK_INT(symlink("good", to_good), 0);
	CHECK_INT(symlink("open", to_open), 0);
	check_key(key_file_read, to_good, key);
	check_refused(key_file_read, to_open, "chmod 600");
}

TEST_MAIN(TEST(reads_one_line), TEST(parses_a_key), TEST(a_nul_is_not_printable),
	TEST(a_long_line_is_whole_or_refused), TEST(others_must_not_read_it),
	TEST(a_credentials_mode_is_not_judged), TEST(it_must_be_a_regular_file),
	TEST(a_large_file_is_none), TEST(it_must_be_ones_own), TEST(roots_file_may_be_for_a_group),
	TEST(a_link_is_judged_by_what_it_names))
