"""HTTP as a proxy owes it (RFC 9110, RFC 9112), seen from both ends: raw bytes at the visitor and at the origin."""
import hashlib
import socket
import threading

import pytest

from conftest import Edge, LOOPBACK, Program, hostname_of, need, quick_command, until
from scripted import Scripted, Talk, fields


class Site:
    """An edge with a quick tunnel to a scripted origin."""

    def __init__(self, kind, where, workers=1, flags=()):
        self.kind = kind
        self.origin = Scripted()
        self.edge = Edge(where, workers, [*LOOPBACK, *flags])
        self.connector = Program([*quick_command(kind, self.edge, self.origin.url), *flags], where / "connector.log", cwd=where)
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

    head, _, body = site.ask("/cut", cut, ["Connection: close"]).rest().partition(b"\r\n\r\n")
    # The head may have been lost with the reset: then the edge answers itself.
    assert not head or status_of(head) == 502 or b"0\r\n" not in body


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


# ---- targets ----

def test_a_port_in_host_stays(site):
    visitor = site.visit()
    site.origin.paths["/port"] = answer_ok
    visitor.say(f"GET /port HTTP/1.1\r\nHost: {site.host}:8080\r\n\r\n".encode())
    assert status_of(head_of(visitor)) == 200
    assert fields(site.origin.heads[-1])["host"] == [f"{site.host}:8080"]

# ---- fields, bodies and statuses that pass untouched ----

GZIP = bytes.fromhex("1f8b08000000000000034bcc4a01000aeb95d903000000")


@pytest.mark.parametrize("asked", [None, "gzip", "br;q=1, gzip;q=0.5"])
def test_a_coded_body_is_neither_asked_for_nor_unpacked(either, asked):
    seen = []

    def coded(talk, head):
        seen.append(fields(head))
        talk.say(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nETag: \"z\"\r\nVary: Accept-Encoding\r\nContent-Length: %d\r\n\r\n%s" % (len(GZIP), GZIP))
        return True

    visitor = either.ask("/gzip", coded, [f"Accept-Encoding: {asked}"] if asked else [])
    got = fields(head_of(visitor))
    assert visitor.exactly(len(GZIP)) == GZIP
    assert (got["content-encoding"], got["content-length"], got["etag"], got["vary"]) == (["gzip"], [str(len(GZIP))], ['"z"'], ["Accept-Encoding"])
    # "identity" where the visitor said nothing: an edge must say something, or the reference's connector asks for gzip by itself.
    assert seen[0]["accept-encoding"] == [asked or "identity"]


def test_hop_by_hop_fields_end_at_the_hop(site):
    seen = []

    def hops(talk, head):
        seen.append(fields(head))
        talk.say(b"HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Mine\r\nKeep-Alive: timeout=5\r\nX-Mine: 1\r\nProxy-Connection: close\r\n"
                 b"Upgrade: h2c\r\nX-Yours: 2\r\nContent-Length: 0\r\n\r\n")
        return True

    visitor = site.ask("/hops", hops, ["Connection: keep-alive, x-drop", "X-Drop: 1", "Keep-Alive: timeout=9", "Proxy-Connection: keep-alive",
                                       "TE: trailers", "Upgrade: h2c", "X-Keep: 2"])
    got = fields(head_of(visitor))
    assert got["x-yours"] == ["2"] and not {"keep-alive", "x-mine", "proxy-connection", "upgrade"} & set(got)
    assert seen[0]["x-keep"] == ["2"] and seen[0]["te"] == ["trailers"] and seen[0]["connection"] == ["keep-alive"]
    assert not {"x-drop", "keep-alive", "proxy-connection", "upgrade"} & set(seen[0])


@pytest.mark.parametrize("method, status, lines, kept", [
    ("HEAD", 200, b"Content-Length: 1234\r\n", ["1234"]), ("HEAD", 200, b"Transfer-Encoding: chunked\r\n", None),
    ("GET", 204, b"", None), ("GET", 304, b"ETag: \"a\"\r\nContent-Length: 99\r\n", ["99"]), ("HEAD", 404, b"Content-Length: 7\r\n", ["7"])])
def test_a_response_without_a_body_leaves_the_connection_usable(either, method, status, lines, kept):
    def bare(talk, head):
        talk.say(b"HTTP/1.1 %d X\r\n%s\r\n" % (status, lines))
        return True

    visitor = either.ask("/bare", bare, method=method)
    head = head_of(visitor)
    assert status_of(head) == status and fields(head).get("content-length") == kept
    either.origin.paths["/after"] = answer_ok
    visitor.say(f"GET /after HTTP/1.1\r\nHost: {either.host}\r\n\r\n".encode())
    assert status_of(head_of(visitor)) == 200 and visitor.exactly(2) == b"ok"


# ---- half-closed, pipelined, early ----

def test_pipelined_requests_with_bodies_are_answered_in_order_and_one_after_the_other(site):
    running = []

    def one(talk, head):
        running.append(1)
        body = talk.exactly(int(fields(head)["content-length"][0]))
        assert len(running) == 1  # nobody asks the origin out of turn
        talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        running.pop()
        return True

    site.origin.paths["/one"] = one
    visitor = site.visit()
    bodies = [b"%d" % i * (i * 700 + 1) for i in range(1, 8)]
    visitor.say(b"".join(b"POST /one HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s" % (site.host.encode(), len(b), b) for b in bodies))
    for body in bodies:
        head = head_of(visitor)
        assert status_of(head) == 200 and visitor.exactly(len(body)) == body


def test_an_origin_that_refuses_an_upload_and_hangs_up_is_heard(site):
    def refuse(talk, head):
        talk.say(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nno!")

    visitor = site.ask("/large-upload", refuse, ["Content-Length: 50000000"], "POST")
    sender = threading.Thread(target=send_all, args=(visitor.s, 50_000_000), daemon=True)
    sender.start()
    head = head_of(visitor)
    assert status_of(head) == 413 and fields(head)["connection"] == ["close"]
    assert visitor.exactly(3) == b"no!"
    visitor.s.close()
    sender.join(30)
    assert not sender.is_alive()


def send_all(s, size):
    try:
        while size > 0:
            s.sendall(b"x" * min(size, 1 << 16))
            size -= 1 << 16
    except OSError:
        pass


def test_connections_to_the_origin_are_used_again(site):
    talks = set()

    def count(talk, head):
        talks.add(id(talk))
        talk.say(OK)
        return True

    for _ in range(20):
        visitor = site.ask("/again", count, ["Connection: close"])
        assert visitor.rest().endswith(b"ok")
    assert len(talks) <= 4  # one for each of the connector's workers, and those that other tests left


# ---- limits ----

@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """An edge and a connector that take small heads alone."""
    s = Site("adit", tmp_path_factory.mktemp("small"), flags=["--max-header-bytes", "4096"])
    yield s
    s.stop()


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    s = Site("adit", tmp_path_factory.mktemp("usual"))
    yield s
    s.stop()


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    s = Site("adit", tmp_path_factory.mktemp("wide"), flags=["--max-header-bytes", "196608"])
    yield s
    s.stop()


def lines_of(size):
    """Field lines of so many bytes together."""
    lines = []
    while size > 0:
        n = min(size, 8000)
        n = size if size - n < 100 else n
        lines.append("X-L: " + "v" * (n - 7))
        size -= n
    return lines


@pytest.mark.parametrize("fixture, fits, is_too_large", [("small", 3800, 4200), ("usual", 100_000, 103_000), ("wide", 190_000, 197_000)])
def test_the_limit_of_a_requests_head_is_an_option(request, fixture, fits, is_too_large):
    at = request.getfixturevalue(fixture)
    assert status_of(head_of(at.ask("/limit", answer_ok, lines_of(fits)))) == 200
    assert sum(len(line) for line in fields(at.origin.heads[-1])["x-l"]) > fits - 300
    assert status_of(head_of(at.ask("/limit", answer_ok, lines_of(is_too_large)))) == 431


@pytest.mark.parametrize("fixture, fits, is_too_large", [("small", 3800, 4200), ("usual", 100_000, 103_000), ("wide", 190_000, 197_000)])
def test_the_limit_of_a_responses_head_is_an_option(request, fixture, fits, is_too_large):
    at = request.getfixturevalue(fixture)

    def answer(size):
        def script(talk, head):
            talk.say(("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + "".join(line + "\r\n" for line in lines_of(size)) + "\r\n").encode())
            return True

        return script

    head = head_of(at.ask("/large-head", answer(fits)))
    assert status_of(head) == 200 and len(head) > fits
    assert status_of(head_of(at.ask("/large-head", answer(is_too_large)))) == 502
