"""Requests that are made to be read in two ways. Each is refused with one answer, the connection ends, and the origin, which
records every byte, has seen nothing of it, least of all of the request that was hidden behind it."""
import pytest

from hostile import Site, responses

HIDDEN = b"GET /smuggled HTTP/1.1\r\nHost: HOST\r\n\r\n"
CHUNKED = b"0\r\n\r\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("hostile"))
    yield site
    site.stop()


def shown(cases):
    """Parameters with the bytes that make them different as their names."""
    return [pytest.param(case, id=ascii((case[0] if isinstance(case, tuple) else case)[-60:])[2:-1].replace("\\", "_")) for case in cases]


def refused(site, data, *statuses):
    site.origin.forget()
    got = responses(site.send(data + HIDDEN))
    assert [r.status for r in got] in [[status] for status in statuses], (data, got)
    assert got[0].fields[b"connection"] == b"close"
    assert site.get(b"/sentinel").body == b"ok"
    assert [r.target for r in site.origin.requests] == [b"/sentinel"]
    seen = site.origin.saw()
    assert b"smuggled" not in seen and seen.count(b" HTTP/1.1\r\n") == 1


def test_the_origin_records_the_second_request_of_two_that_are_sound(site):
    site.origin.forget()
    got = responses(site.send(b"GET / HTTP/1.1\r\nHost: HOST\r\n\r\n" + HIDDEN.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")))
    assert [r.status for r in got] == [200, 200]
    assert b"smuggled" in site.origin.saw()


# ---- Transfer-Encoding ----

CODINGS = [
    b"Transfer-Encoding: xchunked", b"Transfer-Encoding: chunkedx", b"Transfer-Encoding: x-chunked", b"Transfer-Encoding: chunk",
    b"Transfer-Encoding : chunked", b"Transfer-Encoding\t: chunked", b"Transfer-Encoding\x0b: chunked", b"Transfer-Encoding\x00: chunked",
    b"Transfer-Encoding\xa0: chunked", b"Transfer-Encoding\r\n: chunked", b"Transfer-Encoding\n: chunked", b"Transfer-Encoding\r: chunked",
    b" Transfer-Encoding: chunked", b"\tTransfer-Encoding: chunked", b"X: x\n Transfer-Encoding: chunked", b"X: x\r\n\tTransfer-Encoding: chunked",
    b"\x0bTransfer-Encoding: chunked", b"\x00Transfer-Encoding: chunked", b"Trans\x00fer-Encoding: chunked", b"Transfer Encoding: chunked",
    b"Transfer-Encoding:\x0bchunked", b"Transfer-Encoding:\x0cchunked", b"Transfer-Encoding:\x00chunked", b"Transfer-Encoding: chunked\x0b",
    b"Transfer-Encoding: chunked\x00", b"Transfer-Encoding: chunked\x7f", b"Transfer-Encoding: \xa0chunked", b"Transfer-Encoding: chunked\x85",
    b"Transfer-Encoding: chunked\xff", b"Transfer-Encoding: \xef\xbb\xbfchunked", b"Transfer-Encoding: ch\xc3\xbcnked",
    b"Transfer-Encoding: identity", b"Transfer-Encoding: identity, chunked", b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: gzip", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: chunked, gzip", b"Transfer-Encoding: deflate, chunked",
    b"Transfer-Encoding: chunked, cow", b"Transfer-Encoding: cow, chunked", b"Transfer-Encoding: chunked,chunked",
    b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding: , chunked", b"Transfer-Encoding: chunked,", b"Transfer-Encoding: ,",
    b"Transfer-Encoding:", b"Transfer-Encoding: ", b'Transfer-Encoding: "chunked"', b"Transfer-Encoding: 'chunked'", b"Transfer-Encoding: chunked;",
    b"Transfer-Encoding: chunked;q=1", b"Transfer-Encoding: chunked; q=0.5", b"Transfer-Encoding: chunked chunked", b"Transfer-Encoding: ch unked",
    b"Transfer-Encoding: (x) chunked", b"Transfer-Encoding:\r\n chunked", b"Transfer-Encoding:\n chunked", b"Transfer-Encoding: \r\n chunked",
    b"Transfer-Encoding: chunked\r\n ", b"Transfer-Encoding: x\r\n chunked", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: x\r\nTransfer-encoding: chunked", b"Transfer-Encoding: chunked\r\nTRANSFER-ENCODING: cow",
    b"X: x\nTransfer-Encoding: chunked", b"X: x\rTransfer-Encoding: chunked", b"X: x\r\rTransfer-Encoding: chunked",
    b"X: x\r\r\nTransfer-Encoding: chunked", b"X: x\n\rTransfer-Encoding: chunked", b"Transfer-Encoding= chunked", b"Transfer-Encoding chunked",
    b"[Transfer-Encoding: chunked", b"Transfer-Encoding]: chunked", b'"Transfer-Encoding": chunked', b"Transfer-Encoding;: chunked",
    b"Transfer-Encoding: chunked\nX: x", b"Transfer-Encoding: chunked\rX: x",
]


@pytest.mark.parametrize("line", shown(CODINGS))
def test_an_obfuscated_transfer_coding_is_refused(site, line):
    refused(site, b"POST /hostile HTTP/1.1\r\nHost: HOST\r\n%s\r\n\r\n0\r\n\r\n" % line, 400, 501)
    refused(site, b"POST /hostile HTTP/1.1\r\nHost: HOST\r\n%s\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" % line, 400, 501)


@pytest.mark.parametrize("pair", shown([
    (b"Content-Length: 5", b"Transfer-Encoding: chunked"), (b"Transfer-Encoding: chunked", b"Content-Length: 5"),
    (b"Content-Length: 0", b"Transfer-Encoding: chunked"), (b"Transfer-Encoding:\tchunked", b"Content-Length: 60"),
    (b"transfer-encoding: CHUNKED", b"CONTENT-LENGTH: 3"), (b"Transfer-Encoding: chunked", b"Content-Length: x"),
]))
@pytest.mark.parametrize("method", [b"GET", b"POST", b"OPTIONS", b"HEAD"])
def test_a_length_beside_a_coding_is_refused(site, pair, method):
    refused(site, b"%s /hostile HTTP/1.1\r\nHost: HOST\r\n%s\r\n%s\r\n\r\n0\r\n\r\n" % (method, *pair), 400)


@pytest.mark.parametrize("more", [b"", b"Connection: keep-alive\r\n", b"Content-Length: 5\r\n"])
def test_a_coding_in_http_1_0_is_refused(site, more):
    refused(site, b"POST /hostile HTTP/1.0\r\nHost: HOST\r\n%sTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % more, 400)


# ---- Content-Length ----

LENGTHS = [
    b"+5", b"-5", b"-0", b"0x5", b"0X5", b"5 5", b"5,5", b"5, 5", b"5,6", b"5;", b"5;6", b"5.0", b"5e0", b"1e1", b"0b101", b"05x", b"x5", b"",
    b" ", b"5_0", b"'5'", b'"5"', b"\x0b5", b"5\x0b", b"5\x0c", b"\x005", b"5\x00", b"5\x7f", b"\xa05", b"5\xa0", b"\xd9\xa5", b"\xef\xbc\x95",
    b"5\r\n 5", b"5\r\n\t", b"\r\n 5", b"5\rX: x", b"5\nX: x", b"5\r\r", b"9223372036854775808", b"18446744073709551615", b"18446744073709551621",
    b"99999999999999999999999999", b"4294967296x", b"5\r\nContent-Length: 5", b"5\r\nContent-Length: 6", b"6\r\ncontent-length: 5",
    b"0\r\nContent-Length: 5", b"5\r\nContent-Length:", b"5\r\nContent-Length: 0",
]


@pytest.mark.parametrize("value", shown(LENGTHS))
def test_a_length_that_is_no_plain_number_is_refused(site, value):
    refused(site, b"POST /hostile HTTP/1.1\r\nHost: HOST\r\nContent-Length: %s\r\n\r\nhello" % value, 400)


@pytest.mark.parametrize("name", [b"Content-Length ", b"Content-Length\t", b" Content-Length", b"Content-Length\x00", b"Content\x00-Length", b"Content Length"])
def test_a_length_with_a_bent_name_is_refused(site, name):
    refused(site, b"POST /hostile HTTP/1.1\r\nHost: HOST\r\n%s: 5\r\n\r\nhello" % name, 400)
    refused(site, b"POST /hostile HTTP/1.1\r\nHost: HOST\r\nX: y\r\n%s: 5\r\nContent-Length: 6\r\n\r\nhello" % name, 400)


# ---- the start line ----

STARTS = [
    (b" GET / HTTP/1.1", 400), (b"\tGET / HTTP/1.1", 400), (b"\nGET / HTTP/1.1", 400), (b"\rGET / HTTP/1.1", 400),
    (b"\r\n\r\nGET / HTTP/1.1", 400), (b"\r\n GET / HTTP/1.1", 400), (b"\x00GET / HTTP/1.1", 400), (b"\xef\xbb\xbfGET / HTTP/1.1", 400),
    (b"GET /", 400), (b"GET", 400), (b"GET / ", 400), (b"GET HTTP/1.1", 400), (b" / HTTP/1.1", 400), (b"GET  HTTP/1.1", 400),
    (b"GET  / HTTP/1.1", 400), (b"GET /  HTTP/1.1", 400), (b"GET / HTTP/1.1 ", 400), (b"GET\t/ HTTP/1.1", 400), (b"GET /\tHTTP/1.1", 400),
    (b"GET / HTTP/1.1\r", 400), (b"GET / HTTP/1.1\nX: y", 400), (b"GET / HTTP/1.1\rX: y", 400), (b"GET / HTTP/1.1\x00", 400),
    (b"GET / http/1.1", 400), (b"GET / HTTP/1", 400), (b"GET / HTTP/1.", 400), (b"GET / HTTP/1.10", 400), (b"GET / HTTP/01.1", 400),
    (b"GET / HTTP/ 1.1", 400), (b"GET / HTTP/+1.1", 400), (b"GET / HTTP/1,1", 400), (b"GET / HTTPS/1.1", 400), (b"GET / ICY/1.1", 400),
    (b"GET / HTTP/0.9", 505), (b"GET / HTTP/1.2", 505), (b"GET / HTTP/1.9", 505), (b"GET / HTTP/2.0", 505), (b"GET / HTTP/3.0", 505),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505), (b"G\x00T / HTTP/1.1", 400), (b"GET\x0b / HTTP/1.1", 400), (b"G(T / HTTP/1.1", 400),
    (b"GET: / HTTP/1.1", 400), (b"G\xc3\x89T / HTTP/1.1", 400), (b"GET /\x00 HTTP/1.1", 400), (b"GET /\x0b HTTP/1.1", 400),
    (b"GET /\x7f HTTP/1.1", 400), (b"GET /\xc3\xa9 HTTP/1.1", 400), (b"GET /a b HTTP/1.1", 400), (b"GET /#a HTTP/1.1", 400),
    (b"GET /\rX HTTP/1.1", 400), (b"GET /\nX: HTTP/1.1", 400), (b"GET a HTTP/1.1", 400), (b"GET HOST HTTP/1.1", 400),
    (b"GET HOST:80 HTTP/1.1", 400), (b"GET * HTTP/1.1", 400), (b"OPTIONS ** HTTP/1.1", 400), (b"GET ?a HTTP/1.1", 400),
    (b"CONNECT / HTTP/1.1", 400), (b"CONNECT HOST HTTP/1.1", 400), (b"CONNECT http://HOST:80/ HTTP/1.1", 400), (b"CONNECT * HTTP/1.1", 400),
    (b"GET http:/HOST/ HTTP/1.1", 400), (b"GET http:///x HTTP/1.1", 400), (b"GET ftp://HOST/ HTTP/1.1", 400), (b"GET http://u:p@HOST/ HTTP/1.1", 400),
    (b"GET http://HOST:99999/ HTTP/1.1", 400), (b"GET http://HOST\\evil/ HTTP/1.1", 400), (b"GET http://other.localhost/ HTTP/1.1", 400),
    (b"GET http://HOST:81/ HTTP/1.1", 400), (b"GET https://HOST:80/ HTTP/1.1", 400), (b"GET /%s HTTP/1.1" % (b"a" * 40_000), 414),
    (b"%s / HTTP/1.1" % (b"A" * 33), 501), (b"%s / HTTP/1.1" % (b"A" * 70_000), 414), (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
]


@pytest.mark.parametrize("case", shown(STARTS))
def test_a_start_line_that_is_not_of_http_1_is_refused(site, case):
    refused(site, b"%s\r\nHost: HOST\r\n\r\n" % case[0], case[1])


# ---- Host ----

@pytest.mark.parametrize("lines", shown([
    b"X: y", b"Host: HOST\r\nHost: HOST", b"Host: HOST\r\nhost: other.localhost", b"Host: other.localhost\r\nHost: HOST", b"Host:", b"Host: ",
    b"Host : HOST", b" Host: HOST", b"Host: HOST\r\n Host: x", b"Host: HOST, other.localhost", b"Host: HOST other.localhost", b"Host: u@HOST",
    b"Host: HOST/x", b"Host: http://HOST", b"Host: HOST:", b"Host: HOST:0", b"Host: HOST:65536", b"Host: HOST:80:80", b"Host: HOST:8x",
    b"Host: HOST\x00", b"Host: HOST\x0b", b"Host: HOST\x00.other.localhost", b"Host: HOST%00", b"Host: HOST\\x", b"Host: HOST#", b"Host: HOST?",
    b"Host: [HOST]", b"Host: \xff", b"Ho\x00st: HOST", b"X-Host: HOST",
]))
def test_a_host_that_is_missing_doubled_or_bent_is_refused(site, lines):
    refused(site, b"GET /hostile HTTP/1.1\r\n%s\r\n\r\n" % lines, 400)


# ---- field lines ----

@pytest.mark.parametrize("byte", [b for b in range(32) if b != 9] + [127])
def test_a_control_byte_in_a_value_is_refused(site, byte):
    for value in (b"%ca", b"a%cb", b"a%c"):
        if value % byte not in (b"a\r", b"\ra"):
            refused(site, b"GET /hostile HTTP/1.1\r\nHost: HOST\r\nX: " + value % byte + b"\r\n\r\n", 400)


@pytest.mark.parametrize("byte", [b for b in range(256) if not (chr(b).isascii() and chr(b).isalnum()) and b not in b"!#$%&'*+-.^_`|~:"])
def test_a_byte_that_no_name_may_have_is_refused(site, byte):
    refused(site, b"GET /hostile HTTP/1.1\r\nHost: HOST\r\nA%cb: c\r\n\r\n" % byte, 400)


@pytest.mark.parametrize("line", shown([
    b": c", b" : c", b"a", b"a b", b" folded", b"X: y\r\n folded", b"X: y\r\n\tfolded", b"X: y\r\n ", b"X: y\r", b"X: y\r\r", b"X: y\n", b"X: y\nZ: z",
    b"X: y\rZ: z", b"X\r: y", b"X:\r y", b"\rX: y", b"Connection: a b", b"Connection: close;x", b"Connection: \"close\"", b"Connection: @",
]))
def test_a_bent_field_line_is_refused(site, line):
    refused(site, b"GET /hostile HTTP/1.1\r\nHost: HOST\r\n%s\r\n\r\n" % line, 400)


def test_an_expectation_that_nobody_knows_is_refused(site):
    refused(site, b"POST /hostile HTTP/1.1\r\nHost: HOST\r\nExpect: 200-ok\r\nContent-Length: 5\r\n\r\nhello", 417)


@pytest.mark.parametrize("lines", [
    b"a: b\r\n" * 256, b"X: %s\r\n" % (b"x" * 110_000), b"%s: x\r\n" % (b"x" * 110_000), b"X: %s\r\n" % (b"x" * 1000) * 110],
    ids=["257 lines", "one value", "one name", "many lines"])
def test_a_head_past_a_limit_is_refused(site, lines):
    refused(site, b"GET /hostile HTTP/1.1\r\nHost: HOST\r\n%s\r\n" % lines, 431)


# ---- chunks ----

def refused_body(site, body, *statuses):
    """The origin may have seen the head and what was sound of the body, but neither its end nor another request."""
    site.origin.forget()
    got = responses(site.send(b"POST /hostile HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n" + body + HIDDEN))
    assert [r.status for r in got] in [[status] for status in statuses], (body, got)
    assert got[0].fields[b"connection"] == b"close"
    assert site.get(b"/sentinel").body == b"ok"
    assert [r.target for r in site.origin.requests] == [b"/sentinel"]
    seen = site.origin.saw()
    assert b"smuggled" not in seen and b"0\r\n\r\n" not in seen


@pytest.mark.parametrize("line", shown([
    b"", b" 5", b"\t5", b"+5", b"-5", b"-1", b"0x5", b"5 ", b"5\t", b"5;", b"5 ;", b"5;;", b"5;=", b"5;a=", b"5;a b", b"5;a=b c", b"5;a=\"b", b"5;a=\"b\\",
    b"5;\x00", b"5;a\x0b", b"5;a=\x7f", b"5;a\rb", b"5;a\nb", b"5;\n", b"5\n5", b"5\r5", b"5\r", b"5\r\r", b"5\x00", b"5\x0b", b"5_0", b"5.0", b"5,5", b"g",
    b"5g", b"5h", b"(5)", b"\"5\"", b"5\xa0", b"00000000000000005", b"8000000000000000", b"FFFFFFFFFFFFFFFF", b"10000000000000005",
    b"100000000000000000000000000000005", b"5;%s" % (b"a" * 300), b"5;a=\"%s\"" % (b"a" * 300), b"0x0", b"-0", b"0 ", b"0;", b"0\n", b"0\r",
    b"0;\x00", b"000000000000000000000000",
]))
def test_a_chunk_line_that_is_not_a_plain_size_is_refused(site, line):
    refused_body(site, line + b"\r\nhello\r\n0\r\n\r\n", 400)
    refused_body(site, b"3\r\nabc\r\n" + line + b"\r\nhello\r\n0\r\n\r\n", 400)


@pytest.mark.parametrize("body", shown([
    b"5\nhello\r\n", b"5\r\nhello\n", b"5\r\nhello\r", b"5\r\nhello0\r\n\r\n", b"5\r\nhelloX\r\n0\r\n\r\n", b"5\r\nhello\r\r\n0\r\n\r\n",
    b"5\r\nhello\n\r\n0\r\n\r\n", b"5\r\nhell\r\n0\r\n\r\n", b"5\r\nhello\r\n\r\n0\r\n\r\n", b"0\n\n", b"0\r\n\n", b"0\r\n\r\r\n", b"0\r\nX: y\n\r\n",
    b"0\r\nX: y\n\n", b"0\r\nX : y\r\n\r\n", b"0\r\n X: y\r\n\r\n", b"0\r\nX: y\r\n z\r\n\r\n", b"0\r\nX\r\n\r\n", b"0\r\n: y\r\n\r\n",
    b"0\r\nX: \x00\r\n\r\n", b"0\r\nX: y\rZ: z\r\n\r\n",
]))
def test_a_chunk_that_does_not_end_as_it_must_is_refused(site, body):
    refused_body(site, body, 400)


@pytest.mark.parametrize("trailers", [b"X: %s\r\n" % (b"x" * 17_000), b"a: b\r\n" * 257], ids=["bytes", "lines"])
def test_trailers_past_their_limit_are_refused(site, trailers):
    refused_body(site, b"5\r\nhello\r\n0\r\n" + trailers + b"\r\n", 413, 431)


def test_a_trailer_that_would_frame_or_route_does_not_reach_the_origin(site):
    site.origin.forget()
    names = [b"Content-Length", b"Transfer-Encoding", b"Host", b"Connection", b"Upgrade", b"Trailer", b"TE", b"Authorization", b"Cookie", b"Expect"]
    got = responses(site.send(b"POST /hostile HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n" +
                              b"".join(b"%s: 7\r\n" % name for name in names) + b"\r\nGET /next HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n"))
    assert [r.status for r in got] == [200, 200]
    assert [(r.target, r.body) for r in site.origin.requests] == [(b"/hostile", b"hello"), (b"/next", b"")]
    assert b": 7\r\n" not in site.origin.saw()


# ---- bodies that look like requests ----

@pytest.mark.parametrize("method", [b"GET", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PROPFIND"])
@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_request_within_a_body_stays_a_body(site, method, framing):
    site.origin.forget()
    inner = HIDDEN.replace(b"HOST", site.host)
    body = inner if framing == "length" else b"%x\r\n%s\r\n0\r\n\r\n" % (len(inner), inner)
    line = b"Content-Length: %d" % len(inner) if framing == "length" else b"Transfer-Encoding: chunked"
    got = responses(site.send(b"%s /outer HTTP/1.1\r\nHost: HOST\r\n%s\r\n\r\n%s" % (method, line, body) +
                              b"GET /last HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n"))
    assert [r.status for r in got] == [200, 200]
    assert [(r.method, r.target, r.body) for r in site.origin.requests] == [(method, b"/outer", inner), (b"GET", b"/last", b"")]


@pytest.mark.parametrize("name", [b"Host", b"Content-Length", b"Cookie", b"Authorization", b"Content-Type"])
def test_naming_an_end_to_end_field_in_connection_does_not_strip_it(site, name):
    site.origin.forget()
    value = {b"Host": site.host, b"Content-Length": b"5"}.get(name, b"kept")
    lines = b"".join(b"%s: %s\r\n" % pair for pair in {b"Host": site.host, b"Content-Length": b"5", name: value}.items())
    assert [r.status for r in responses(site.send(b"POST / HTTP/1.1\r\nConnection: close, %s\r\n%s\r\nhello" % (name, lines)))] == [200]
    assert (name.lower(), value) in site.origin.requests[0].fields and site.origin.requests[0].body == b"hello"


def test_a_body_that_is_cut_off_is_never_passed_on_as_whole(site):
    for head, body in ((b"Content-Length: 10", b"hello"), (b"Transfer-Encoding: chunked", b"5\r\nhello\r\n")):
        site.origin.forget()
        site.send(b"POST /cut HTTP/1.1\r\nHost: HOST\r\n%s\r\n\r\n%s" % (head, body), finish=True)
        assert site.get(b"/sentinel").body == b"ok"
        assert [r.target for r in site.origin.requests] == [b"/sentinel"]
