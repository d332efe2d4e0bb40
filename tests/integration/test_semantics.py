"""HTTP as a proxy owes it (RFC 9110, RFC 9112), seen from both ends: raw bytes at the visitor and at the origin."""
import hashlib
import re
import socket
import threading

import pytest

from conftest import Edge, LOOPBACK, Program, hostname_of, need, quick_command, until
from scripted import Scripted, Talk, fields


class Site:
    """An edge with a quick tunnel to a scripted origin."""

    def __init__(self, kind, where, workers=1):
        self.kind = kind
        self.origin = Scripted()
        self.edge = Edge(where, workers, LOOPBACK)
        self.connector = Program(quick_command(kind, self.edge, self.origin.url), where / "connector.log", cwd=where)
        self.connector.wait_for("Registered tunnel connection")
        self.host = until(lambda: hostname_of(self.connector), "a hostname")

    def visit(self):
        s = socket.create_connection(("127.0.0.1", self.edge.port("http")), timeout=60)
        return Talk(s)

    def ask(self, path, script, lines=(), method="GET", body=b""):
        """A connection on which a request is out."""
        self.origin.paths[path.split("?")[0]] = script
        talk = self.visit()
        talk.say("".join([f"{method} {path} HTTP/1.1\r\n", f"Host: {self.host}\r\n", *(line + "\r\n" for line in lines), "\r\n"]).encode() + body)
        return talk

    def stop(self):
        code, edge_code = self.connector.stop(), self.edge.stop()
        for program in (self.connector, self.edge):
            assert "runtime error" not in program.text() and "Sanitizer" not in program.text(), program.text()[-6000:]
        assert edge_code == 0 and (code == 0 or self.kind != "adit")
        self.origin.stop()


@pytest.fixture(scope="module", params=[("adit", 1), ("adit", 4)], ids=["adit-1", "adit-4"])
def site(request, tmp_path_factory):
    s = Site(request.param[0], tmp_path_factory.mktemp("semantics"), request.param[1])
    yield s
    s.stop()


@pytest.fixture(scope="module", params=["adit", "cloudflared"])
def either(request, tmp_path_factory):
    """What the plain protocol can do too."""
    need(request.param)
    s = Site(request.param, tmp_path_factory.mktemp("either"))
    yield s
    s.stop()


def head_of(talk):
    return talk.until(b"\r\n\r\n")


def status_of(head):
    return int(head.split(b" ")[1])


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def answer_ok(talk, head):
    talk.say(OK)
    return True


# ---- interim responses ----

def test_interim_responses_reach_the_visitor_before_the_final_one(site):
    go = threading.Event()

    def hints(talk, head):
        talk.say(b"HTTP/1.1 102 Processing\r\n\r\n")
        talk.say(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: </b.js>\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n")
        assert go.wait(30)
        talk.say(OK)
        return True

    visitor = site.ask("/hints", hints)
    assert status_of(head_of(visitor)) == 102
    early = head_of(visitor)  # while the origin has not answered
    assert early.startswith(b"HTTP/1.1 103 Early Hints\r\n")
    assert fields(early) == {"link": ["</a.css>; rel=preload", "</b.js>"]}
    go.set()
    assert status_of(head_of(visitor)) == 200 and visitor.exactly(2) == b"ok"


def test_an_old_visitor_gets_no_interim_response(site):
    def hints(talk, head):
        talk.say(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + OK)
        return True

    site.origin.paths["/old"] = hints
    visitor = site.visit()
    visitor.say(f"GET /old HTTP/1.0\r\nHost: {site.host}\r\n\r\n".encode())
    assert status_of(head_of(visitor)) == 200


def test_a_plain_connector_keeps_interim_responses_to_itself(either):
    def hints(talk, head):
        talk.say(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + OK)
        return True

    visitor = either.ask("/hints", hints)
    assert status_of(head_of(visitor)) == (103 if either.kind == "adit" else 200)


# ---- Expect ----

EXPECTS = ["Expect: 100-continue", "Content-Length: 5"]


def test_a_visitor_that_waits_is_asked_to_go_on_when_the_origin_does(site):
    asked, go = threading.Event(), threading.Event()

    def careful(talk, head):
        assert fields(head)["expect"] == ["100-continue"]
        asked.set()
        assert go.wait(30)
        talk.say(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert talk.exactly(5) == b"hello"
        talk.say(OK)
        return True

    visitor = site.ask("/careful", careful, EXPECTS, "POST")
    assert asked.wait(30)
    go.set()
    assert status_of(head_of(visitor)) == 100
    visitor.say(b"hello")
    assert status_of(head_of(visitor)) == 200  # and no second 100


@pytest.mark.parametrize("status", [417, 401, 413, 200])
def test_a_visitor_that_waits_gets_a_final_answer_without_a_100(site, status):
    def refuse(talk, head):
        talk.say(b"HTTP/1.1 %d Answer\r\nContent-Length: 2\r\n\r\nno" % status)
        talk.rest()

    visitor = site.ask("/refuse", refuse, EXPECTS, "POST")
    head = head_of(visitor)
    assert status_of(head) == status and fields(head)["connection"] == ["close"]  # its body will not be read
    assert visitor.rest() == b"no"


def test_a_visitor_that_waits_is_asked_to_go_on_when_the_origin_knows_no_100(either):
    def ignorant(talk, head):
        assert talk.exactly(5) == b"hello"
        talk.say(OK)
        return True

    visitor = either.ask("/ignorant", ignorant, EXPECTS, "POST")
    assert status_of(head_of(visitor)) == 100
    visitor.say(b"hello")
    assert status_of(head_of(visitor)) == 200


def test_a_visitor_that_does_not_wait_is_told_no_100(site):
    def eager(talk, head):
        talk.say(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert talk.exactly(5) == b"hello"
        talk.say(OK)
        return True

    visitor = site.ask("/eager", eager, ["Content-Length: 5"], "POST", b"hello")
    assert status_of(head_of(visitor)) == 200


# ---- trailers ----

def with_trailers(announced):
    def script(talk, head):
        talk.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + (b"Trailer: X-Sum, X-Took\r\n" if announced else b"") + b"\r\n"
                 b"5\r\nhello\r\n0\r\nX-Sum: 1234\r\nX-Took: 5 ms\r\nContent-Length: 7\r\n\r\n")
        return True

    return script


@pytest.mark.parametrize("announced, lines", [(True, []), (True, ["TE: trailers"]), (False, ["TE: trailers"])], ids=["announced", "both", "asked for"])
def test_trailers_of_the_origin_reach_the_visitor(site, announced, lines):
    visitor = site.ask("/down", with_trailers(announced), lines)
    head = head_of(visitor)
    assert fields(head).get("trailer") == (["X-Sum, X-Took"] if announced else None)
    assert visitor.chunks() == (b"hello", [b"X-Sum: 1234", b"X-Took: 5 ms"])


def test_a_large_body_arrives_whole_with_its_trailers(site):
    piece = bytes(range(256)) * 40

    def large(talk, head):
        talk.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
        for _ in range(300):
            talk.say(b"%x\r\n%s\r\n" % (len(piece), piece))
        talk.say(b"0\r\nX-Sum: 1\r\n\r\n")
        return True

    visitor = site.ask("/large", large)
    head_of(visitor)
    body, lines = visitor.chunks()
    assert hashlib.sha256(body).digest() == hashlib.sha256(piece * 300).digest() and lines == [b"X-Sum: 1"]


def test_an_old_visitor_gets_the_body_without_trailers(site):
    site.origin.paths["/down"] = with_trailers(True)
    visitor = site.visit()
    visitor.say(f"GET /down HTTP/1.0\r\nHost: {site.host}\r\n\r\n".encode())
    head = head_of(visitor)
    assert "transfer-encoding" not in fields(head)
    assert visitor.rest() == b"hello"


@pytest.mark.parametrize("size", [5, 3_000_000])
def test_trailers_of_the_visitor_reach_the_origin(site, size):
    seen = []

    def take(talk, head):
        seen.append((fields(head), *talk.chunks()))
        talk.say(OK)
        return True

    body = b"x" * size
    visitor = site.ask("/up", take, ["Transfer-Encoding: chunked", "Trailer: X-Sum"], "POST",
                       b"%x\r\n%s\r\n0\r\nX-Sum: 77\r\nHost: other\r\n\r\n" % (size, body))
    assert status_of(head_of(visitor)) == 200
    head, got, lines = seen[0]
    assert head["trailer"] == ["X-Sum"] and got == body and lines == [b"X-Sum: 77"]


def test_a_response_with_trailers_that_the_origin_cuts_off_never_looks_whole(site):
    def cut(talk, head):
        talk.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n")

    visitor = site.ask("/cut", cut)
    data = visitor.rest()
    assert b"0\r\n" not in data.partition(b"\r\n\r\n")[2]


def test_a_plain_connector_ends_trailers_and_their_announcement(either):
    seen = []

    def both(talk, head):
        seen.append((fields(head), *talk.chunks()))
        return with_trailers(True)(talk, head)

    visitor = either.ask("/both", both, ["Transfer-Encoding: chunked", "Trailer: X-Sum"], "POST", b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n")
    head = head_of(visitor)
    body, lines = visitor.chunks()
    assert body == b"hello" and seen[0][1] == b"hello"
    is_ours = either.kind == "adit"
    assert ("trailer" in fields(head), bool(lines)) == (is_ours, is_ours)
    assert ("trailer" in seen[0][0], bool(seen[0][2])) == (is_ours, is_ours)
