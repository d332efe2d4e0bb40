"""A connector made of aioquic and pycapnp against adit-edge: what it does well must work, what it does badly must harm nobody else."""
import asyncio
import json
import socket
import struct
import threading

import h11
import pytest
import wire
from client import Visitor, get, header
from conftest import Edge, ask_quick_tunnel, stop_clean, until
from handmade_connector import Connector
from peer import ALPN, dial, hang_up

ANSWERS = {}


def answer(path):
    def keep(function):
        ANSWERS[path] = function
        return function
    return keep


@pytest.fixture(scope="module", params=[1, 4], ids=["1 worker", "4 workers"])
def server(request, tmp_path_factory):
    edge = Edge(tmp_path_factory.mktemp("aioquic"), request.param)
    yield edge
    stop_clean(edge)


@pytest.fixture(scope="module")
def connector(server):
    connector = Connector(server, ask_quick_tunnel(server), ANSWERS)
    connector.run(connector.register())
    yield connector
    connector.stop()


@pytest.fixture
def spare(server):
    """A connector of another tunnel, for tests that end its connections."""
    connector = Connector(server, ask_quick_tunnel(server), ANSWERS)
    yield connector
    connector.stop()


def still_serves(connector):
    head, body = get(connector, "/good")
    assert head.status_code == 200 and body == b"a good answer"


# ---- the handshake ----

def test_another_protocol_than_argotunnel_is_refused(connector):
    with pytest.raises(ConnectionError) as failure:
        connector.run(dial(connector.edge.addresses["tunnel"], connector.edge.dir / "ca.pem", alpn=["h3"]))
    assert failure.value.peer.why is not None  # the edge said so; nothing timed out
    still_serves(connector)


def test_the_refusal_tells_the_tls_alert(connector):
    with pytest.raises(ConnectionError) as failure:
        connector.run(dial(connector.edge.addresses["tunnel"], connector.edge.dir / "ca.pem", alpn=["h3"]))
    assert failure.value.peer.why.error_code == 0x100 + 120  # no_application_protocol: RFC 9001 §8.1


@pytest.mark.parametrize("name", ["quic.cftunnel.com", "h2.cftunnel.com", "probe.cftunnel.com", "localhost"])
def test_a_strict_client_accepts_the_certificate_under_its_names(connector, name):
    async def dial_and_hang_up():
        await hang_up(await dial(connector.edge.addresses["tunnel"], connector.edge.dir / "ca.pem", server_name=name))

    connector.run(dial_and_hang_up())


def test_a_strict_client_refuses_the_certificate_under_another_name(connector):
    with pytest.raises(ConnectionError):
        connector.run(dial(connector.edge.addresses["tunnel"], connector.edge.dir / "ca.pem", server_name=connector.host))


def test_the_edge_offers_what_a_connector_needs(connector):
    async def parameters():
        peer = await connector.dial()
        quic = peer._quic
        found = (quic._remote_max_datagram_frame_size, quic._remote_max_streams_bidi, quic._remote_max_idle_timeout,
                 quic.tls.alpn_negotiated)
        await hang_up(peer)
        return found

    datagram, streams, idle, alpn = connector.run(parameters())
    assert datagram > 0 and streams > 0 and idle >= 5 and alpn == ALPN


# ---- good answers ----

@answer("/good")
async def good(stream, request):
    stream.write(wire.response_head(200, [("Content-Length", "13"), ("X-From", "aioquic")]) + b"a good answer", True)


def test_a_good_answer_arrives(connector):
    head, body = get(connector, "/good")
    assert head.status_code == 200 and body == b"a good answer" and header(head, "x-from") == "aioquic"


@answer("/seen?a=%2Fb&c")
async def seen(stream, request):
    text = json.dumps({"head": request.head, "preamble": request.preamble.hex()}).encode()
    stream.write(wire.response_head(200, [("Content-Type", "application/json")]) + text, True)


def test_the_request_is_what_a_connector_expects(connector):
    head, body = get(connector, "/seen?a=%2Fb&c", "DELETE", [("X-Twice", "one"), ("X-Twice", "two"), ("Cookie", "k=v")])
    seen = json.loads(body)
    pairs = [tuple(pair) for pair in wire.pairs_of(seen["head"])]
    assert seen["preamble"] == wire.PREAMBLE.hex()
    assert seen["head"]["type"] == "http" and seen["head"]["dest"].endswith("/seen?a=%2Fb&c")
    assert ("HttpMethod", "DELETE") in pairs and ("HttpHost", connector.host) in pairs
    assert [value for key, value in pairs if key.lower() == "httpheader:x-twice"] == ["one", "two"]
    assert wire.header_of(seen["head"], "cookie") == "k=v" and wire.header_of(seen["head"], "cf-ray")
    assert wire.header_of(seen["head"], "accept-encoding"), "without it the reference asks for gzip and unpacks it"


@answer("/bytewise")
async def bytewise(stream, request):
    await stream.write_bytewise(wire.response_head(200, [("Content-Length", "13")]) + b"piece by byte", True)


def test_an_answer_in_pieces_of_one_byte_arrives(connector):
    head, body = get(connector, "/bytewise")
    assert head.status_code == 200 and body == b"piece by byte"


@answer("/unframed")
async def unframed(stream, request):
    stream.write(wire.response_head(200) + b"x" * 100_000)
    stream.write(b"y" * 100_000, True)


def test_a_body_without_a_length_ends_with_the_stream(connector):
    head, body = get(connector, "/unframed")
    assert head.status_code == 200 and body == b"x" * 100_000 + b"y" * 100_000


@answer("/echo")
async def echo(stream, request):
    body = await stream.rest()
    stream.write(wire.response_head(200, [("Content-Length", str(len(body)))]) + body, True)


@pytest.mark.parametrize("framing", ["Content-Length", "Transfer-Encoding"])
def test_a_request_body_comes_with_its_framing_and_a_fin(connector, framing):
    data = bytes(i % 253 for i in range(700_000))
    value = str(len(data)) if framing == "Content-Length" else "chunked"
    head, body = get(connector, "/echo", "POST", [(framing, value)], data)
    assert head.status_code == 200 and body == data
    sent = next(r for r in reversed(connector.requests) if r.target == "/echo")
    assert sent.header(framing) == value


@answer("/early")
async def early(stream, request):
    stream.write(wire.response_head(403, [("Content-Length", "2")]) + b"no", True)
    stream.stop()


def test_an_answer_before_the_body_was_read_arrives(connector):
    with Visitor(connector.edge.port("http"), connector.host) as visitor:
        visitor.send(h11.Request(method="POST", target="/early", headers=[("Host", connector.host), ("Content-Length", "5000000")]))
        visitor.send(h11.Data(data=b"a beginning"))
        assert visitor.event().status_code == 403
        assert visitor.event().data == b"no"
    still_serves(connector)


def test_many_streams_at_once(connector):
    failures = []

    def one(target, content):
        try:
            assert get(connector, target)[1] == content
        except Exception as e:
            failures.append(e)

    wanted = [("/good", b"a good answer"), ("/bytewise", b"piece by byte"), ("/unframed", b"x" * 100_000 + b"y" * 100_000)] * 10
    threads = [threading.Thread(target=one, args=pair) for pair in wanted]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


# ---- the connector says that the origin failed ----

@answer("/error")
async def error(stream, request):
    stream.write(wire.error_head("Unable to reach the origin service: <b>dial</b>"), True)


@answer("/limited")
async def limited(stream, request):
    stream.write(wire.error_head("too many active flows", [("FlowConnectRateLimited", "true")]), True)


@answer("/error-not-utf8")
async def error_not_utf8(stream, request):
    stream.write(wire.error_head("MARKED").replace(b"MARKED", b"\xff\xfe\xc0\x80\xf5\xf6"), True)


def test_an_error_becomes_a_502_with_its_text(connector):
    head, body = get(connector, "/error", headers=[("Accept", "application/json")])
    assert head.status_code == 502 and "Unable to reach the origin service: <b>dial</b>" in json.dumps(json.loads(body))
    head, body = get(connector, "/error", headers=[("Accept", "text/html")])
    assert head.status_code == 502 and b"<b>dial" not in body and b"dial" in body
    still_serves(connector)


def test_a_flow_limit_becomes_a_429(connector):
    assert get(connector, "/limited")[0].status_code == 429


def test_an_unreadable_error_is_a_502_too(connector):
    head, body = get(connector, "/error-not-utf8")
    assert head.status_code == 502
    body.decode()


# ---- broken answers: the visitor gets a 502, others their answer ----

HEAD = wire.response_head(200, [("Content-Length", "13")])
FRAME = HEAD[8:]
BROKEN = {
    "a FIN without an answer": b"",
    "half a preamble": wire.PREAMBLE[:4],
    "a preamble alone": wire.PREAMBLE,
    "half a head": HEAD[:len(HEAD) // 2],
    "a head less its last byte": HEAD[:-1],
    "garbage": b"\xde\xad\xbe\xef" * 64,
    "an HTTP answer": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
    "the signature of RPC": wire.RPC_SIGNATURE + FRAME,
    "garbage behind the preamble": wire.PREAMBLE + b"\xff" * 200,
    "a frame of four gigawords": wire.PREAMBLE + bytes.fromhex("00000000ffffffff") + FRAME[8:],
    "a frame of 4000 segments": wire.PREAMBLE + bytes.fromhex("9f0f0000") + bytes(16004),
    "a frame that claims one word more": wire.PREAMBLE + FRAME[:4] + (len(FRAME) // 8).to_bytes(4, "little") + FRAME[8:],
    "a frame of no words": wire.PREAMBLE + bytes(8),
    "a root pointer out of the message": wire.PREAMBLE + FRAME[:8] + bytes.fromhex("fcff0f0000000200") + FRAME[16:],
    "a list pointer out of the message": wire.PREAMBLE + FRAME[:24] + bytes.fromhex("fdffff7f07ffffff") + FRAME[32:],
    "no status": wire.PREAMBLE + wire.SCHEMA.ConnectResponse.new_message().to_bytes(),
    "a status that is no number": wire.response_head("two hundred"),
    "a status below 100": wire.response_head(99),
    "a status above 999": wire.response_head(1000),
    "101 though nobody asked": wire.response_head(101),
    "a header name with a space": wire.response_head(200, [("X Bad", "1")]),
    "a header value with CR LF": wire.response_head(200, [("X-Bad", "1\r\nSet-Cookie: stolen=1")]),
    "a header value with NUL": wire.response_head(200, [("X-Bad", "1\0")]),
    "two lengths": wire.response_head(200, [("Content-Length", "1"), ("Content-Length", "2")]),
    "a length that is no number": wire.response_head(200, [("Content-Length", "many")]),
    "a length below zero": wire.response_head(200, [("Content-Length", "-1")]),
}


def broken_answer(data):
    async def write(stream, request):
        stream.write(data, True)
    return write


for name, data in BROKEN.items():
    ANSWERS["/broken/" + name.replace(" ", "-")] = broken_answer(data)


@answer("/reset")
async def reset(stream, request):
    stream.reset(7)
    stream.stop(7)


@answer("/reset-in-head")
async def reset_in_head(stream, request):
    stream.write(HEAD[:20])
    stream.reset()


@pytest.mark.parametrize("path", ["/reset", "/reset-in-head"] + [path for path in ANSWERS if path.startswith("/broken/")])
def test_a_broken_answer_is_a_502_and_harms_nobody(connector, path):
    before = len(connector.requests)
    head, body = get(connector, path)
    assert head.status_code == 502, (head.status_code, body[:200])
    assert header(head, "set-cookie") is None
    assert [r.target for r in connector.requests[before:]] == [path]  # it did come this far, and once
    still_serves(connector)


@answer("/short")
async def short(stream, request):
    stream.write(wire.response_head(200, [("Content-Length", "100")]) + b"only this", True)


@answer("/cut")
async def cut(stream, request):
    stream.write(wire.response_head(200) + b"only this")
    await stream.write_bytewise(b"......")
    stream.reset()


@pytest.mark.parametrize("path", ["/short", "/cut"])
def test_a_body_that_breaks_off_never_looks_complete(connector, path):
    with pytest.raises((h11.RemoteProtocolError, ConnectionError, EOFError)):
        head, body = get(connector, path)
        if head.status_code == 502:  # the reset overtook the head
            raise EOFError
    still_serves(connector)


@answer("/long")
async def long(stream, request):
    stream.write(wire.response_head(200, [("Content-Length", "4")]) + b"this and that HTTP/1.1 200 OK\r\n\r\n", True)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_bytes_beyond_the_length_reach_nobody(connector, method):
    with Visitor(connector.edge.port("http"), connector.host) as visitor:
        visitor.request(method, "/long")
        head, body = visitor.response()
        assert head.status_code == 200 and body == (b"this" if method == "GET" else b"")
        visitor.request("GET", "/good")
        assert visitor.response()[1] == b"a good answer"


# ---- the connection ends ----

@answer("/never")
async def never(stream, request):
    await stream.over()


@answer("/hangs-up-late")
async def hangs_up_late(stream, request):
    """Answers byte by byte, for as long as somebody wants it."""
    stream.write(wire.response_head(200))
    while stream.stop_code is None and stream.reset_code is None:
        stream.write(b"x")
        await asyncio.sleep(0.01)


@answer("/takes-nothing")
async def takes_nothing(stream, request):
    await stream.until(lambda: stream.reset_code is not None)


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def leave(connector, path, how, body=b""):
    """A visitor asks, waits until the connector has the request, and closes its connection: the stream must go."""
    before = len(connector.requests)
    with Visitor(connector.edge.port("http"), connector.host) as visitor:
        length = [("Content-Length", str(1 << 30))] if body else []
        visitor.send(h11.Request(method="POST" if body else "GET", target=path, headers=[("Host", connector.host), *length]))
        until(lambda: any(r.target == path for r in connector.requests[before:]), "the stream was opened")
        stream = max((s for s in connector.peers[0].streams.values() if s.id % 4 == 1), key=lambda s: s.id)
        if body:
            with pytest.raises(BlockingIOError):  # until nobody takes any more
                visitor.socket.setblocking(False)
                while True:
                    visitor.socket.send(body)
        how(visitor.socket)
    until(lambda: stream.stop_code is not None or stream.reset_code is not None, "the stream was let go")
    still_serves(connector)


@pytest.mark.parametrize("attempt", range(5))  # on whichever worker it lands
def test_a_visitor_that_resets_its_connection_ends_the_stream(connector, attempt):
    leave(connector, "/never", reset)


def test_a_visitor_that_resets_its_connection_in_its_request_ends_the_stream(connector):
    leave(connector, "/takes-nothing", reset, b"u" * 65536)


def test_a_visitor_that_closes_its_connection_ends_the_stream_with_the_next_bytes(connector):
    # A closed connection looks like one that only has nothing more to say: which it is shows itself when something is sent to it.
    leave(connector, "/hangs-up-late", lambda s: None)


def test_a_visitor_that_only_ended_its_direction_gets_its_answer(connector):
    before = len(connector.requests)
    with Visitor(connector.edge.port("http"), connector.host) as visitor:
        visitor.request("GET", "/good")
        visitor.socket.shutdown(socket.SHUT_WR)
        assert visitor.response()[1] == b"a good answer"
    assert len(connector.requests) == before + 1


def test_a_connection_that_goes_takes_its_requests_with_it(spare):
    peer = spare.run(spare.register())
    with Visitor(spare.edge.port("http"), spare.host) as visitor:
        visitor.request("POST", "/never", [("Content-Length", "0")])
        until(lambda: spare.requests, "the stream was opened")
        spare.run(hang_up(peer))
        head, body = visitor.response()
        assert head.status_code in (502, 530)
    assert get(spare, "/good")[0].status_code == 530


def test_a_second_connection_takes_over(spare):
    first = spare.run(spare.register(0))
    spare.run(spare.register(1))
    spare.run(hang_up(first))
    for _ in range(5):
        still_serves(spare)


def test_an_unregistered_connection_gets_no_new_requests_but_ends_its_old_ones(spare):
    release = threading.Event()

    async def held(stream, request):
        while not release.is_set():
            await asyncio.sleep(0.01)
        await good(stream, request)

    spare.answers = dict(ANSWERS, **{"/held": held})
    peer = spare.run(spare.register())
    with Visitor(spare.edge.port("http"), spare.host) as visitor:
        visitor.request("GET", "/held")
        until(lambda: spare.requests, "the stream was opened")
        spare.run(spare.unregister(peer))
        until(lambda: get(spare, "/good")[0].status_code == 530, "no new requests")
        release.set()
        assert visitor.response()[1] == b"a good answer"
