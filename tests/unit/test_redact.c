#include "proxy/redact.h"

#include "temp.h"
#include "test.h"

/* Redacts `text` as of a request with this one field and this target. */
static void check(
	const char *name, const char *value, const char *target, const char *text, const char *want)
{
	struct fields fields = FIELDS_NULL;
	struct redact_sent sent = {&fields, target};
	_cleanup_free_ char *got = xstrdup(text);

	if (name)
		fields_add(&fields, name, value);
	redact(got, &sent);
	CHECK_STR(got, want);
	fields_fini(&fields);
}

static void masks_what_the_request_carried(void)
{
	static const struct {
		const char *name, *value, *text, *want;
	} rows[] = {
		{"Authorization", "Bearer canary-1", "wrong key canary-1!", "wrong key ********!"},
		{"authorization", "Basic Y2FuYXJ5", "Y2FuYXJ5 Y2FuYXJ5", "******** ********"},
		{"Authorization", "canary-1", "canary-1", "********"},
		{"X-Api-Key", "canary-1", "\"canary-1\"", "\"********\""},
		{"Cookie", "session=canary", "got session=canary", "got **************"},
		{"Authorization", "Bearer andiron", "andiron is no key", "andiron is no key"},
		{"Authorization", "Bearer ", "Bearer of news", "Bearer of news"},
		{"Accept", "canary-1", "canary-1", "canary-1"},
		{"Authorization", "Bearer canary-1", "", ""},
		{"Authorization", "Bearer aaaaaaaa", "aaaaaaaaa", "********a"},
		{NULL, NULL, "nothing to hide", "nothing to hide"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		ROW("row %zu", i);
		check(rows[i].name, rows[i].value, "/v1", rows[i].text, rows[i].want);
	}
}

static void masks_credentials_of_the_query(void)
{
	static const struct {
		const char *target, *text, *want;
	} rows[] = {
		{"/x?api_key=canary-1", "/x?api_key=canary-1", "/x?api_key=********"},
		{"/x?a=b&Authorization=canary-1&c=d", "canary-1", "********"},
		{"/x?accessToken=canary-1", "canary-1", "********"},
		{"/x?deploymentId=canary-1", "no deployment canary-1", "no deployment canary-1"},
		{"/x?api_key=", "api_key", "api_key"},
		{"/x?api_key", "api_key", "api_key"},
		{"/x?", "x", "x"},
		{"/api_key=canary-1", "canary-1", "canary-1"},
		{NULL, "x", "x"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		ROW("row %zu", i);
		check(NULL, NULL, rows[i].target, rows[i].text, rows[i].want);
	}
}

static void masks_what_looks_like_a_key(void)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{"fw_0123456789abcdef", "fw_****************"},
		{"(fw_0123456789abcdef)", "(fw_****************)"},
		{"fw_0123456789abcde", "fw_0123456789abcde"},
		{"xfw_0123456789abcdef", "xfw_0123456789abcdef"},
		{"fpk_0123456789abcdef0", "fpk_*****************"},
		{"sk-proj-0123456789ab", "sk-*****************"},
		{"task-0123456789abcdef", "task-0123456789abcdef"},
		{"Bearer abcdefghijklmnop.", "Bearer *****************"},
		{"Bearer of bad news", "Bearer of bad news"},
		{"fw_ sk- fw_", "fw_ sk- fw_"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		ROW("row %zu", i);
		check(NULL, NULL, NULL, rows[i].text, rows[i].want);
	}
}

TEST_MAIN(TEST(masks_what_the_request_carried), TEST(masks_credentials_of_the_query),
	TEST(masks_what_looks_like_a_key))
