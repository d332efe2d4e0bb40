"""An edge that lies to its connector: what it opens and breaks costs bounded memory, ends by itself, and other exchanges go on."""
import asyncio
import json
import struct

import pytest
import wire
from conftest import Program, connector_command, stop_clean, until
from handmade_edge import HOST, HandmadeEdge, random_token
from hostile import LEAN, within

GET = wire.http_request("GET", HOST, "/")
MIB = 1 << 20


def begin(where, origin, *flags):
    """An edge with a connector."""
    edge = HandmadeEdge(where)
    _, token = random_token()
    (where / "config.yml").write_text(json.dumps({"ingress": [{"service": origin.url}]}))
    command = connector_command("adit", where / "config.yml", edge.ca, [edge.address], token)
    command[2:2] = flags
    edge.connector = Program(command, where / "connector.log", cwd=where, env=LEAN)
    until(lambda: len(edge.serving) == 2, "two registrations")
    still_serves(edge)
    return edge


@pytest.fixture(scope="module")
def edge(origin, tmp_path_factory):
    """With a connector that has little patience."""
    edge = begin(tmp_path_factory.mktemp("hostile-edge"), origin, "--stream-head-timeout", "500ms", "--max-streams", "500")
    yield edge
    stop_clean(edge.connector)
    edge.stop()


@pytest.fixture
def patient(origin, tmp_path):
    edge = begin(tmp_path, origin)
    yield edge
    stop_clean(edge.connector)
    edge.stop()


def still_serves(edge):
    head, body = edge.ask(GET)
    assert wire.pairs_of(head)[0] == ("HttpStatus", "200") and body == b"hello\n"


async def ends(stream):
    """Waits for the connector to let go of a stream of its own accord."""
    await stream.until(lambda: stream.stop_code is not None or stream.reset_code is not None)


@pytest.mark.parametrize("start", [b"", b"\x0a", wire.PREAMBLE, wire.PREAMBLE + GET[8:40], GET[:-1], wire.RPC_SIGNATURE[:5]],
                         ids=["nothing", "a byte", "the signature", "half a head", "all but a byte", "half of another signature"])
def test_a_stream_whose_head_never_comes_is_given_up(edge, start):
    async def both():
        stream = await edge.open(start or b"", fin=False)
        if not start:
            stream.write(b"\x0a")  # a stream is seen when it has a byte
        try:
            await ends(stream)
        except EOFError:
            pass
        assert stream.reset_code is not None or stream.stop_code is not None
    edge.run(both())
    still_serves(edge)


def test_a_head_that_drips_is_given_up(edge):
    async def both():
        stream = await edge.open(GET[:1], fin=False)
        for at in range(1, len(GET) - 1):
            if stream.reset_code is not None or stream.stop_code is not None:
                return
            stream.write(GET[at:at + 1])
            await asyncio.sleep(0.02)
        raise AssertionError("the connector waits for ever")
    edge.run(both())
    still_serves(edge)


def test_thousands_of_streams_reset_at_once_cost_nothing(edge):
    async def flood():
        for _ in range(20):
            for i in range(250):
                stream = await edge.open(GET[:i % len(GET)] or b"\x0a", fin=False)
                stream.reset()
                stream.stop()
            await asyncio.sleep(0)
            await edge.answer(await edge.open(GET))  # others are served meanwhile
    with within(24 * MIB, edge.connector):
        edge.run(flood())
        still_serves(edge)


def test_more_streams_than_the_limit_are_not_taken(edge):
    async def flood():
        peer = edge.serving[-1]
        opened = []
        for _ in range(800):
            opened.append(peer.open())
            opened[-1].write(b"\x0a")
        assert len(peer._quic._streams_blocked_bidi) >= 290
        for stream in opened[:490]:  # those that it took are given up, and make room for the others
            try:
                await ends(stream)
            except EOFError:
                pass
    edge.run(flood())
    still_serves(edge)


def test_large_heads_that_never_end_are_bounded_together(patient):
    """Each is within its bound: 250 KiB of a head that says it has 255. What is too much together ends before its time."""
    edge = patient
    table = struct.pack("<II", 0, 255 * 1024 // 8)

    async def flood():
        opened = [await edge.open(wire.PREAMBLE + table + bytes(250 * 1024), fin=False) for _ in range(100)]
        while sum(s.stop_code is not None or s.reset_code is not None for s in opened) < 5:
            await asyncio.sleep(0.01)
    with within(64 * MIB, edge.connector):
        edge.loop.run(flood(), seconds=100)
        still_serves(edge)


@pytest.mark.parametrize("frame", [struct.pack("<II", 0, 0xffffffff), struct.pack("<II", 0xffffffff, 1), struct.pack("<II", 511, 1),
                                   struct.pack("<IIQ", 0, 1, 0x7fffffff00000001), struct.pack("<IIQ", 0, 1, 0x0000ffff7ffffffc)],
                         ids=["words", "segments", "a table", "a list", "a pointer"])
def test_lengths_that_lie_end_the_stream(edge, frame):
    async def both():
        stream = await edge.open(wire.PREAMBLE + frame, fin=True)
        try:
            await stream.rest()
        except EOFError:
            return stream.reset_code
        return None if b"error" in stream.data else stream.data
    assert edge.run(both()) in (0, None)
    still_serves(edge)


def test_bodies_longer_than_they_say_reach_nobody(edge):
    async def flood():
        answers = []
        for _ in range(20):
            stream = await edge.open(wire.http_request("POST", HOST, "/echo", [("Content-Length", "1")]) + bytes(100_000), fin=False)
            answers.append(await edge.answer(stream))
            stream.reset()
        return answers
    for head, _ in edge.run(flood()):
        assert "ContentLength=1" in head["error"]
    still_serves(edge)


def test_thousands_of_calls_on_streams_for_rpc_are_bounded(edge):
    """Calls that nobody has, as fast as they go, on many streams whose answers nobody reads."""
    bootstrap = wire.RPC.Message.new_message()
    bootstrap.init("bootstrap").questionId = 0
    calls = bytearray(wire.RPC_SIGNATURE + bootstrap.to_bytes())
    for number in range(1, 2000):
        message = wire.RPC.Message.new_message()
        call = message.init("call")
        call.questionId, call.interfaceId, call.methodId = number, 7, 7
        call.target.importedCap = 0
        calls += message.to_bytes()

    async def flood():
        opened = [await edge.open(bytes(calls), fin=False) for _ in range(50)]
        for stream in opened:
            await stream.over()
        await edge.answer(await edge.open(GET))
    with within(64 * MIB, edge.connector):
        edge.run(flood())
        still_serves(edge)


def test_a_configuration_of_absurd_size_is_refused(edge):
    async def both():
        stream = await edge.open(wire.RPC_SIGNATURE + struct.pack("<II", 0, 64 * MIB // 8), fin=False)
        for _ in range(64):
            stream.write(bytes(MIB // 2))
        await stream.over()
    with within(24 * MIB, edge.connector):
        edge.run(both())
        still_serves(edge)
