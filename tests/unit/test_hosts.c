#include "net/hosts.h"

#include "base/str.h"
#include "test.h"

static const struct {
	const char *text, *name, *found;
} rows[] = {
	{"", "a", ""},
	{"\n\n \n", "a", ""},
	{"192.0.2.1 a", "a", "192.0.2.1:7"},
	{"192.0.2.1 a\n", "a", "192.0.2.1:7"},
	{"192.0.2.1\ta\r\n192.0.2.2\tb\r\n", "b", "192.0.2.2:7"},
	{"  192.0.2.1   b \t a  ", "a", "192.0.2.1:7"},
	{"192.0.2.1 a b c", "b", "192.0.2.1:7"},
	{"192.0.2.1 ab", "a", ""},
	{"192.0.2.1 a", "ab", ""},
	{"192.0.2.1 a.b", "a", ""},
	{"192.0.2.1 API.Test", "api.tEST", "192.0.2.1:7"},
	{"192.0.2.1 a.", "a", "192.0.2.1:7"},
	{"192.0.2.1 a", "a.", "192.0.2.1:7"},
	{"192.0.2.1 .", "a", ""},
	{"192.0.2.1 a\n2001:db8::1 a\n192.0.2.2 b\n192.0.2.3 x a", "a",
		"192.0.2.1:7 [2001:db8::1]:7 192.0.2.3:7"},
	{"192.0.2.1 a a a", "a", "192.0.2.1:7"},
	{"# 192.0.2.1 a\n#192.0.2.1 a", "a", ""},
	{"192.0.2.1 b # a\n192.0.2.2 b #a", "a", ""},
	{"192.0.2.1 a#b\n", "a", "192.0.2.1:7"},
	{"192.0.2.1 # a\n192.0.2.2", "a", ""},
	{"192.0.2.1\na", "a", ""},
	{"192.0.2.1", "192.0.2.1", ""},
	{"a a\n256.0.0.1 a\n192.0.2 a\nfe80::1%lo a\n192.0.2.1:80 a\n192.0.2.5 a", "a",
		"192.0.2.5:7"},
	{"0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0001 a", "a", ""},
};

static void finds(void)
{
	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		const char *cursor = rows[i].text;
		struct str found = STR_NULL;
		struct address address;

		ROW("%s in %s", rows[i].name, rows[i].text);
		while (hosts_next(&cursor, rows[i].name, 7, &address)) {
			char text[ADDRESS_TEXT_SIZE];

			address_render(&address, text, sizeof(text));
			str_addf(&found, found.len ? " %s" : "%s", text);
		}
		CHECK_STR(str_text(&found), rows[i].found);
		CHECK(!hosts_next(&cursor, rows[i].name, 7, &address));
		str_fini(&found);
	}
}

TEST_MAIN(TEST(finds))
