"""A connector over HTTP/2 that means harm: whatever frames it writes cost the edge bounded memory, the edge closes it with a word for it,
and another tunnel's visitors are served at every moment."""
import asyncio
import contextlib
import re
import socket
import struct

import pytest
from client import get
from conftest import Edge, LOOPBACK, ask_quick_tunnel, stop_clean, until
from frames import (ACK, CALM, COMPRESSION, CONTINUATION, DATA, END_HEADERS, FLOW_CONTROL, GOAWAY, HEADERS, NO_ERROR, PADDED, PING,
                    PRIORITY, PROTOCOL_ERROR, PUSH, RST, SETTINGS, all_frames, block, credit, ends, flood, frame, headers, heard_frames, reset)
from handmade_h2_connector import H2Connector, response
from hostile import LEAN, within
from neighbour import neighbour_of, spared

MIB = 1 << 20
ANSWERS = {}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    edge = Edge(tmp_path_factory.mktemp("hostile-h2"), 2, LOOPBACK, env=LEAN)
    yield edge
    stop_clean(edge)


@pytest.fixture(scope="module")
def neighbour(server, tmp_path_factory):
    with neighbour_of(server, tmp_path_factory.mktemp("neighbour"), transport="http2") as site:
        yield site


def faults(edge):
    return {kind: edge.metrics()[f'adit_edge_connector_faults_total{{fault="{kind}"}}'] for kind in ("flood", "protocol")}


@pytest.fixture
def hostile(server, neighbour):
    """A registered connection of a tunnel of its own, one of whose streams has ended. The neighbour was served while it did its worst."""
    connector = H2Connector(server, ask_quick_tunnel(server), ANSWERS)
    connector.peer = connector.run(connector.register())
    ANSWERS["/ended"] = ended
    assert get(connector, "/ended")[1] == b"ok"
    connector.ended = max(connector.peer.streams)
    with within(48 * MIB, server), spared(neighbour):
        yield connector
    with contextlib.suppress(Exception):
        connector.stop()


async def ended(stream, request):
    stream.respond(response(200, [("Content-Length", "2")], [("content-length", "2")]))
    stream.write(b"ok", fin=True)


@contextlib.contextmanager
def a_visitor_waits(connector):
    """A request whose stream is open at the connector; gives its number."""
    arrived = []

    async def never(stream, request):
        arrived.append(stream.id)
        await stream.over()

    ANSWERS["/never"] = never
    with socket.create_connection(("127.0.0.1", connector.edge.port("http")), timeout=30) as s:
        s.sendall(f"GET /never HTTP/1.1\r\nHost: {connector.host}\r\n\r\n".encode())
        until(lambda: arrived, "the request is with the connector")
        yield arrived[0], s


def is_closed_for(connector, fault, unit, count, before=b""):
    """The code of the edge's GOAWAY. It counted the fault and said in its log what it was."""
    counted, log = faults(connector.edge)[fault], len(connector.edge.text())

    async def attack():
        await flood(connector.peer, unit, count, before)
        return await ends(connector.peer)

    code = connector.run(attack())
    until(lambda: faults(connector.edge)[fault] == counted + 1, "the fault is counted")
    line = until(lambda: re.search(r"a connector broke the protocol.*", connector.edge.text()[log:]), "a line of the log")
    assert "transport=http2" in line[0] and "why=" in line[0], line[0]
    return code


STREAMLESS = {
    "SETTINGS": frame(SETTINGS),
    "SETTINGS that change the window to and fro": frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0)) + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 20)),
    "PING": frame(PING, 0, 0, bytes(8)),
    "answers to no PING": frame(PING, ACK, 0, bytes(8)),
    "PRIORITY": frame(PRIORITY, 0, 1, bytes(4) + b"\x10"),
    "PRIORITY of streams that never were": b"".join(frame(PRIORITY, 0, 1001 + 2 * i, bytes(4) + b"\x10") for i in range(5000)),
    "credit for the connection": credit(0, 128),
    "credit of one byte": credit(0, 1),
    "kinds of frames that there are not": frame(0x42, 0xff, 1, b"x"),
    "GOAWAY": frame(GOAWAY, 0, 0, struct.pack(">II", 0x7fffffff, 0)),
}


@pytest.mark.parametrize("what", STREAMLESS)
def test_a_flood_of_frames_that_change_nothing_is_calmed(hostile, what):
    assert is_closed_for(hostile, "flood", STREAMLESS[what], 200_000) == CALM


OF_AN_ENDED_STREAM = {
    "credit": lambda n: credit(n, 1 << 20),
    "resets": reset,
    "empty DATA": lambda n: frame(DATA, 0, n),
    "heads": lambda n: headers(n, response(200)),
}


@pytest.mark.parametrize("what", OF_AN_ENDED_STREAM)
def test_a_flood_on_a_stream_that_has_ended_is_calmed(hostile, what):
    assert is_closed_for(hostile, "flood", OF_AN_ENDED_STREAM[what](hostile.ended), 200_000) == CALM


@pytest.mark.parametrize("unit", [lambda n: frame(DATA, 0, n), lambda n: frame(DATA, PADDED, n, b"\x03" + bytes(3))], ids=["empty", "padding"])
def test_a_body_of_nothing_is_calmed(hostile, unit):
    with a_visitor_waits(hostile) as (number, s):
        begin = headers(number, response(200))
        assert is_closed_for(hostile, "flood", unit(number), 200_000, begin) == CALM


CONTINUED = {
    "of fields": (block([("x", "y")]), 200_000),
    "of nothing": (b"", 200_000),
    "of a mebibyte each": (block([("x", "y" * 1000)]) * 1000, 100),
}


@pytest.mark.parametrize("what", CONTINUED)
def test_a_head_that_is_continued_without_end_is_calmed(hostile, what):
    piece, count = CONTINUED[what]
    with a_visitor_waits(hostile) as (number, s):
        begin = frame(HEADERS, 0, number, block([(":status", "200")]))
        assert is_closed_for(hostile, "flood", frame(CONTINUATION, 0, number, piece), count, begin) == CALM


def test_a_byte_for_each_of_many_large_fields_is_calmed(hostile):
    """One entry of the dynamic table, named again and again."""
    entry = b"\x40\x01z\x7f\xa1\x1e" + b"v" * 4000  # literal with indexing; 4000 as 127 + 3873
    with a_visitor_waits(hostile) as (number, s):
        bomb = frame(HEADERS, END_HEADERS, number, b"\x88" + entry + b"\xbe" * 100_000)
        assert is_closed_for(hostile, "flood", bomb, 1) == CALM


def test_interim_heads_without_end_fail_their_exchange_alone(hostile):
    with a_visitor_waits(hostile) as (number, s):
        hostile.run(flood(hostile.peer, headers(number, [(":status", "103"), ("link", "x" * 1000)]), 500))
        assert s.recv(12) == b"HTTP/1.1 502"
    assert hostile.peer.why is None


BREACHES = {
    "an answer to a stream that was never opened": (headers(99999, response(200)), PROTOCOL_ERROR),
    "an answer to a stream of an even number": (headers(2, response(200)), PROTOCOL_ERROR),
    "DATA of a stream that was never opened": (frame(DATA, 0, 99999, b"x"), PROTOCOL_ERROR),
    "a reset of a stream that was never opened": (reset(99999), PROTOCOL_ERROR),
    "credit for a stream that was never opened": (credit(99999, 1), PROTOCOL_ERROR),
    "credit of nothing": (credit(0, 0), PROTOCOL_ERROR),
    "credit beyond counting": (credit(0, 0x7fffffff), FLOW_CONTROL),
    "an acknowledgement of no SETTINGS": (frame(SETTINGS, ACK), PROTOCOL_ERROR),
    "a window beyond counting": (frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0x80000000)), FLOW_CONTROL),
    "frames of no size": (frame(SETTINGS, 0, 0, struct.pack(">HI", 5, 1)), PROTOCOL_ERROR),
    "a promise": (frame(PUSH, END_HEADERS, 1, struct.pack(">I", 2) + block([(":method", "GET"), (":path", "/")])), PROTOCOL_ERROR),
    "a table larger than granted": (frame(HEADERS, END_HEADERS, 1, b"\x3f\xff\xff\x7f\x88"), COMPRESSION),
    "an entry that there is not": (frame(HEADERS, END_HEADERS, 1, b"\xff\xff\x7f"), COMPRESSION),
    "a continuation of nothing": (frame(CONTINUATION, END_HEADERS, 1, b"\x88"), PROTOCOL_ERROR),
}


@pytest.mark.parametrize("what", BREACHES)
def test_a_breach_of_the_protocol_ends_the_connection(hostile, what):
    unit, code = BREACHES[what]
    with a_visitor_waits(hostile) as (number, s):
        assert is_closed_for(hostile, "protocol", unit, 1) == code
        assert s.recv(12) in (b"HTTP/1.1 502", b"HTTP/1.1 530")


def test_a_frame_larger_than_granted_ends_the_connection(hostile):
    async def attack():
        hostile.peer.is_mute = True
        hostile.peer.raw(frame(DATA, 0, hostile.ended, bytes((1 << 20) + 1)))
        return await ends(hostile.peer)
    assert hostile.run(attack()) == 6  # FRAME_SIZE_ERROR


def test_a_huge_table_for_our_heads_costs_nothing(hostile):
    hostile.run(flood(hostile.peer, frame(SETTINGS, 0, 0, struct.pack(">HI", 1, 0xffffffff)), 1))
    hostile.peer.is_mute = False
    for i in range(50):
        assert get(hostile, "/ended", headers=[(f"X-{i}", "y" * 4000)])[1] == b"ok"


def test_a_body_beyond_the_window_ends_with_its_exchange(hostile):
    """The visitor reads nothing; what the window does not cover is not kept."""
    with a_visitor_waits(hostile) as (number, s):
        begin = headers(number, response(200))
        hostile.run(flood(hostile.peer, frame(DATA, 0, number, bytes(16384)), 4096, begin))
        code = None
        with contextlib.suppress(asyncio.TimeoutError):
            code = hostile.run(ends(hostile.peer, 2))
        resets = [payload for kind, _, stream, payload in all_frames(heard_frames(hostile.peer)) if kind == RST and stream == number]
        assert code == FLOW_CONTROL or resets, "neither the stream nor the connection was ended"


def test_a_goaway_that_denies_every_stream_ends_the_connection_in_order(hostile):
    """Stream 1 is the control stream: nothing can be done without it."""
    with a_visitor_waits(hostile) as (number, s):
        hostile.run(flood(hostile.peer, frame(GOAWAY, 0, 0, struct.pack(">II", 0, NO_ERROR)), 1))
        assert s.recv(12) in (b"HTTP/1.1 502", b"HTTP/1.1 530")
        hostile.run(ends(hostile.peer))


def test_a_goaway_that_takes_back_its_word_is_a_breach(hostile):
    with a_visitor_waits(hostile) as (number, s):
        lower, higher = (frame(GOAWAY, 0, 0, struct.pack(">II", n, NO_ERROR)) for n in (number, number + 100))
        assert is_closed_for(hostile, "protocol", lower + higher, 1) == PROTOCOL_ERROR


def test_an_answer_reset_at_once_never_costs_the_link(hostile):
    """Visitors have a say in that: a link that pays for it could be taken down by them."""
    async def early(stream, request):
        stream.reset()
    ANSWERS["/early"] = early
    for _ in range(300):
        assert get(hostile, "/early")[0].status_code == 502
    assert hostile.peer.why is None


def test_what_nobody_reads_is_not_written_without_end(hostile):
    """It asks and does not read the answers: the edge stops reading it, and its memory stays as it is."""
    async def attack():
        hostile.peer.transport.pause_reading()
        hostile.peer.is_mute = True
        unit = frame(PING, 0, 0, bytes(8)) * 1000
        for _ in range(200):
            hostile.peer.transport.write(unit)
        await asyncio.sleep(0)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(hostile.peer.over(), 1)
        hostile.peer.transport.resume_reading()
        return await ends(hostile.peer)
    assert hostile.run(attack()) in (CALM, None)


def test_registering_and_breaking_off_in_a_loop_leaves_nothing_behind(hostile):
    async def loop():
        for i in range(60):
            peer = await hostile.register(index=1)
            peer.control = peer.rpc = None
            peer.hang_up()
            await peer.over()
            hostile.peers.remove(peer)
    hostile.loop.run(loop(), seconds=60)
    until(lambda: get(hostile, "/ended")[1] == b"ok", "the connection that stayed serves")
