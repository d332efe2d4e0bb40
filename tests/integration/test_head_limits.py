"""How large the head of a message may be: 100 KiB, or what --max-header-bytes says, at the edge and at the connector."""
import socket

import pytest

from conftest import Edge, LOOPBACK, Program, hostname_of, quick_command, until
from h2_origin import H2Origin
from ruled import Ruled, certificates
from scripted import Scripted, Talk, fields
from test_semantics import Site, answer_ok, head_of, status_of


class Limited(Site):
    """A site whose edge and connector take heads of other sizes."""

    def __init__(self, where, edge_flags, connector_flags):
        self.kind = "adit"
        self.origin = Scripted()
        self.edge = Edge(where, 1, [*LOOPBACK, *edge_flags])
        command = quick_command("adit", self.edge, self.origin.url) + connector_flags
        self.connector = Program(command, where / "connector.log", cwd=where)
        self.connector.wait_for("Registered tunnel connection")
        self.host = until(lambda: hostname_of(self.connector), "a hostname")


SIZES = {"default": (102400, 102400, []), "small": (8192, 2048, ["8192", "2048"]), "large": (196608, 196608, ["196608", "196608"])}


@pytest.fixture(scope="module", params=SIZES)
def site(request, tmp_path_factory):
    up, down, words = SIZES[request.param]
    flags = [["--max-header-bytes", word] for word in words] or [[], []]
    s = Limited(tmp_path_factory.mktemp(request.param), *flags)
    s.up, s.down = up, down
    yield s
    s.stop()


def head_of_size(start, size):
    """As many bytes as wanted, of a few long lines."""
    lines = [start]
    while (left := size - sum(len(line) + 2 for line in lines) - 2) > 0:
        n = min(left, 30000)
        if 0 < left - n < 100:  # no line would be that short
            n -= 200
        lines.append("X-Long: " + "~" * (n - 2 - 8))
    head = "".join(line + "\r\n" for line in lines) + "\r\n"
    assert len(head) == size
    return head.encode()


@pytest.mark.parametrize("over", [0, 1])
def test_a_request_has_a_head_of_that_size_at_most(site, over):
    seen = []

    def script(talk, head):
        seen.append(sum(len(v) for v in fields(head).get("x-long", [])))
        return answer_ok(talk, head)

    site.origin.paths["/up"] = script
    head = head_of_size(f"GET /up HTTP/1.1\r\nHost: {site.host}", site.up + over)
    visitor = site.visit()
    visitor.say(head)
    assert status_of(head_of(visitor)) == (431 if over else 200)
    assert seen == ([] if over else [head.count(b"~")])


def test_a_head_that_never_ends_is_refused_at_its_size(site):
    visitor = site.visit()
    visitor.say(f"GET / HTTP/1.1\r\nHost: {site.host}\r\nX-Long: ".encode() + b"~" * site.up)
    assert status_of(head_of(visitor)) == 431


@pytest.mark.parametrize("over", [0, 1])
def test_a_response_has_a_head_of_that_size_at_most(site, over):
    head = head_of_size("HTTP/1.1 200 OK\r\nContent-Length: 2", site.down + over)

    def script(talk, asked):
        talk.say(head + b"ok")
        return True

    visitor = site.ask("/down", script)
    got = head_of(visitor)
    if over:
        assert status_of(got) == 502
        site.connector.wait_for("the head is too large")
    else:
        assert status_of(got) == 200 and visitor.exactly(2) == b"ok"
        assert sum(len(v) for v in fields(got)["x-long"]) == head.count(b"~")


def test_a_response_over_http2_has_a_head_of_that_size_at_most(tmp_path):
    """Counted as HTTP/2 does, 32 bytes for each line besides its text."""
    certificates(tmp_path)
    origin = H2Origin(tmp_path / "server.pem", tmp_path / "server-key.pem")
    rules = f"""
ingress:
  - hostname: HOST
    service: https://localhost:{origin.port}
    originRequest: {{http2Origin: true, caPool: {tmp_path}/ca.pem}}
  - service: http_status:404
"""
    site = Ruled(tmp_path, rules, env={"ADIT_MAX_HEADER_BYTES": "150000"})
    try:
        most = 150_000 - len(":status" + "200") - 32 - 5 * (len("x-long") + 32)
        for path, status, size in ((f"/head/{most}", 200, most), (f"/head/{most + 1}", 502, 0), ("/fine", 200, 0)):
            visitor = Talk(socket.create_connection(("127.0.0.1", site.edge.port("http")), timeout=60))
            visitor.say(f"GET {path} HTTP/1.1\r\nHost: {site.host}\r\n\r\n".encode())
            head = head_of(visitor)
            assert (status_of(head), sum(len(v) for v in fields(head).get("x-long", []))) == (status, size)
            visitor.s.close()
    finally:
        site.stop()
        origin.stop()
