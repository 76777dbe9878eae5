#include "base/json.h"

#include <stdlib.h>

#include "base/mem.h"
#include "test.h"

#define REPLACED "\xef\xbf\xbd" /* U+FFFD */

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

/* ---- Writer */

static void quotes(void)
{
	static const struct {
		const char *text;
		size_t len;
		const char *want;
	} rows[] = {
#define TEXT(text) text, sizeof(text) - 1
		{TEXT(""), "\"\""},
		{TEXT("plain /text"), "\"plain /text\""},
		{TEXT("a\"b\\c"), "\"a\\\"b\\\\c\""},
		{TEXT("\n\r\t"), "\"\\n\\r\\t\""},
		{TEXT("\b\f\v"), "\"\\u0008\\u000c\\u000b\""},
		{TEXT("\0"), "\"\\u0000\""},
		{TEXT("a\0b"), "\"a\\u0000b\""},
		{TEXT("\x01\x1b\x1f\x7f"), "\"\\u0001\\u001b\\u001f\\u007f\""},
		{TEXT("\xc3\xa9"), "\"\xc3\xa9\""},
		{TEXT("\xe2\x82\xac"), "\"\xe2\x82\xac\""},
		{TEXT("\xf0\x9f\x98\x80"), "\"\xf0\x9f\x98\x80\""},
		{TEXT("\xf4\x8f\xbf\xbf"), "\"\xf4\x8f\xbf\xbf\""},
		{TEXT("\xed\x9f\xbf\xee\x80\x80"), "\"\xed\x9f\xbf\xee\x80\x80\""},
		/* a tail without a head, a head without a tail, at the end and before a letter */
		{TEXT("\x80"), "\"" REPLACED "\""},
		{TEXT("\xc3"), "\"" REPLACED "\""},
		{TEXT("\xc3x"), "\"" REPLACED "x\""},
		{TEXT("\xc3\""), "\"" REPLACED "\\\"\""},
		{TEXT("\xe2\x82"), "\"" REPLACED REPLACED "\""},
		{TEXT("\xf0\x9f\x98"), "\"" REPLACED REPLACED REPLACED "\""},
		{TEXT("\xe2\x28\xa1"), "\"" REPLACED "(" REPLACED "\""},
		/* overlong, surrogates, beyond U+10FFFF, bytes that UTF-8 never has */
		{TEXT("\xc0\xaf"), "\"" REPLACED REPLACED "\""},
		{TEXT("\xc1\x81"), "\"" REPLACED REPLACED "\""},
		{TEXT("\xe0\x80\xaf"), "\"" REPLACED REPLACED REPLACED "\""},
		{TEXT("\xf0\x80\x80\xaf"), "\"" REPLACED REPLACED REPLACED REPLACED "\""},
		{TEXT("\xed\xa0\x80"), "\"" REPLACED REPLACED REPLACED "\""},
		{TEXT("\xf4\x90\x80\x80"), "\"" REPLACED REPLACED REPLACED REPLACED "\""},
		{TEXT("\xf5\xfe\xff"), "\"" REPLACED REPLACED REPLACED "\""},
		{TEXT("ok\xff\xc3\xa9"), "\"ok" REPLACED "\xc3\xa9\""},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		_cleanup_str_ struct str out = STR_NULL;
		_cleanup_free_ char *exact = xmalloc(rows[i].len);

		ROW("row %zu", i);
		memcpy(exact, rows[i].text, rows[i].len); /* a read behind the end is seen */
		json_quote(&out, exact, rows[i].len);
		CHECK_STR(str_text(&out), rows[i].want);
	}
}

static void writes_objects(void)
{
	_cleanup_str_ struct str out = STR_NULL;

	json_begin(&out);
	json_end(&out);
	CHECK_STR(str_text(&out), "{}");
	str_clear(&out);
	json_begin(&out);
	json_add_string(&out, "absent", NULL);
	json_add_int(&out, "negative", -1);
	json_add_string(&out, "s{", "v{,");
	json_add_int(&out, "zero", 0);
	json_add_int(&out, "big", INT64_MAX);
	json_begin_object(&out, "o\"");
	json_begin_object(&out, "empty");
	json_end(&out);
	json_add_bool(&out, "yes", true);
	json_end(&out);
	json_add_bool(&out, "no", false);
	json_add_null(&out, "null");
	json_end(&out);
	CHECK_STR(str_text(&out), "{\"s{\":\"v{,\",\"zero\":0,\"big\":9223372036854775807,"
				  "\"o\\\"\":{\"empty\":{},\"yes\":true},\"no\":false,"
				  "\"null\":null}");
}

static void writes_behind_other_text(void)
{
	_cleanup_str_ struct str out = STR_NULL;

	str_add(&out, "data: ");
	json_begin(&out);
	json_add_int(&out, "a", 1);
	json_end(&out);
	str_add(&out, "\n");
	json_begin(&out);
	json_add_int(&out, "b", 2);
	json_end(&out);
	CHECK_STR(str_text(&out), "data: {\"a\":1}\n{\"b\":2}");
}

/* ---- Peek */

static const char *const keys[] = {
	"model", "stream", "error.code", "error.type", "error", "code", NULL};

/* What was found, as `key=value` in the order of `keys`: 'text', (cut), literals, { and [. */
static char *summary(const struct json_peek *peek)
{
	struct str out = STR_NULL;

	for (size_t i = 0; keys[i]; i++) {
		const struct json_value *value = json_peek_value(peek, keys[i]);
		const char *text = json_peek_string(peek, keys[i]);

		if (value->type == JSON_ABSENT)
			continue;
		str_addf(&out, "%s%s=", out.len ? " " : "", keys[i]);
		if (value->type == JSON_STRING)
			str_addf(&out, text ? "\"%s\"" : "(cut)", text);
		else
			str_add(&out, value->type == JSON_OBJECT  ? "{"
				      : value->type == JSON_ARRAY ? "["
								  : value->text);
	}
	return str_steal(&out);
}

/* Feeds the text in two pieces, the second of which begins at `at`. */
static char *peek_split(const char *text, size_t len, size_t at)
{
	struct json_peek peek;

	json_peek_init(&peek, keys);
	json_peek_feed(&peek, text, at);
	json_peek_feed(&peek, text + at, len - at);
	return summary(&peek);
}

static char *peek_bytewise(const char *text, size_t len)
{
	struct json_peek peek;

	json_peek_init(&peek, keys);
	for (size_t i = 0; i < len; i++) {
		json_peek_feed(&peek, text + i, 1);
		json_peek_feed(&peek, text + i, 0);
	}
	return summary(&peek);
}

static void check_peek(const char *row, const char *expected)
{
	_cleanup_free_ char *text = quoted(row), *want = quoted(expected);
	_cleanup_free_ char *bytewise = peek_bytewise(text, strlen(text));

	ROW("%.150s", row);
	if (!CHECK_STR(bytewise, want))
		return; /* the splits would say the same */
	for (size_t at = 0; at <= strlen(text); at++) {
		_cleanup_free_ char *got = peek_split(text, strlen(text), at);

		ROW("%.150s, split at %zu", row, at);
		if (!CHECK_STR(got, want))
			return;
	}
}

static void finds_keys(void)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{"{'model':'m','stream':true}", "model='m' stream=true"},
		{" {\n\t'model' : 'm' ,\r\n 'stream' : false } \n", "model='m' stream=false"},
		{"{'stream':true}", "stream=true"},
		{"{'stream' :true\n}", "stream=true"},
		{"{'stream':'true'}", "stream='true'"},
		{"{'stream':null,'model':null}", "model=null stream=null"},
		{"{'code':5,'message':''}", "code=5"},
		{"{'code':-1.5e+3 , 'x':0}", "code=-1.5e+3"},
		{"{}", ""},
		{"{'model':''}", "model=''"},
		{"{'a':1,'b':[1,2,{'c':'d'}],'e':{'f':[]},'model':'m'}", "model='m'"},
		{"{'model':{'stream':true},'stream':[true]}", "model={ stream=["},
		{"{'error':{'message':'x','code':'c','type':'t'}}",
			"error.code='c' error.type='t' error={"},
		{"{'error':'Too Many Requests','message':'x'}", "error='Too Many Requests'"},
		{"{'error':{'code':404}}", "error.code=404 error={"},
		{"{'error':{'code':null,'type':true}}", "error.code=null error.type=true error={"},
		{"{'error':{'code':{'x':1},'type':['t']}}", "error.code={ error.type=[ error={"},
		{"{'error':{},'code':'c'}", "error={ code='c'"},
		{"{'type':'t','error':{'type':'e'},'code':3}", "error.type='e' error={ code=3"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		check_peek(rows[i].text, rows[i].want);
}

static void passes_over_look_alikes(void)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{"{'messages':[{'role':'user','model':'x','stream':true}],'model':'m'}",
			"model='m'"},
		{"{'messages':[{'model':'x'}]}", ""},
		{"{'model':'m','messages':[{'model':'x'}]}", "model='m'"},
		{"{'messages':{'model':'x'}}", ""},
		{"{'a':{'b':{'model':'x'},'c':1}}", ""},
		{"{'messages':[{'content':'{\\'model\\':\\'x\\',\\'stream\\':true}'}]}", ""},
		{"{'x':'model','y':'stream'}", ""},
		{"{'x':'model\\\\','model':'m'}", "model='m'"},
		{"{'x':'\\\\\\'','model':'m'}", "model='m'"},
		{"{'x':['model','x','stream',true]}", ""},
		{"{'':{'model':'x'},'model':'m'}", "model='m'"},
		{"{'Model':'x','model ':'x','mode':'x','modell':'x','STREAM':true}", ""},
		{"{'error':[{'code':'x','type':'x'}]}", "error=["},
		{"{'error':['code','x']}", "error=["},
		{"{'error':['x','code',5]}", "error=["},
		{"{'error':['x','code','x']}", "error=["},
		{"{'error':{'details':{'code':'x'},'type':'t'}}", "error.type='t' error={"},
		{"{'error':{'details':[{'code':'x'}]}}", "error={"},
		{"{'errors':{'code':'x'},'err':{'code':'x'}}", ""},
		{"{'x':{'error':{'code':'x'}}}", ""},
		{"[{'model':'x','error':{'code':'x'}}]", ""},
		{"{'x':{'y':{'z':1}},'error':{'code':'c'}}", "error.code='c' error={"},
		{"{'error':{'x':{'y':1},'code':'c'}}", "error.code='c' error={"},
		{"{'model-of-which-the-name-is-longer-than-any-wanted-key':'x'}", ""},
		{"{'error':{'code-of-which-the-name-is-longer-than-any':'x'}}", "error={"},
		{"{'model\\u0000':'x','stream\\u0000x':true}", ""},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		check_peek(rows[i].text, rows[i].want);
}

static void unescapes(void)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{"{'model':'\\b\\f\\n\\r\\t'}", "model='\b\f\n\r\t'"},
		{"{'model':'a\\/b\\\\c'}", "model='a/b\\c'"},
		{"{'model':'\\u0041\\u00e9\\u20ac'}", "model='A\xc3\xa9\xe2\x82\xac'"},
		{"{'model':'\\u00E9\\u20AC\\uFFFF'}", "model='\xc3\xa9\xe2\x82\xac\xef\xbf\xbf'"},
		{"{'model':'\\u007f\\u0080\\u07ff\\u0800'}",
			"model='\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80'"},
		{"{'model':'\\ud83d\\ude00'}", "model='\xf0\x9f\x98\x80'"},
		{"{'model':'\\uD800\\uDC00\\uDBFF\\uDFFF'}",
			"model='\xf0\x90\x80\x80\xf4\x8f\xbf\xbf'"},
		{"{'model':'\xc3\xa9'}", "model='\xc3\xa9'"},
		{"{'mod\\u0065l':'m','\\u0073tream':true}", "model='m' stream=true"},
		{"{'\\u0065rror':{'cod\\u0065':'c'}}", "error.code='c' error={"},
		/* a surrogate without its other half */
		{"{'model':'\\ude00x'}", "model='" REPLACED "x'"},
		{"{'model':'\\ud83dx'}", "model='" REPLACED "x'"},
		{"{'model':'x\\ud83d'}", "model='x" REPLACED "'"},
		{"{'model':'\\ud83d\\u0041'}", "model='" REPLACED "A'"},
		{"{'model':'\\ud83d\\ud83d\\ude00'}", "model='" REPLACED "\xf0\x9f\x98\x80'"},
		{"{'model':'\\ud83d-\\ude00'}", "model='" REPLACED "-" REPLACED "'"},
		{"{'model':'\\ud83d\\n\\ude00'}", "model='" REPLACED "\n" REPLACED "'"},
		{"{'x':'\\ud83d','model':'\\ude00'}", "model='" REPLACED "'"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		check_peek(rows[i].text, rows[i].want);
}

static void takes_the_last_of_duplicates(void)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{"{'model':'a','model':'b'}", "model='b'"},
		{"{'model':'longer','model':'b'}", "model='b'"},
		{"{'model':'a','model':''}", "model=''"},
		{"{'model':'a','model':1}", "model=1"},
		{"{'model':'a','model':{}}", "model={"},
		{"{'model':{'x':1},'model':'a'}", "model='a'"},
		{"{'stream':true,'stream':false}", "stream=false"},
		{"{'stream':false,'x':0,'str\\u0065am':true}", "stream=true"},
		{"{'error':{'code':'a','code':'b'}}", "error.code='b' error={"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		check_peek(rows[i].text, rows[i].want);
}

static void finds_nothing_where_no_object_is(void)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{"", ""},
		{" \n", ""},
		{"null", ""},
		{"'model'", ""},
		{"model=m&stream=true", ""},
		{"[]{'model':'m'}", ""},
		{"x{'model':'m'}", ""},
		{"<html>{'model':'m'}</html>", ""},
		{"data: {'model':'m'}", ""},
		{"--b\r\nContent-Disposition: form-data; name='model'\r\n\r\nm\r\n--b--\r\n", ""},
		{"}{'model':'m'}", ""},
		{"{'model':'m'}{'model':'x'}", "model='m'"},
		{"{'model':'m'}\n{'stream':true}", "model='m'"},
		{"{'model':'m'} and more", "model='m'"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++)
		check_peek(rows[i].text, rows[i].want);
}

/* A string that does not end, or not as one, is not a whole one. */
static void gives_whole_strings_only(void)
{
	_cleanup_free_ char *text = quoted("{'model':'a\\u00e9\\ud83d\\ude00z'}");
	size_t end = strlen(text) - strlen("}");
	_cleanup_free_ char *broken = quoted("{'model':'ab\\uZZZZ','stream':true}");
	_cleanup_free_ char *with_nul = quoted("{'model':'a\\u0000b'}");
	struct json_peek peek;

	for (size_t len = 0; len <= end; len++) {
		ROW("the first %zu bytes", len);
		json_peek_init(&peek, keys);
		json_peek_feed(&peek, text, len);
		if (!CHECK_STR(json_peek_string(&peek, "model"),
			    len < end ? NULL : "a\xc3\xa9\xf0\x9f\x98\x80z"))
			break;
	}
	ROW("an escape that is none");
	json_peek_init(&peek, keys);
	json_peek_feed(&peek, broken, strlen(broken));
	CHECK_STR(json_peek_string(&peek, "model"), NULL);
	CHECK(!json_peek_true(&peek, "stream"));
	ROW("a NUL, which would hide the rest");
	json_peek_init(&peek, keys);
	json_peek_feed(&peek, with_nul, strlen(with_nul));
	CHECK_STR(json_peek_string(&peek, "model"), NULL);
}

static void cuts_long_values(void)
{
	for (size_t len = 250; len < 600; len += len < 260 ? 1 : 100) {
		_cleanup_str_ struct str text = STR_NULL;
		bool fits = len < JSON_PEEK_MAX_VALUE;
		struct json_peek peek;

		ROW("%zu bytes", len);
		str_add(&text, "{\"model\":\"");
		for (size_t i = 0; i < len; i++)
			str_add_char(&text, 'm');
		str_add(&text, "\",\"stream\":true}");
		json_peek_init(&peek, keys);
		json_peek_feed(&peek, text.data, text.len);
		CHECK_INT(json_peek_value(&peek, "model")->type, JSON_STRING);
		CHECK_INT(json_peek_value(&peek, "model")->cut, !fits);
		CHECK_INT(json_peek_string(&peek, "model") != NULL, fits);
		CHECK_INT(strlen(json_peek_value(&peek, "model")->text),
			fits ? len : JSON_PEEK_MAX_VALUE - 1);
		CHECK(json_peek_true(&peek, "stream"));
	}
}

/* A short value that comes after a long one is whole. */
static void forgets_what_it_cut(void)
{
	_cleanup_str_ struct str text = STR_NULL;
	struct json_peek peek;

	str_addf(&text, "{\"model\":\"%0300d\",\"model\":\"m\"}", 0);
	json_peek_init(&peek, keys);
	json_peek_feed(&peek, text.data, text.len);
	CHECK_STR(json_peek_string(&peek, "model"), "m");
	CHECK(!json_peek_value(&peek, "model")->cut);
}

static void knows_true(void)
{
	static const struct {
		const char *text;
		bool want;
	} rows[] = {
		{"{'stream':true}", true},
		{"{'stream':true,'x':1}", true},
		{"{'stream':true", false}, /* it might go on */
		{"{'stream':true ", true},
		{"{'stream':false}", false},
		{"{'stream':'true'}", false},
		{"{'stream':1}", false},
		{"{'stream':truely}", false},
		{"{'stream':tru}", false},
		{"{'stream':TRUE}", false},
		{"{'stream':[true]}", false},
		{"{'stream':{}}", false},
		{"{'x':true}", false},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		_cleanup_free_ char *text = quoted(rows[i].text);
		struct json_peek peek;

		ROW("%s", rows[i].text);
		json_peek_init(&peek, keys);
		json_peek_feed(&peek, text, strlen(text));
		CHECK_INT(json_peek_true(&peek, "stream"), rows[i].want);
		CHECK(!json_peek_value(&peek, "nobody asked"));
		CHECK(!json_peek_string(&peek, "nobody asked"));
		CHECK(!json_peek_true(&peek, "nobody asked"));
	}
}

/* An object that goes `depth` deep, all in all, and has `model` behind that. */
static void bomb(size_t depth, const char *open, char close, struct str *out)
{
	str_add(out, "{\"stream\":true,\"x\":");
	for (size_t i = 1; i < depth; i++)
		str_add(out, open);
	for (size_t i = 1; i < depth; i++)
		str_add_char(out, close);
	str_add(out, ",\"model\":\"m\"}");
}

static void ends_at_its_depth(void)
{
	static const struct {
		size_t depth;
		bool found;
	} rows[] = {{2, true}, {JSON_PEEK_MAX_DEPTH, true}, {JSON_PEEK_MAX_DEPTH + 1, false},
		{200000, false}};

	for (size_t i = 0; i < COUNT_OF(rows) * 2; i++) {
		_cleanup_str_ struct str text = STR_NULL;
		struct json_peek peek;

		ROW("%s, depth %zu", i % 2 ? "objects" : "arrays", rows[i / 2].depth);
		if (i % 2)
			bomb(rows[i / 2].depth, "{\"model\":", '}', &text);
		else
			bomb(rows[i / 2].depth, "[", ']', &text);
		json_peek_init(&peek, keys);
		json_peek_feed(&peek, text.data, text.len);
		CHECK(json_peek_true(&peek, "stream"));
		CHECK_STR(json_peek_string(&peek, "model"), rows[i / 2].found ? "m" : NULL);
	}
}

/* ---- Walk */

/* `key=value;` for each member, as they stand there; then how the walk ended. */
static char *walk_members(const char *text, size_t len)
{
	_cleanup_free_ char *exact = xmalloc(len); /* a read behind the end is seen */
	struct str out = STR_NULL;
	struct json_pair pair;
	size_t cursor = 0;

	memcpy(exact, text, len);
	while (json_next_member(exact, len, &cursor, &pair)) {
		str_add_bytes(&out, pair.key, pair.key_len);
		str_add_char(&out, '=');
		str_add_bytes(&out, pair.value, pair.value_len);
		str_add_char(&out, ';');
	}
	str_add(&out, cursor == len ? "end" : cursor > len ? "broken" : "more");
	return str_steal(&out);
}

static void walks_members(void)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{"{}", "end"},
		{" { } \n", "end"},
		{"{'a':1}", "a=1;end"},
		{"{'a':1,'b':'x'}", "a=1;b='x';end"},
		{" {\n'a' : [1,{'c':2}] ,\t'b':{ 'd' : 'e' } } \r\n",
			"a=[1,{'c':2}];b={ 'd' : 'e' };end"},
		{"{'a':null,'a':true,'':-1.5e3}", "a=null;a=true;=-1.5e3;end"},
		{"{'a\\'b':'}','c':'\\\\'}", "a\\'b='}';c='\\\\';end"},
		{"{'a':','}", "a=',';end"},
		/* something behind it */
		{"{}x", "more"},
		{"{'a':1}}", "a=1;more"},
		{"{'a':1} {", "a=1;more"},
		/* cut, or no object */
		{"", "broken"},
		{" ", "broken"},
		{"{", "broken"},
		{"{ ", "broken"},
		{"}", "broken"},
		{",", "broken"},
		{"[]", "broken"},
		{"'a'", "broken"},
		{"null", "broken"},
		{"x{'a':1}", "broken"},
		{"{'a", "broken"},
		{"{'a'", "broken"},
		{"{'a':", "broken"},
		{"{'a':1", "broken"},
		{"{'a':1,", "a=1;broken"},
		{"{'a':1 ", "a=1;broken"},
		{"{'a':'x'", "a='x';broken"},
		{"{'a':1,}", "a=1;broken"},
		{"{,}", "broken"},
		{"{,'a':1}", "broken"},
		{"{'a':1 'b':2}", "a=1;broken"},
		{"{'a':1]", "a=1;broken"},
		{"{'a' 1}", "broken"},
		{"{'a'}", "broken"},
		{"{a:1}", "broken"},
		{"{1:2}", "broken"},
		{"{'a':}", "broken"},
		{"{'a':[1,2}", "a=[1,2};broken"}, /* not a validator */
		{"{'a':'x}", "broken"},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		_cleanup_free_ char *text = quoted(rows[i].text), *want = quoted(rows[i].want);
		_cleanup_free_ char *got = walk_members(text, strlen(text));

		ROW("%s", rows[i].text);
		CHECK_STR(got, want);
	}
}

static void finds_a_member(void)
{
	static const struct {
		const char *text, *want; /* of `key`; NULL: none */
	} rows[] = {
		{"{'key':1}", "1"},
		{"{'a':{'key':2},'key':'x'}", "'x'"},
		{"{'key':1,'key':2}", "1"},
		{"{'key':{'a':[]}", "{'a':[]}"}, /* what is cut behind it does not matter */
		{"{'a':1,'keys':2,'ke':3}", NULL},
		{"{'a':'key','b':['key',1]}", NULL},
		{"{'key':'x", NULL},
		{"{'a':[,'key':1}", NULL},
		{"['key']", NULL},
		{"{}", NULL},
		{"", NULL},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		_cleanup_free_ char *text = quoted(rows[i].text);
		_cleanup_free_ char *want = rows[i].want ? quoted(rows[i].want) : NULL;
		const char *value = "untouched";
		size_t len = 0;
		bool found = json_member(text, strlen(text), "key", &value, &len);
		_cleanup_free_ char *got = found ? xstrndup(value, len) : NULL;

		ROW("%s", rows[i].text);
		CHECK_STR(got, want);
		CHECK(found || strcmp(value, "untouched") == 0);
	}
}

static void walks_elements(void)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{"[]", ""},
		{"[1]", "1;"},
		{" [ 1 , 'a,b' , {'c':[2]} ]", "1;'a,b';{'c':[2]};"},
		{"[1,2", "1;"},
		{"{'a':1}", ""},
		{"", ""},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		_cleanup_free_ char *text = quoted(rows[i].text), *want = quoted(rows[i].want);
		_cleanup_str_ struct str got = STR_NULL;
		size_t cursor = 0, len;
		const char *value;

		ROW("%s", rows[i].text);
		while (json_element(text, strlen(text), &cursor, &value, &len)) {
			str_add_bytes(&got, value, len);
			str_add_char(&got, ';');
		}
		CHECK_STR(str_text(&got), want);
	}
}

static void unquotes(void)
{
	static const struct {
		const char *text, *want; /* NULL: no string */
	} rows[] = {
		{"''", ""},
		{"'plain'", "plain"},
		{"'\\b\\f\\n\\r\\t\\/\\\\'", "\b\f\n\r\t/\\"},
		{"'\\'x\\''", "'x'"},
		{"'\\u0041\\u00e9\\u20AC'", "A\xc3\xa9\xe2\x82\xac"},
		{"'\\u007f\\u0080\\u07ff\\u0800\\uffff'",
			"\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf"},
		{"'\\ud83d\\ude00\\uD800\\uDC00'", "\xf0\x9f\x98\x80\xf0\x90\x80\x80"},
		{"'\xf0\x9f\x98\x80\xc3\xa9'", "\xf0\x9f\x98\x80\xc3\xa9"},
		/* halves, and escapes that are none */
		{"'\\ud83dx'", REPLACED "x"},
		{"'\\ud83d\\u0041'", REPLACED "A"},
		{"'\\ud83d\\ud83d\\ude00'", REPLACED "\xf0\x9f\x98\x80"},
		{"'\\ude00\\ud83d'", REPLACED REPLACED},
		{"'\\ud83d\\n'", REPLACED "\n"},
		{"'\\ud83d\\ue000'", REPLACED "\xee\x80\x80"},
		{"'\\ude00\\ude00'", REPLACED REPLACED},
		{"'\\ud83d\\u12'", REPLACED REPLACED "12"},
		{"'\\ud83d\\u'", REPLACED REPLACED},
		{"'\\ud83d\\'", REPLACED "\\"},
		{"'x\\'", "x\\"},
		{"'\\u12'", REPLACED "12"},
		{"'\\u'", REPLACED},
		{"'\\uzzzz'", REPLACED "zzzz"},
		{"'\\u0000x'", REPLACED "x"},
		{"'\\qx'", "qx"},
		{"'\xff\xc3x\xe2\x82'", REPLACED REPLACED "x" REPLACED REPLACED},
		{"'\\\xc3\xa9'", REPLACED REPLACED},
		/* no strings */
		{"", NULL},
		{"'", NULL},
		{"'x", NULL},
		{"x'", NULL},
		{"null", NULL},
		{"12", NULL},
		{"{'a'}", NULL},
	};
	char got[64];

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		_cleanup_free_ char *text = quoted(rows[i].text);
		_cleanup_free_ char *want = rows[i].want ? quoted(rows[i].want) : NULL;
		size_t len = strlen(text);
		_cleanup_free_ char *exact = xmalloc(len);

		ROW("%s", rows[i].text);
		memcpy(exact, text, len);
		strcpy(got, "untouched");
		CHECK_INT(json_unquote(exact, len, got, sizeof(got)), want != NULL);
		CHECK_STR(got, want ? want : "untouched");
	}
}

static void unquotes_what_fits(void)
{
	static const struct {
		size_t size;
		const char *want;
	} rows[] = {{1, ""}, {2, "a"}, {3, "a"}, {4, "a\xc3\xa9"}, {5, "a\xc3\xa9"},
		{6, "a\xc3\xa9"}, {7, "a\xc3\xa9\xe2\x82\xac"},
		{8, "a\xc3\xa9\xe2\x82\xac"
		    "b"},
		{9, "a\xc3\xa9\xe2\x82\xac"
		    "b"}};
	static const char text[] = "\"a\xc3\xa9\\u20acb\"";

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		_cleanup_free_ char *got = xmalloc(rows[i].size);

		ROW("%zu bytes", rows[i].size);
		CHECK(json_unquote(text, strlen(text), got, rows[i].size));
		CHECK_STR(got, rows[i].want);
	}
}

TEST_MAIN(TEST(quotes), TEST(writes_objects), TEST(writes_behind_other_text), TEST(finds_keys),
	TEST(passes_over_look_alikes), TEST(unescapes), TEST(takes_the_last_of_duplicates),
	TEST(finds_nothing_where_no_object_is), TEST(gives_whole_strings_only),
	TEST(cuts_long_values), TEST(forgets_what_it_cut), TEST(knows_true),
	TEST(ends_at_its_depth), TEST(walks_members), TEST(finds_a_member), TEST(walks_elements),
	TEST(unquotes), TEST(unquotes_what_fits))
