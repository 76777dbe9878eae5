#include "http1_cut.h"

/* The answers of an upstream: forgiving where nothing is in doubt. */

#define OK      "HTTP/1.1 200 OK\r\n"
#define CHUNKED OK "Transfer-Encoding: chunked\r\n\r\n"

#define NO_STATUS_LINE "wrong: a first line that is not HTTP/1.x's"
#define NO_STATUS      "wrong: a status that is no three-digit number"
#define NO_LENGTH      "wrong: a Content-Length that is no length"
#define NO_CODING      "wrong: a Transfer-Encoding other than chunked"
#define NO_NAME        "wrong: a field name that is no token"
#define NO_COLON       "wrong: a field line without a colon"
#define IN_CHUNKS      "1.1 200 \"OK\" [Transfer-Encoding: chunked] chunked"
#define NO_SIZE        IN_CHUNKS " wrong: a chunk size that is no number"
#define NO_END         IN_CHUNKS " <hello> wrong: chunk data without a line end behind it"

static const struct row responses[] = {
	/* whole ones */
	{OK "Content-Length: 5\r\n\r\nhello",
		"1.1 200 \"OK\" [Content-Length: 5] length 5 <hello> end"},
	{OK "content-LENGTH:5\r\n\r\nhello",
		"1.1 200 \"OK\" [content-LENGTH: 5] length 5 <hello> end"},
	{OK "Content-Length: 0\r\n\r\n", "1.1 200 \"OK\" [Content-Length: 0] length 0 end"},
	{OK "Content-Length: 5\r\n\r\nhellohello",
		"1.1 200 \"OK\" [Content-Length: 5] length 5 <hello> end +5"},
	{OK "Content-Length: 5\r\n\r\nhell", "1.1 200 \"OK\" [Content-Length: 5] length 5 <hell"},
	{OK "\r\nhello", "1.1 200 \"OK\" until close <hello"},
	{OK "\r\n", "1.1 200 \"OK\" until close"},
	{OK "\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"1.1 200 \"OK\" until close <\r\nHTTP/1.1 200 OK\r\n\r\n"},
	{"", ""},
	{"HTTP/1.1 2", ""},
	{OK, ""},
	{OK "A: 1\r\n", ""},
	{OK "A: 1\r\n\r", ""},
	/* line ends */
	{"HTTP/1.1 200 OK\nA: 1\nContent-Length: 2\n\nhi",
		"1.1 200 \"OK\" [A: 1] [Content-Length: 2] length 2 <hi> end"},
	{"HTTP/1.1 200 OK\r\nA: 1\nB: 2\r\n\nhi", "1.1 200 \"OK\" [A: 1] [B: 2] until close <hi"},
	{"HTTP/1.1 200 OK\rA: 1\r\n\r\n", "wrong: a control byte"},
	{OK "A: 1\rB: 2\r\n\r\n", "wrong: a control byte"},
	{OK "A: 1\r\r\n\r\n", "wrong: a control byte"},
	{OK "\r\r\n\r\n", "wrong: a control byte"},
	/* empty lines before it */
	{"\r\n\n\r\n\n" OK "\r\n", "1.1 200 \"OK\" until close"},
	{"\r\n\r\n\r\n\r\n\r\n" OK "\r\n", "wrong: empty lines instead of a start line"},
	{" \r\n" OK "\r\n", NO_STATUS_LINE},
	/* status lines */
	{"HTTP/1.1 404\r\n\r\n", "1.1 404 \"\" until close"},
	{"HTTP/1.1 404 \r\n\r\n", "1.1 404 \"\" until close"},
	{"HTTP/1.1 404 Not  Found \r\n\r\n", "1.1 404 \"Not  Found \" until close"},
	{"HTTP/1.1 404 \xff\xc3\xa9\t!\r\n\r\n", "1.1 404 \"\xff\xc3\xa9\t!\" until close"},
	{"HTTP/1.0 200 OK\r\n\r\n", "1.0 200 \"OK\" until close"},
	{"HTTP/1.2 200 OK\r\n\r\n", "1.2 200 \"OK\" until close"},
	{"HTTP/1.1 999 Odd\r\n\r\n", "1.1 999 \"Odd\" until close"},
	{"HTTP/0.9 200 OK\r\n\r\n", NO_STATUS_LINE},
	{"HTTP/2.0 200 OK\r\n\r\n", NO_STATUS_LINE},
	{"HTTP/2 200\r\n\r\n", NO_STATUS_LINE},
	{"HTTP/1 200 OK\r\n\r\n", NO_STATUS_LINE},
	{"HTTP/1.10 200 OK\r\n\r\n", NO_STATUS_LINE},
	{"HTTP/1.x 200 OK\r\n\r\n", NO_STATUS_LINE},
	{"HTTP/11.1 200 OK\r\n\r\n", NO_STATUS_LINE},
	{"HTTP/1,1 200 OK\r\n\r\n", NO_STATUS_LINE},
	{"http/1.1 200 OK\r\n\r\n", NO_STATUS_LINE},
	{"HTTPS/1.1 200 OK\r\n\r\n", NO_STATUS_LINE},
	{"ICY 200 OK\r\n\r\n", NO_STATUS_LINE},
	{" HTTP/1.1 200 OK\r\n\r\n", NO_STATUS_LINE},
	{"HTTP/1.1\t200 OK\r\n\r\n", NO_STATUS_LINE},
	{"HTTP/1.1\r\n\r\n", NO_STATUS_LINE},
	{"<html>\n", NO_STATUS_LINE},
	{"GET / HTTP/1.1\r\n\r\n", NO_STATUS_LINE},
	{"HTTP/1.1 \r\n\r\n", NO_STATUS},
	{"HTTP/1.1  200 OK\r\n\r\n", NO_STATUS},
	{"HTTP/1.1 20 OK\r\n\r\n", NO_STATUS},
	{"HTTP/1.1 099 OK\r\n\r\n", NO_STATUS},
	{"HTTP/1.1 2000 OK\r\n\r\n", NO_STATUS},
	{"HTTP/1.1 0200 OK\r\n\r\n", NO_STATUS},
	{"HTTP/1.1 200OK\r\n\r\n", NO_STATUS},
	{"HTTP/1.1 200\tOK\r\n\r\n", NO_STATUS},
	{"HTTP/1.1 +20 OK\r\n\r\n", NO_STATUS},
	{"HTTP/1.1 2x0 OK\r\n\r\n", NO_STATUS},
	{"HTTP/1.1 99999999999999999999 OK\r\n\r\n", NO_STATUS},
	{"HTTP/1.1 101 Switching\r\n\r\n", "wrong: a change of protocols, never asked for"},
	/* fields */
	{OK "A:\r\nB: \t \r\nC:1\r\nD: \t2 \t\r\n\r\n",
		"1.1 200 \"OK\" [A: ] [B: ] [C: 1] [D: 2] until close"},
	{OK "A : 1\r\nB\t :2\r\n\r\n", "1.1 200 \"OK\" [A: 1] [B: 2] until close"},
	{OK "A: b:c\r\nA: \"x\ty\"\r\n\r\n", "1.1 200 \"OK\" [A: b:c] [A: \"x\ty\"] until close"},
	{OK "A: \x80\xff\r\n\r\n", "1.1 200 \"OK\" [A: \x80\xff] until close"},
	{OK "!#$%&'*+-.^_`|~09azAZ: 1\r\n\r\n",
		"1.1 200 \"OK\" [!#$%&'*+-.^_`|~09azAZ: 1] until close"},
	{OK "A B: 1\r\n\r\n", NO_NAME},
	{OK ": 1\r\n\r\n", NO_NAME},
	{OK "A@B: 1\r\n\r\n", NO_NAME},
	{OK "A(: 1\r\n\r\n", NO_NAME},
	{OK "\xc3\xa9: 1\r\n\r\n", NO_NAME},
	{OK "A\r\n\r\n", NO_COLON},
	{OK "A 1\r\nB: 2\r\n\r\n", NO_COLON},
	/* folded lines */
	{OK "A: 1\r\n 2\r\n\t 3 \r\nB: 4\r\n\r\n", "1.1 200 \"OK\" [A: 1 2 3] [B: 4] until close"},
	{OK "A: 1 \t\r\n \t 2\r\n\r\n", "1.1 200 \"OK\" [A: 1 2] until close"},
	{OK "A:\r\n 1\r\n\r\n", "1.1 200 \"OK\" [A: 1] until close"},
	{OK "A: 1\r\n \t\r\n 2\n\r\n", "1.1 200 \"OK\" [A: 1 2] until close"},
	{OK "A: 1\r\n :2\r\n\r\n", "1.1 200 \"OK\" [A: 1 :2] until close"},
	{OK "Content-Length:\r\n 2\r\n\r\nhi",
		"1.1 200 \"OK\" [Content-Length: 2] length 2 <hi> end"},
	{OK "Content-Length: 1\r\n 2\r\n\r\nhi", NO_LENGTH},
	{OK "A\r\n : 1\r\n\r\n", NO_COLON},
	{OK " A: 1\r\n\r\n", "wrong: a blank before the first field"},
	{OK " \r\n\r\n", "wrong: a blank before the first field"},
	/* no body whatever the fields say */
	{"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\nhello",
		"1.1 204 \"No\" [Content-Length: 5] end +5"},
	{"HTTP/1.1 304 Same\r\nTransfer-Encoding: chunked\r\n\r\n5",
		"1.1 304 \"Same\" [Transfer-Encoding: chunked] end +1"},
	{"HTTP/1.1 304 Same\r\nContent-Length: x\r\n\r\n",
		"1.1 304 \"Same\" [Content-Length: x] end"},
	{"HTTP/1.1 100 Continue\r\n\r\n" OK, "1.1 100 \"Continue\" end +17"},
	{"HTTP/1.1 103 Hints\r\nLink: x\r\nContent-Length: 9\r\n\r\n" OK,
		"1.1 103 \"Hints\" [Link: x] [Content-Length: 9] end +17"},
	{"HTTP/1.1 205 Reset\r\nContent-Length: 1\r\n\r\nx",
		"1.1 205 \"Reset\" [Content-Length: 1] length 1 <x> end"},
	/* lengths */
	{OK "Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
		"1.1 200 \"OK\" [Content-Length: 2] [Content-Length: 2] length 2 <hi> end"},
	{OK "Content-Length: 2 , 2\t,2\r\nContent-Length: 02\r\n\r\nhi",
		"1.1 200 \"OK\" [Content-Length: 2 , 2\t,2] [Content-Length: 02] length 2 <hi> "
		"end"},
	{OK "Content-Length: 9223372036854775807\r\n\r\nhi",
		"1.1 200 \"OK\" [Content-Length: 9223372036854775807] length 9223372036854775807 "
		"<hi"},
	{OK "Content-Length: 0000000000000000000000000002\r\n\r\nhi",
		"1.1 200 \"OK\" [Content-Length: 0000000000000000000000000002] length 2 <hi> end"},
	{OK "Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
		"wrong: two Content-Lengths that differ"},
	{OK "Content-Length: 0, 2\r\n\r\nhi", "wrong: two Content-Lengths that differ"},
	{OK "Content-Length: 9223372036854775808\r\n\r\n", NO_LENGTH},
	{OK "Content-Length: 18446744073709551618\r\n\r\n", NO_LENGTH},
	{OK "Content-Length: 99999999999999999999999999\r\n\r\n", NO_LENGTH},
	{OK "Content-Length: +2\r\n\r\nhi", NO_LENGTH},
	{OK "Content-Length: -2\r\n\r\nhi", NO_LENGTH},
	{OK "Content-Length: 0x2\r\n\r\nhi", NO_LENGTH},
	{OK "Content-Length: a\r\n\r\nhi", NO_LENGTH},
	{OK "Content-Length: 2.0\r\n\r\nhi", NO_LENGTH},
	{OK "Content-Length: 1 2\r\n\r\nhi", NO_LENGTH},
	{OK "Content-Length: \"2\"\r\n\r\nhi", NO_LENGTH},
	{OK "Content-Length: \xb2\r\n\r\nhi", NO_LENGTH},
	{OK "Content-Length:\r\n\r\nhi", NO_LENGTH},
	{OK "Content-Length: 2,\r\n\r\nhi", NO_LENGTH},
	{OK "Content-Length: ,2\r\n\r\nhi", NO_LENGTH},
	{OK "Content-Length: 2\r\nContent-Length:\r\n\r\nhi", NO_LENGTH},
	/* codings */
	{OK "Transfer-Encoding: ChUnKeD\r\n\r\n0\r\n\r\n",
		"1.1 200 \"OK\" [Transfer-Encoding: ChUnKeD] chunked end"},
	{OK "Transfer-Encoding: ,chunked ,\r\nTransfer-Encoding:\r\n\r\n0\r\n\r\n",
		"1.1 200 \"OK\" [Transfer-Encoding: ,chunked ,] [Transfer-Encoding: ] chunked end"},
	{OK "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
		"1.1 200 \"OK\" [Content-Length: 3] [Transfer-Encoding: chunked] chunked <x> end"},
	{"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
		"1.0 200 \"OK\" [Transfer-Encoding: chunked] chunked <x> end"},
	{OK "Transfer-Encoding: gzip, chunked\r\n\r\n", NO_CODING},
	{OK "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", NO_CODING},
	{OK "Transfer-Encoding: chunked, chunked\r\n\r\n", NO_CODING},
	{OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", NO_CODING},
	{OK "Transfer-Encoding: chunked, identity\r\n\r\n", NO_CODING},
	{OK "Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nhi", NO_CODING},
	{OK "Transfer-Encoding: chunked;q=1\r\n\r\n", NO_CODING},
	{OK "Transfer-Encoding: xchunked\r\n\r\n", NO_CODING},
	{OK "Transfer-Encoding: chunkedx\r\n\r\n", NO_CODING},
	{OK "Transfer-Encoding: chunk\r\n\r\n", NO_CODING},
	{OK "Transfer-Encoding: \"chunked\"\r\n\r\n", NO_CODING},
	{OK "Transfer-Encoding:\r\nContent-Length: 2\r\n\r\nhi", NO_CODING},
	/* chunks */
	{CHUNKED "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nHTTP", IN_CHUNKS " <hello world> end +4"},
	{CHUNKED "0\r\n\r\n", IN_CHUNKS " end"},
	{CHUNKED "0\r\n", IN_CHUNKS},
	{CHUNKED "5\r\nhel", IN_CHUNKS " <hel"},
	{CHUNKED "5\nhello\n000\n\n", IN_CHUNKS " <hello> end"},
	{CHUNKED "00000000000000000000005 \t\r\nhello\r\n0\r\n\r\n", IN_CHUNKS " <hello> end"},
	{CHUNKED "0000A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
		IN_CHUNKS " <01234567890123456789> end"},
	{CHUNKED "2\r\n\r\n\r\n0\r\n\r\n", IN_CHUNKS " <\r\n> end"},
	{CHUNKED "5;a\r\nhello\r\n5 ; a=\"b\r\nhello\r\n5;;=\xff\"\r\nhello\r\n0;x\r\n\r\n",
		IN_CHUNKS " <hellohellohello> end"},
	{CHUNKED "0\r\nA: 1\r\nB : 2\r\n 3\r\n\r\nx", IN_CHUNKS " end +1"},
	{CHUNKED "7fffffffffffffff\r\nhi", IN_CHUNKS " <hi"},
	{CHUNKED "8000000000000000\r\nhi", IN_CHUNKS " wrong: a chunk size beyond 2^63"},
	{CHUNKED "10000000000000005\r\nhello", IN_CHUNKS " wrong: a chunk size beyond 2^63"},
	{CHUNKED "\r\nhello\r\n", NO_SIZE},
	{CHUNKED " 5\r\nhello\r\n", NO_SIZE},
	{CHUNKED "0x5\r\nhello\r\n", NO_SIZE},
	{CHUNKED "-5\r\nhello\r\n", NO_SIZE},
	{CHUNKED "+5\r\nhello\r\n", NO_SIZE},
	{CHUNKED "g\r\nhello\r\n", NO_SIZE},
	{CHUNKED "5,\r\nhello\r\n", NO_SIZE},
	{CHUNKED ";a\r\nhello\r\n", NO_SIZE},
	{CHUNKED "5 5\r\nhello\r\n", IN_CHUNKS " wrong: a chunk extension that is none"},
	{CHUNKED "5;a\rb\r\nhello\r\n", IN_CHUNKS " wrong: a control byte"},
	{CHUNKED "5\rhello\r\n", IN_CHUNKS " wrong: a control byte"},
	{CHUNKED "5\r\nhello0\r\n\r\n", NO_END},
	{CHUNKED "5\r\nhellox\n0\r\n\r\n", NO_END},
	{CHUNKED "5\r\nhello\rx0\r\n\r\n", NO_END},
	{CHUNKED "5\r\nhello\r\n\r\n0\r\n\r\n",
		IN_CHUNKS " <hello> wrong: a chunk size that is no number"},
	{CHUNKED "0\r\nA\r\n\r\n", IN_CHUNKS " " NO_COLON},
	{CHUNKED "0\r\nA B: 1\r\n\r\n", IN_CHUNKS " " NO_NAME},
	{CHUNKED "0\r\n A: 1\r\n\r\n", IN_CHUNKS " wrong: a blank before the first field"},
};

static const struct row answers_to_head[] = {
	{OK "\r\n" OK, "1.1 200 \"OK\" end +17"},
	{OK "Content-Length: 5\r\n\r\nhello", "1.1 200 \"OK\" [Content-Length: 5] end +5"},
	{OK "Content-Length: 5, 6\r\n\r\n", "1.1 200 \"OK\" [Content-Length: 5, 6] end"},
	{OK "Transfer-Encoding: chunked\r\n\r\n0",
		"1.1 200 \"OK\" [Transfer-Encoding: chunked] end +1"},
	{OK "Transfer-Encoding: gzip\r\n\r\n", "1.1 200 \"OK\" [Transfer-Encoding: gzip] end"},
	{"HTTP/1.1 404 No\nConnection: close\n\n", "1.1 404 \"No\" [Connection: close] end"},
};

static void reads_responses_however_cut(void)
{
	check_rows(HTTP1_RESPONSE, false, responses, COUNT_OF(responses));
}

static void an_answer_to_head_has_no_body(void)
{
	check_rows(HTTP1_RESPONSE, true, answers_to_head, COUNT_OF(answers_to_head));
}

TEST_MAIN(TEST(reads_responses_however_cut), TEST(an_answer_to_head_has_no_body))
