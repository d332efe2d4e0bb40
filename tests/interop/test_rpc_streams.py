"""RPC streams that an edge opens at a connector, and what a connector says of itself: both connectors against a hand-made edge and
the recorded answers (tests/vectors/hostile_rpc.json, rpc_transcripts.json, live_capture.json)."""
import json
import pathlib

import capnp
import pytest
import wire
from aioquic import tls
from aioquic.buffer import Buffer
from aioquic.quic.packet import pull_quic_transport_parameters
from conftest import KINDS, Program, connector_command, need, stop_clean, until
from handmade_edge import HOST, HandmadeEdge, random_token
from peer import pipe_for_rpc

VECTORS = pathlib.Path(__file__).resolve().parents[1] / "vectors"


def load(name):
    return json.loads((VECTORS / f"{name}.json").read_text())


HOSTILE = {v["name"]: v for v in load("hostile_rpc")["vectors"]}
CONFIGURATION = """\
ingress:
- hostname: app.example.com
  path: ^/x
  service: http://localhost:8000
  originRequest:
    connectTimeout: 10s
    noTLSVerify: true
- hostname: ssh.example.com
  service: ssh://localhost
- service: http_status:204
originRequest:
  keepAliveConnections: 7
warp-routing:
  connectTimeout: 2s
"""
REPORTED = {
    "ingress": [
        {"hostname": "app.example.com", "path": "^/x", "service": "http://localhost:8000",
         "originRequest": {"connectTimeout": 10, "keepAliveConnections": 7, "noTLSVerify": True}},
        {"hostname": "ssh.example.com", "service": "ssh://localhost:22", "originRequest": {"keepAliveConnections": 7}},
        {"service": "http_status:204", "originRequest": {"keepAliveConnections": 7}}],
    "warp-routing": {"connectTimeout": 2},
}


def start(kind, edge, where):
    need(kind)
    (where / "config.yml").write_text(CONFIGURATION)
    command = connector_command(kind, where / "config.yml", edge.ca, [edge.address] * 2, random_token()[1])
    program = Program(command, where / "connector.log", cwd=where)
    program.kind = kind
    program.wait_for("Registered tunnel connection")
    return program


def stop(program):
    if program.kind == "adit":
        stop_clean(program)
    else:
        program.stop()


@pytest.fixture(scope="module", params=KINDS)
def edge(request, tmp_path_factory):
    where = tmp_path_factory.mktemp(request.param)
    edge = HandmadeEdge(where)
    edge.connector = start(request.param, edge, where)
    yield edge
    stop(edge.connector)
    edge.stop()


def still_serves(edge):
    head, _ = edge.ask(wire.http_request("GET", HOST, "/"))
    assert ("HttpStatus", "204") in wire.pairs_of(head)


# ---- violations ----

def says(frame):
    """What a message of an RPC peer says, whatever way its objects lie."""
    with wire.RPC.Message.from_bytes(frame) as message:
        return said(message)


def said(message):
    try:
        kind = str(message.which())
    except capnp.KjException:  # a kind that the schema has not
        return ("unknown",)
    if kind == "unimplemented":
        return ("unimplemented", said(message.unimplemented))
    if kind == "abort":
        return ("abort", message.abort.reason)
    if kind == "return":
        body = getattr(message, "return")
        which = str(body.which())
        return ("return", body.answerId, which, body.exception.reason if which == "exception" else len(body.results.capTable))
    return (kind,)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_violation_is_answered_as_recorded(edge, name):
    vector = HOSTILE[name]
    wanted = [says(bytes.fromhex(reply["hex"])) for reply in vector["replies"] or []]
    is_closed = vector["outcome"] == "stream closed by the connector"
    assert is_closed or vector["outcome"] == "stream stays open"

    async def talk():
        stream = await edge.open(wire.RPC_SIGNATURE, fin=False)
        got = []
        for part in vector["sent"]:
            stream.write(bytes.fromhex(part))
        while len(got) < len(wanted):
            await stream.until(lambda: wire.take_frame(stream.data)[0] is not None)
            frame, stream.data = wire.take_frame(stream.data)
            got.append(says(frame))
        if is_closed:
            await stream.over()
        else:
            assert not stream.ended and stream.reset_code is None
            stream.write(b"", True)
            await stream.over()
        return got, stream.data

    got, rest = edge.run(talk())
    # Calls run side by side: their answers may overtake one another.
    assert sorted(map(str, got)) == sorted(map(str, wanted))
    for frame in wire.frames(rest):  # an abort as the last word is no answer
        assert says(frame)[0] == "abort"
    still_serves(edge)


# ---- calls ----

def test_calls_of_the_edge_are_answered(edge):
    async def talk():
        stream = await edge.open(wire.RPC_SIGNATURE, fin=False)
        client = capnp.TwoPartyClient(await pipe_for_rpc(stream))
        root = client.bootstrap()
        manager = root.cast_as(wire.SCHEMA.ConfigurationManager)
        update = await manager.updateConfiguration(version=-1, config=b"{}")
        sessions = root.cast_as(wire.SCHEMA.SessionManager)
        await sessions.unregisterUdpSession(sessionId=bytes(16), message="by hand")
        register = await sessions.registerUdpSession(sessionId=bytes(16), dstIp=b"12345", dstPort=53, closeAfterIdleHint=0,
                                                     traceContext="")
        return update.result.to_dict(), register.result.to_dict()

    update, register = edge.run(talk())
    # The local configuration is version -1, and what is not newer is passed over.
    assert update["latestAppliedVersion"] == -1 and not update.get("err")
    assert register["err"] == "unable to parse destination IP"


def test_an_rpc_stream_that_says_nothing_is_closed(edge):
    async def talk():
        stream = await edge.open(wire.RPC_SIGNATURE, fin=False)
        await stream.over()
        return stream.ended or stream.reset_code is not None

    assert edge.run(talk())
    still_serves(edge)


# ---- what the connector says by itself ----

def test_the_local_configuration_is_told_once_by_the_first_connection(edge):
    until(lambda: edge.configurations, "a configuration")
    until(lambda: len(edge.registrations) >= 2, "the other connection")
    assert len(edge.configurations) == 1
    told = json.loads(edge.configurations[0])
    flags = told.pop("__configuration_flags")
    assert told == REPORTED
    assert flags == {"no-autoupdate": "true", "protocol": "quic", "metrics": "127.0.0.1:0"}


def test_a_remotely_managed_tunnel_is_told_nothing(tmp_path):
    edge = HandmadeEdge(tmp_path)
    edge.decide = lambda r: {"connectionDetails": {"uuid": bytes(16), "locationName": "TST", "tunnelIsRemotelyManaged": True}}
    program = start("adit", edge, tmp_path)
    until(lambda: len(edge.serving) == 2, "two registrations")
    still_serves(edge)
    stop_clean(program)
    assert edge.configurations == []
    edge.stop()


PARAMETERS = load("live_capture")["quic_transport_parameters_of_connector"]


def test_the_handshake_says_what_was_captured(edge):
    peer = edge.serving[0]
    extensions = dict(peer._quic.tls.received_extensions)
    got = pull_quic_transport_parameters(Buffer(data=extensions[tls.ExtensionType.QUIC_TRANSPORT_PARAMETERS]))
    hello, captured = peer._quic.tls.first_hello, load("live_capture")["tls_client_hello"]["quic"]
    groups = [int(text.split("0x")[1].rstrip(")"), 16) for text in captured["curves"]]
    assert hello.alpn_protocols == captured["alpn"] and hello.server_name == captured["sni"]
    assert hello.supported_versions == [tls.TLS_VERSION_1_3] and captured["versions"] == ["TLS 1.3"]
    assert {tls.CipherSuite[name.removeprefix("TLS_")] for name in captured["ciphers"]} <= set(hello.cipher_suites)
    # Ours pings seldom while nothing moves, and finds a dead edge by what it owes.
    assert got.max_idle_timeout == (100_000 if edge.connector.kind == "adit" else PARAMETERS["max_idle_timeout"])
    for name in ("active_connection_id_limit", "max_datagram_frame_size", "initial_max_stream_data_bidi_local",
                 "initial_max_stream_data_bidi_remote"):
        assert getattr(got, name) == PARAMETERS[name], name
    assert got.disable_active_migration is PARAMETERS["disable_active_migration"]
    if edge.connector.kind == "cloudflared":
        assert list(hello.supported_groups) == groups
        assert [group for group, _ in hello.key_share] == groups[:1]
        assert got.initial_source_connection_id == b"" and got.max_udp_payload_size == PARAMETERS["max_udp_payload_size"]
        assert got.initial_max_data == PARAMETERS["initial_max_data"]
        return
    # On purpose otherwise: P-256 and X25519 with a share instead of ML-KEM (GnuTLS of Debian 12 has none); a connection id, so that
    # the connector may be found behind one port and may move; larger credit for the connection; no unidirectional streams, which
    # the protocol does not use.
    assert groups[1] in hello.supported_groups
    assert len(got.initial_source_connection_id) > 0
    assert got.initial_max_data >= PARAMETERS["initial_max_data"]
    assert not got.initial_max_streams_uni and got.initial_max_streams_bidi >= 1000


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_word_of_the_control_stream_is_a_shutdown(kind, tmp_path):
    edge = HandmadeEdge(tmp_path)
    program = start(kind, edge, tmp_path)
    until(lambda: program.text().count("Registered tunnel connection") == 2, "both connections know of their registration")
    streams = [peer.streams[0] for peer in edge.serving]
    stop(program)
    for stream in streams:
        assert stream.peer in edge.unregistered
        last = wire.frames(stream.heard)[-1]
        assert says(last) == ("abort", "rpc: shutdown")
        assert stream.ended
    edge.stop()
