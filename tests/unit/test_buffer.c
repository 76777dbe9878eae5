#include "net/buffer.h"

#include <event2/buffer.h>
#include <stdlib.h>

#include "base/mem.h"
#include "test.h"

/* Rows are written with ' where JSON has ", to be readable. */
static char *quoted(const char *text)
{
	char *copy = xstrdup(text);

	for (char *p = copy; *p; p++) {
		if (*p == '\'')
			*p = '"';
	}
	return copy;
}

/* In chains of `piece` bytes each, none with room for more. */
static struct evbuffer *in_pieces(const char *text, size_t len, size_t piece)
{
	struct evbuffer *buffer = evbuffer_new();

	for (size_t at = 0; at < len; at += piece)
		evbuffer_add_reference(
			buffer, text + at, len - at < piece ? len - at : piece, NULL, NULL);
	return buffer;
}

static char *text_of(struct evbuffer *buffer)
{
	size_t len = evbuffer_get_length(buffer);
	char *text = xmalloc(len + 1);

	evbuffer_copyout(buffer, text, len);
	text[len] = '\0';
	return text;
}

static void check_replaced(struct evbuffer *body, const char *value, const char *want)
{
	_cleanup_free_ char *before = text_of(body), *after = NULL, *got = NULL;
	struct evbuffer *made = buffer_replace_json_string(body, "model", value);

	after = text_of(body);
	CHECK_STR(after, before);
	evbuffer_free(body); /* what was made stays */
	CHECK_INT(made != NULL, want != NULL);
	if (!made)
		return;
	got = text_of(made);
	CHECK_STR(got, want);
	evbuffer_free(made);
}

static void replaces_a_string(void)
{
	static const struct {
		const char *body, *value, *want;
	} rows[] = {
		{"{'model':'a'}", "b", "{'model':'b'}"},
		{"{'model':''}", "b", "{'model':'b'}"},
		{"{'model':'a'}", "", "{'model':''}"},
		{"{'x':1,'model':'a','y':[2]}", "longer", "{'x':1,'model':'longer','y':[2]}"},
		{" {\t'model' :\n 'a' \r} \n", "b", " {\t'model' :\n 'b' \r} \n"},
		{"{'model':'a'} and more", "b", "{'model':'b'} and more"},
		{"{'m\\u006fdel':'a'}", "b", "{'m\\u006fdel':'b'}"},
		{"{'\\u006D\\u006f\\u0064\\u0065\\u006c':'a'}", "b",
			"{'\\u006D\\u006f\\u0064\\u0065\\u006c':'b'}"},
		{"{'model':'a\\'\\\\'}", "b", "{'model':'b'}"},
		{"{'model':'\\u0000\\ud83d\\ude00\\'}','x':'}'}", "b", "{'model':'b','x':'}'}"},
		{"{'x':'\\'model\\':\\'no\\'','model':'a'}", "b",
			"{'x':'\\'model\\':\\'no\\'','model':'b'}"},
		/* other members of that name, within */
		{"{'x':{'model':'no'},'model':'a','y':[{'model':'no'},'model']}", "b",
			"{'x':{'model':'no'},'model':'b','y':[{'model':'no'},'model']}"},
		{"{'models':'no','Model':'no','model ':'no','model':'a'}", "b",
			"{'models':'no','Model':'no','model ':'no','model':'b'}"},
		/* the new one is escaped */
		{"{'model':'a'}", "\"}\\\n\x01\xc3\xa9\xff",
			"{'model':'\\'}\\\\\\n\\u0001\xc3\xa9\xef\xbf\xbd'}"},
		/* not: */
		{"", "b", NULL},
		{"{}", "b", NULL},
		{"null", "b", NULL},
		{"'model'", "b", NULL},
		{"[{'model':'a'}]", "b", NULL},
		{"{'x':{'model':'a'}}", "b", NULL},
		{"{'model':null}", "b", NULL},
		{"{'model':1}", "b", NULL},
		{"{'model':['a']}", "b", NULL},
		{"{'model':{'model':'a'}}", "b", NULL},
		{"{'model':'a'", "b", NULL},
		{"{'model':'a','x':{}", "b", NULL},
		{"{'model':'a", "b", NULL},
		{"{'model':'\\uzzzz'}", "b", NULL},
		{"x{'model':'a'}", "b", NULL},
		{"--b\r\nContent-Disposition: form-data; name='model'\r\n", "b", NULL},
		/* of two nobody knows which one the upstream takes */
		{"{'model':'a','model':'a'}", "b", NULL},
		{"{'model':'a','mod\\u0065l':'c'}", "b", NULL},
		{"{'model':1,'model':'c'}", "b", NULL},
		{"{'model':'a','model':{}}", "b", NULL},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		_cleanup_free_ char *body = quoted(rows[i].body);
		_cleanup_free_ char *want = rows[i].want ? quoted(rows[i].want) : NULL;
		size_t len = strlen(body);

		for (size_t piece = 1; piece <= len + 1; piece++) {
			ROW("%s, in pieces of %zu", rows[i].body, piece);
			check_replaced(in_pieces(body, len, piece), rows[i].value, want);
		}
	}
}

/* A model's name that is too long for the peek to keep has its place all the same. */
static void replaces_a_long_string(void)
{
	_cleanup_str_ struct str body = STR_NULL;
	struct evbuffer *buffer = evbuffer_new();

	str_addf(&body, "{\"model\":\"%0*d\"}", 3 * JSON_PEEK_MAX_VALUE, 7);
	evbuffer_add(buffer, body.data, body.len);
	check_replaced(buffer, "b", "{\"model\":\"b\"}");
}

/* The rest is the same memory, also of what was replaced before, and can be sent by reference. */
static void shares_the_rest(void)
{
	enum { SIZE = 32 << 20 };
	_cleanup_free_ char *prompt = xmalloc(SIZE);
	struct evbuffer *body = evbuffer_new(), *once, *twice, *sent = evbuffer_new();
	struct evbuffer_iovec pieces[8];
	int count;

	memset(prompt, 'x', SIZE);
	evbuffer_add_printf(body, "{\"prompt\":\"");
	evbuffer_add_reference(body, prompt, SIZE, NULL, NULL);
	evbuffer_add_printf(body, "\",\"model\":\"a\",\"n\":1}");
	once = buffer_replace_json_string(body, "model", "bb");
	evbuffer_free(body);
	if (!CHECK(once != NULL))
		return;
	twice = buffer_replace_json_string(once, "model", "ccc");
	evbuffer_free(once);
	if (!CHECK(twice != NULL))
		return;
	CHECK_INT(evbuffer_add_buffer_reference(sent, twice), 0);
	evbuffer_free(twice);
	CHECK_INT(evbuffer_get_length(sent),
		strlen("{\"prompt\":\"") + SIZE + strlen("\",\"model\":\"ccc\",\"n\":1}"));
	count = evbuffer_peek(sent, -1, NULL, pieces, 8);
	CHECK_INT(count, 5);
	CHECK(pieces[1].iov_base == prompt);
	CHECK_INT(pieces[1].iov_len, SIZE);
	CHECK(count == 5 && memcmp(pieces[3].iov_base, "\"ccc\"", 5) == 0);
	CHECK(count == 5 && memcmp(pieces[4].iov_base, ",\"n\":1}", 7) == 0);
	CHECK(!buffer_replace_json_string(sent, "model", "d")); /* libevent cannot do that */
	evbuffer_free(sent);
}

TEST_MAIN(TEST(replaces_a_string), TEST(replaces_a_long_string), TEST(shares_the_rest))
