#include "http1_cut.h"

/* The requests of a client, who may be an attacker: nothing is forgiven. */

#define GET    "GET / HTTP/1.1\r\n"
#define POST   "POST / HTTP/1.1\r\n"
#define UPLOAD POST "Transfer-Encoding: chunked\r\n\r\n"

#define BARE_LF    "wrong 400: a line that ends without CR"
#define CONTROL    "wrong 400: a control byte"
#define METHOD     "wrong 400: a request line without a method"
#define TARGET     "wrong 400: a request line without a target"
#define FRAGMENT   "wrong 400: a target with a fragment"
#define VERSION    "wrong 400: a request line without a version"
#define VERSION_5  "wrong 505: a version other than HTTP/1.0 and 1.1"
#define NAME       "wrong 400: a field name that is no token"
#define LENGTH     "wrong 400: a Content-Length that is no length"
#define TWO_CODING "wrong 400: two Transfer-Encodings"
#define ODD_CODING "wrong 400: a Transfer-Encoding that is not chunked once and last"
#define HOLE       "wrong 400: a Transfer-Encoding with an empty element"
#define IN_CHUNKS  "1.1 POST / [Transfer-Encoding: chunked] chunked"
#define SIZE       IN_CHUNKS " wrong 400: a chunk size that is no number"
#define EXTENSION  IN_CHUNKS " wrong 400: a chunk extension that is none"
#define DATA_END   IN_CHUNKS " <hello> wrong 400: chunk data without a line end behind it"

static const struct row requests[] = {
	/* whole ones */
	{GET "\r\n", "1.1 GET / end"},
	{GET "Host: a\r\n\r\nGET", "1.1 GET / [Host: a] end +3"},
	{"\r\n" GET "\r\n", "1.1 GET / end"},
	{"GET / HTTP/1.0\r\n\r\n", "1.0 GET / end"},
	{"!#$%&'*+-.^_`|~09azAZ * HTTP/1.1\r\n\r\n", "1.1 !#$%&'*+-.^_`|~09azAZ * end"},
	{"get http://a:1/%00?b=\"|~!\\ HTTP/1.1\r\n\r\n", "1.1 get http://a:1/%00?b=\"|~!\\ end"},
	{POST "Content-Length: 5\r\n\r\nhellox",
		"1.1 POST / [Content-Length: 5] length 5 <hello> end +1"},
	{POST "Content-Length: 005\r\n\r\nhello",
		"1.1 POST / [Content-Length: 005] length 5 <hello> end"},
	{POST "Content-Length: 0\r\n\r\n", "1.1 POST / [Content-Length: 0] length 0 end"},
	{POST "Content-Length: 9223372036854775807\r\n\r\n",
		"1.1 POST / [Content-Length: 9223372036854775807] length 9223372036854775807"},
	{"GET / HTTP/1.1", ""},
	{GET "A: 1\r\n", ""},
	/* request lines */
	{"\r\n\r\n" GET "\r\n", "wrong 400: empty lines instead of a start line"},
	{"\n" GET "\r\n", BARE_LF},
	{"GET / HTTP/1.1\n\r\n", BARE_LF},
	{"GET / HTTP/1.1\r\r\n\r\n", CONTROL},
	{"GET /\r HTTP/1.1\r\n\r\n", CONTROL},
	{"GET\t/ HTTP/1.1\r\n\r\n", METHOD},
	{" GET / HTTP/1.1\r\n\r\n", METHOD},
	{" \r\n" GET "\r\n", METHOD},
	{"GET\r\n\r\n", METHOD},
	{"G@T / HTTP/1.1\r\n\r\n", METHOD},
	{"G\xc9T / HTTP/1.1\r\n\r\n", METHOD},
	{"/ HTTP/1.1\r\n\r\n", METHOD},
	{"GET  / HTTP/1.1\r\n\r\n", TARGET},
	{"GET /#a HTTP/1.1\r\n\r\n", FRAGMENT},
	{"GET /?a#b HTTP/1.1\r\n\r\n", FRAGMENT},
	{"GET http://a#b/ HTTP/1.1\r\n\r\n", FRAGMENT},
	{"GET /\t HTTP/1.1\r\n\r\n", TARGET},
	{"GET /\xc3\xa9 HTTP/1.1\r\n\r\n", TARGET},
	{"GET /\r\n\r\n", TARGET},
	{"GET \r\n\r\n", TARGET},
	{"GET HTTP/1.1\r\n\r\n", TARGET},
	{"GET / \r\n\r\n", VERSION},
	{"GET /  HTTP/1.1\r\n\r\n", VERSION},
	{"GET / HTTP/1.1 \r\n\r\n", VERSION},
	{"GET / x HTTP/1.1\r\n\r\n", VERSION},
	{"GET / HTTP/1.1 HTTP/1.1\r\n\r\n", VERSION},
	{"GET / HTTP/1\r\n\r\n", VERSION},
	{"GET / HTTP/1.\r\n\r\n", VERSION},
	{"GET / HTTP/1.10\r\n\r\n", VERSION},
	{"GET / HTTP/11.1\r\n\r\n", VERSION},
	{"GET / HTTP/1.a\r\n\r\n", VERSION},
	{"GET / HTTP/a.1\r\n\r\n", VERSION},
	{"GET / HTTP/1-1\r\n\r\n", VERSION},
	{"GET / http/1.1\r\n\r\n", VERSION},
	{"GET / HTCPCP/1.0\r\n\r\n", VERSION},
	{"GET / HTTP/1.2\r\n\r\n", VERSION_5},
	{"GET / HTTP/0.9\r\n\r\n", VERSION_5},
	{"GET / HTTP/9.9\r\n\r\n", VERSION_5},
	{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", VERSION_5},
	/* fields */
	{GET "A:\r\nB:1\r\nC: \t2 \t\r\nD: \x80\xff\t;\r\n\r\n",
		"1.1 GET / [A: ] [B: 1] [C: 2] [D: \x80\xff\t;] end"},
	{GET "A: 1\nB: 2\r\n\r\n", BARE_LF},
	{GET "A: 1\r\n\n", BARE_LF},
	{GET "\n", BARE_LF},
	{GET "A: 1\rB: 2\r\n\r\n", CONTROL},
	{GET "A: 1\r\r\n\r\n", CONTROL},
	{GET "\rA: 1\r\n\r\n", CONTROL},
	{GET "A : 1\r\n\r\n", NAME},
	{GET "A\t: 1\r\n\r\n", NAME},
	{GET "A B: 1\r\n\r\n", NAME},
	{GET ": 1\r\n\r\n", NAME},
	{GET "A\xff: 1\r\n\r\n", NAME},
	{GET "A/B: 1\r\n\r\n", NAME},
	{GET "A\r\n\r\n", "wrong 400: a field line without a colon"},
	{GET "A: 1\r\n 2\r\n\r\n", "wrong 400: a folded field line"},
	{GET "A: 1\r\n\t\r\n\r\n", "wrong 400: a folded field line"},
	{GET " A: 1\r\n\r\n", "wrong 400: a folded field line"},
	/* lengths */
	{POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
		"wrong 400: two Content-Lengths"},
	{POST "Content-Length: 5\r\ncontent-length: 6\r\n\r\nhello",
		"wrong 400: two Content-Lengths"},
	{POST "Content-Length: 5, 5\r\n\r\nhello", LENGTH},
	{POST "Content-Length: +5\r\n\r\nhello", LENGTH},
	{POST "Content-Length: -5\r\n\r\nhello", LENGTH},
	{POST "Content-Length: 0x5\r\n\r\nhello", LENGTH},
	{POST "Content-Length: 5 5\r\n\r\nhello", LENGTH},
	{POST "Content-Length: 5;\r\n\r\nhello", LENGTH},
	{POST "Content-Length:\r\n\r\nhello", LENGTH},
	{POST "Content-Length: 9223372036854775808\r\n\r\n", LENGTH},
	{POST "Content-Length: 18446744073709551616\r\n\r\n", LENGTH},
	/* codings */
	{POST "Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n",
		"1.1 POST / [Transfer-Encoding: CHUNKED] chunked end"},
	{POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
		"wrong 400: a Transfer-Encoding and a Content-Length"},
	{POST "Content-Length: 5\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
		"wrong 400: a Transfer-Encoding and a Content-Length"},
	{"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"wrong 400: a Transfer-Encoding in HTTP/1.0"},
	{POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", TWO_CODING},
	{POST "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", TWO_CODING},
	{POST "Transfer-Encoding: chunked\r\ntransfer-encoding:\r\n\r\n", TWO_CODING},
	{POST "Transfer-Encoding: gzip, chunked\r\n\r\n",
		"wrong 501: a transfer coding other than chunked"},
	{POST "Transfer-Encoding: gzip;a=b ,br,Chunked\r\n\r\n",
		"wrong 501: a transfer coding other than chunked"},
	{POST "Transfer-Encoding: gzip\r\n\r\n", ODD_CODING},
	{POST "Transfer-Encoding: identity\r\n\r\n", ODD_CODING},
	{POST "Transfer-Encoding: chunked, gzip\r\n\r\n", ODD_CODING},
	{POST "Transfer-Encoding: chunked, chunked\r\n\r\n", ODD_CODING},
	{POST "Transfer-Encoding: chunked, gzip, chunked\r\n\r\n", ODD_CODING},
	{POST "Transfer-Encoding: chunked;a=b\r\n\r\n", ODD_CODING},
	{POST "Transfer-Encoding: xchunked\r\n\r\n", ODD_CODING},
	{POST "Transfer-Encoding: chunked x\r\n\r\n", ODD_CODING},
	{POST "Transfer-Encoding: 'chunked'\r\n\r\n", ODD_CODING},
	{POST "Transfer-Encoding: \xa0"
	      "chunked\r\n\r\n",
		ODD_CODING},
	{POST "Transfer-Encoding: \x0b"
	      "chunked\r\n\r\n",
		CONTROL},
	{POST "Transfer-Encoding:\r\n\r\n", HOLE},
	{POST "Transfer-Encoding: chunked,\r\n\r\n", HOLE},
	{POST "Transfer-Encoding: ,chunked\r\n\r\n", HOLE},
	/* chunks */
	{UPLOAD "5\r\nhello\r\n01\r\n!\r\n00\r\n\r\nGET", IN_CHUNKS " <hello!> end +3"},
	{UPLOAD "0\r\nA: 1\r\nB:\r\n\r\n", IN_CHUNKS " end"},
	{UPLOAD "5;a\r\nhello\r\n0;b=c;d=\"e;\\\"\xff\t\\\\\"\r\n\r\n", IN_CHUNKS " <hello> end"},
	{UPLOAD "5 ; a = b\t;\tc = \"\"\r\nhello\r\n0\r\n\r\n", IN_CHUNKS " <hello> end"},
	{UPLOAD "7fffffffffffffff\r\nhi", IN_CHUNKS " <hi"},
	{UPLOAD "8000000000000000\r\nhi", IN_CHUNKS " wrong 400: a chunk size beyond 2^63"},
	{UPLOAD "5\nhello\r\n", IN_CHUNKS " " BARE_LF},
	{UPLOAD "5\r\nhello\n0\r\n\r\n", IN_CHUNKS " <hello> " BARE_LF},
	{UPLOAD "0\n\r\n", IN_CHUNKS " " BARE_LF},
	{UPLOAD "0\r\n\n", IN_CHUNKS " " BARE_LF},
	{UPLOAD "0\r\nA: 1\n\r\n", IN_CHUNKS " " BARE_LF},
	{UPLOAD "5;a=\"\n\"\r\nhello\r\n", IN_CHUNKS " " BARE_LF},
	{UPLOAD "5\r;a\r\nhello\r\n", IN_CHUNKS " " CONTROL},
	{UPLOAD "5;a=\"\r\n\"\r\nhello\r\n", EXTENSION},
	{UPLOAD "\r\n", SIZE},
	{UPLOAD " 5\r\n", SIZE},
	{UPLOAD "0x5\r\n", SIZE},
	{UPLOAD "-5\r\n", SIZE},
	{UPLOAD "5_0\r\n", SIZE},
	{UPLOAD "5 \r\n", EXTENSION},
	{UPLOAD "5 a\r\n", EXTENSION},
	{UPLOAD "5;\r\n", EXTENSION},
	{UPLOAD "5;;a\r\n", EXTENSION},
	{UPLOAD "5;a \r\n", EXTENSION},
	{UPLOAD "5;a b\r\n", EXTENSION},
	{UPLOAD "5;a=\r\n", EXTENSION},
	{UPLOAD "5;a=b=c\r\n", EXTENSION},
	{UPLOAD "5;=b\r\n", EXTENSION},
	{UPLOAD "5;a=\"b\r\n", EXTENSION},
	{UPLOAD "5;a=\"b\\\"\r\n", EXTENSION},
	{UPLOAD "5;a=\"b\\\r\n", EXTENSION},
	{UPLOAD "5;a=\"b\"c\r\n", EXTENSION},
	{UPLOAD "5;a=b\"c\"\r\n", EXTENSION},
	{UPLOAD "5;a\xff\r\n", EXTENSION},
	{UPLOAD "5\r\nhello0\r\n\r\n", DATA_END},
	{UPLOAD "5\r\nhellox\r\n0\r\n\r\n", DATA_END},
	{UPLOAD "5\r\nhello\r0\r\n\r\n", DATA_END},
	{UPLOAD "0\r\nA : 1\r\n\r\n", IN_CHUNKS " " NAME},
	{UPLOAD "0\r\nA: 1\r\n 2\r\n\r\n", IN_CHUNKS " wrong 400: a folded field line"},
};

static void reads_requests_however_cut(void)
{
	check_rows(HTTP1_REQUEST, false, requests, COUNT_OF(requests));
}

TEST_MAIN(TEST(reads_requests_however_cut))
