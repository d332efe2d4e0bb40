"""HTTP/1.1 through the tunnel, with both connectors and with one and four workers."""
import hashlib
import json
import re
import socket
import ssl
import subprocess
import threading

import h11
import pytest

from client import Visitor, get, header
from conftest import until

pytestmark = pytest.mark.threads


def test_a_get_is_answered_by_the_origin(tunnel):
    head, body = get(tunnel, "/")
    assert head.status_code == 200 and body == b"hello\n"


def test_the_origin_learns_who_asks(tunnel):
    head, body = get(tunnel, "/echo?q=%2F", headers=[("X-Forwarded-For", "203.0.113.9"), ("Cf-Connecting-Ip", "203.0.113.9")])
    seen = json.loads(body)
    fields = {k.lower(): v for k, v in seen["headers"]}
    assert seen["path"] == "/echo?q=%2F"
    assert fields["host"] == tunnel.host
    assert fields["cf-connecting-ip"] == "127.0.0.1"
    assert fields["x-forwarded-for"] == "203.0.113.9,127.0.0.1"
    assert fields["x-forwarded-proto"] == "http"
    assert json.loads(fields["cf-visitor"]) == {"scheme": "http"}
    assert len(fields["cf-ray"]) > 16


def test_a_request_has_one_id_on_its_whole_way(tunnel):
    head, body = get(tunnel, "/echo")
    ray = header(head, "cf-ray")
    assert re.fullmatch(r"[0-9a-f]{16}-ADT", ray)
    assert [v for k, v in json.loads(body)["headers"] if k.lower() == "cf-ray"] == [ray]
    until(lambda: f"request={ray[:16]}" in tunnel.edge.text(), "the id in the edge's log")
    head, body = get(tunnel, "/", host="nobody.localhost")
    assert header(head, "cf-ray")[:16] in body.decode()


@pytest.mark.parametrize("said, told", [([], "adit; loops=1"), (["other; x=1"], "other; x=1, adit; loops=1"),
                                        (["adit; loops=2, other", "Adit"], "other, adit; loops=4")])
def test_the_origin_learns_how_many_edges_the_request_passed(tunnel, said, told):
    head, body = get(tunnel, "/echo", headers=[("Cdn-Loop", line) for line in said])
    assert [v for k, v in json.loads(body)["headers"] if k.lower() == "cdn-loop"] == [told]


@pytest.mark.parametrize("size", [1, 1000, 100_000, 3_000_000])
def test_a_body_of_known_length_arrives_whole(tunnel, size):
    data = bytes(i * 7 % 256 for i in range(size))
    head, body = get(tunnel, "/echo", "POST", [("Content-Length", str(size))], data)
    seen = json.loads(body)
    assert seen["bytes"] == size and seen["sha256"] == hashlib.sha256(data).hexdigest()


def test_a_chunked_body_arrives_whole(tunnel):
    data = b"0123456789abcdef" * 50_000
    with Visitor(tunnel.edge.port("http"), tunnel.host) as visitor:
        visitor.send(h11.Request(method="POST", target="/echo", headers=[("Host", tunnel.host), ("Transfer-Encoding", "chunked")]))
        for at in range(0, len(data), 7777):
            visitor.send(h11.Data(data=data[at:at + 7777]))
        visitor.send(h11.EndOfMessage())
        head, body = visitor.response()
    seen = json.loads(body)
    assert seen["bytes"] == len(data) and seen["sha256"] == hashlib.sha256(data).hexdigest()


def test_an_empty_post_says_so(tunnel):
    head, body = get(tunnel, "/echo", "POST", [("Content-Length", "0")])
    fields = {k.lower(): v for k, v in json.loads(body)["headers"]}
    if (tunnel.kind, tunnel.transport) == ("cloudflared", "http2"):
        assert fields.get("transfer-encoding") == "chunked"  # Go's server cannot tell "0" from nothing said
    else:
        assert fields.get("content-length") == "0"


@pytest.mark.parametrize("size", [0, 1, 65536, 10_000_000])
def test_a_response_of_known_length_arrives_whole(tunnel, size):
    head, body = get(tunnel, f"/bytes/{size}")
    assert header(head, "content-length") == str(size)
    assert len(body) == size and body == (bytes(range(256)) * (size // 256 + 1))[:size]


def test_a_chunked_response_arrives_whole(tunnel):
    head, body = get(tunnel, "/chunks/1000")
    assert header(head, "transfer-encoding") == "chunked"
    assert body == b"".join(b"chunk %d\n" % i for i in range(1000))


def test_a_response_until_the_connection_ends_arrives_whole(tunnel):
    head, body = get(tunnel, "/close")
    assert body == b"until the end\n"


@pytest.mark.parametrize("status", [204, 304, 404, 500])
def test_a_status_passes(tunnel, status):
    head, body = get(tunnel, f"/status/{status}")
    assert head.status_code == status
    assert body == (b"" if status in (204, 304) else b"status %d\n" % status)


def test_head_has_a_length_and_no_body(tunnel):
    head, body = get(tunnel, "/bytes/12345", "HEAD")
    assert head.status_code == 200 and body == b"" and header(head, "content-length") == "12345"


def test_a_connection_serves_many_requests(tunnel):
    with Visitor(tunnel.edge.port("http"), tunnel.host) as visitor:
        for i in range(50):
            visitor.request("GET", f"/bytes/{i * 100}")
            head, body = visitor.response()
            assert len(body) == i * 100


def test_pipelined_requests_are_answered_in_order(tunnel):
    with socket.create_connection(("127.0.0.1", tunnel.edge.port("http")), timeout=60) as s:
        one = "GET /bytes/%d HTTP/1.1\r\nHost: " + tunnel.host + "\r\n%s\r\n"
        s.sendall("".join(one % (i, "Connection: close\r\n" if i == 9 else "") for i in range(10)).encode())
        data = b""
        while piece := s.recv(65536):
            data += piece
    assert data.count(b"HTTP/1.1 200") == 10
    lengths = [int(line.split(b":")[1]) for line in data.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    assert lengths == list(range(10))


def test_a_hundred_continue_comes_before_the_body_is_sent(tunnel):
    with Visitor(tunnel.edge.port("http"), tunnel.host) as visitor:
        visitor.send(h11.Request(method="POST", target="/echo",
                                 headers=[("Host", tunnel.host), ("Content-Length", "5"), ("Expect", "100-continue")]))
        event = visitor.event()
        assert isinstance(event, h11.InformationalResponse) and event.status_code == 100
        visitor.send(h11.Data(data=b"hello"))
        visitor.send(h11.EndOfMessage())
        head, body = visitor.response()
    assert json.loads(body)["bytes"] == 5


@pytest.mark.parametrize("kind", ["text-html", "text-event-stream", "application-json"])
def test_nothing_of_a_streamed_response_is_held_back(tunnel, kind):
    with Visitor(tunnel.edge.port("http"), tunnel.host) as visitor, Visitor(tunnel.edge.port("http"), tunnel.host) as other:
        visitor.request("GET", f"/stepwise/{kind}")
        got = b""
        for i in range(3):
            while b"piece %d\n" % i not in got:
                event = visitor.event()
                got += event.data if isinstance(event, h11.Data) else b""
            other.request("GET", "/next")
            other.response()


def test_a_response_that_the_origin_cut_off_never_looks_complete(tunnel):
    for target in ("/cut", "/cut-chunks"):
        try:
            head, body = get(tunnel, target)
        except (h11.RemoteProtocolError, ConnectionError, EOFError):
            continue
        # The head may have been lost with the reset: then the edge answers itself.
        assert head.status_code == 502, (target, head)


def test_a_hundred_visitors_at_once(tunnel):
    failures = []

    def one(i):
        try:
            head, body = get(tunnel, f"/bytes/{i * 1000}")
            assert len(body) == i * 1000
        except Exception as e:
            failures.append(e)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(100)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


def test_a_visitor_that_leaves_harms_nobody(tunnel):
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", tunnel.edge.port("http"))) as s:
            s.sendall(f"GET /bytes/50000000 HTTP/1.1\r\nHost: {tunnel.host}\r\n\r\n".encode())
            s.recv(1000)
    head, body = get(tunnel, "/")
    assert body == b"hello\n"


def curl(edge, host, path, *flags):
    """By a name that curl verifies against the edge's CA."""
    port = edge.port("https")
    return subprocess.run(["curl", "-sS", "--cacert", edge.dir / "ca.pem", "--resolve", f"{host}:{port}:127.0.0.1", *flags,
                           f"https://{host}:{port}{path}"], capture_output=True, timeout=60)


def test_curl_verifies_the_hostname_over_https(tunnel):
    out = curl(tunnel.edge, tunnel.host, "/echo")
    assert out.returncode == 0, out.stderr
    fields = {k.lower(): v for k, v in json.loads(out.stdout)["headers"]}
    assert fields["x-forwarded-proto"] == "https"


@pytest.mark.parametrize("host", ["localhost", "nobody-serves-this.localhost", "UPPER.LocalHost", "a.b.c.localhost"])
def test_every_hostname_below_the_edges_domain_has_a_certificate(tunnel, host):
    out = curl(tunnel.edge, host, "/")
    assert out.returncode == 0 and b"No tunnel serves this hostname" in out.stdout, out.stderr


def test_a_hostname_of_somebody_else_gets_no_certificate(tunnel):
    out = curl(tunnel.edge, "www.example.com", "/")
    assert out.returncode == 60, (out.returncode, out.stderr)  # the peer's certificate does not match


def certificate(edge, host):
    context = ssl.create_default_context(cafile=edge.dir / "ca.pem")
    with socket.create_connection(("127.0.0.1", edge.port("https")), timeout=60) as s:
        with context.wrap_socket(s, server_hostname=host) as tls:
            return tls.getpeercert()


def test_a_hostnames_certificate_is_for_it_alone_and_is_kept(tunnel):
    first = certificate(tunnel.edge, tunnel.host)
    assert first["subjectAltName"] == (("DNS", tunnel.host),)
    seen = {certificate(tunnel.edge, tunnel.host)["serialNumber"] for _ in range(20)}
    assert len(seen) <= 4  # one for each worker


def test_an_unknown_hostname_has_its_own_page(tunnel):
    head, body = get(tunnel, "/", host="nobody.localhost")
    assert head.status_code == 404 and b"No tunnel serves this hostname" in body
    head, body = get(tunnel, "/", host="nobody.localhost", headers=[("Accept", "application/json")])
    assert json.loads(body)["code"] == 1001
    head, body = get(tunnel, "/", host="nobody.localhost", headers=[("Accept", "text/html")])
    assert body.startswith(b"<!doctype html>")


SMUGGLING = [
    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "GET / HTTP/1.1\r\nHost : h\r\n\r\n",
    "GET / HTTP/1.1\nHost: h\n\n",
    "GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n",
    "GET / HTTP/1.1\r\n\r\n",
]


@pytest.mark.parametrize("raw", SMUGGLING)
def test_ambiguous_requests_are_refused_and_the_connection_closed(tunnel, raw):
    with socket.create_connection(("127.0.0.1", tunnel.edge.port("http")), timeout=30) as s:
        s.sendall(raw.replace("Host: h\r\n", f"Host: {tunnel.host}\r\n").encode())
        data = b""
        while piece := s.recv(65536):
            data += piece
    assert data.split(b" ")[1] in (b"400", b"501"), data[:100]
    assert data.count(b"HTTP/1.1") == 1


def test_the_edge_counts(tunnel):
    get(tunnel, "/")
    counts = tunnel.edge.metrics()
    assert counts["adit_edge_requests_total"] > 0
    assert counts["adit_edge_links"] >= 1
