"""Websockets end to end."""
import contextlib
import socket
import threading

import pytest
import websockets.sync.client
import websockets.sync.server

from conftest import BUILD, KINDS, Edge, Program, hostname_of, need, quick_command, until

pytestmark = pytest.mark.threads


@pytest.fixture(scope="module")
def echo():
    def handler(ws):
        for message in ws:
            ws.send(message)

    server = websockets.sync.server.serve(handler, "127.0.0.1", 0, subprotocols=["chat"], max_size=1 << 25)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.socket.getsockname()[1]
    server.shutdown()


@pytest.fixture(scope="module", params=KINDS)
def socket_tunnel(request, tmp_path_factory, echo):
    need(request.param)
    where = tmp_path_factory.mktemp("ws")
    edge = Edge(where, 2)
    connector = Program(quick_command(request.param, edge, f"http://127.0.0.1:{echo}"), where / "connector.log", cwd=where)
    connector.wait_for("Registered tunnel connection")
    connector.host = until(lambda: hostname_of(connector), "a hostname")
    connector.edge = edge
    yield connector
    connector.stop()
    assert edge.stop() == 0, edge.text()[-3000:]


def connect(t):
    s = socket.create_connection(("127.0.0.1", t.edge.port("http")))
    return websockets.sync.client.connect(f"ws://{t.host}/", sock=s, max_size=1 << 25, subprotocols=["chat"])


def test_messages_come_back_as_they_were(socket_tunnel):
    with connect(socket_tunnel) as ws:
        assert ws.subprotocol == "chat"
        for message in ("text", b"bytes", "", b"x" * 70_000, "m\u00f4\u00f4" * 10_000):
            ws.send(message)
            assert ws.recv(timeout=30) == message


def test_a_message_of_sixteen_mebibytes(socket_tunnel):
    message = bytes(range(256)) * 65536
    with connect(socket_tunnel) as ws:
        ws.send(message)
        assert ws.recv(timeout=60) == message


def test_a_ping_is_answered_and_a_close_has_its_code(socket_tunnel):
    with connect(socket_tunnel) as ws:
        assert ws.ping().wait(30)
        ws.close(1000, "done")
        assert ws.close_code == 1000


def test_a_hundred_sockets_at_once(socket_tunnel):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(connect(socket_tunnel)) for _ in range(100)]
        for i, ws in enumerate(sockets):
            ws.send(str(i))
        for i, ws in enumerate(sockets):
            assert ws.recv(timeout=30) == str(i)
