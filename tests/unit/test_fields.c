#include "net/fields.h"

#include "temp.h"
#include "test.h"

static void only_plain_ones_are_sent(void)
{
	static const struct {
		const char *name, *value;
		bool fine;
	} rows[] = {
		{"X-A", "b", true},
		{"X-A", "", true},
		{"X-A", "b\tc", true},
		{"X-A", "caf\xc3\xa9", true},
		{"!#$%&'*+-.^_`|~09az", "b", true},
		{"X-A", "b\r\nX-Evil: 1", false},
		{"X-A", "b\n", false},
		{"X-A", "b\r", false},
		{"X-A", "\x01", false},
		{"X-A", "\x7f", false},
		{"", "b", false},
		{"X A", "b", false},
		{"X-A:", "b", false},
		{"X-A\r\n", "b", false},
		{"X-\xc3\xa9", "b", false},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		struct fields fields = FIELDS_NULL;

		ROW("row %zu", i);
		CHECK(fields_are_sendable(&fields));
		fields_add(&fields, "Host", "h");
		fields_add(&fields, rows[i].name, rows[i].value);
		fields_add(&fields, "Accept", "*/*");
		CHECK_INT(fields_are_sendable(&fields), rows[i].fine);
		fields_fini(&fields);
	}
}

TEST_MAIN(TEST(only_plain_ones_are_sent))
