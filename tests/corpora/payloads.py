"""What requests have been smuggled with, as a table: (name, bytes, status). The status is andiron's
answer to the first request; OK: it is forwarded, once, and nothing of it is a second request.

CL.TE, TE.CL, TE.TE and CL.0 (Kettle 2019, 2022), TE.0 and 0.CL (2024, 2025), chunk extensions (2025),
bare LF and CR line ends, obs-fold, trailers, integer tricks of chunk sizes and lengths, whitespace
and NUL in names, request lines that two readers split in two ways, authorities that two readers
take from two places.
"""

OK = 200
LINE = b"POST /v1/chat/completions HTTP/1.1\r\n"
HOST = b"Host: localhost\r\n"
POST = LINE + HOST
GET = b"GET /v1/models HTTP/1.1\r\n" + HOST
EVIL = b"GET /v1/models/evil HTTP/1.1\r\n" + HOST + b"\r\n"
TE = b"Transfer-Encoding: chunked\r\n"
LAST = b"0\r\n\r\n"


def fields(*lines):
    """A POST with these field lines, a last chunk and a second request behind it."""
    return POST + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + LAST + EVIL


def chunks(data):
    return POST + TE + b"\r\n" + data


def all_of(prefix, status, build, values):
    return [(f"{prefix}-{number:02}", build(value), status) for number, value in enumerate(values)]


LENGTHS_AND_CODINGS = [
    ("cl-te", fields(b"Content-Length: 5", b"Transfer-Encoding: chunked"), 400),
    ("te-cl", fields(b"Transfer-Encoding: chunked", b"Content-Length: 5"), 400),
    ("cl0-te", fields(b"Content-Length: 0", b"Transfer-Encoding: chunked"), 400),
    ("cl-te-identity", fields(b"Content-Length: 5", b"Transfer-Encoding: identity"), 400),
    ("cl-te-empty", fields(b"Content-Length: 5", b"Transfer-Encoding:"), 400),
    ("cl-te-unknown", fields(b"Content-Length: 5", b"Transfer-Encoding: x, chunked"), 400),
    ("te-1.0", b"POST /v1/chat/completions HTTP/1.0\r\n" + HOST + TE + b"\r\n" + LAST + EVIL, 400),
    ("te-0.9", b"POST /v1/chat/completions HTTP/0.9\r\n" + HOST + TE + b"\r\n" + LAST + EVIL, 505),
    ("te-get", GET + TE + b"\r\n" + LAST + EVIL, 400),
    ("cl-get", GET + b"Content-Length: %d\r\n\r\n" % len(EVIL) + EVIL, 400),
    ("cl-head", b"HEAD /v1/models HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(EVIL) + EVIL, 400),
    ("cl-underscore", GET + b"Content_Length: 9\r\n\r\n", OK),
    ("te-underscore", GET + b"Transfer_Encoding: chunked\r\n\r\n", OK),
    ("cl.0-upgrade", POST + b"Connection: upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nContent-Length: 2\r\n\r\n{}", OK),
    ("connection-cl", POST + b"Connection: Content-Length\r\nContent-Length: 2\r\n\r\n{}", OK),
    ("connection-te", POST + b"Connection: Transfer-Encoding\r\n" + TE + b"\r\n2\r\n{}\r\n" + LAST, OK),
    ("connection-host", POST + b"Connection: Host, close\r\nContent-Length: 2\r\n\r\n{}", OK),
    ("te-field", POST + b"TE: trailers\r\nContent-Length: 2\r\n\r\n{}", OK),
    ("expect-0.cl", GET + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", 400),
    ("expect-odd", POST + b"Expect: y 100-continue\r\nContent-Length: 2\r\n\r\n{}", 417),
    ("expect-twice", POST + b"Expect: 100-continue\r\nExpect: x\r\nContent-Length: 2\r\n\r\n{}", 417),
] + all_of("length", 400, lambda value: POST + b"Content-Length:" + value + b"\r\n\r\n{}" + EVIL, [
    b"", b" ", b" +2", b" -2", b" -0", b" 0x2", b" 0b10", b" 0o2", b" 2_0", b" 2,2", b" 2, 2", b" 2 2", b" 2;", b" 2\x0b", b" 2\x00",
    b" \x002", b" 2.0", b" 2e0", b" 2\r", b" \xc2\xb2", b" \xef\xbc\x92", b" two", b" 4294967298x", b" 9223372036854775808",
    b" 18446744073709551616", b" 18446744073709551618", b" 340282366920938463463374607431768211458", b" 2\r\n 0", b" 2\r\n\t2",
    b" 2,", b" ,2", b" '2'", b" \"2\""]) + all_of("lengths", 400, lambda value: fields(*value), [
        [b"Content-Length: 5", b"Content-Length: 5"], [b"Content-Length: 5", b"Content-Length: 0"],
        [b"Content-Length: 0", b"Content-Length: 5"], [b"Content-Length: 5", b"content-length: 05"],
        [b"Content-Length : 5"], [b"Content-Length\t: 5"], [b" Content-Length: 5"], [b"\tContent-Length: 5"],
        [b"Content-Length\x00: 5"], [b"Content-Length\x0b: 5"], [b"\x00Content-Length: 5"], [b"Content-Length"],
        [b"Content-\nLength: 5"], [b"Content Length: 5"], [b"X: y\rContent-Length: 5"], [b"X: y\nContent-Length: 5"],
        [b"X\nContent-Length: 5"], [b"(Content-Length): 5"], [b"Content-Length\xa0: 5"]])

CODINGS = all_of("coding", 400, lambda value: fields(b"Transfer-Encoding:" + value), [
    b"", b" x", b" identity", b" chunked, identity", b" identity, identity", b" chunked, chunked", b" chunked,", b" ,chunked",
    b" chunked;", b" chunked;a=b", b" 'chunked'", b" \"chunked\"", b" xchunked", b" chunkedx", b" chunk", b" chunked x",
    b" chunked\x00", b" \x00chunked", b" \x0bchunked", b" \x0cchunked", b" chunked\x0b", b" chunked\r", b" \rchunked", b" \xa0chunked",
    b" \x85chunked", b" chunKed\xff", b" chun\xc4\xb1ked", b" chunked\r\n\t", b"\r\n chunked", b" chunked\r\n , identity", b" chunked, cow",
    b" nothing", b" gzip", b" gzip chunked", b" [chunked]", b" ch\xc5\xabnked"]) + all_of(
        "codings", 400, lambda value: fields(*value), [
            [b"Transfer-Encoding: chunked"] * 2, [b"Transfer-Encoding: chunked", b"Transfer-encoding: x"],
            [b"Transfer-Encoding: x", b"Transfer-encoding: chunked"], [b"Transfer-Encoding : chunked"],
            [b"Transfer-Encoding\t: chunked"], [b" Transfer-Encoding: chunked"], [b"X: y\nTransfer-Encoding: chunked"],
            [b"X: y\rTransfer-Encoding: chunked"], [b"Transfer-Encoding\x00: chunked"], [b"Transfer-Encoding", b" : chunked"],
            [b"Transfer-Encoding\n: chunked"], [b"X", b"Transfer-Encoding: chunked"], [b"Transfer Encoding: chunked"],
            [b": chunked"], [b"X: \x00", b"Transfer-Encoding: chunked"]]) + [
    ("coding-case", POST + b"tRANSFER-eNCODING:\tChUnKeD \t\r\n\r\n2\r\n{}\r\n" + LAST, OK)] + all_of(
        "coding-unknown", 501, lambda value: fields(b"Transfer-Encoding:" + value + b", chunked"), [
            b" gzip", b" identity", b" cow", b" a, b", b" x;y=z"])

CHUNKS = all_of("size", 400, lambda value: chunks(value + b"\r\n{}\r\n" + LAST + EVIL), [
    b"", b" ", b" 2", b"\t2", b"+2", b"-2", b"0x2", b"0X2", b"2_", b"0_2", b"2.0", b"2,", b"2 ", b"2\t", b"2\x0b", b"2\x00", b"2\r", b"2\xa0",
    b"\xb2", b"g", b"2g", b"-", b"0x", b"2 2", b"10000000000000002", b"100000002x", b"8000000000000002", b"ffffffffffffffff", b"fffffffffffffffe",
    b"2\n", b"\n2", b"2h", b"two", b"#2"]) + all_of("extension", 400, lambda value: chunks(b"2" + value + b"\r\n{}\r\n" + LAST + EVIL), [
        b";", b"; ", b";;", b";=", b";a=", b";a=b;", b";a=b c", b";a b", b";a=\"b", b";a=\"b\\", b";a=b\"c\"", b" a", b" a=b", b";\n", b";a\n",
        b";a\rb", b";\r", b";a=\"\n\"", b";a=\"\r\n\"", b";\x00", b";a=\x7f", b";a=b\xff", b";(a)", b"; a = ", b";" + b"a" * 4200]) + all_of(
            "data", 400, lambda value: chunks(value + EVIL), [
                b"2\r\n{}" + LAST, b"2\r\n{}\n" + LAST, b"2\r\n{}\r" + LAST, b"2\r\n{}x\r\n" + LAST, b"1\r\n{}\r\n" + LAST, b"3\r\n{}\r\n" + LAST,
                b"2\n{}\r\n" + LAST, b"2\r{}\r\n" + LAST, b"2\r\n{}\r\n0\n\r\n", b"2\r\n{}\r\n0\r\n\n", b"2\r\n{}\r\n0\r\r\n", b"2\r\n{}\r\n\r\n" + LAST,
                b"\r\n2\r\n{}\r\n" + LAST, b"2\r\n{}\n\n" + LAST, b"2\r\n{}\r\n0;\r\n\r\n", b"2\r\n{}\r\n-0\r\n\r\n", b"2\r\n{}\r\n0x0\r\n\r\n"]) + all_of(
                    "trailer", 400, lambda value: chunks(b"0\r\n" + value + b"\r\n\r\n" + EVIL), [
                        b"GET / HTTP/1.1", b"X", b"X : y", b" X: y", b"X: y\r\n z", b"X: y\nZ: 1", b"X: y\rZ: 1", b": y", b"X: \x00", b"X\xff: y",
                        b"\x00", b"Content-Length : 5"]) + [
    ("trailer-framing", chunks(b"2\r\n{}\r\n0\r\nContent-Length: 50\r\nTransfer-Encoding: chunked\r\nHost: evil\r\n\r\n"), OK),
    ("extension-good", chunks(b"2;a;b=c;d=\"e;\\\"f\" ; g = h\r\n{}\r\n0;x\r\n\r\n"), OK),
    ("size-zeros", chunks(b"00000000000000002\r\n{}\r\n000\r\n\r\n"), OK),
    ("trailer-many", chunks(b"0\r\n" + b"X: y\r\n" * 201 + b"\r\n" + EVIL), 431),
    ("trailer-long", chunks(b"0\r\nX: " + b"y" * 70000 + b"\r\n\r\n" + EVIL), 431)]

LINES = all_of("line", 400, lambda value: value + b"\r\n" + HOST + b"\r\n" + EVIL, [
    b"GET /v1/models", b"GET  /v1/models HTTP/1.1", b"GET /v1/models  HTTP/1.1", b"GET /v1/models HTTP/1.1 ", b" GET /v1/models HTTP/1.1",
    b"GET\t/v1/models HTTP/1.1", b"GET /v1/models\tHTTP/1.1", b"GET\x0b/v1/models HTTP/1.1", b"GET /v1/models HTTP/1.1 HTTP/1.1",
    b"GET /v1/models HTTP/1.1\rX: y", b"GET /v1/models\x00 HTTP/1.1", b"GET\x00 /v1/models HTTP/1.1", b"\x00GET /v1/models HTTP/1.1",
    b"GET /v1/models HTTP/1.1\x00", b"GET /v1/\xff HTTP/1.1", b"GET /v1/a b HTTP/1.1", b"G=T /v1/models HTTP/1.1", b"GET: /v1/models HTTP/1.1",
    b"GET /v1/models HTTP/1.1\n", b"\nGET /v1/models HTTP/1.1", b"\r\n\r\nGET /v1/models HTTP/1.1", b"GET /v1/models http/1.1",
    b"GET /v1/models HTTP/1.1.1", b"GET /v1/models HTTP/1", b"GET /v1/models HTTP/", b"GET /v1/models HTTP/01.1", b"GET /v1/models HTTP/+1.1",
    b"GET /v1/models HTTP/1.01", b"GET /v1/models XTTP/1.1", b"GET /v1/models HTTP/4294967297.1", b"GET /v1/models HTTP/1.\xb9", b"GET /v1/models#a HTTP/1.1", b"GET /v1/models?a#b HTTP/1.1", b"GET http://localhost#@evil/v1/models HTTP/1.1",
    b"GET /v1/models\r\n HTTP/1.1", b"GET"]) + all_of("version", 505, lambda value: b"GET /v1/models " + value + b"\r\n" + HOST + b"\r\n" + EVIL, [
        b"HTTP/0.9", b"HTTP/1.2", b"HTTP/1.9", b"HTTP/2.0", b"HTTP/3.1", b"HTTP/9.9"]) + [
    ("preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + EVIL, 505),
    ("trace", b"TRACE /v1/models HTTP/1.1\r\n" + HOST + b"Max-Forwards: 0\r\n\r\n" + EVIL, 405),
    ("connect", b"CONNECT evil.example:443 HTTP/1.1\r\n" + HOST + b"\r\n" + EVIL, 405),
    ("connect-body", b"CONNECT evil.example:443 HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello" + EVIL, 405),
    ("method-lower", b"get /v1/models HTTP/1.1\r\n" + HOST + b"\r\n" + EVIL, 501),
    ("method-other", b"PROPFIND /v1/models HTTP/1.1\r\n" + HOST + b"\r\n" + EVIL, 501),
    ("method-override", POST + b"X-HTTP-Method-Override: DELETE\r\nContent-Length: 2\r\n\r\n{}", OK),
    ("empty-line", b"\r\n" + GET + b"\r\n", OK)]

FIELDS = all_of("field", 400, lambda value: GET + value + b"\r\n\r\n" + EVIL, [
    b"X : y", b"X\t: y", b" X: y", b"\tX: y", b"X", b"X: y\r\n z", b"X: y\r\n\tz", b"X: y\r\n \r\n", b"X: \x00", b"X: \x01", b"X: \x1f",
    b"X: \x7f", b"X: y\rz", b"X: \r", b"X: y\n z", b"X: y\nz: 1", b"X\x00: y", b"X\x80: y", b"X/Y: z", b"X@Y: z", b"\"X\": y", b"X,Y: z", b": y", b"X Y: z",
    b"X: y\n", b"\rX: y"]) + [
    ("field-bytes", GET + b"X: \x80\xfe\xff\t\"\xc3\xa9\"\r\n\r\n", OK),
    ("fields-200", GET + b"X: y\r\n" * 199 + b"\r\n", OK),
    ("fields-201", GET + b"X: y\r\n" * 200 + b"\r\n" + EVIL, 431),
    ("head-long", GET + b"X: " + b"y" * 70000 + b"\r\n\r\n" + EVIL, 431),
    ("line-long", b"GET /v1/" + b"y" * 70000 + b" HTTP/1.1\r\n" + HOST + b"\r\n" + EVIL, 431),
    ("name-long", GET + b"X" * 70000 + b": y\r\n\r\n" + EVIL, 431)]

HOSTS = all_of("host", 400, lambda value: b"GET /v1/models HTTP/1.1\r\n" + value + b"\r\n" + EVIL, [
    b"", HOST + HOST, HOST + b"Host: evil.example\r\n", HOST + b"hOST:\r\n", b"Host:\r\n", b"Host: localhost, evil.example\r\n",
    b"Host: localhost evil.example\r\n", b"Host: localhost@evil.example\r\n", b"Host: evil.example/localhost\r\n", b"Host: localhost:80:80\r\n",
    b"Host: localhost:evil\r\n", b"Host: localhost#evil\r\n", b"Host: localhost\\evil\r\n", b"Host: [::1\r\n", b"Host: [::1]evil\r\n",
    b"Host: ::1\r\n", b"Host: http://localhost\r\n", b"Host: localhost?\r\n", b"Host: localhost\xff\r\n", b"Host : localhost\r\n",
    b"Host: localhost\r\n evil\r\n", b" Host: localhost\r\n", b"Host: localhost\x00\r\n"]) + all_of(
        "host-other", 403, lambda value: b"GET /v1/models HTTP/1.1\r\nHost: " + value + b"\r\n\r\n", [
            b"evil.example", b"localhost.evil.example", b"127.0.0.1.nip.io", b"%6cocalhost", b"0.0.0.0", b"0177.0.0.1", b"2130706433", b"127.1",
            b"[::]", b"[2001:db8::1]", b"localhost."]) + [
    ("absolute", b"GET http://localhost/v1/models HTTP/1.1\r\n" + HOST + b"\r\n", OK),
    ("absolute-wins", b"GET http://localhost/v1/models HTTP/1.1\r\nHost: evil.example\r\n\r\n", OK),
    ("absolute-other", b"GET http://evil.example/v1/models HTTP/1.1\r\n" + HOST + b"\r\n", 403),
    ("absolute-user", b"GET http://localhost@evil.example/v1/models HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    ("absolute-none", b"GET http:///v1/models HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    ("absolute-no-host", b"GET http://localhost/v1/models HTTP/1.1\r\n\r\n", 400),
    ("absolute-https", b"GET https://localhost/v1/models HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    ("asterisk", b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    ("double-slash", b"GET //evil.example/v1/models HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    ("no-slash", b"GET v1/models HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    ("1.0-no-host", b"GET /v1/models HTTP/1.0\r\n\r\n", 400),
    ("dots", b"GET /v1/accounts/../../../etc HTTP/1.1\r\n" + HOST + b"\r\n", OK)]

TARGETS = all_of("target", OK, lambda value: b"GET /v1/models/" + value + b" HTTP/1.1\r\n" + HOST + b"\r\n", [
    b"?a=\"b\"", b"<a>", b"a|b", b"a^b", b"a`b", b"{a}", b"a\\b", b"[a]", b"%00", b"%0d%0aX:%20y", b"%2e%2e/", b"..;/", b"%zz", b"a;b",
    b"a@b", b"?http://evil.example/", b"%23"]) + [
    ("post-1.0", b"POST /v1/chat/completions HTTP/1.0\r\n" + HOST + b"Connection: keep-alive\r\nContent-Length: 2\r\n\r\n{}", OK),
    ("length-zeros", POST + b"Content-Length: 0000000000000000000000002\r\n\r\n{}", OK),
    ("length-huge", POST + b"Content-Length: 9223372036854775807\r\n\r\n{}", 413),
    ("chunk-huge", chunks(b"7fffffffffffffff\r\n{}\r\n" + LAST), 408),
    ("delete-body", b"DELETE /v1/models/m HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\n{}", OK),
    ("options-body", b"OPTIONS /v1/models/m HTTP/1.1\r\n" + HOST + TE + b"\r\n2\r\n{}\r\n" + LAST, OK),
    ("name-tokens", GET + b"!#$%&'*+-.^_`|~: y\r\n\r\n", OK),
    ("value-empty", GET + b"X:\r\nY: \r\n\r\n", OK)]

PAYLOADS = LENGTHS_AND_CODINGS + CODINGS + CHUNKS + LINES + FIELDS + HOSTS + TARGETS
