"""What would never end by itself, when its program stops and the grace period is over: websockets are told, event streams end, the rest is cut."""
import contextlib
import re
import signal
import socket
import threading

import h11
import pytest
import websockets.exceptions
import websockets.sync.client
import websockets.sync.server

import origin as origins
from client import Visitor, code_of
from conftest import TRANSPORTS, hostname_of, quick_command, until

pytestmark = pytest.mark.threads
GOING_AWAY = 1001


class Echo:
    """A websocket server that notes by which code its connections ended."""

    def __init__(self):
        self.codes = []
        self.server = websockets.sync.server.serve(self._serve, "127.0.0.1", 0)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.port = self.server.socket.getsockname()[1]

    def _serve(self, ws):
        with contextlib.suppress(websockets.exceptions.ConnectionClosed):
            while True:
                ws.send(ws.recv())
        self.codes.append(ws.close_code)


class Mute:
    """Agrees to a websocket, and then neither reads nor answers; may have begun a frame."""

    def __init__(self, says=b""):
        self.says = says
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.open = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                conn = self.listener.accept()[0]
                head = b""
                while b"\r\n\r\n" not in head:
                    head += conn.recv(4096)
                key = re.search(rb"(?i)sec-websocket-key: *(\S+)", head).group(1).decode()
                accept = websockets.utils.accept_key(key)
                conn.sendall(f"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n".encode()
                             + self.says)
                self.open.append(conn)


@pytest.fixture
def origin():
    """One of its own: a response that is cut leaves a thread behind that would take the next one's steps."""
    server = origins.start()
    yield server
    server.step.release(100)
    server.shutdown()


@pytest.fixture(params=TRANSPORTS)
def transport(request):
    return request.param


@pytest.fixture
def tunnel_to(edges, connectors, transport):
    """An edge of a short drain time, and a connector of a short grace period."""
    def start(url):
        edge = edges("--grace-period", "1s", workers=2)
        connector = connectors(quick_command("adit", edge, url, transport))
        connector.wait_for("Registered tunnel connection")
        connector.host = until(lambda: hostname_of(connector), "a hostname")
        connector.edge = edge
        return connector

    return start


def connect(tunnel):
    s = socket.create_connection(("127.0.0.1", tunnel.edge.port("http")))
    return websockets.sync.client.connect(f"ws://{tunnel.host}/", sock=s, close_timeout=20, legacy=True)


def stop(tunnel, who):
    program = tunnel if who == "connector" else tunnel.edge
    program.process.send_signal(signal.SIGTERM)
    return program


STOPS = ["connector", "edge"]


@pytest.mark.parametrize("who", STOPS)
def test_both_ends_of_a_websocket_are_told(tunnel_to, who):
    origin = Echo()
    tunnel = tunnel_to(f"http://127.0.0.1:{origin.port}")
    sockets = [connect(tunnel) for _ in range(20)]
    for i, ws in enumerate(sockets):
        ws.send(str(i))
        assert ws.recv(timeout=30) == str(i)
    program = stop(tunnel, who)
    assert [code_of(ws) for ws in sockets] == [GOING_AWAY] * 20
    until(lambda: len(origin.codes) == 20, "the origin heard of every end")
    assert origin.codes == [GOING_AWAY] * 20
    assert program.process.wait(30) == 0
    assert "websockets and event streams are told" in program.text()


@pytest.mark.parametrize("who", STOPS)
def test_a_visitor_is_told_also_when_its_origin_says_nothing(tunnel_to, who):
    origin = Mute(says=b"\x81\x02hi")
    tunnel = tunnel_to(f"http://127.0.0.1:{origin.port}")
    ws = connect(tunnel)
    assert ws.recv(timeout=30) == "hi"
    program = stop(tunnel, who)
    assert code_of(ws) == GOING_AWAY
    assert program.process.wait(30) == 0


@pytest.mark.parametrize("who", STOPS)
def test_half_a_message_is_not_made_to_look_like_a_whole_one(tunnel_to, who):
    origin = Mute(says=b"\x81\x02hi\x81\x7e\x10\x00" + b"x" * 100)
    tunnel = tunnel_to(f"http://127.0.0.1:{origin.port}")
    ws = connect(tunnel)
    assert ws.recv(timeout=30) == "hi"
    program = stop(tunnel, who)
    assert code_of(ws) is None
    assert program.process.wait(30) == 0


@pytest.mark.parametrize("who", STOPS)
def test_a_service_of_bytes_ends_and_its_visitor_is_told(tunnel_to, who):
    service = socket.create_server(("127.0.0.1", 0))
    tunnel = tunnel_to(f"tcp://127.0.0.1:{service.getsockname()[1]}")
    ws = connect(tunnel)
    ws.send(b"question")
    conn = service.accept()[0]
    conn.settimeout(30)
    assert conn.recv(100) == b"question"
    conn.sendall(b"answer")
    assert ws.recv(timeout=30) == b"answer"
    program = stop(tunnel, who)
    assert code_of(ws) == GOING_AWAY
    assert conn.recv(100) == b""  # in order: a reset would raise
    assert program.process.wait(30) == 0


@pytest.mark.parametrize("who", STOPS)
def test_an_event_stream_ends_in_order_and_another_response_is_cut(tunnel_to, origin, who):
    tunnel = tunnel_to(origin.url)
    with Visitor(tunnel.edge.port("http"), tunnel.host) as events, Visitor(tunnel.edge.port("http"), tunnel.host) as other:
        events.request("GET", "/stepwise/text-event-stream")
        other.request("GET", "/stepwise")
        for visitor in (events, other):
            assert isinstance(visitor.event(), h11.Response) and visitor.event().data == b"piece 0\n"
        program = stop(tunnel, who)
        assert isinstance(events.event(), h11.EndOfMessage)
        with pytest.raises((h11.RemoteProtocolError, OSError)):
            other.event()
        assert program.process.wait(30) == 0
