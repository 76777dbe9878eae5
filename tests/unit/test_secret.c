#include "base/secret.h"

#include <inttypes.h>
#include <sys/mman.h>
#include <unistd.h>

#include "temp.h"
#include "test.h"

static const char key[] = "fw_canary0123456789";

/* Has the mapping that holds this address this flag (proc(5), VmFlags)? */
static bool has_flag(const void *address, const char *flag)
{
	FILE *smaps = fopen("/proc/self/smaps", "r");
	uintptr_t at = (uintptr_t)address, start, end;
	bool inside = false, found = false;
	char line[1024];

	while (smaps && fgets(line, sizeof(line), smaps)) {
		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " ", &start, &end) == 2)
			inside = start <= at && at < end;
		if (inside && str_begins(line, "VmFlags:"))
			found = strstr(line, flag) != NULL;
	}
	if (smaps)
		fclose(smaps);
	return found;
}

static void holds_texts_of_any_length(void)
{
	static const size_t lengths[] = {0, 1, 4000, 4087, 4088, 4089, 4096, 10000};
	char text[10001];

	memset(text, 'k', sizeof(text));
	for (size_t i = 0; i < COUNT_OF(lengths); i++) {
		_cleanup_secret_ char *secret = secret_new(text, lengths[i]);

		ROW("%zu bytes", lengths[i]);
		CHECK_INT(strlen(secret), lengths[i]);
		CHECK(strncmp(secret, text, lengths[i]) == 0);
	}
	secret_free(NULL);
}

static void is_in_no_core_image(void)
{
	_cleanup_secret_ char *secret = secret_new(key, strlen(key));
	_cleanup_secret_ char *other = secret_new(key, strlen(key));

	CHECK(has_flag(secret, " dd"));
	CHECK(has_flag(other, " dd"));
	CHECK(!has_flag(key, " dd"));
	CHECK_STR(other, key);
}

/* Its pages are given back: to whoever looks there, there is nothing. */
static void is_gone_when_it_ends(void)
{
	char *secret = secret_new(key, strlen(key));
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	unsigned char resident;
	void *start = (void *)((uintptr_t)secret & ~(uintptr_t)(page - 1));

	CHECK_INT(mincore(start, page, &resident), 0);
	secret_free(secret);
	CHECK_INT(mincore(start, page, &resident), -1);
}

static void is_taken_out_of_the_environment(void)
{
	static char first[] = "ANDIRON_TEST_A=b", wanted[] = "ANDIRON_TEST_KEY=fw_canary0123456789";
	static char again[] = "ANDIRON_TEST_KEY=fw_again", longer[] = "ANDIRON_TEST_KEY2=c";
	char *list[] = {first, wanted, longer, again, NULL};
	char **before = environ;
	_cleanup_secret_ char *secret = NULL;

	environ = list;
	secret = secret_take_variable("ANDIRON_TEST_KEY");
	CHECK_STR(secret, key);
	CHECK_STR(environ[0], "ANDIRON_TEST_A=b");
	CHECK_STR(environ[1], "ANDIRON_TEST_KEY2=c");
	CHECK_STR(environ[2], NULL);
	for (size_t i = 0; i < sizeof(wanted); i++)
		CHECK_INT(wanted[i], 0);
	CHECK_INT(again[0], 0);
	CHECK(secret_take_variable("ANDIRON_TEST_KEY") == NULL);
	environ = before;
}

static void an_empty_variable_is_none(void)
{
	static char empty[] = "ANDIRON_TEST_KEY=";
	char *list[] = {empty, NULL};
	char **before = environ;

	environ = list;
	CHECK(secret_take_variable("ANDIRON_TEST_KEY") == NULL);
	CHECK_STR(environ[0], NULL);
	environ = before;
}

TEST_MAIN(TEST(holds_texts_of_any_length), TEST(is_in_no_core_image), TEST(is_gone_when_it_ends),
	TEST(is_taken_out_of_the_environment), TEST(an_empty_variable_is_none))
