#include "base/mem.h"

#include "test.h"

static void compares_secrets(void)
{
	static const struct {
		const char *secret, *given;
		bool same;
	} rows[] = {
		{"canary", "canary", true},
		{"c", "c", true},
		{"", "", true},
		{"canary", "", false},
		{"", "canary", false},
		{"canary", "canarY", false},
		{"canary", "Canary", false},
		{"canary", "canar", false},
		{"canary", "canaryy", false},
		{"canary", "canarycanary", false},
		{"aa", "aaa", false},
		{"aaa", "aa", false},
		{"ab",
			"ab\x01"
			"ab",
			false},
		{"canary", "yranac", false},
		{"ab", "ba", false}, /* differences must not cancel out */
		{"\x7f", "\xff", false},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		ROW("%s, %s", rows[i].secret, rows[i].given);
		CHECK_INT(mem_same_secret(rows[i].secret, rows[i].given), rows[i].same);
	}
}

TEST_MAIN(TEST(compares_secrets))
