"""The life of a QUIC connection with aioquic at the other end: new keys, new identifiers, new addresses, and how it ends."""
import signal

import pytest
import wire
from client import get
from conftest import Edge, ask_quick_tunnel, check_clean, stop_clean, until
from handmade_connector import Connector
from handmade_edge import HOST, HandmadeEdge, start_connector
from peer import move


async def large(stream, request):
    stream.write(wire.response_head(200) + b"x" * 200_000, True)


ANSWERS = {"/large": large}


# ---- adit-edge, aioquic as the connector ----

@pytest.fixture(scope="module")
def server(tmp_path_factory):
    edge = Edge(tmp_path_factory.mktemp("life"), 2)
    yield edge
    stop_clean(edge)


@pytest.fixture
def connector(server):
    connector = Connector(server, ask_quick_tunnel(server), ANSWERS)
    connector.peer = connector.run(connector.register())
    yield connector
    connector.stop()


def serves(connector):
    head, body = get(connector, "/large")
    assert head.status_code == 200 and len(body) == 200_000
    assert connector.peer.why is None


def test_the_edge_follows_a_key_update(connector):
    for _ in range(3):
        serves(connector)
        connector.run(call(connector.peer.request_key_update))
        connector.run(connector.peer.ping())
    serves(connector)


def test_the_edge_follows_a_new_connection_id(connector):
    for _ in range(3):
        connector.run(call(connector.peer.change_connection_id))
        serves(connector)


def test_the_edge_follows_a_connector_to_another_port(connector):
    for _ in range(3):
        connector.run(move(connector.peer))
        connector.run(connector.peer.ping())
        serves(connector)


async def call(function):
    function()


def test_an_edge_that_stops_closes_its_connections(tmp_path):
    edge = Edge(tmp_path, 1)
    connector = Connector(edge, ask_quick_tunnel(edge), ANSWERS)
    peer = connector.run(connector.register())
    stop_clean(edge)
    assert connector.run(peer.ended()) is not None
    connector.stop()


# ---- adit, aioquic as the edge ----

@pytest.fixture
def edge(tmp_path):
    edge = HandmadeEdge(tmp_path)
    yield edge
    edge.stop()


def start_both(edge, where, origin, **options):
    """A connector both of whose connections know that they are registered."""
    program = start_connector(edge, where, origin.url, **options)
    until(lambda: program.text().count("Registered tunnel connection") == 2, "two connections")
    return program


def ask_root(edge):
    head, body = edge.ask(wire.http_request("GET", HOST, "/bytes/100000"))
    assert wire.pairs_of(head)[0] == ("HttpStatus", "200") and len(body) == 100_000


def test_adit_follows_a_key_update(edge, origin, tmp_path):
    program = start_connector(edge, tmp_path, origin.url)
    peer = edge.serving[-1]
    for _ in range(3):
        ask_root(edge)
        edge.run(call(peer.request_key_update))
        edge.run(peer.ping())
    ask_root(edge)
    assert peer.why is None
    stop_clean(program)


def test_adit_comes_back_after_its_connection_was_closed(edge, origin, tmp_path):
    program = start_both(edge, tmp_path, origin)
    first = list(edge.serving)
    for code, peer in enumerate(first):
        edge.run(close(peer, code))
    until(lambda: len(edge.serving) == 4, "two new connections")
    ask_root(edge)
    again = edge.registrations[2:]
    assert sorted(r["connIndex"] for r in again) == [0, 1]
    assert {r["options"]["client"]["clientId"] for r in edge.registrations} == {again[0]["options"]["client"]["clientId"]}
    stop_clean(program)


async def close(peer, code):
    peer.close(code, "by hand")
    await peer.wait_closed()


def stop_during_a_request(edge, program):
    """SIGTERM while a request's body is half sent; the request then ends well."""
    async def begin():
        stream = await edge.open(wire.http_request("POST", HOST, "/echo", [("Content-Length", "10")]) + b"01234", fin=False)
        await stream.peer.ping()  # it has arrived
        return stream

    stream = edge.run(begin())
    program.process.send_signal(signal.SIGTERM)
    until(lambda: len(edge.unregistered) == 2, "both connections are unregistered")

    async def end():
        stream.write(b"56789", True)
        return await edge.answer(stream)

    head, body = edge.run(end())
    assert wire.pairs_of(head)[0] == ("HttpStatus", "200") and b'"bytes": 10' in body


def test_adit_unregisters_and_ends_what_is_under_way(edge, origin, tmp_path):
    program = start_both(edge, tmp_path, origin)
    stop_during_a_request(edge, program)
    program.process.wait(30)  # by itself: a second signal would end it at once
    stop_clean(program)
    for peer in edge.serving:
        assert edge.run(peer.ended()).error_code == 0


def test_adit_stops_when_its_last_request_has_ended(edge, origin, tmp_path):
    program = start_both(edge, tmp_path, origin, grace="60s")
    try:
        stop_during_a_request(edge, program)
        until(lambda: program.process.poll() is not None, "adit stops before its grace period is over", 3)
    finally:
        program.process.kill()
        program.process.wait(30)


@pytest.mark.parametrize("names", [["other.example.com"], ["h2.cftunnel.com"]], ids=["another name", "the name for HTTP/2"])
def test_adit_takes_no_edge_with_another_name(tmp_path, names):
    edge = HandmadeEdge(tmp_path, names=names)
    program = start_connector(edge, tmp_path, "http_status:204", is_awaited=False)
    try:
        until(lambda: any(peer.why is not None for peer in edge.peers), "the connector refused")
        assert not edge.registrations and "Registered" not in program.text()
        assert program.process.poll() is None
    finally:
        program.process.kill()
        program.process.wait(30)
        edge.stop()
    check_clean(program)


def test_adit_tells_an_edge_why_its_certificate_was_refused(tmp_path):
    edge = HandmadeEdge(tmp_path, names=["other.example.com"])
    program = start_connector(edge, tmp_path, "http_status:204", is_awaited=False)
    try:
        until(lambda: any(peer.why is not None for peer in edge.peers), "the connector refused")
        code = next(peer.why.error_code for peer in edge.peers if peer.why is not None)
        assert 0x100 <= code < 0x200
    finally:
        program.process.kill()
        program.process.wait(30)
        edge.stop()
