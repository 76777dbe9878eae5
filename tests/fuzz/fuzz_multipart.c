/* Fuzzes policy/multipart.h: a Content-Type, and the body that it announces. Cuts change nothing,
 * and what is found is a part's whole content, short and without control bytes. */

#include "fuzz.h"
#include "policy/multipart.h"

static void feed_by(unsigned cuts, struct multipart *form, const uint8_t *bytes, size_t len)
{
	size_t done = 0;

	while (done < len) {
		size_t count = fuzz_piece(cuts, bytes + done, len - done);
		_cleanup_free_ char *exact = xmalloc(count);

		memcpy(exact, bytes + done, count);
		multipart_feed(form, exact, count);
		done += count;
	}
}

static void check_found(
	const struct multipart *form, const char *value, const uint8_t *bytes, size_t len)
{
	_cleanup_str_ struct str framed = STR_NULL;

	str_addf(&framed, "\r\n\r\n%s", value);
	str_add_bytes(&framed, form->delimiter, form->delimiter_len);
	REQUIRE(memmem(bytes, len, framed.data, framed.len));
	REQUIRE(strlen(value) > 0 && strlen(value) < MULTIPART_MAX_VALUE);
	for (const char *p = value; *p; p++)
		REQUIRE((unsigned char)*p >= ' ' && *p != '\x7f');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned cuts = size ? data[0] & 15 : 0;
	_cleanup_free_ char *type = NULL;
	struct multipart whole, cut;
	const char *value;

	if (size == 0)
		return 0;
	data++;
	size--;
	type = fuzz_text(&data, &size);
	if (!multipart_init(&whole, type, "model"))
		return 0;
	REQUIRE(multipart_init(&cut, type, "model"));
	feed_by(0, &whole, data, size);
	feed_by(cuts ? cuts : 1, &cut, data, size);
	value = multipart_value(&whole);
	REQUIRE(!value == !multipart_value(&cut));
	if (!value)
		return 0;
	REQUIRE(str_same(value, multipart_value(&cut)));
	check_found(&whole, value, data, size);
	return 0;
}
