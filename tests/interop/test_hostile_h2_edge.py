"""An edge over HTTP/2 that means harm to its connector: what it asks for costs bounded memory, ends by itself, and other exchanges go on."""
import json
import struct

import pytest
from conftest import Program, connector_command, stop_clean, until
from frames import (ACK, CALM, COMPRESSION, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PRIORITY, PROTOCOL_ERROR, SETTINGS,
                    all_frames, block, credit, ends, flood, frame, headers, heard_frames, reset)
from h2_peer import UPGRADE
from handmade_edge import HOST, random_token
from handmade_h2_edge import CONTROL, HandmadeH2Edge
from hostile import LEAN, within

MIB = 1 << 20
STREAMS = 500
GET = [(":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", "/")]
CONFIGURE = [(":method", "PUT"), (":scheme", "https"), (":authority", HOST), (":path", "/"), (UPGRADE, "update-configuration")]


def begin(where, origin, *flags):
    edge = HandmadeH2Edge(where)
    _, token = random_token()
    (where / "config.yml").write_text(json.dumps({"ingress": [{"service": origin.url}]}))
    command = connector_command("adit", where / "config.yml", edge.ca, [edge.address], token, transport="http2")
    command[2:2] = flags
    edge.connector = Program(command, where / "connector.log", cwd=where, env=LEAN)
    until(lambda: len(edge.serving) == 2, "two registrations")
    still_serves(edge)
    return edge


@pytest.fixture
def edge(origin, tmp_path):
    """With a connector whose two connections are registered; the newest is the one that suffers."""
    edge = begin(tmp_path, origin, "--max-streams", str(STREAMS))
    with within(48 * MIB, edge.connector):
        yield edge
        still_serves(edge)
    stop_clean(edge.connector)
    edge.stop()


def still_serves(edge):
    """On every connection that hyper-h2 still holds; one at least, though the connector may have to come back for it."""
    async def ask(peer):
        stream = await peer.request(GET).heads()
        return stream.status, await stream.rest()

    alive = until(lambda: [peer for peer in edge.serving if peer.why is None and not peer.is_mute], "a connection")
    for peer in alive:
        assert edge.run(ask(peer)) == (200, b"hello\n")


def attacked(edge, unit, count, before=b""):
    """The code of the connector's GOAWAY; it comes back afterwards."""
    peer, known = edge.newest(), len(edge.serving)

    async def attack():
        await flood(peer, unit, count, before)
        return await ends(peer)

    code = edge.run(attack())
    until(lambda: len(edge.serving) > known, "it comes back")
    return code


def next_id(peer):
    return peer.h2.get_next_available_stream_id()


def burst(peer, make, count):
    """Frames for so many streams of their own."""
    first = next_id(peer)
    return b"".join(make(first + 2 * i) for i in range(count))


def answered(peer):
    """A PING that comes back: everything before it was read."""
    word = b"all read"
    peer.raw(frame(PING, 0, 0, word))
    return lambda: any(kind == PING and flags & ACK and payload == word for kind, flags, _, payload in all_frames(heard_frames(peer)))


async def read_all(peer):
    await peer.until(answered(peer))


def test_requests_reset_at_once_cost_nothing(edge):
    """Visitors who leave look like that, so that it is no breach. CVE-2023-44487."""
    peer = edge.newest()

    async def attack():
        for _ in range(20):
            await flood(peer, burst(peer, lambda n: headers(n, GET, END_STREAM | END_HEADERS) + reset(n), 1000), 1)
            peer.h2.highest_outbound_stream_id = next_id(peer) + 2000 - 2
        await read_all(peer)
    edge.loop.run(attack(), seconds=120)


def test_no_more_streams_are_open_than_were_granted(edge):
    """A hundred thousand heads, each with a body to come: who disregards the limit that it was told, and acknowledged, is let go."""
    peer = edge.newest()
    post = [(":method", "POST"), *GET[1:], ("content-length", "5")]
    assert attacked(edge, burst(peer, lambda n: headers(n, post), 100_000), 1) == PROTOCOL_ERROR


def test_heads_that_never_end_wait_for_nothing(edge):
    peer = edge.newest()
    piece = frame(CONTINUATION, 0, next_id(peer), block([("x", "y")]))
    assert attacked(edge, piece, 10_000, frame(HEADERS, END_STREAM, next_id(peer), block(GET))) == CALM


def test_a_byte_for_each_of_many_large_fields_is_calmed(edge):
    entry = b"\x40\x01z\x7f\xa1\x1e" + b"v" * 4000
    peer = edge.newest()
    assert attacked(edge, frame(HEADERS, END_STREAM | END_HEADERS, next_id(peer), block(GET) + entry + b"\xbe" * 100_000), 1) == CALM


def test_heads_beyond_the_limit_are_answered_431(edge):
    peer = edge.newest()
    many = [(f"x-{i}", "y" * 60_000) for i in range(10)]

    async def attack():
        data = burst(peer, lambda n: headers(n, GET + many, END_STREAM | END_HEADERS), 20)
        await flood(peer, data, 1)
        await read_all(peer)
    edge.run(attack())
    heads = [payload for kind, _, _, payload in all_frames(heard_frames(peer)) if kind == HEADERS]
    assert len(heads) >= 20 and peer.why is None


@pytest.mark.parametrize("unit", [frame(SETTINGS), frame(PING, 0, 0, bytes(8)), frame(0x42, 0, 0, b"x"), credit(0, 1),
                                  frame(PRIORITY, 0, 1, bytes(4) + b"\x10")], ids=["SETTINGS", "PING", "unknown", "credit", "PRIORITY"])
def test_a_flood_of_control_frames_leaves_the_other_connection_alone(edge, unit):
    """The connector's budget is large, since its edge is no stranger: what counts is that nothing grows."""
    peer = edge.newest()
    edge.loop.run(flood(peer, unit, 50_000), seconds=60)


BREACHES = {
    "a stream of an even number": (headers(2, GET, END_STREAM | END_HEADERS), PROTOCOL_ERROR),
    "DATA of a stream that was never opened": (frame(DATA, 0, 99999, b"x"), PROTOCOL_ERROR),
    "an entry that there is not": (frame(HEADERS, END_HEADERS, 99999, b"\xff\xff\x7f"), COMPRESSION),
    "a table larger than granted": (frame(HEADERS, END_HEADERS, 99999, b"\x3f\xff\xff\x7f\x88"), COMPRESSION),
}


@pytest.mark.parametrize("what", BREACHES)
def test_a_breach_of_the_protocol_ends_the_connection_and_it_comes_back(edge, what):
    unit, code = BREACHES[what]
    assert attacked(edge, unit, 1) == code


# ---- what is the tunnel's own ----

def test_a_second_control_stream_is_refused_however_often(edge):
    async def ask():
        peer = edge.newest()
        for _ in range(300):
            stream = peer.request(CONTROL, fin=False)
            await stream.over()
            assert stream.reset_code == 1
    edge.run(ask())


@pytest.mark.parametrize("data", [bytes(8) * 100_000, struct.pack("<II", 0, 0xffffffff) * 4, struct.pack("<II", 0xffffffff, 1) * 4,
                                  b"\xff" * MIB], ids=["empty", "words", "segments", "noise"])
def test_noise_on_the_control_stream_never_grows(edge, data):
    async def attack():
        peer = edge.newest()
        number = peer.control_stream.id
        before = len(heard_frames(peer))
        piece = frame(DATA, 0, number, data[:16384])
        peer.is_mute = True
        peer.raw(piece * (MIB // 16384 - 1))  # what the window holds
        await read_all(peer)
        return len(heard_frames(peer)) - before
    edge.run(attack())


@pytest.mark.parametrize("length", ["5", "1099511627776", "9223372036854775807"])
def test_a_configuration_of_lying_length_is_never_applied(edge, length):
    body = json.dumps({"version": 7, "config": {"ingress": [{"service": "http_status:418"}]}}).encode()

    async def ask():
        stream = edge.newest().request([*CONFIGURE, ("content-length", length)], fin=False)
        stream.write(body, fin=True)
        try:
            await stream.heads()
        except EOFError:
            return stream.reset_code
        return stream.status
    assert edge.run(ask()) != 200
    assert "Updated to new configuration" not in edge.connector.text()


def test_a_configuration_without_end_is_cut_off(edge):
    async def ask():
        stream = edge.newest().request(CONFIGURE, fin=False)
        stream.write(b'{"version": 7, "config": "' + b"x" * (64 * MIB))
        await stream.over()
        return stream.reset_code, len(stream.out)
    code, left = edge.loop.run(ask(), seconds=60)
    assert left > 40 * MIB, (code, left)


def test_many_configurations_that_are_begun_and_left_are_given_up(edge):
    async def ask():
        peer = edge.newest()
        begun = [peer.request(CONFIGURE, fin=False) for _ in range(200)]
        for stream in begun:
            stream.write(b"{")
        for stream in begun:
            await stream.over()
        return {stream.reset_code is not None or stream.head is not None for stream in begun}
    assert edge.loop.run(ask(), seconds=60) == {True}
