#include "policy/multipart.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/str.h"
#include "test.h"

#define FORM  "multipart/form-data; boundary=b"
#define NAME  "Content-Disposition: form-data; name="
#define MODEL "--b\r\n" NAME "\"model\"\r\n\r\nwhisper-v3"
#define FILE_PART                                                                                  \
	"--b\r\n" NAME "\"file\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\n"           \
	"RIFF\r\n\r\n--\r--b--bytes\r\n-\r\n--"
#define PROMPT "--b\r\n" NAME "\"prompt\"\r\n\r\nname=\"model\"\r\n\r\nno"

/* Fed in two pieces, the second of which begins at `at`, without a byte to spare. */
static void feed_split(struct multipart *form, const char *body, size_t len, size_t at)
{
	_cleanup_free_ char *first = xmalloc(at), *second = xmalloc(len - at);

	memcpy(first, body, at);
	memcpy(second, body + at, len - at);
	multipart_feed(form, first, at);
	multipart_feed(form, second, len - at);
}

static void check_model(const char *type, const char *body, size_t len, const char *want)
{
	struct multipart form;

	for (size_t at = 0; at <= len; at++) {
		if (!CHECK(multipart_init(&form, type, "model")))
			return;
		feed_split(&form, body, len, at);
		if (!CHECK_STR(multipart_value(&form), want))
			return;
	}
	multipart_init(&form, type, "model");
	for (size_t at = 0; at < len; at++)
		multipart_feed(&form, body + at, 1);
	CHECK_STR(multipart_value(&form), want);
}

static void finds_the_model(void)
{
	static const char *const rows[] = {
		MODEL "\r\n--b--\r\n",
		MODEL "\r\n--b--",
		MODEL "\r\n--b\r\n",
		MODEL "\r\n--b \t\r\n",
		FILE_PART "\r\n" MODEL "\r\n--b--\r\n",
		MODEL "\r\n" FILE_PART "\r\n--b--\r\n",
		PROMPT "\r\n" MODEL "\r\n--b--\r\n",
		"a preamble\r\n" MODEL "\r\n--b--\r\n",
		"\r\n" MODEL "\r\n--b--\r\n",
		"\r\n-\r\r\n" MODEL "\r\n--b--\r\n",
		MODEL "\r\n--b--\r\nan epilogue",
		/* of two the first one counts */
		MODEL "\r\n--b\r\n" NAME "model\r\n\r\nother\r\n--b--\r\n",
		/* heads */
		"--b\r\n" NAME "model\r\n\r\nwhisper-v3\r\n--b--",
		"--b\r\ncontent-disposition:FORM-DATA;NAME=\"model\"\r\n\r\nwhisper-v3\r\n--b--",
		"--b\r\n" NAME "\"mo\\del\" ; x=y\t\r\n\r\nwhisper-v3\r\n--b--",
		"--b\r\nContent-Type: text/plain; charset=utf-8\r\n" NAME
		"\"model\"\r\nX: y\r\n\r\nwhisper-v3\r\n--b--",
		/* a file of that name, then the field */
		"--b\r\n" NAME "model; filename=m\r\n\r\nno\r\n" MODEL "\r\n--b--",
		"--b\r\n" NAME "model; filename*=utf-8''m\r\n\r\nno\r\n" MODEL "\r\n--b--",
		"--b\r\nContent-Disposition: file; name=model\r\n\r\nno\r\n" MODEL "\r\n--b--",
		"--b\r\nX-Content-Disposition: form-data; name=model\r\n\r\nno\r\n" MODEL
		"\r\n--b--",
		"--b\r\n\r\nunnamed\r\n" MODEL "\r\n--b--",
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		ROW("row %zu: %.60s", i, rows[i]);
		check_model(FORM, rows[i], strlen(rows[i]), "whisper-v3");
	}
}

static void finds_no_model(void)
{
	static const struct {
		const char *body;
		size_t len;
	} rows[] = {
#define BODY(text) text, sizeof(text) - 1
		{BODY("")},
		{BODY("--b--\r\n")},
		{BODY("{\"model\":\"m\"}")},
		/* not whole */
		{BODY(MODEL)},
		{BODY(MODEL "\r\n--b")},
		{BODY(MODEL "\r\n--b-")},
		{BODY(MODEL "\r\n--b\r")},
		{BODY(MODEL "\r\n--bx\r\n")},
		{BODY(MODEL "\r\n--b-x")},
		{BODY(MODEL "\r\n--b\rx")},
		{BODY(MODEL "\n--b--\r\n")},
		{BODY(MODEL "\r\n--B--\r\n")},
		/* behind the end */
		{BODY("--b\r\n" NAME "x\r\n\r\nx\r\n--b--\r\n" MODEL "\r\n--b--")},
		{BODY("--b\r\n" NAME "x\r\n\r\nx\r\n--b--\r\n\r\n" MODEL "\r\n--b--")},
		/* another name */
		{BODY("--b\r\n" NAME "Model\r\n\r\nm\r\n--b--")},
		{BODY("--b\r\n" NAME "models\r\n\r\nm\r\n--b--")},
		{BODY("--b\r\n" NAME "\"model \"\r\n\r\nm\r\n--b--")},
		{BODY("--b\r\n" NAME "\"model\r\n\r\nm\r\n--b--")},
		{BODY("--b\r\n" NAME "\"model\\\r\n\r\nm\r\n--b--")},
		{BODY("--b\r\n" NAME "\"model\"x\r\n\r\nm\r\n--b--")},
		{BODY("--b\r\n" NAME "model; name=model\r\n\r\nm\r\n--b--")},
		{BODY("--b\r\n" NAME "model\0\r\n\r\nm\r\n--b--")},
		{BODY("--b\r\n" NAME "model; x\r\n\r\nm\r\n--b--")},
		{BODY("--b\r\n" NAME "x\r\n" NAME "model\r\n\r\nm\r\n--b--")},
		{BODY("--b\r\n" NAME "model\r\n" NAME "model\r\n\r\nm\r\n--b--")},
		/* lines that end in LF alone */
		{BODY("--b\r\nX: y\n" NAME "model\r\n\r\nm\r\n--b--")},
		{BODY("--b\n" NAME "model\r\n\r\nm\r\n--b--")},
		{BODY("--b\r\n" NAME "model\n\r\nm\r\n--b--")},
		{BODY("--b\r\n" NAME "model\r\n\nm\r\n--b--")},
		/* values */
		{BODY("--b\r\n" NAME "model\r\n\r\n\r\n--b--")},
		{BODY("--b\r\n" NAME "model\r\n\r\na\nb\r\n--b--")},
		{BODY("--b\r\n" NAME "model\r\n\r\na\rb\r\n--b--")},
		{BODY("--b\r\n" NAME "model\r\n\r\na\r\nb\r\n--b--")},
		{BODY("--b\r\n" NAME "model\r\n\r\na\r\r\n--b--")},
		{BODY("--b\r\n" NAME "model\r\n\r\na\tb\r\n--b--")},
		{BODY("--b\r\n" NAME "model\r\n\r\na\0b\r\n--b--")},
		{BODY("--b\r\n" NAME "model\r\n\r\na\x7f\r\n--b--")},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		ROW("row %zu: %.60s", i, rows[i].body);
		check_model(FORM, rows[i].body, rows[i].len, NULL);
	}
}

static void values_are_bounded(void)
{
	static const int lens[] = {1, MULTIPART_MAX_VALUE - 1, MULTIPART_MAX_VALUE};

	for (size_t i = 0; i < COUNT_OF(lens); i++) {
		_cleanup_str_ struct str value = STR_NULL, body = STR_NULL;

		ROW("%d bytes", lens[i]);
		for (int j = 0; j < lens[i]; j++)
			str_add_char(&value, j % 2 ? '-' : (char)0xe9);
		str_addf(&body, "--b\r\n%smodel\r\n\r\n%s\r\n--b--", NAME, str_text(&value));
		check_model(FORM, str_text(&body), body.len,
			lens[i] < MULTIPART_MAX_VALUE ? str_text(&value) : NULL);
	}
}

/* A line that is too long makes its part another one, and is no harm to the next. */
static void heads_are_bounded(void)
{
	static const int lens[] = {10, MULTIPART_MAX_LINE - 10, MULTIPART_MAX_LINE - 1,
		MULTIPART_MAX_LINE, 9 * MULTIPART_MAX_LINE};

	for (size_t i = 0; i < COUNT_OF(lens); i++) {
		_cleanup_str_ struct str body = STR_NULL;

		ROW("%d bytes", lens[i]);
		str_addf(&body, "--b\r\n%smodel\r\nX: ", NAME);
		for (int j = 0; j < lens[i] - 3; j++)
			str_add_char(&body, 'x');
		str_add(&body, "\r\n\r\nfirst\r\n" MODEL "\r\n--b--");
		check_model(FORM, str_text(&body), body.len,
			lens[i] < MULTIPART_MAX_LINE - 1 ? "first" : "whisper-v3");
	}
}

static void knows_the_boundary(void)
{
	static const struct {
		const char *type, *boundary; /* NULL: this is no form */
	} rows[] = {
		{FORM, "b"},
		{"Multipart/Form-Data;BOUNDARY=b", "b"},
		{"multipart/form-data ; charset=\"utf-8;\" ;\tboundary=\"b\" ", "b"},
		{"multipart/form-data; boundary=\"a b\"; x=y", "a b"},
		{"multipart/form-data; boundary=\"a\\b\"", "ab"},
		{"multipart/form-data; boundary=----WebKitFormBoundaryX",
			"----WebKitFormBoundaryX"},
		{"multipart/form-data; boundary=a/b:c=?'()+_,-.", "a/b:c=?'()+_,-."},
		{NULL, NULL},
		{"", NULL},
		{"application/json", NULL},
		{"multipart/form-data", NULL},
		{"multipart/form-data;", NULL},
		{"multipart/form-data; charset=utf-8", NULL},
		{"multipart/form-data; boundary=", NULL},
		{"multipart/form-data; boundary=\"\"", NULL},
		{"multipart/form-data; boundary=\"b \"", NULL},
		{"multipart/form-data; boundary=\"b", NULL},
		{"multipart/form-data; boundary=\"b\"x", NULL},
		{"multipart/form-data; boundary=b x", NULL},
		{"multipart/form-data; boundary=b;", NULL},
		{"multipart/form-data; boundary=b; boundary=b", NULL},
		{"multipart/form-data; boundary=b@c", NULL},
		{"multipart/form-data; boundary=\xc3\xa9", NULL},
		{"multipart/form-data; xboundary=b", NULL},
		{"multipart/form-data, x; boundary=b", NULL},
		{"multipart/form-datas; boundary=b", NULL},
		{"multipart/mixed; boundary=b", NULL},
		{"x multipart/form-data; boundary=b", NULL},
	};

	for (size_t i = 0; i < COUNT_OF(rows); i++) {
		_cleanup_str_ struct str body = STR_NULL;
		struct multipart form;

		ROW("%s", rows[i].type ? rows[i].type : "(none)");
		CHECK_INT(multipart_init(&form, rows[i].type, "model"), rows[i].boundary != NULL);
		if (!rows[i].boundary)
			continue;
		str_addf(&body, "--%s\r\n%smodel\r\n\r\nm\r\n--%s--", rows[i].boundary, NAME,
			rows[i].boundary);
		check_model(rows[i].type, str_text(&body), body.len, "m");
	}
}

static void a_boundary_has_at_most_70_bytes(void)
{
	for (int len = MULTIPART_MAX_BOUNDARY; len <= MULTIPART_MAX_BOUNDARY + 300; len += 10) {
		_cleanup_str_ struct str type = STR_NULL, body = STR_NULL;
		struct multipart form;

		ROW("%d bytes", len);
		str_addf(&type, "multipart/form-data; boundary=%0*d", len, 7);
		str_addf(&body, "--%0*d\r\n%smodel\r\n\r\nm\r\n--%0*d--", len, 7, NAME, len, 7);
		if (len == MULTIPART_MAX_BOUNDARY)
			check_model(str_text(&type), str_text(&body), body.len, "m");
		else
			CHECK(!multipart_init(&form, str_text(&type), "model"));
	}
}

TEST_MAIN(TEST(finds_the_model), TEST(finds_no_model), TEST(values_are_bounded),
	TEST(heads_are_bounded), TEST(knows_the_boundary), TEST(a_boundary_has_at_most_70_bytes))
