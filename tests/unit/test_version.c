#include "app/version.h"

#include "test.h"

enum { V2_1_12 = 0x02010c00, V2_1_13 = 0x02010d00, V2_2_0 = 0x02020000 };

static void knows_the_security_fixes(void)
{
	static const struct {
		unsigned number;
		const char *package;
		enum libevent_fixes want;
	} rows[] = {
		/* the release that has them, and later ones */
		{V2_1_13, NULL, LIBEVENT_FIXED},
		{V2_1_13 + 1, NULL, LIBEVENT_FIXED},
		{V2_2_0, NULL, LIBEVENT_FIXED},
		{V2_1_13, "2.1.12-stable-8", LIBEVENT_FIXED}, /* built by hand beside the package */
		/* Debian's, before and after */
		{V2_1_12, "2.1.12-stable-8", LIBEVENT_LACKS},
		{V2_1_12, "2.1.12-stable-8+b1", LIBEVENT_LACKS},
		{V2_1_12, "2.1.12-stable-8+deb12u1", LIBEVENT_FIXED},
		{V2_1_12, "2.1.12-stable-8+deb12u2", LIBEVENT_FIXED},
		{V2_1_12, "2.1.12-stable-10+b1", LIBEVENT_LACKS},
		{V2_1_12, "2.1.12-stable-10+deb13u1", LIBEVENT_FIXED},
		{V2_1_12, "2.1.12-stable-1", LIBEVENT_LACKS},
		{V2_1_12, "2.1.12-stable-5+b1", LIBEVENT_LACKS},
		/* others number as they like */
		{V2_1_12, "2.1.12-stable-8ubuntu3", LIBEVENT_UNKNOWN},
		{V2_1_12, "2.1.12-stable-10ubuntu0.1", LIBEVENT_UNKNOWN},
		{V2_1_12, "2.1.12-9.fc40", LIBEVENT_UNKNOWN},
		/* nor is it known what a later revision, or another release's update, has */
		{V2_1_12, "2.1.12-stable-11", LIBEVENT_UNKNOWN},
		{V2_1_12, "2.1.12-stable-8.1", LIBEVENT_UNKNOWN},
		{V2_1_12, "2.1.12-stable-1+deb11u1", LIBEVENT_UNKNOWN},
		{V2_1_12, "", LIBEVENT_UNKNOWN},
		{V2_1_12, NULL, LIBEVENT_UNKNOWN},
		{V2_1_13 - 1, NULL, LIBEVENT_UNKNOWN},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		ROW("%08x, package %s", rows[i].number,
			rows[i].package ? rows[i].package : "(none)");
		CHECK_INT(libevent_fixes(rows[i].number, rows[i].package), rows[i].want);
	}
}

static void says_what_it_is_made_of(void)
{
	_cleanup_str_ struct str text = STR_NULL;

	version_render(&text);
	CHECK(str_begins(str_text(&text), "andiron " ANDIRON_VERSION " "));
	CHECK(strstr(str_text(&text), "libevent 2.") != NULL);
	CHECK(strstr(str_text(&text), "OpenSSL ") != NULL);
	CHECK(str_ends(str_text(&text), "\n"));
}

TEST_MAIN(TEST(knows_the_security_fixes), TEST(says_what_it_is_made_of))
