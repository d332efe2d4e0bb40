"""What adit does with edges of all kinds over HTTP/2: it registers, or says why it could not, backs off and comes back. It never ends."""
import asyncio
import contextlib
import json
import pathlib
import socket
import struct

import h2.errors
import pytest
from aioquic import tls
from aioquic.buffer import Buffer
from conftest import KINDS, Program, connector_command, need, stop_clean, until
from h2_peer import SERVER_NAME, UPGRADE, H2Peer
from handmade_edge import ACCEPT, HOST, random_token
from handmade_h2_edge import CONTROL, HandmadeH2Edge
from hyperframe.frame import GoAwayFrame
from nginx import self_signed

MIB = 1 << 20
VECTORS = pathlib.Path(__file__).resolve().parents[1] / "vectors"


@pytest.fixture
def place(tmp_path):
    """Starts an edge whose first connection goes as a test says, the later ones in order; and a connector of one connection."""
    held = []

    def start(first=None, decide=None, flags=()):
        async def opens(peer):
            await (first(edge, peer) if len(edge.peers) == 1 and first is not None else edge.open_control(peer))

        edge = HandmadeH2Edge(tmp_path, opens)
        edge.decide = decide or edge.decide
        (tmp_path / "config.yml").write_text(json.dumps({"ingress": [{"service": "http_status:204"}]}))
        command = connector_command("adit", tmp_path / "config.yml", edge.ca, [edge.address], random_token()[1], transport="http2")
        command[command.index("--ha-connections") + 1] = "1"
        program = Program([*command, "--retries", "1", *flags], tmp_path / "connector.log", cwd=tmp_path)
        held.extend([edge, program])
        return edge, program

    yield start
    edge, program = held
    if program.process.poll() is None:
        stop_clean(program)
    edge.stop()


def serves(edge):
    async def ask():
        return await edge.open("GET", HOST, "/").heads()

    return edge.run(ask()).status == 204


def comes_back(edge, program, why):
    """The second connection serves, and one line told why it had to be made."""
    program.wait_for("Registered tunnel connection")
    assert serves(edge) and len(edge.peers) >= 2
    lines = [line for line in program.text().splitlines() if "retry_in_ms=" in line]
    assert len(lines) == len(edge.peers) - 1 and all(why in line and "level=warn" in line for line in lines), lines


def test_a_registration_says_who_asks_and_the_end_is_told(place):
    edge, program = place()
    program.wait_for("Registered tunnel connection")
    registered = edge.registrations[0]
    assert registered["connIndex"] == 0 and registered["options"]["numPreviousAttempts"] == 0
    assert not registered["options"]["replaceExisting"]
    assert {"serialized_headers", "allow_remote_config"} <= set(registered["options"]["client"]["features"])
    assert registered["options"]["originLocalIp"][-4:] == bytes([127, 0, 0, 1])
    until(lambda: edge.configurations, "the local configuration")
    assert json.loads(edge.configurations[0])["ingress"][0]["service"] == "http_status:204"
    assert serves(edge)
    stop_clean(program)
    assert edge.unregistered == edge.serving and len(edge.peers) == 1


@pytest.mark.parametrize("refusal", [{"cause": "EDUPCONN", "shouldRetry": True, "retryAfter": 1000000000},
                                     {"cause": "Unauthorized: Invalid tunnel secret", "shouldRetry": False},
                                     {"cause": "come later", "shouldRetry": True}, {"cause": "", "shouldRetry": False}])
def test_a_refusal_is_told_and_asked_again(place, refusal):
    def decide(registration):
        return ACCEPT if registration["options"]["numPreviousAttempts"] == 2 else {"error": refusal}

    edge, program = place(decide=decide)
    comes_back(edge, program, refusal["cause"])
    assert [r["options"]["numPreviousAttempts"] for r in edge.registrations] == [0, 1, 2]


def test_an_exception_instead_of_an_answer_is_a_refusal(place):
    def decide(registration):
        return ACCEPT if registration["options"]["numPreviousAttempts"] else RuntimeError("out of order")

    edge, program = place(decide=decide)
    comes_back(edge, program, "out of order")


async def asks_for_nothing(edge, peer):
    await peer.over()


async def asks_for_a_page_first(edge, peer):
    stream = peer.request([*CONTROL[:2], (":authority", HOST), (":path", "/")])
    with contextlib.suppress(EOFError):
        await stream.heads()
    assert stream.head is None
    await peer.over()


async def hangs_up(edge, peer):
    peer.transport.close()


async def breaks_off(edge, peer):
    peer.hang_up()


async def hangs_up_later(edge, peer):
    await peer.request(CONTROL, fin=False).heads()
    peer.transport.close()


async def resets_the_control_stream(edge, peer):
    stream = await peer.request(CONTROL, fin=False).heads()
    stream.reset()
    await peer.over()


async def ends_the_control_stream(edge, peer):
    stream = await peer.request(CONTROL, fin=False).heads()
    stream.write(b"", fin=True)
    await peer.over()


async def talks_otherwise(edge, peer):
    peer.raw(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n" * 10)
    await peer.over()


async def breaks_the_protocol(edge, peer):
    stream = await peer.request(CONTROL, fin=False).heads()
    peer.raw(b"\x00\x00\x05\x06\x00\x00\x00\x00\x00hello")  # a PING of five bytes
    await peer.over()
    assert stream.peer.goaway.error_code == h2.errors.ErrorCodes.FRAME_SIZE_ERROR


async def sends_nonsense_on_the_control_stream(edge, peer):
    stream = await peer.request(CONTROL, fin=False).heads()
    stream.write(b"\xff" * 64)
    await peer.over()


async def goes_away_at_once(edge, peer):
    peer.raw(GoAwayFrame(0, last_stream_id=0, error_code=0))
    await peer.over()


async def never_answers(edge, peer):
    await peer.request(CONTROL, fin=False).heads()
    await peer.over()


FIRST = {
    hangs_up: "connection with edge closed: ", breaks_off: "connection with edge closed: ",
    hangs_up_later: "connection with edge closed: ",
    asks_for_a_page_first: "the edge asked for something else before the control stream",
    resets_the_control_stream: "the edge ended the control stream before it answered the registration",
    ends_the_control_stream: "the edge ended the control stream before it answered the registration",
    talks_otherwise: "connection with edge closed: FRAME_SIZE_ERROR", breaks_the_protocol: "connection with edge closed: ",
    sends_nonsense_on_the_control_stream: "the edge ended the control stream before it answered the registration",
    goes_away_at_once: "the peer ended the connection by GOAWAY",
    never_answers: "the edge did not answer the registration in time",
    asks_for_nothing: "the edge did not ask for the control stream in time",
}


@pytest.mark.parametrize("first", FIRST, ids=lambda f: f.__name__)
def test_an_edge_that(place, first):
    edge, program = place(first)
    comes_back(edge, program, FIRST[first])


@pytest.mark.parametrize("data, why", [(b"", "the edge did not ask for the control stream in time"),
                                       (b"HTTP/1.1 400 Bad Request\r\n\r\n", "connection with edge closed: what came is not HTTP/2")],
                         ids=["nothing", "HTTP 1.1"])
def test_an_edge_that_does_not_speak_http2_is_left(place, monkeypatch, data, why):
    real = H2Peer.__init__

    def mute_at_first(self, *args, **options):
        real(self, *args, **options)
        self.is_mute = not made
        made.append(self)

    async def speaks(edge, peer):
        peer.raw(data)

    made = []
    monkeypatch.setattr(H2Peer, "__init__", mute_at_first)
    edge, program = place(speaks)
    comes_back(edge, program, why)
    assert edge.peers[0].heard[3:9] == b"\x04\x00\x00\x00\x00\x00"  # its own SETTINGS waited for nothing


def test_a_second_control_stream_is_refused_and_the_first_goes_on(place):
    edge, program = place()
    program.wait_for("Registered tunnel connection")

    async def again():
        stream = edge.newest().request(CONTROL, fin=False)
        await stream.over()
        return stream

    assert edge.run(again()).reset_code == h2.errors.ErrorCodes.PROTOCOL_ERROR
    assert serves(edge)
    stop_clean(program)
    assert edge.unregistered and len(edge.peers) == 1


def test_what_is_under_way_ends_behind_a_goaway_and_then_the_connector_comes_back(place):
    """An edge that says GOAWAY sends nothing new on this connection: what is open ends, then another connection is made."""
    async def slow(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        arrived.set()
        await gate.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlast")
        await reader.read()
        writer.close()

    edge, program = place()
    program.wait_for("Registered tunnel connection")

    async def everything():
        nonlocal arrived, gate
        arrived, gate = asyncio.Event(), asyncio.Event()
        server = await asyncio.start_server(slow, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        peer = edge.newest()
        stream = peer.request([*CONTROL[:2], (":authority", f"127.0.0.1:{port}"), (":path", "/"), ("cf-cloudflared-proxy-src", "x")],
                              fin=False)
        stream.write(b"GET / HTTP/1.1\r\n\r\n")
        await arrived.wait()
        peer.raw(GoAwayFrame(0, last_stream_id=0, error_code=0))
        gate.set()
        await stream.until(lambda: b"last" in stream.data)
        assert len(edge.peers) == 1
        stream.write(b"", fin=True)
        await peer.over()
        server.close()
        return stream.ended

    arrived = gate = None
    assert edge.run(everything())
    until(lambda: len(edge.serving) == 2, "it is back")
    assert "the peer ended the connection by GOAWAY" in program.text()
    assert serves(edge)


def test_a_connection_that_is_lost_comes_back(place):
    edge, program = place()
    program.wait_for("Registered tunnel connection")
    for n in range(1, 4):
        edge.loop.loop.call_soon_threadsafe(edge.newest().hang_up)
        until(lambda n=n: len(edge.serving) == n + 1, "it is back")
        assert serves(edge)
    assert [r["options"]["numPreviousAttempts"] for r in edge.registrations] == [0, 1, 1, 1]


# ---- what the connector says first ----

def test_the_connectors_preface_is_the_references(place):
    """tests/vectors/live_capture.json: MAX_FRAME_SIZE, INITIAL_WINDOW_SIZE, NO_RFC7540_PRIORITIES. A push is never sent by it."""
    edge, program = place()
    program.wait_for("Registered tunnel connection")
    settings = edge.peers[0].remote
    assert settings[5] == MIB and settings[4] == MIB and settings[9] == 1
    assert settings[3] == 65536  # --max-streams; the reference says 2^32-1 and keeps to none
    assert settings.get(1, 4096) == 4096
    assert settings[6] >= 512 << 10  # two heads of the other transport; the reference takes a MiB
    assert edge.peers[0].control_stream.field("content-type") == "application/octet-stream"
    assert edge.peers[0].control_stream.field("cf-cloudflared-response-meta") is None
    assert edge.peers[0].control_stream.field(UPGRADE) is None


def first_hello(listener):
    """The ClientHello of the next TCP connection."""
    listener.settimeout(30)
    conn, _ = listener.accept()
    with conn, conn.makefile("rb") as file:
        conn.settimeout(30)
        kind, _, size = struct.unpack(">BHH", file.read(5))
        assert kind == 22  # handshake
        return tls.pull_client_hello(Buffer(data=file.read(size)))


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_flight_of_tls_says_what_was_captured(kind, tmp_path):
    """No ALPN, and a name by which an edge tells connectors from visitors. As over QUIC there is P-256 in common instead of ML-KEM."""
    need(kind)
    captured = json.loads((VECTORS / "live_capture.json").read_text())["tls_client_hello"]["http2"]
    self_signed(tmp_path / "ca.pem", tmp_path / "key.pem", [SERVER_NAME])
    (tmp_path / "config.yml").write_text(json.dumps({"ingress": [{"service": "http_status:204"}]}))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = "127.0.0.1:%d" % listener.getsockname()[1]
        command = connector_command(kind, tmp_path / "config.yml", tmp_path / "ca.pem", [address], random_token()[1], transport="http2")
        program = Program(command, tmp_path / "connector.log", cwd=tmp_path)
        hello = first_hello(listener)
        program.stop()
    groups = [int(text.split("0x")[1].rstrip(")"), 16) for text in captured["curves"]]
    versions = {"TLS 1.3": tls.TLS_VERSION_1_3, "TLS 1.2": tls.TLS_VERSION_1_2}
    assert hello.server_name == captured["sni"] == SERVER_NAME
    assert captured["alpn"] is None and hello.alpn_protocols is None
    assert hello.early_data is False and hello.pre_shared_key is None
    assert hello.supported_versions == [versions[name] for name in captured["versions"]]
    if kind == "cloudflared":
        assert list(hello.supported_groups) == groups
    else:
        assert groups[1] in hello.supported_groups
        assert groups[1] in [group for group, _ in hello.key_share], "a share that an edge needs not ask for"
