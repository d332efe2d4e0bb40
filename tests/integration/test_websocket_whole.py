"""Websockets as the `websockets` library speaks them, at both ends, and before a service that is a stream of bytes. What each frame looks
like on its way is in test_websocket_frames.py."""
import contextlib
import queue
import socket
import socketserver
import threading

import pytest
import websockets.exceptions
import websockets.frames
import websockets.sync.client
import websockets.sync.server

from conftest import Edge, Program, hostname_of, need, quick_command, until


class Server:
    """An origin whose connections the test holds itself."""

    def __init__(self):
        self.connections = queue.Queue()
        self.server = websockets.sync.server.serve(self.handle, "127.0.0.1", 0, ping_interval=None)
        self.port = self.server.socket.getsockname()[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def handle(self, ws):
        done = threading.Event()
        self.connections.put((ws, done))
        done.wait(60)

    def stop(self):
        self.server.shutdown()


@pytest.fixture(scope="module")
def server():
    s = Server()
    yield s
    s.stop()


@pytest.fixture(scope="module", params=["adit", "cloudflared"])
def tunnel(request, tmp_path_factory, server):
    need(request.param)
    where = tmp_path_factory.mktemp("whole")
    edge = Edge(where, 2)
    connector = Program(quick_command(request.param, edge, f"http://127.0.0.1:{server.port}"), where / "connector.log", cwd=where)
    connector.wait_for("Registered tunnel connection")
    connector.host = until(lambda: hostname_of(connector), "a hostname")
    connector.edge = edge
    yield connector
    code = connector.stop()
    assert edge.stop() == 0, edge.text()[-3000:]
    assert code == 0 or request.param != "adit"


class Both:
    """A visitor's end and the origin's end of one websocket."""

    def __init__(self, tunnel, server, **more):
        s = socket.create_connection(("127.0.0.1", tunnel.edge.port("http")))
        self.stack = contextlib.ExitStack()
        self.near = self.stack.enter_context(websockets.sync.client.connect(f"ws://{tunnel.host}/", sock=s, ping_interval=None, **more))
        self.far, self.done = server.connections.get(timeout=60)

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.stack.close()
        self.done.set()

    def ways(self):
        return ((self.near, self.far), (self.far, self.near))


@pytest.mark.parametrize("compression", ["deflate", None])
def test_compression_is_agreed_on_by_the_ends(tunnel, server, compression):
    with Both(tunnel, server, compression=compression) as both:
        assert [len(ws.protocol.extensions) for ws in (both.near, both.far)] == ([1, 1] if compression else [0, 0])
        for a, b in both.ways():
            for _ in range(3):  # the context is kept from message to message
                a.send("compressible " * 10_000)
                assert b.recv(timeout=60) == "compressible " * 10_000


@pytest.mark.parametrize("who", ["visitor", "origin"])
def test_an_end_without_a_close_is_none_at_the_other_end(tunnel, server, who):
    with Both(tunnel, server) as both:
        first, second = (both.near, both.far) if who == "visitor" else (both.far, both.near)
        first.socket.shutdown(socket.SHUT_RDWR)
        with pytest.raises(websockets.exceptions.ConnectionClosed):
            second.recv(timeout=60)
        assert second.close_code == websockets.frames.CloseCode.ABNORMAL_CLOSURE


# ---- a service that is a stream of bytes: the connector is the websocket's server ----

class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(1 << 16):
            self.request.sendall(data)


@pytest.fixture(scope="module", params=["adit", "cloudflared"])
def stream_tunnel(request, tmp_path_factory):
    need(request.param)
    where = tmp_path_factory.mktemp("stream")
    echo = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo)
    echo.daemon_threads = True
    threading.Thread(target=echo.serve_forever, daemon=True).start()
    edge = Edge(where, 2)
    connector = Program(quick_command(request.param, edge, f"tcp://127.0.0.1:{echo.server_address[1]}"), where / "connector.log", cwd=where)
    connector.wait_for("Registered tunnel connection")
    connector.host = until(lambda: hostname_of(connector), "a hostname")
    connector.edge, connector.kind = edge, request.param
    yield connector
    code = connector.stop()
    assert edge.stop() == 0, edge.text()[-3000:]
    assert code == 0 or request.param != "adit"
    echo.shutdown()


def stream(tunnel, stack):
    s = socket.create_connection(("127.0.0.1", tunnel.edge.port("http")))
    return stack.enter_context(websockets.sync.client.connect(f"ws://{tunnel.host}/", sock=s, max_size=1 << 25, ping_interval=None, compression="deflate"))


def take(ws, size):
    data = b""
    while len(data) < size:
        data += ws.recv(timeout=60)
    return data


def test_a_stream_of_bytes_agrees_to_no_extension_and_answers_pings_and_closes(stream_tunnel):
    with contextlib.ExitStack() as stack:
        ws = stream(stream_tunnel, stack)
        assert ws.protocol.extensions == []
        assert ws.ping(b"here?").wait(60)
        ws.send(b"bytes")
        assert take(ws, 5) == b"bytes"
        ws.close(1000, "done")
        assert ws.close_code is not None


def test_fragments_and_large_messages_are_bytes_for_the_origin(stream_tunnel):
    # The reference loses what of a message is behind the reader's own buffer (docs/protocol.md, 12.1): small ones for it.
    size = 1 << 24 if stream_tunnel.kind == "adit" else 1000
    message = bytes(range(256)) * (size // 256) + b"end"
    with contextlib.ExitStack() as stack:
        ws = stream(stream_tunnel, stack)
        sender = threading.Thread(target=lambda: ws.send([message[: size // 3], message[size // 3:]] if stream_tunnel.kind == "adit" else message), daemon=True)
        sender.start()
        assert take(ws, len(message)) == message
        sender.join(60)
        assert not sender.is_alive()
