/* Fuzzes base/json.h and policy/soft_error.h: the peek does not depend on cuts, the walk stays
 * inside its text, and what is quoted reads back. */

#include "base/json.h"
#include "fuzz.h"
#include "policy/soft_error.h"

static const char *const keys[] = {"model", "stream", "a", "error.code", "error.a", NULL};

static void peek_by(unsigned cuts, const uint8_t *bytes, size_t len, struct json_peek *ret)
{
	size_t done = 0;

	json_peek_init(ret, keys);
	while (done < len) {
		size_t count = fuzz_piece(cuts, bytes + done, len - done);
		_cleanup_free_ char *exact = xmalloc(count);

		memcpy(exact, bytes + done, count);
		json_peek_feed(ret, exact, count);
		done += count;
	}
}

static void check_peek(unsigned cuts, const uint8_t *bytes, size_t len)
{
	struct json_peek whole, cut;

	peek_by(0, bytes, len, &whole);
	peek_by(cuts ? cuts : 1, bytes, len, &cut);
	REQUIRE(json_peek_is_whole(&whole) == json_peek_is_whole(&cut));
	for (size_t i = 0; keys[i]; i++) {
		const struct json_value *a = json_peek_value(&whole, keys[i]);
		const struct json_value *b = json_peek_value(&cut, keys[i]);
		const char *text = json_peek_string(&whole, keys[i]);

		REQUIRE(!a == !b);
		if (a)
			REQUIRE(a->type == b->type && a->whole == b->whole && a->cut == b->cut &&
				a->seen == b->seen && a->begin == b->begin && a->end == b->end);
		if (a && a->type == JSON_STRING && a->whole)
			REQUIRE(a->begin + 2 <= a->end && a->end <= len && bytes[a->begin] == '"' &&
				bytes[a->end - 1] == '"');
		if (text)
			REQUIRE(strlen(text) < JSON_PEEK_MAX_VALUE &&
				str_same(text, json_peek_string(&cut, keys[i])));
		REQUIRE(json_peek_true(&whole, keys[i]) == json_peek_true(&cut, keys[i]));
	}
}

static void walk(const char *json, size_t len, int depth);

static void check_value(
	const char *json, size_t len, const char *value, size_t value_len, int depth)
{
	char text[32];

	REQUIRE(value_len > 0 && value >= json && value + value_len <= json + len);
	if (json_unquote(value, value_len, text, sizeof(text)))
		REQUIRE(value[0] == '"' && strlen(text) < sizeof(text));
	if (depth < 8)
		walk(value, value_len, depth + 1);
}

static void walk(const char *json, size_t len, int depth)
{
	struct json_pair pair;
	const char *value;
	size_t cursor = 0, before = 0, value_len;

	while (json_next_member(json, len, &cursor, &pair)) {
		REQUIRE(cursor > before && pair.key >= json &&
			pair.key + pair.key_len <= json + len);
		check_value(json, len, pair.value, pair.value_len, depth);
		before = cursor;
	}
	cursor = before = 0;
	while (json_element(json, len, &cursor, &value, &value_len)) {
		REQUIRE(cursor > before);
		check_value(json, len, value, value_len, depth);
		before = cursor;
	}
	if (json_member(json, len, "a", &value, &value_len))
		REQUIRE(value >= json && value + value_len <= json + len);
}

static void check_soft_error(const char *json, size_t len)
{
	struct soft_error error;

	if (soft_error_read(json, len, &error))
		REQUIRE(error.status >= 400 && error.status <= 599);
	soft_error_read_any(json, len, &error);
	REQUIRE(memchr(error.message, 0, sizeof(error.message)) &&
		memchr(error.type, 0, sizeof(error.type)) &&
		memchr(error.code, 0, sizeof(error.code)));
}

/* Quoting makes valid UTF-8 of anything; from then on nothing changes any more. */
static void check_quote(const char *bytes, size_t len)
{
	struct str once = STR_NULL, twice = STR_NULL;
	size_t size = 3 * len + 1;
	_cleanup_free_ char *text = xmalloc(size);

	json_quote(&once, bytes, len);
	REQUIRE(json_unquote(once.data, once.len, text, size));
	json_quote(&twice, text, strlen(text));
	if (!memchr(bytes, '\0', len))
		REQUIRE(str_same(str_text(&once), str_text(&twice)));
	str_fini(&once);
	str_fini(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *exact = NULL;

	if (size < 2)
		return 0;
	exact = xmalloc(size - 1);
	memcpy(exact, data + 1, size - 1);
	check_peek(data[0] & 15, data + 1, size - 1);
	walk(exact, size - 1, 0);
	check_soft_error(exact, size - 1);
	check_quote(exact, size - 1);
	return 0;
}
