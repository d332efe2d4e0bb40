"""A connector that means harm: what it opens, sends and breaks costs the edge bounded memory and fails its own exchanges alone;
another tunnel's visitors are served at every moment."""
import asyncio
import concurrent.futures
import contextlib
import json
import socket
import struct

import h11
import pytest
import wire
from client import get, header
from conftest import Edge, LOOPBACK, ask_quick_tunnel, stop_clean, until
from handmade_connector import Connector
from hostile import LEAN, talk, within
from neighbour import neighbour_of, spared
from peer import hang_up

MIB = 1 << 20
OK = wire.response_head(200, [("Content-Length", "2")]) + b"ok"
ANSWERS = {}


def answer(path):
    def keep(function):
        ANSWERS[path] = function
        return function
    return keep


def says(path, data, fin=True):
    async def say(stream, request):
        stream.write(data, fin)
    ANSWERS[path] = say


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    edge = Edge(tmp_path_factory.mktemp("hostile-connector"), 2, LOOPBACK, env=LEAN)
    yield edge
    stop_clean(edge)


@pytest.fixture(scope="module")
def neighbour(server, tmp_path_factory):
    with neighbour_of(server, tmp_path_factory.mktemp("neighbour")) as site:
        yield site


@pytest.fixture
def hostile(server, neighbour):
    """A registered connection of a tunnel of its own. The neighbour was served while it did its worst."""
    connector = Connector(server, ask_quick_tunnel(server), ANSWERS)
    connector.peer = connector.run(connector.register())
    with within(96 * MIB, server), spared(neighbour):
        yield connector
    with contextlib.suppress(Exception):
        connector.stop()


def page_of(connector, path):
    """(status, code) of the page that a visitor gets."""
    head, body = get(connector, path, headers=[("Accept", "application/json")])
    return head.status_code, body


# ---- streams ----

async def credit(peer):
    """Waits until another stream may be opened: aioquic would reset one that it may not have, and that is a breach."""
    while peer._quic._local_next_stream_id_bidi // 4 >= peer._quic._remote_max_streams_bidi:
        await asyncio.sleep(0.005)


def test_thousands_of_streams_opened_and_reset_at_once_cost_nothing(hostile):
    async def flood():
        for i in range(5000):
            await credit(hostile.peer)
            stream = hostile.peer.open()
            stream.write(wire.PREAMBLE[:i % 9] or b"x")
            stream.reset()
            stream.stop()
    hostile.run(flood())
    says("/ok", OK)
    assert get(hostile, "/ok")[1] == b"ok"


def test_more_streams_than_a_connector_needs_are_not_granted(hostile):
    async def flood():
        for _ in range(1500):
            hostile.peer.open().write(b"x")
        return len(hostile.peer._quic._streams_blocked_bidi)
    assert hostile.run(flood()) >= 400


# ---- heads and bodies ----

HEADS = {
    "a signature of its own": bytes(8) + OK[8:],
    "the signature of RPC": wire.RPC_SIGNATURE + OK[8:],
    "a length beyond the stream": wire.PREAMBLE + struct.pack("<II", 0, 0x7fff) + bytes(64),
    "a length of four gibibytes": wire.PREAMBLE + struct.pack("<II", 0, 0xffffffff) + bytes(64),
    "segments without number": wire.PREAMBLE + struct.pack("<II", 0xfffffffe, 1) + bytes(64),
    "a pointer out of bounds": wire.PREAMBLE + struct.pack("<IIQ", 0, 1, 0x0000ffff7ffffffc),
    "no status": wire.PREAMBLE + wire.SCHEMA.ConnectResponse.new_message(metadata=wire.metadata([("HttpHeader:A", "b")])).to_bytes(),
    "a status that is none": wire.response_head("two hundred"),
    "a status of 99": wire.response_head(99),
    "a status of 1000": wire.response_head(1000),
    "a negative status": wire.response_head(-200),
    "an upgrade that nobody asked for": wire.response_head(101),
    "a line break in a value": wire.response_head(200, [("A", "b\r\nSet-Cookie: c=d")]),
    "a line break in a name": wire.response_head(200, [("A\r\nB", "c")]),
    "a NUL in a value": wire.response_head(200, [("A", "b\0c")]),
    "an empty name": wire.response_head(200, [("", "c")]),
    "two lengths": wire.response_head(200, [("Content-Length", "2"), ("Content-Length", "3")]) + b"ok!",
    "a length that is none": wire.response_head(200, [("Content-Length", "2x")]) + b"ok",
    "a negative length": wire.response_head(200, [("Content-Length", "-2")]) + b"ok",
    "a length beyond counting": wire.response_head(200, [("Content-Length", "1" * 30)]) + b"ok",
    "entries without number": wire.response_head(200, [("X", "y")] * 600),
    "a head of half a mebibyte": wire.response_head(200, [("X", "y" * 60_000)] * 9),
}


@pytest.mark.parametrize("what", HEADS)
def test_a_head_that_cannot_be_a_response_gives_a_page(hostile, what):
    says("/bad", HEADS[what])
    head, body = get(hostile, "/bad")
    assert head.status_code == 502 and b"ok" not in body[:3], body[:300]
    assert header(head, "Set-Cookie") is None and header(head, "A") is None
    says("/ok", OK)
    assert get(hostile, "/ok")[1] == b"ok"


@answer("/bytewise")
async def bytewise(stream, request):
    await stream.write_bytewise(OK, True)


def test_a_head_byte_by_byte_is_read_all_the_same(hostile):
    assert get(hostile, "/bytewise")[1] == b"ok"


def test_bytes_beyond_the_length_reach_no_visitor(hostile):
    says("/more", OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    for _ in range(3):
        assert get(hostile, "/more")[1] == b"ok"


def test_fewer_bytes_than_the_length_are_cut_off(hostile):
    says("/less", wire.response_head(200, [("Content-Length", "10")]) + b"ok")
    with pytest.raises((ConnectionError, EOFError, h11.RemoteProtocolError)):
        get(hostile, "/less")


def test_a_chunked_announcement_does_not_pass_the_length_by(hostile):
    """Both at once: the visitor must not read the body in another way than we do."""
    says("/both", wire.response_head(200, [("Content-Length", "2"), ("Transfer-Encoding", "chunked")]) + b"ok")
    head, body = get(hostile, "/both")
    assert body == b"ok" and (header(head, "Content-Length") is None) != (header(head, "Transfer-Encoding") is None)


@answer("/never")
async def never(stream, request):
    await stream.over()


@answer("/half")
async def half(stream, request):
    stream.write(OK[:20])
    await stream.over()


@pytest.mark.parametrize("path", ["/never", "/half"])
def test_visitors_of_a_connector_that_never_answers_go_with_its_connection(hostile, path):
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        asked = [pool.submit(get, hostile, path) for _ in range(50)]
        until(lambda: len(hostile.requests) >= 50, "all are with the connector")
        hostile.run(hang_up(hostile.peer))
        assert {one.result()[0].status_code for one in asked} <= {502, 504, 530}


@pytest.fixture
def hurried(tmp_path):
    """A connection at an edge that waits half a second for an answer."""
    edge = Edge(tmp_path, 2, [*LOOPBACK, "--response-timeout", "500ms"], env=LEAN)
    connector = Connector(edge, ask_quick_tunnel(edge), ANSWERS)
    connector.peer = connector.run(connector.register())
    yield connector
    connector.stop()
    stop_clean(edge)


def dial(connector):
    return socket.create_connection(("127.0.0.1", connector.edge.port("http")), timeout=30)


def wait_for_the_limit(connector):
    """Until a request that came later than all before has been given up."""
    assert page_of(connector, "/never")[0] == 504


@pytest.mark.parametrize("path", ["/never", "/half"])
def test_a_connector_that_never_answers_costs_its_visitors_a_limited_time(hurried, path):
    with concurrent.futures.ThreadPoolExecutor(30) as pool:
        asked = [pool.submit(page_of, hurried, path) for _ in range(30)]
        pages = [one.result() for one in asked]
    assert {(status, json.loads(body)["code"], json.loads(body)["hop"]) for status, body in pages} == {(504, 1067, "connector")}
    streams = [s for s in hurried.peer.streams.values() if s.id % 4 == 1]
    until(lambda: all(s.reset_code is not None or s.stop_code is not None for s in streams), "the edge let go of them")
    assert "failure=response_timeout" in hurried.edge.text()
    says("/ok", OK)
    assert get(hurried, "/ok")[1] == b"ok"


@pytest.mark.parametrize("framing", ["Content-Length: 30000000", "Transfer-Encoding: chunked"])
def test_a_connector_that_takes_no_body_costs_its_visitor_a_limited_time(hurried, framing):
    """What its window had room for is taken, and the window stays as it is."""
    hurried.peer._quic._write_stream_limits = lambda *args, **more: None
    body = bytes(30_000_000) if "Length" in framing else b"1c9c380\r\n" + bytes(30_000_000) + b"\r\n0\r\n\r\n"
    with dial(hurried) as s:
        got = talk(s, f"POST /never HTTP/1.1\r\nHost: {hurried.host}\r\n{framing}\r\n\r\n".encode() + body)
    assert got.startswith(b"HTTP/1.1 504 "), got[:300]


@pytest.fixture
def moment(hurried):
    """Set by a test when its handler may go on."""
    over = asyncio.Event()
    yield over
    hurried.loop.loop.call_soon_threadsafe(over.set)


def test_an_answer_that_has_begun_may_last_longer(hurried, moment):
    async def late(stream, request):
        stream.write(wire.response_head(200, [("Content-Length", "4")]) + b"ok")
        await moment.wait()
        stream.write(b"OK", True)
    ANSWERS["/late"] = late
    with dial(hurried) as s:
        s.sendall(f"GET /late HTTP/1.1\r\nHost: {hurried.host}\r\nConnection: close\r\n\r\n".encode())
        assert s.recv(10).startswith(b"HTTP/1.1 2")
        wait_for_the_limit(hurried)
        hurried.loop.loop.call_soon_threadsafe(moment.set)
        assert talk(s, b"").endswith(b"okOK")


def test_an_upgraded_exchange_may_be_silent_for_longer(hurried, moment):
    async def upgraded(stream, request):
        stream.write(wire.response_head(101, [("Upgrade", "websocket"), ("Connection", "Upgrade")]))
        await moment.wait()
        stream.write(b"at last", True)
    ANSWERS["/upgraded"] = upgraded
    with dial(hurried) as s:
        s.sendall(f"GET /upgraded HTTP/1.1\r\nHost: {hurried.host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode())
        assert s.recv(10).startswith(b"HTTP/1.1 1")
        wait_for_the_limit(hurried)
        hurried.loop.loop.call_soon_threadsafe(moment.set)
        assert talk(s, b"").endswith(b"at last")


def test_a_visitor_who_sends_its_body_slowly_has_its_own_limit(hurried):
    async def whole(stream, request):
        await stream.until(lambda: b"ab" in stream.data)
        stream.write(OK, True)
    ANSWERS["/whole"] = whole
    with dial(hurried) as s:
        s.sendall(f"POST /whole HTTP/1.1\r\nHost: {hurried.host}\r\nConnection: close\r\nContent-Length: 2\r\n\r\na".encode())
        until(lambda: hurried.requests, "the request is with the connector")
        wait_for_the_limit(hurried)
        assert talk(s, b"b").endswith(b"ok")


def test_visitors_who_leave_take_their_streams_with_them(hostile):
    held = []
    for _ in range(100):
        s = socket.create_connection(("127.0.0.1", hostile.edge.port("http")))
        s.sendall(f"GET /never HTTP/1.1\r\nHost: {hostile.host}\r\n\r\n".encode())
        held.append(s)
    until(lambda: len(hostile.requests) >= 100, "all are with the connector")
    for s in held:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()
    streams = [s for s in hostile.peer.streams.values() if s.id % 4 == 1]
    until(lambda: all(s.reset_code is not None or s.stop_code is not None for s in streams), "the edge let go of them")


# ---- datagrams and RPC ----

def test_a_flood_of_datagrams_is_dropped(hostile):
    async def flood():
        for _ in range(400):
            for _ in range(25):
                hostile.peer._quic.send_datagram_frame(bytes(1000))
            hostile.peer.transmit()
            await asyncio.sleep(0)
    hostile.run(flood())
    says("/ok", OK)
    assert get(hostile, "/ok")[1] == b"ok"


def calls(count):
    """Calls of a method that there is not, then garbage in good frames."""
    data = bytearray()
    for number in range(count):
        message = wire.RPC.Message.new_message()
        call = message.init("call")
        call.questionId, call.interfaceId, call.methodId = 1000 + number, 7, 7
        call.target.importedCap = 0
        data += message.to_bytes()
    return bytes(data)


def test_a_flood_of_calls_is_bounded(hostile):
    async def flood():
        stream = hostile.peer.streams[0]
        data = calls(3000)
        for _ in range(20):
            stream.write(data)
        await asyncio.sleep(0)
    hostile.run(flood())


@pytest.mark.parametrize("frame", [struct.pack("<II", 0, 0xffffffff), struct.pack("<II", 0xffffffff, 1), bytes(8) * 1000,
                                   struct.pack("<II", 0, 130_000) + bytes(900_000)], ids=["words", "segments", "empty", "large"])
def test_messages_that_lie_in_their_lengths_end_their_conversation_alone(hostile, frame):
    async def flood():
        hostile.peer.streams[0].write(frame * 4)
    hostile.run(flood())


# ---- connections ----

def test_registering_and_leaving_in_a_loop_leaves_nothing_behind(hostile):
    async def loop():
        for _ in range(60):
            peer = await hostile.register(index=1)
            peer.control = peer.rpc = None
            await hang_up(peer)
            hostile.peers.remove(peer)
    hostile.loop.run(loop(), seconds=60)
    says("/ok", OK)
    until(lambda: get(hostile, "/ok")[1] == b"ok", "the connection that stayed serves")


def test_a_tunnel_has_no_more_connections_than_its_limit(server, neighbour):
    """256 of one tunnel; whoever comes later is refused, with a reason. On a slow machine some are lost on the way, and others take their places."""
    connector = Connector(server, ask_quick_tunnel(server), ANSWERS)
    before, held = server.metrics()["adit_edge_links"], []

    async def one(index):
        peer = await connector.dial()
        await connector.control(peer)
        which, fields = await connector.ask_to_register(peer, index % 256)
        peer.control = peer.rpc = None
        return which, fields

    async def many():
        results = []
        for start in range(0, 1000, 20):
            if start >= 256:
                connector.client_id = bytes(15) + b"x"
            results += await asyncio.gather(*(one(start + i) for i in range(20)))
            held.append(server.metrics()["adit_edge_links"] - before)
        return results

    with within(256 * MIB, server), spared(neighbour):
        results = connector.loop.run(many(), seconds=300)
    assert sum(which == "connectionDetails" for which, _ in results) >= 256
    assert max(held) <= 256
    refused = [fields for which, fields in results if which == "error"]
    assert refused and all(fields["cause"] for fields in refused)
    connector.stop()
