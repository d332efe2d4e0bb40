"""Origins over HTTP/2 (originRequest.http2Origin): the real nginx, and one on hyper-h2 that misbehaves; with both connectors where both
do the same."""
from concurrent.futures import ThreadPoolExecutor

import h11
import pytest
from client import Visitor, get
from conftest import KINDS, need
from h2_origin import BIG, H2Origin
from ruled import Nginx, Ruled

RULES = """
ingress:
  - hostname: HOST
    path: ^/nginx2
    service: https://localhost:NGINX
    originRequest: {http2Origin: true, caPool: DIR/ca.pem}
  - hostname: HOST
    path: ^/nginx1
    service: https://localhost:NGINX
    originRequest: {caPool: DIR/ca.pem}
  - hostname: HOST
    service: https://localhost:ODD
    originRequest: {http2Origin: true, caPool: DIR/ca.pem}
  - service: http_status:404
"""


@pytest.fixture(scope="module")
def nginx(tmp_path_factory):
    server = Nginx(tmp_path_factory.mktemp("nginx"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def odd(nginx):
    origin = H2Origin(nginx.dir / "server.pem", nginx.dir / "server-key.pem")
    yield origin
    origin.stop()


def ruled_of(tmp_path_factory, nginx, odd, kind):
    rules = RULES.replace("DIR", str(nginx.dir)).replace("NGINX", str(nginx.ports["http2"])).replace("ODD", str(odd.port))
    return Ruled(tmp_path_factory.mktemp(f"http2-{kind}"), rules, kind)


@pytest.fixture(scope="module", params=KINDS)
def ruled(request, tmp_path_factory, nginx, odd):
    need(request.param)
    ruled = ruled_of(tmp_path_factory, nginx, odd, request.param)
    yield ruled
    ruled.stop()


def body_of(ruled, target, **more):
    head, body = get(ruled, target, **more)
    assert head.status_code == 200, (head, body)
    return body.decode().split()


def test_the_origin_is_asked_over_http2_only_where_the_rule_says_so(ruled):
    assert body_of(ruled, "/nginx2?q=1")[0::2] == ["HTTP/2.0", "/nginx2?q=1"]
    assert body_of(ruled, "/nginx1")[0] == "HTTP/1.1"


def test_requests_one_after_the_other_and_at_once_share_a_connection(ruled):
    first = body_of(ruled, "/nginx2/0")[1]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: body_of(ruled, f"/nginx2/{i}"), range(40)))
    assert [a[1] for a in answers] == [first] * 40
    assert [a[2] for a in answers] == [f"/nginx2/{i}" for i in range(40)]


def test_a_body_is_carried_to_the_origin_and_counted(ruled, odd):
    assert body_of(ruled, "/echo", method="POST", body=b"x" * BIG, headers=[("Content-Length", str(BIG))]) == [str(BIG)]
    assert odd.seen[-1]["content-length"] == str(BIG)
    assert body_of(ruled, "/echo", method="POST", body=b"y" * BIG, headers=[("Transfer-Encoding", "chunked")]) == [str(BIG)]


def test_what_concerns_one_connection_is_not_sent(ruled, odd):
    assert body_of(ruled, "/fine", headers=[("Connection", "x-mine"), ("X-Mine", "1"), ("Keep-Alive", "3"), ("X-Other", "2")]) == ["fine"]
    assert odd.seen[-1]["x-other"] == "2" and not {"connection", "x-mine", "keep-alive", "host", "upgrade"} & odd.seen[-1].keys()
    assert odd.seen[-1][":scheme"] == "https" and odd.seen[-1][":authority"] == ruled.host


def test_a_request_that_the_origin_refused_is_sent_again(ruled, odd):
    odd.once.clear()
    assert body_of(ruled, "/refused", method="POST", headers=[("Content-Length", "0")]) == ["again"]
    assert body_of(ruled, "/goaway") == ["again"]


def test_a_reset_before_the_head_is_a_502(ruled):
    assert get(ruled, "/reset")[0].status_code == 502


def test_a_response_that_is_cut_is_cut_to_the_visitor(ruled):
    with Visitor(ruled.edge.port("http"), ruled.host) as visitor:
        visitor.request("GET", "/cut")
        assert visitor.event().status_code == 200 and visitor.event().data == b"half of"
        assert body_of(ruled, "/now") == ["done"]
        with pytest.raises((EOFError, h11.RemoteProtocolError, ConnectionError)):
            visitor.response()


def test_a_head_that_is_malformed_is_a_502(ruled):
    assert get(ruled, "/upper")[0].status_code == 502


def test_trailers_and_early_hints_do_not_disturb_the_body(ruled):
    assert body_of(ruled, "/trailers") == ["body"]
    with Visitor(ruled.edge.port("http"), ruled.host) as visitor:
        visitor.request("GET", "/early")
        event = visitor.event()
        while isinstance(event, h11.InformationalResponse):
            assert event.status_code == 103
            event = visitor.event()
        assert event.status_code == 200


def test_a_websocket_asks_over_http11(ruled):
    with Visitor(ruled.edge.port("http"), ruled.host) as visitor:
        visitor.request("GET", "/socket", [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
                                           ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")])
        head, body = visitor.response()
    assert (head.status_code, body) == (200, b"HTTP/1.1")


def test_an_origin_that_demands_http11_gets_it(ruled):
    if ruled.kind == "adit":
        assert body_of(ruled, "/h1") == ["HTTP/1.1"]
    else:
        assert get(ruled, "/h1")[0].status_code == 502
