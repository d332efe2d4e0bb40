"""Origins whose responses can be read in two ways, that never end, or that say more than they were asked: the visitor gets an
error or a response that was cut off, and the next visitor the answer to his own request."""
import pytest

from hostile import OK, Site, responses, rss, split_message

ROOM = 64 << 20  # bytes that the connector may grow by, with the sanitizers' own


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("hostile-origin"))
    yield site
    site.stop()


def shown(cases):
    return [pytest.param(case, id=ascii(case[-60:])[2:-1].replace("\\", "_")) for case in cases]


def ask(site, reply, method=b"GET", stays=False):
    """What a visitor gets for this answer of the origin; the next must get his own."""
    site.origin.replies = {b"/hostile": reply}
    site.origin.stays = {b"/hostile"} if stays else set()
    got = site.send(b"%s /hostile HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n" % method)
    for target in (b"/sentinel-1", b"/sentinel-2"):
        assert site.get(target).body == b"ok"
    return got


def test_a_sound_response_passes(site):
    assert [(r.status, r.body) for r in responses(ask(site, b"HTTP/1.1 200 Fine\r\nContent-Length: 5\r\n\r\nhello"))] == [(200, b"hello")]


HEADS = [
    b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", b"HTTP/1.1 200 OK\r\nContent-Length: 2\n\r\nok", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nok",
    b"\r\nHTTP/1.1 200 OK\r\n\r\n", b" HTTP/1.1 200 OK\r\n\r\n", b"HTTP/0.9 200 OK\r\n\r\n", b"HTTP/1.2 200 OK\r\n\r\n", b"HTTP/2.0 200 OK\r\n\r\n",
    b"HTTP/1.1  200 OK\r\n\r\n", b"HTTP/1.1 20 OK\r\n\r\n", b"HTTP/1.1 2000 OK\r\n\r\n", b"HTTP/1.1 +20 OK\r\n\r\n", b"HTTP/1.1 099 OK\r\n\r\n",
    b"HTTP/1.1 abc OK\r\n\r\n", b"HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 O\x00K\r\n\r\n", b"HTTP/1.1 200 O\rK\r\n\r\n", b"http/1.1 200 OK\r\n\r\n",
    b"ICY 200 OK\r\n\r\n", b"<html>hello</html>", b"\x15\x03\x01\x00\x02\x02\x0a", b"220 smtp ready\r\n", b"SSH-2.0-OpenSSH\r\n", b"",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: y", b"HTTP/1.1 200 OK\r\nX: y\r\n",
]
FIELDS = [
    b"Content-Length: 2\r\nContent-Length: 3", b"Content-Length: 2\r\nContent-Length: 2", b"Content-Length: 2, 2", b"Content-Length: +2",
    b"Content-Length: 0x2", b"Content-Length: -2", b"Content-Length: 2 2", b"Content-Length:", b"Content-Length: 2\x00", b"Content-Length : 2",
    b"Content-Length: 18446744073709551618", b"Content-Length:\r\n 2", b"Transfer-Encoding: chunked\r\nContent-Length: 2",
    b"Content-Length: 2\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: identity", b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding: xchunked", b"Transfer-Encoding: \x0bchunked", b"Transfer-Encoding : chunked",
    b"Transfer-Encoding:", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", b" X: y", b"X: y\r\n z", b"X: \x00", b"X: a\rb",
    b"X: a\nSet-Cookie: b", b"X\x00: y", b": y", b"X y", b"X : y", b"X", b"X: \x7f",
]


@pytest.mark.parametrize("reply", shown(HEADS + [b"HTTP/1.1 200 OK\r\n%s\r\n\r\n2\r\nok\r\n0\r\n\r\n" % lines for lines in FIELDS] +
                                        [b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"]))
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_a_bent_head_of_a_response_becomes_a_502(site, reply, method):
    (head, *rest) = ask(site, reply, method).split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 502 "), head
    assert b"Set-Cookie" not in head and (method == b"GET" or rest == [b""])


@pytest.mark.parametrize("body", shown([
    b"", b"g\r\nok\r\n0\r\n\r\n", b"+2\r\nok\r\n0\r\n\r\n", b"0x2\r\nok\r\n0\r\n\r\n", b" 2\r\nok\r\n0\r\n\r\n", b"2 \r\nok\r\n0\r\n\r\n", b"-2\r\nok\r\n0\r\n\r\n",
    b"2\nok\r\n0\r\n\r\n", b"2\r\nok\n0\r\n\r\n", b"2\r\nokk\r\n0\r\n\r\n", b"2\r\nok0\r\n\r\n", b"2\r\nok\r\n", b"2\r\nok\r\n0\r\n", b"2\r\nok\r\n0\n\n",
    b"2\r\nok\r\n0\r\nX : y\r\n\r\n", b"2\r\nok\r\n0\r\nX: \x00\r\n\r\n", b"2\r\nok\r\n0\r\n X: y\r\n\r\n", b"10000000000000002\r\nok\r\n0\r\n\r\n",
    b"2;\x00\r\nok\r\n0\r\n\r\n", b"2;%s\r\nok\r\n0\r\n\r\n" % (b"a" * 300), b"2\r\nok\r\n0\r\nX: %s\r\n\r\n" % (b"x" * 17_000), b"2\r\n",
]))
def test_bent_chunks_of_a_response_never_look_whole(site, body):
    got = ask(site, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    if not got.startswith(b"HTTP/1.1 502 "):
        assert split_message(got) is None, got


def test_a_response_that_is_shorter_than_it_says_never_looks_whole(site):
    got = ask(site, b"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\nhello")
    assert got.startswith(b"HTTP/1.1 502 ") or split_message(got) is None


@pytest.mark.parametrize("reply, method, body", [
    (OK, b"GET", b"ok"), (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"GET", b"ok"),
    (b"HTTP/1.1 204 No Content\r\n\r\n", b"GET", b""), (b"HTTP/1.1 304 Not Modified\r\n\r\n", b"GET", b""),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"GET", b""),
], ids=["length", "chunks", "204", "304", "empty"])
def test_what_follows_the_end_of_a_response_answers_nobody(site, reply, method, body):
    site.origin.forget()
    got = ask(site, reply + b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled", method, stays=True)
    assert b"smuggled" not in got
    status, fields, seen, rest = split_message(got)
    assert b"502" not in status and seen == body and rest == b""


def test_a_body_after_a_head_response_answers_nobody(site):
    got = ask(site, b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled", b"HEAD", stays=True)
    assert b"HTTP/1.1 200 OK" in got and b"smuggled" not in got


# ---- without end ----

def endless(start, piece):
    """Writes for as long as anybody takes it, but no more than a gigabyte."""
    def write(s):
        s.sendall(start)
        for _ in range((1 << 30) // len(piece)):
            s.sendall(piece)

    return write


LONG = b"x" * 65536


@pytest.mark.parametrize("start, piece", [
    (b"HTTP/1.1 200 " + LONG, LONG), (b"HTTP/1.1 200 OK\r\nX: ", LONG), (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 10_000), (b"", LONG),
    (b"HTTP/1.1 200 OK\r\n", LONG), (b"", b"\r\n" * 10_000), (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 1000),
    (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
], ids=["reason", "value", "lines", "nothing", "name", "empty lines", "103", "100"])
def test_a_head_without_end_is_given_up(site, start, piece):
    before = rss(site.connector), rss(site.edge)
    assert ask(site, endless(start, piece)).startswith(b"HTTP/1.1 502 ")
    assert rss(site.connector) < before[0] + ROOM and rss(site.edge) < before[1] + ROOM


@pytest.mark.parametrize("start, piece", [(b"2;a=", LONG), (b"2;a=\"", LONG), (b"2\r\nok\r\n0\r\n", b"X: y\r\n" * 10_000), (b"2\r\nok\r\n0\r\nX: ", LONG),
                                          (b"0" * 10, b"0" * 65536)], ids=["extension", "quoted", "trailers", "trailer", "zeros"])
def test_chunk_framing_without_end_is_given_up(site, start, piece):
    before = rss(site.connector), rss(site.edge)
    got = ask(site, endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + start, piece))
    assert got.startswith(b"HTTP/1.1 502 ") or split_message(got) is None
    assert rss(site.connector) < before[0] + ROOM and rss(site.edge) < before[1] + ROOM
