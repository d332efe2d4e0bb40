"""A kept-alive connection to the origin that turns out to be dead: what may be asked twice is, and nothing else."""
import contextlib
import socket
import threading

import pytest
from client import Visitor
from conftest import KINDS, Edge, Program, hostname_of, need, quick_command, until


class OneAnswerOrigin:
    """Answers the first request of each connection, and closes on the second without a word."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d" % self.listener.getsockname()[1]
        self.seen = []  # (number on its connection, request line)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self.listener.accept()[0],), daemon=True).start()

    def _serve(self, conn):
        with conn, contextlib.suppress(OSError):
            for number in (1, 2):
                head = b""
                while b"\r\n\r\n" not in head:
                    data = conn.recv(65536)
                    if not data:
                        return
                    head += data
                self.seen.append((number, head.split(b"\r\n", 1)[0].decode()))
                if number == 1:
                    conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@pytest.fixture(scope="module", params=KINDS)
def stale(request, tmp_path_factory):
    need(request.param)
    where = tmp_path_factory.mktemp(f"stale-{request.param}")
    origin = OneAnswerOrigin()
    edge = Edge(where)
    flags = ["--ha-connections", "1"] if request.param == "adit" else []
    connector = Program([*quick_command(request.param, edge, origin.url), *flags], where / "connector.log", cwd=where)
    connector.wait_for("Registered tunnel connection")
    connector.host = until(lambda: hostname_of(connector), "a hostname")
    connector.edge, connector.origin = edge, origin
    yield connector
    assert connector.stop() == 0 or request.param != "adit"
    assert edge.stop() == 0
    origin.listener.close()


def ask(visitor, method, target):
    visitor.request(method, target, [("Content-Length", "0")] if method == "POST" else [])
    return visitor.response()[0].status_code


def test_a_get_is_asked_again_on_a_new_connection(stale):
    with Visitor(stale.edge.port("http"), stale.host) as visitor:
        assert [ask(visitor, "GET", f"/get/{i}") for i in range(6)] == [200] * 6
    seen = [line for _, line in stale.origin.seen if "/get/" in line]
    assert any(seen.count(line) == 2 for line in seen)  # or nothing was put to the test


def test_a_post_reaches_the_origin_once_at_most(stale):
    with Visitor(stale.edge.port("http"), stale.host) as visitor:
        statuses = [ask(visitor, "POST", f"/post/{i}") for i in range(6)]
    assert set(statuses) <= {200, 502} and 502 in statuses
    seen = [line for _, line in stale.origin.seen if "/post/" in line]
    assert len(seen) == len(set(seen)) == 6
