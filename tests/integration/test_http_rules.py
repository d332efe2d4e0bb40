"""What a proxy must leave alone, and what it must not (RFC 9110, RFC 9112), with both connectors: raw bytes at the visitor and at
the origin."""
import re
import socket
import threading

import pytest

from conftest import need
from scripted import fields
from test_semantics import Site, answer_ok, head_of, status_of

DATE = r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d GMT"
LENGTH = 3_000_000


@pytest.fixture(scope="module", params=["adit", "cloudflared"])
def site(request, tmp_path_factory):
    need(request.param)
    s = Site(request.param, tmp_path_factory.mktemp("rules"))
    yield s
    s.stop()


def say(site, path, script, text):
    """A connection on which this text is out, with HOST in it replaced."""
    site.origin.paths[path] = script
    talk = site.visit()
    talk.say(text.replace("HOST", site.host).encode())
    return talk


# ---- targets ----

@pytest.mark.parametrize("target, seen", [("http://HOST/abs?x=%2F", b"/abs?x=%2F"), ("http://HOST", b"/")])
def test_the_absolute_form_reaches_the_origin_in_the_origins_form(site, target, seen):
    site.origin.heads.clear()
    visitor = say(site, seen.split(b"?")[0].decode(), answer_ok, f"GET {target} HTTP/1.1\r\nHost: HOST\r\n\r\n")
    assert status_of(head_of(visitor)) == 200
    assert site.origin.heads[-1].split(b" ")[1] == seen
    assert fields(site.origin.heads[-1])["host"] == [site.host]


@pytest.mark.parametrize("target", ["http://HOST?q", "http://u:p@HOST/", "ftp://HOST/", "http:///"])
def test_an_absolute_form_that_cannot_be_forwarded_as_it_is_is_refused(site, target):
    site.origin.heads.clear()
    assert status_of(head_of(say(site, "/", answer_ok, f"GET {target} HTTP/1.1\r\nHost: HOST\r\n\r\n"))) == 400
    assert site.origin.heads == []


def test_the_authority_form_is_for_connect_alone_which_is_not_offered(site):
    site.origin.heads.clear()
    connect = say(site, "/", answer_ok, "CONNECT HOST:443 HTTP/1.1\r\nHost: HOST:443\r\n\r\n")
    assert status_of(head_of(connect)) == 501
    get = say(site, "/", answer_ok, "GET HOST:443 HTTP/1.1\r\nHost: HOST\r\n\r\n")
    assert status_of(head_of(get)) == 400
    assert site.origin.heads == []


def test_the_asterisk_form_reaches_the_origin_for_options_alone(site):
    if site.kind == "adit":  # the reference asks for "/" of its own accord, or fails
        site.origin.heads.clear()
        visitor = say(site, "*", answer_ok, "OPTIONS * HTTP/1.1\r\nHost: HOST\r\n\r\n")
        assert status_of(head_of(visitor)) == 200
        assert site.origin.heads[-1].startswith(b"OPTIONS * HTTP/1.1\r\n")
        visitor = say(site, "*", answer_ok, "OPTIONS http://HOST HTTP/1.1\r\nHost: HOST\r\n\r\n")  # RFC 9112 §3.2.4
        assert status_of(head_of(visitor)) == 200
        assert site.origin.heads[-1].startswith(b"OPTIONS * HTTP/1.1\r\n")
    visitor = say(site, "*", answer_ok, "GET * HTTP/1.1\r\nHost: HOST\r\n\r\n")
    assert status_of(head_of(visitor)) == 400


# What Go's URLs cannot hold, the reference does not pass on; Adit has no such opinion.
TARGETS = ["/a%2Fb%2e%2E/%41?%41=%7e&x=%00", "/a/../b/./c//d", "/p;v=1,2?a=b?c=d", "/%E2%82%AC?%e2%82%ac", "/?", "/x?a+b%20c",
           "/sub-delims!$&'()*+,;=:@", "/a?b?c/d", "/a%2Fb%2f..%2e/%7Euser"]
TARGETS_OF_ADIT = ["/%zz?%", "/a|b", '/q"x"', "/[x]?{y}", "//double//slashes/", "/q?a=%20+%26&&b==;c=[]{}|\""]


def test_escapes_and_dots_in_a_target_are_left_alone(site):
    for target in TARGETS + (TARGETS_OF_ADIT if site.kind == "adit" else []):
        site.origin.heads.clear()
        visitor = say(site, target.split("?")[0], answer_ok, f"GET {target} HTTP/1.1\r\nHost: HOST\r\n\r\n")
        assert status_of(head_of(visitor)) == 200, target
        assert site.origin.heads[-1].split(b" ")[1] == target.encode() and fields(site.origin.heads[-1])["host"] == [site.host]


@pytest.mark.parametrize("over", [0, 1])
def test_a_target_may_have_thirty_two_kibibytes(site, over):
    site.origin.heads.clear()
    target = "/long?" + "q" * (32768 - 6 + over)
    visitor = say(site, "/long", answer_ok, f"GET {target} HTTP/1.1\r\nHost: HOST\r\n\r\n")
    assert status_of(head_of(visitor)) == (414 if over else 200)
    assert [head.split(b" ")[1] for head in site.origin.heads] == ([] if over else [target.encode()])


# ---- fields ----

CONDITIONS = {"range": "bytes=2-5,7-", "if-range": '"v1"', "if-match": '"a", W/"b"', "if-none-match": "*",
              "if-modified-since": "Sun, 06 Nov 1994 08:49:37 GMT", "if-unmodified-since": "Sunday, 06-Nov-94 08:49:37 GMT"}


def test_ranges_and_conditions_are_left_alone(site):
    def script(talk, head):
        got = {name: fields(head)[name] for name in CONDITIONS}
        assert got == {name: [value] for name, value in CONDITIONS.items()}
        return answer_ok(talk, head)

    visitor = site.ask("/if", script, [f"{name}: {value}" for name, value in CONDITIONS.items()])
    assert status_of(head_of(visitor)) == 200


@pytest.mark.parametrize("status, lines, body", [
    (206, ['Content-Range: bytes 2-5/10', 'ETag: "v1"', 'Accept-Ranges: bytes'], b"cdef"),
    (206, ["Content-Type: multipart/byteranges; boundary=B"], b"--B\r\nContent-Range: bytes 0-0/10\r\n\r\na\r\n--B--\r\n"),
    (416, ["Content-Range: bytes */10"], b"no"),
    (412, ['ETag: W/"v2"'], b"changed"),
    (304, ['ETag: "v1"', "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT", "Vary: Accept-Encoding"], b"")])
def test_answers_to_them_are_left_alone(site, status, lines, body):
    def script(talk, head):
        length = [] if status == 304 else [f"Content-Length: {len(body)}"]
        talk.say("\r\n".join([f"HTTP/1.1 {status} Whatever", *lines, *length, "", ""]).encode() + body)
        return True

    visitor = site.ask("/part", script)
    head = head_of(visitor)
    assert status_of(head) == status and visitor.exactly(len(body)) == body
    for line in lines:
        name, _, value = line.partition(": ")
        assert fields(head)[name.lower()] == [value]


def test_a_date_is_left_alone_and_one_that_is_missing_is_added(site):
    old = "Sun, 06 Nov 1994 08:49:37 GMT"

    def dated(talk, head):
        talk.say(f"HTTP/1.1 200 OK\r\nDate: {old}\r\nContent-Length: 2\r\n\r\nok".encode())
        return True

    assert fields(head_of(site.ask("/dated", dated)))["date"] == [old]
    for visitor in (site.ask("/undated", answer_ok), say(site, "/", answer_ok, "GET / HTTP/1.1\r\nHost: nobody.localhost\r\n\r\n"),
                    say(site, "/", answer_ok, "BAD\r\n\r\n")):
        dates = fields(head_of(visitor))["date"]
        assert len(dates) == 1 and re.fullmatch(DATE, dates[0])


def test_no_via_is_added_and_those_that_are_there_stay(site):
    def script(talk, head):
        talk.say(b"HTTP/1.1 200 OK\r\n" + (b"Via: 1.1 origins\r\n" if b"/via" in head else b"") + b"Content-Length: 2\r\n\r\nok")
        return True

    site.origin.heads.clear()
    assert "via" not in fields(head_of(site.ask("/none", script)))
    assert "via" not in fields(site.origin.heads[-1])
    assert fields(head_of(site.ask("/via", script, ["Via: 1.0 visitors"])))["via"] == ["1.1 origins"]
    assert fields(site.origin.heads[-1])["via"] == ["1.0 visitors"]


def test_what_belongs_to_one_hop_stays_there(site):
    def script(talk, head):
        talk.say(b"HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-End: 1\r\nContent-Length: 2\r\n\r\nok")
        return True

    site.origin.heads.clear()
    visitor = site.ask("/hop", script, ["Connection: X-Mine, close", "X-Mine: 1", "Keep-Alive: 5", "Proxy-Connection: close", "TE: gzip", "X-End: 2"])
    down, up = fields(head_of(visitor)), fields(site.origin.heads[-1])
    assert not {"x-hop", "keep-alive"} & down.keys() and down["x-end"] == ["1"]
    assert not {"x-mine", "keep-alive", "proxy-connection", "te"} & up.keys() and up["x-end"] == ["2"]


@pytest.mark.parametrize("lines", ["", "Host: HOST\r\nHost: HOST\r\n", "Host: HOST\r\nHost: other\r\n", "Host: a b\r\n", "Host: HOST/x\r\n"])
def test_a_host_that_is_missing_doubled_or_malformed_is_refused(site, lines):
    assert status_of(head_of(say(site, "/", answer_ok, f"GET / HTTP/1.1\r\n{lines}\r\n"))) == 400


def test_a_host_that_is_not_the_targets_is_refused(site):
    visitor = say(site, "/", answer_ok, "GET http://HOST/ HTTP/1.1\r\nHost: other.localhost\r\n\r\n")
    assert status_of(head_of(visitor)) == 400


def test_a_visitor_cannot_forge_in_its_trailers_what_the_edge_says_in_the_head(site):
    seen = []

    def script(talk, head):
        seen.append(talk.chunks())
        return answer_ok(talk, head)

    visitor = site.ask("/forged", script, ["Transfer-Encoding: chunked", "Trailer: X-Sum, Cf-Connecting-Ip", "Connection: x-forwarded-for"], "POST",
                       b"2\r\nok\r\n0\r\nCf-Connecting-Ip: 203.0.113.9\r\nX-Sum: 1\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n")
    assert status_of(head_of(visitor)) == 200
    assert seen == [(b"ok", [b"X-Sum: 1"] if site.kind == "adit" else [])]


# ---- the order of things ----

def test_an_upload_goes_on_while_its_answer_comes(site):
    """Each piece goes up only when the answer to the one before has come."""
    def echo(talk, head):
        talk.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(20):
            piece = talk.exactly(1000)
            talk.say(b"%x\r\n%s\r\n" % (len(piece), piece))
        talk.say(b"0\r\n\r\n")
        return True

    visitor = site.ask("/both", echo, ["Content-Length: 20000"], "POST", b"\0" * 1000)
    head = head_of(visitor)
    assert status_of(head) == 200 and fields(head)["connection"] == ["close"]
    for i in range(20):
        assert visitor.until(b"\r\n") == b"3e8\r\n"
        assert visitor.exactly(1002) == bytes([i]) * 1000 + b"\r\n"
        if i < 19:
            visitor.say(bytes([i + 1]) * 1000)
    assert visitor.exactly(5) == b"0\r\n\r\n"


def test_a_refusal_that_ends_the_upload_reaches_its_visitor_whole(site):
    def refuse(talk, head):
        talk.exactly(100_000)
        talk.say(b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 8\r\n\r\ntoo much")
        talk.s.shutdown(socket.SHUT_WR)
        talk.rest()

    size = 50_000_000
    visitor = site.ask("/much", refuse, [f"Content-Length: {size}"], "POST")

    def upload():
        try:
            for _ in range(size // 1_000_000):
                visitor.say(b"x" * 1_000_000)
        except OSError:
            pass  # nobody takes it any more

    thread = threading.Thread(target=upload)
    thread.start()
    head = head_of(visitor)
    assert status_of(head) == 413 and fields(head)["connection"] == ["close"]
    assert visitor.exactly(8) == b"too much"
    visitor.s.close()
    thread.join(60)
    assert not thread.is_alive()


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_visitor_that_has_said_all_still_gets_its_whole_answer(site, is_chunked):
    go = threading.Event()
    body = bytes(range(256)) * (LENGTH // 256)

    def slow(talk, head):
        assert talk.exactly(4) == b"body"
        assert go.wait(60)
        if is_chunked:
            talk.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        else:
            talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        return True

    visitor = site.ask("/half", slow, ["Content-Length: 4"], "POST", b"body")
    visitor.s.shutdown(socket.SHUT_WR)
    go.set()
    assert status_of(head_of(visitor)) == 200
    assert (visitor.chunks()[0] if is_chunked else visitor.exactly(len(body))) == body
    assert visitor.rest() == b""


def test_a_pipeline_of_all_kinds_is_answered_in_order_also_when_its_end_is_closed(site):
    def number(talk, head):
        length = int(fields(head).get("content-length", ["0"])[0])
        body = talk.chunks()[0] if "transfer-encoding" in fields(head) else talk.exactly(length)
        text = head.split(b" ")[1] + body
        talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text) + (b"" if head.startswith(b"HEAD") else text))
        return True

    kinds = ["GET /%d HTTP/1.1\r\nHost: HOST\r\n\r\n", "POST /%d HTTP/1.1\r\nHost: HOST\r\nContent-Length: 3\r\n\r\nabc",
             "HEAD /%d HTTP/1.1\r\nHost: HOST\r\n\r\n", "PUT /%d HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\n"]
    for i in range(12):
        site.origin.paths[f"/{i}"] = number
    visitor = site.visit()
    visitor.say("".join(kinds[i % 4] % i for i in range(12)).replace("HOST", site.host).encode())
    visitor.s.shutdown(socket.SHUT_WR)
    for i in range(12):
        text = b"/%d" % i + (b"", b"abc", b"", b"de")[i % 4]
        assert fields(head_of(visitor))["content-length"] == [str(len(text))]
        if i % 4 != 2:
            assert visitor.exactly(len(text)) == text
    assert visitor.rest() == b""


@pytest.mark.parametrize("kind", ["text/event-stream", "text/html; charset=utf-8"])
def test_a_thousand_events_each_reach_the_visitor_before_the_next_is_written(site, kind):
    seen, failures = threading.Semaphore(0), []

    def events(talk, head):
        talk.say(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for i in range(1000):
            event = b"data: %d\n\n" % i
            talk.say(b"%x\r\n%s\r\n" % (len(event), event))
            if not seen.acquire(timeout=60):
                failures.append(i)
                return
        talk.say(b"0\r\n\r\n")
        return True

    visitor = site.ask("/events", events)
    assert status_of(head_of(visitor)) == 200
    for i in range(1000):
        event = b"data: %d\n\n" % i
        assert visitor.until(b"\r\n") == b"%x\r\n" % len(event)
        assert visitor.exactly(len(event) + 2) == event + b"\r\n"
        seen.release()
    assert visitor.exactly(5) == b"0\r\n\r\n" and not failures
