#include "base/str.h"

#include <stdlib.h>

#include "base/mem.h"
#include "test.h"

static void grows(void)
{
	_cleanup_str_ struct str str = STR_NULL;
	char want[5001];

	CHECK_STR(str_text(&str), "");
	for (size_t i = 0; i < sizeof(want) - 1; i++) {
		want[i] = (char)('a' + i % 26);
		str_add_char(&str, want[i]);
		if (str.len != i + 1 || str.data[str.len] != '\0' || str.cap <= str.len)
			CHECK(!"the length, the capacity and the NUL fit together");
	}
	want[sizeof(want) - 1] = '\0';
	CHECK_STR(str_text(&str), want);
	CHECK_INT(str.len, sizeof(want) - 1);
}

static void adds(void)
{
	_cleanup_str_ struct str str = STR_NULL;

	str_add(&str, "");
	CHECK_STR(str_text(&str), "");
	str_add(&str, "one");
	str_addf(&str, " %d%s", 2, " three");
	str_addf(&str, "%s", "");
	CHECK_STR(str_text(&str), "one 2 three");
	CHECK_INT(str.len, 11);
	str_add_bytes(&str, "\0x", 2);
	str_add_bytes(&str, NULL, 0);
	CHECK_INT(str.len, 13);
	CHECK(memcmp(str.data, "one 2 three\0x", 14) == 0);
	str_clear(&str);
	CHECK_STR(str_text(&str), "");
	CHECK_INT(str.len, 0);
	str_addf(&str, "%0200d", 7);
	CHECK_INT(str.len, 200);
	CHECK_INT(strlen(str_text(&str)), 200);
}

static void is_handed_over(void)
{
	struct str str = STR_NULL;
	char *text = str_steal(&str);

	CHECK_STR(text, "");
	free(text);
	str_add(&str, "text");
	text = str_steal(&str);
	CHECK_STR(text, "text");
	CHECK(!str.data && !str.len && !str.cap);
	free(text);
	str_clear(&str);
	str_fini(&str);
	CHECK_STR(str_text(&str), "");
}

static void folds_ascii_only(void)
{
	for (int i = -128; i < 128; i++) {
		char c = (char)i;
		bool upper = i >= 'A' && i <= 'Z', lower = i >= 'a' && i <= 'z';

		ROW("byte %d", i);
		CHECK_INT(ascii_lower(c), upper ? i + 32 : i);
		CHECK_INT(ascii_is_alpha(c), upper || lower);
		CHECK_INT(ascii_is_digit(c), i >= '0' && i <= '9');
	}
}

static void compares(void)
{
	static const struct {
		const char *a, *b;
		bool same, nocase, begins, begins_nocase, ends;
	} rows[] = {
		{"", "", true, true, true, true, true},
		{"a", "", false, false, true, true, true},
		{"", "a", false, false, false, false, false},
		{"Host", "Host", true, true, true, true, true},
		{"Host", "hOST", false, true, false, true, false},
		{"Hosts", "host", false, false, false, true, false},
		{"Host", "hosts", false, false, false, false, false},
		{"X-Andiron-Profile", "x-andiron-", false, false, false, true, false},
		{"/v1/messages", "/messages", false, false, false, false, true},
		{"/messages", "/v1/messages", false, false, false, false, false},
		{"@", "`", false, false, false, false, false},
		{"[", "{", false, false, false, false, false},
		{"\xc3\x84", "\xc3\xa4", false, false, false, false, false},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		ROW("%s, %s", rows[i].a, rows[i].b);
		CHECK_INT(str_same(rows[i].a, rows[i].b), rows[i].same);
		CHECK_INT(str_same_nocase(rows[i].a, rows[i].b), rows[i].nocase);
		CHECK_INT(str_begins(rows[i].a, rows[i].b), rows[i].begins);
		CHECK_INT(str_begins_nocase(rows[i].a, rows[i].b), rows[i].begins_nocase);
		CHECK_INT(str_ends(rows[i].a, rows[i].b), rows[i].ends);
	}
	ROW("a part of a text");
	CHECK(str_is_nocase("Close, x", 5, "close"));
	CHECK(!str_is_nocase("Close", 4, "close"));
	CHECK(!str_is_nocase("Close", 5, "clos"));
	CHECK(str_is_nocase("x", 0, ""));
	CHECK(str_is("close, x", 5, "close"));
	CHECK(!str_is("Close", 5, "close"));
	CHECK(!str_is("close", 4, "close"));
	CHECK(!str_is("close", 5, "clos"));
	CHECK(!str_is("clos\0e", 6, "clos"));
	CHECK(str_is("x", 0, ""));
	CHECK(!str_is("x", 1, ""));
}

/* The elements, each in <>. */
static char *elements(const char *list, const char *separators)
{
	struct str out = STR_NULL;
	const char *start;
	size_t len;

	while (str_next_element(&list, separators, &start, &len)) {
		str_add_char(&out, '<');
		str_add_bytes(&out, start, len);
		str_add_char(&out, '>');
	}
	return str_steal(&out);
}

static void walks_lists(void)
{
	static const struct {
		const char *list, *separators, *want;
	} rows[] = {
		{"", ",", ""},
		{" \t ", ",", ""},
		{",,,", ",", ""},
		{"a", ",", "<a>"},
		{"a,b", ",", "<a><b>"},
		{" a , b ", ",", "<a><b>"},
		{"\ta b\t,\tc", ",", "<a b><c>"},
		{",a,,b,", ",", "<a><b>"},
		{"a b  c", " ", "<a><b><c>"},
		{"408 429\t500,502", " ,\t", "<408><429><500><502>"},
		{"127.0.0.1:8787 [::1]:8787", " \t", "<127.0.0.1:8787><[::1]:8787>"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		_cleanup_free_ char *got = elements(rows[i].list, rows[i].separators);

		ROW("\"%s\"", rows[i].list);
		CHECK_STR(got, rows[i].want);
	}
}

static void knows_hexadecimal_digits(void)
{
	static const char digits[] = "0123456789abcdef", capitals[] = "0123456789ABCDEF";

	for (int c = -128; c < 128; c++) {
		const char *lower = c > 0 ? strchr(digits, c) : NULL;
		const char *upper = c > 0 ? strchr(capitals, c) : NULL;
		long want = lower ? lower - digits : upper ? upper - capitals : -1;

		ROW("byte %d", c);
		CHECK_INT(ascii_hex_digit((char)c), want);
	}
}

TEST_MAIN(TEST(knows_hexadecimal_digits), TEST(grows), TEST(adds), TEST(is_handed_over),
	TEST(folds_ascii_only), TEST(compares), TEST(walks_lists))
