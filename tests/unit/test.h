#pragma once

/* The harness of the unit tests. A failed CHECK says where, with both values, and the test goes
 * on; its result is whether it held. A loop over a table names the row at work with ROW(). */

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct test {
	const char *name;
	void (*run)(void);
};

static int test_checks, test_failures;
static char test_row[200];

#define ROW(...)        snprintf(test_row, sizeof(test_row), __VA_ARGS__)
#define CHECK(cond)     test_check(cond, __FILE__, __LINE__, #cond)
#define CHECK_STR(a, b) test_check_str(a, b, __FILE__, __LINE__, #a)
#define CHECK_INT(a, b) test_check_int((long long)(a), (long long)(b), __FILE__, __LINE__, #a)

static inline bool test_check(bool holds, const char *file, int line, const char *what)
{
	test_checks++;
	if (!holds) {
		test_failures++;
		printf("%s:%d: %s%s%s\n", file, line, test_row, *test_row ? ": " : "", what);
	}
	return holds;
}

static inline bool test_check_str(
	const char *got, const char *want, const char *file, int line, const char *what)
{
	bool same = got && want ? strcmp(got, want) == 0 : got == want;

	if (!test_check(same, file, line, what))
		printf("\tgot  \"%s\"\n\twant \"%s\"\n", got ? got : "(NULL)",
			want ? want : "(NULL)");
	return same;
}

static inline bool test_check_int(
	long long got, long long want, const char *file, int line, const char *what)
{
	if (!test_check(got == want, file, line, what))
		printf("\tgot  %lld\n\twant %lld\n", got, want);
	return got == want;
}

static inline int test_main(const struct test *tests, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int before = test_checks;

		test_row[0] = '\0';
		tests[i].run();
		if (test_checks == before)
			test_check(false, tests[i].name, 0, "this test checks nothing");
	}
	printf("%d checks in %zu tests, %d failed\n", test_checks, count, test_failures);
	return test_failures ? 1 : 0;
}

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
#define TEST(function)                                                                             \
	{                                                                                          \
#function, function                                                                \
	}
#define TEST_MAIN(...)                                                                             \
	int main(void)                                                                             \
	{                                                                                          \
		static const struct test tests[] = {__VA_ARGS__};                                  \
		return test_main(tests, COUNT_OF(tests));                                          \
	}
