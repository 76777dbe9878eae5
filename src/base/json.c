#include "base/json.h"

#include <stdio.h>
#include <string.h>

/* ---- Writer */

static void separate(struct str *out)
{
	if (out->len && !strchr("{[,", out->data[out->len - 1]))
		str_add_char(out, ',');
}

static void add_key(struct str *out, const char *key)
{
	separate(out);
	json_quote(out, key, strlen(key));
	str_add_char(out, ':');
}

void json_begin(struct str *out)
{
	str_add_char(out, '{');
}

void json_end(struct str *out)
{
	str_add_char(out, '}');
}

void json_begin_object(struct str *out, const char *key)
{
	add_key(out, key);
	json_begin(out);
}

void json_add_string(struct str *out, const char *key, const char *value)
{
	if (!value)
		return;
	add_key(out, key);
	json_quote(out, value, strlen(value));
}

void json_add_int(struct str *out, const char *key, int64_t value)
{
	if (value < 0)
		return;
	add_key(out, key);
	str_addf(out, "%lld", (long long)value);
}

void json_add_double(struct str *out, const char *key, double value)
{
	if (value < 0)
		return;
	add_key(out, key);
	str_addf(out, "%.6g", value);
}

void json_begin_list(struct str *out, const char *key)
{
	add_key(out, key);
	str_add_char(out, '[');
}

void json_begin_element(struct str *out)
{
	separate(out);
	json_begin(out);
}

void json_end_list(struct str *out)
{
	str_add_char(out, ']');
}

void json_add_bool(struct str *out, const char *key, bool value)
{
	add_key(out, key);
	str_add(out, value ? "true" : "false");
}

void json_add_null(struct str *out, const char *key)
{
	add_key(out, key);
	str_add(out, "null");
}

static void quote_ascii(struct str *out, unsigned char c)
{
	static const char short_forms[] = "\"\"\\\\\nn\rr\tt";

	for (const char *form = short_forms; *form; form += 2) {
		if (c == (unsigned char)*form) {
			str_add_char(out, '\\');
			str_add_char(out, form[1]);
			return;
		}
	}
	if (c < 0x20 || c == 0x7f)
		str_addf(out, "\\u%04x", c);
	else
		str_add_char(out, (char)c);
}

void json_quote(struct str *out, const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *)text;

	str_add_char(out, '"');
	for (size_t i = 0; i < len;) {
		size_t sequence = p[i] < 0x80 ? 0 : utf8_sequence(p + i, len - i);

		if (p[i] < 0x80)
			quote_ascii(out, p[i]);
		else if (sequence)
			str_add_bytes(out, p + i, sequence);
		else
			str_add(out, "\xef\xbf\xbd");
		i += sequence ? sequence : 1;
	}
	str_add_char(out, '"');
}

/* ---- Peek */

void json_peek_init(struct json_peek *peek, const char *const *keys)
{
	memset(peek, 0, sizeof(*peek));
	peek->keys = keys;
}

static struct json_value *find_value(struct json_peek *peek)
{
	size_t first = strlen(peek->key[0]);

	for (size_t i = 0; i < JSON_PEEK_MAX_KEYS && peek->keys[i]; i++) {
		const char *key = peek->keys[i];

		if (peek->depth == 1 && str_same(key, peek->key[0]))
			return &peek->values[i];
		if (peek->depth == 2 && strncmp(key, peek->key[0], first) == 0 &&
			key[first] == '.' && str_same(key + first + 1, peek->key[1]))
			return &peek->values[i];
	}
	return NULL;
}

static void keep_byte(struct json_peek *peek, char c)
{
	if (peek->is_key) {
		char c_or_none = c ? c : '\1'; /* a NUL must not end the key early */
		char *key = peek->depth <= 2 ? peek->key[peek->depth - 1] : NULL;

		if (key && peek->key_len < JSON_PEEK_MAX_KEY - 1) {
			key[peek->key_len++] = c_or_none;
			key[peek->key_len] = '\0';
		}
	} else if (peek->target) {
		if (c && peek->target_len < JSON_PEEK_MAX_VALUE - 1) {
			peek->target->text[peek->target_len++] = c;
			peek->target->text[peek->target_len] = '\0';
		} else {
			peek->target->cut = true;
		}
	}
}

/* As UTF-8, in one to four bytes; how many. */
static size_t encode_code_point(unsigned code, char ret[4])
{
	static const unsigned char heads[] = {0, 0, 0xc0, 0xe0, 0xf0};
	size_t len = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;

	for (size_t i = len; i-- > 1; code >>= 6)
		ret[i] = (char)(0x80 | (code & 0x3f));
	ret[0] = (char)(heads[len] | code);
	return len;
}

static void keep_code_point(struct json_peek *peek, unsigned code)
{
	char bytes[4];
	size_t len = encode_code_point(code, bytes);

	for (size_t i = 0; i < len; i++)
		keep_byte(peek, bytes[i]);
}

/* A high surrogate whose other half did not come. */
static void end_surrogate(struct json_peek *peek)
{
	if (peek->high_surrogate)
		keep_code_point(peek, 0xfffd);
	peek->high_surrogate = 0;
}

static void on_unicode_digit(struct json_peek *peek, char c)
{
	int digit = ascii_hex_digit(c);
	unsigned code;

	if (digit < 0) {
		peek->failed = true;
		return;
	}
	peek->unicode = peek->unicode << 4 | (unsigned)digit;
	if (--peek->unicode_digits)
		return;
	code = peek->unicode;
	if (code >= 0xdc00 && code < 0xe000 && peek->high_surrogate) {
		code = 0x10000 + ((peek->high_surrogate - 0xd800) << 10) + (code - 0xdc00);
		peek->high_surrogate = 0;
	}
	end_surrogate(peek);
	if (code >= 0xd800 && code < 0xdc00)
		peek->high_surrogate = code;
	else
		keep_code_point(peek, code >= 0xdc00 && code < 0xe000 ? 0xfffd : code);
}

/* What a backslash before this byte makes of it; \u aside. */
static char unescaped(char c)
{
	static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
	const char *found = strchr(from, c);

	return found && c ? to[found - from] : c;
}

static void on_escaped(struct json_peek *peek, char c)
{
	peek->escaped = false;
	if (c == 'u') {
		peek->unicode_digits = 4;
		peek->unicode = 0;
	} else {
		end_surrogate(peek);
		keep_byte(peek, unescaped(c));
	}
}

static void end_value(struct json_peek *peek)
{
	if (peek->target) {
		peek->target->whole = true;
		peek->target->end = peek->at + 1; /* its closing quote is at hand */
	}
	peek->target = NULL;
}

static void on_string_byte(struct json_peek *peek, char c)
{
	if (peek->unicode_digits) {
		on_unicode_digit(peek, c);
	} else if (peek->escaped) {
		on_escaped(peek, c);
	} else if (c == '\\') {
		peek->escaped = true;
	} else if (c == '"') {
		end_surrogate(peek);
		peek->in_string = false;
		if (!peek->is_key)
			end_value(peek);
	} else {
		end_surrogate(peek);
		keep_byte(peek, c);
	}
}

static void begin_value(struct json_peek *peek, enum json_type type)
{
	peek->target = peek->depth <= 2 && peek->depth > 0 ? find_value(peek) : NULL;
	if (!peek->target)
		return;
	*peek->target = (struct json_value){
		.type = type, .seen = peek->target->seen + 1, .begin = peek->at};
	peek->target_len = 0;
}

static void open_container(struct json_peek *peek, char c)
{
	if (peek->depth > 0)
		begin_value(peek, c == '{' ? JSON_OBJECT : JSON_ARRAY);
	else if (c != '{')
		peek->failed = true;
	peek->target = NULL;
	if (peek->depth == JSON_PEEK_MAX_DEPTH) {
		peek->failed = true;
		return;
	}
	peek->in_object[peek->depth++] = c == '{';
	peek->is_key = c == '{';
	if (peek->depth <= 2)
		peek->key[peek->depth - 1][0] = '\0';
}

static void on_token_byte(struct json_peek *peek, char c)
{
	bool in_object = peek->depth > 0 && peek->in_object[peek->depth - 1];

	switch (c) {
	case '{':
	case '[':
		open_container(peek, c);
		break;
	case '}':
	case ']':
		if (peek->depth > 0)
			peek->depth--;
		if (peek->depth == 0)
			peek->ended = peek->failed = true; /* nothing behind it counts */
		break;
	case '"':
		peek->in_string = true;
		if (peek->is_key) {
			peek->key_len = 0;
			if (peek->depth <= 2 && peek->depth > 0)
				peek->key[peek->depth - 1][0] = '\0';
		} else {
			begin_value(peek, JSON_STRING);
		}
		break;
	case ':':
		peek->is_key = false;
		break;
	case ',':
		peek->is_key = in_object;
		break;
	default:
		peek->in_literal = true;
		begin_value(peek, JSON_LITERAL);
		keep_byte(peek, c);
		break;
	}
}

static bool is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* Most bytes of a prompt stand inside strings that nobody asked for: skip them in one go. */
static size_t uninteresting(const struct json_peek *peek, const char *p, size_t len)
{
	size_t i = 0;

	if (!peek->in_string || peek->is_key || peek->target || peek->escaped ||
		peek->unicode_digits)
		return 0;
	while (i < len && p[i] != '"' && p[i] != '\\')
		i++;
	return i;
}

static void on_byte(struct json_peek *peek, char c)
{
	if (peek->in_string) {
		on_string_byte(peek, c);
	} else if (peek->in_literal && !is_space(c) && !strchr(",]}", c)) {
		keep_byte(peek, c);
	} else {
		if (peek->in_literal)
			end_value(peek);
		peek->in_literal = false;
		if (peek->depth == 0 && c != '{' && !is_space(c))
			peek->failed = true;
		else if (!is_space(c))
			on_token_byte(peek, c);
	}
}

void json_peek_feed(struct json_peek *peek, const void *bytes, size_t len)
{
	const char *p = bytes;

	for (size_t i = 0; i < len && !peek->failed; i++) {
		i += uninteresting(peek, p + i, len - i);
		peek->at = peek->base + i;
		if (i < len)
			on_byte(peek, p[i]);
	}
	peek->base += len;
}

bool json_peek_is_whole(const struct json_peek *peek)
{
	return peek->ended;
}

const struct json_value *json_peek_value(const struct json_peek *peek, const char *key)
{
	for (size_t i = 0; i < JSON_PEEK_MAX_KEYS && peek->keys[i]; i++) {
		if (str_same(peek->keys[i], key))
			return &peek->values[i];
	}
	return NULL;
}

const char *json_peek_string(const struct json_peek *peek, const char *key)
{
	const struct json_value *value = json_peek_value(peek, key);

	bool usable = value && value->type == JSON_STRING && value->whole && !value->cut;

	return usable ? value->text : NULL;
}

bool json_peek_true(const struct json_peek *peek, const char *key)
{
	const struct json_value *value = json_peek_value(peek, key);

	return value && value->type == JSON_LITERAL && value->whole &&
	       str_same(value->text, "true");
}

/* ---- Walk */

static size_t skip_space(const char *text, size_t len, size_t at)
{
	while (at < len && is_space(text[at]))
		at++;
	return at;
}

/* Behind the string that begins here; beyond `len` if it does not end. */
static size_t skip_string(const char *text, size_t len, size_t at)
{
	for (at++; at < len && text[at] != '"'; at++)
		at += text[at] == '\\';
	return at + 1;
}

/* Behind the value that begins here; beyond `len` if it does not end. */
static size_t skip_value(const char *text, size_t len, size_t at)
{
	size_t depth = 0;

	while (at < len) {
		if (text[at] == '"') {
			at = skip_string(text, len, at);
		} else if (depth == 0 && (is_space(text[at]) || strchr(",]}", text[at]))) {
			return at;
		} else {
			depth += text[at] == '{' || text[at] == '[';
			depth -= text[at] == '}' || text[at] == ']';
			at++;
		}
		if (depth == 0 && at <= len && strchr("\"}]", text[at - 1]))
			return at;
	}
	return len + 1;
}

/* Takes the value at `at`, up to what stands behind it. False if it does not end. */
static bool take_value(
	const char *text, size_t len, size_t *at, const char **ret_value, size_t *ret_len)
{
	size_t start = skip_space(text, len, *at);
	size_t end = skip_value(text, len, start);

	if (end > len || end == start)
		return false;
	*ret_value = text + start;
	*ret_len = end - start;
	*at = skip_space(text, len, end);
	return true;
}

bool json_next_member(const char *object, size_t len, size_t *cursor, struct json_pair *ret)
{
	bool first = *cursor == 0;
	size_t at = first ? skip_space(object, len, 0) : *cursor;
	bool opens = at < len && object[at] == (first ? '{' : ',');
	struct json_pair pair;

	*cursor = len + 1; /* until it is known to go on, or to end well */
	if (opens)
		at = skip_space(object, len, at + 1);
	if (opens == first && at < len && object[at] == '}')
		*cursor = skip_space(object, len, at + 1);
	if (!opens || !take_value(object, len, &at, &pair.key, &pair.key_len) || *pair.key != '"' ||
		at >= len || object[at++] != ':' ||
		!take_value(object, len, &at, &pair.value, &pair.value_len))
		return false;
	pair.key++; /* without its quotes */
	pair.key_len -= 2;
	*ret = pair;
	*cursor = at;
	return true;
}

bool json_member(
	const char *object, size_t len, const char *key, const char **ret_value, size_t *ret_len)
{
	size_t cursor = 0;
	struct json_pair pair;

	while (json_next_member(object, len, &cursor, &pair)) {
		if (str_is(pair.key, pair.key_len, key)) {
			*ret_value = pair.value;
			*ret_len = pair.value_len;
			return true;
		}
	}
	return false;
}

bool json_element(
	const char *array, size_t len, size_t *cursor, const char **ret_value, size_t *ret_len)
{
	size_t at = *cursor ? *cursor : skip_space(array, len, 0);

	if (at >= len || array[at] != (*cursor ? ',' : '['))
		return false;
	at++;
	if (!take_value(array, len, &at, ret_value, ret_len))
		return false;
	*cursor = at;
	return true;
}

/* The four digits behind \u; beyond Unicode if they are none. The closing quote ends them, too. */
static unsigned code_unit(const char *digits)
{
	unsigned unit = 0;

	for (int i = 0; i < 4; i++, digits++) {
		if (ascii_hex_digit(*digits) < 0)
			return UINT32_MAX;
		unit = unit << 4 | (unsigned)ascii_hex_digit(*digits);
	}
	return unit;
}

/* The character of the \u that `*cursor` stands behind; takes both halves of a pair. */
static unsigned take_unicode(const char **cursor, const char *end)
{
	unsigned unit = code_unit(*cursor), low;

	if (unit == UINT32_MAX)
		return 0xfffd;
	*cursor += 4;
	if (unit < 0xd800 || unit >= 0xe000)
		return unit ? unit : 0xfffd;
	if (unit >= 0xdc00 || end - *cursor < 2 || memcmp(*cursor, "\\u", 2) != 0)
		return 0xfffd;
	low = code_unit(*cursor + 2);
	if (low < 0xdc00 || low >= 0xe000)
		return 0xfffd;
	*cursor += 6;
	return 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
}

/* The next character of a string, as UTF-8; how many bytes it has. */
static size_t take_character(const char **cursor, const char *end, char ret[4])
{
	const char *p = *cursor;
	size_t len = utf8_sequence((const unsigned char *)p, (size_t)(end - p));

	if (len > 0) {
		memcpy(ret, p, len);
		*cursor += len;
		return len;
	}
	*cursor += 1;
	if (*p != '\\' || *cursor == end)
		return encode_code_point(*p & 0x80 || !*p ? 0xfffd : (unsigned)*p, ret);
	*cursor += 1;
	if (p[1] == 'u')
		return encode_code_point(take_unicode(cursor, end), ret);
	return encode_code_point(p[1] & 0x80 || !p[1] ? 0xfffd : (unsigned)unescaped(p[1]), ret);
}

bool json_unquote(const char *value, size_t len, char *ret, size_t size)
{
	const char *cursor, *end;
	char character[4];
	size_t used = 0;

	if (len < 2 || value[0] != '"' || value[len - 1] != '"')
		return false;
	cursor = value + 1;
	end = value + len - 1;
	while (cursor < end) {
		size_t more = take_character(&cursor, end, character);

		if (used + more >= size)
			break;
		memcpy(ret + used, character, more);
		used += more;
	}
	ret[used] = '\0';
	return true;
}

bool json_is_whole_object(const char *json, size_t len)
{
	struct json_pair pair;
	size_t cursor = 0;

	while (json_next_member(json, len, &cursor, &pair))
		;
	return cursor <= len;
}
