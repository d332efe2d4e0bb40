"""Visitors whose worker is not that of the tunnel's connection: the exchange crosses between threads, and the edge counts it.

There is one connection and four workers. The kernel spreads visitors by their ports, so that of a dozen connections of a kind some
cross for all practical purposes (the chance of none is 4 to the power of -12)."""
import base64
import contextlib
import hashlib
import json
import signal
import socket
import struct
import threading
import urllib.request

import pytest
import websockets.sync.client
import websockets.sync.server

from client import Visitor, get
from conftest import BUILD, Edge, KINDS, Program, TRANSPORTS, hostname_of, need, quick_command, until

pytestmark = pytest.mark.threads

VISITORS = 12
SIZE = 3_000_000
WAYS = [(kind, transport) for kind in KINDS for transport in TRANSPORTS]


def start(kind, edge, where, url, transport="quic"):
    connector = Program(quick_command(kind, edge, url, transport) + ["--ha-connections", "1"], where / "connector.log", cwd=where)
    connector.wait_for("Registered tunnel connection")
    connector.host = until(lambda: hostname_of(connector), "a hostname")
    connector.edge = edge
    return connector


def stop(kind, connector, edge):
    code = connector.stop()
    assert edge.stop() == 0 and "Sanitizer" not in edge.text(), edge.text()[-6000:]
    assert kind == "cloudflared" or code == 0 and "Sanitizer" not in connector.text(), connector.text()[-6000:]


@pytest.fixture(scope="module", params=WAYS, ids="-".join)
def lone(request, tmp_path_factory, origin):
    """A tunnel of one connection at an edge of four workers."""
    kind, transport = request.param
    need(kind)
    where = tmp_path_factory.mktemp("crossing")
    edge = Edge(where, 4)
    connector = start(kind, edge, where, origin.url, transport)
    assert edge.metrics()["adit_edge_links"] == 1
    yield connector
    stop(kind, connector, edge)


def all_at_once(edge, one):
    """Runs one(i) for each visitor in a thread of its own. Returns how many exchanges crossed."""
    failures = []

    def guarded(i):
        try:
            one(i)
        except Exception as e:
            failures.append(e)

    before = edge.metrics()["adit_edge_crossings_total"]
    threads = [threading.Thread(target=guarded, args=(i,)) for i in range(VISITORS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures, failures
    return edge.metrics()["adit_edge_crossings_total"] - before


def test_requests_cross(lone):
    def one(i):
        with Visitor(lone.edge.port("http"), lone.host) as visitor:
            for n in range(3):
                visitor.request("GET", f"/bytes/{i * 1000 + n}")
                assert len(visitor.response()[1]) == i * 1000 + n

    crossed = all_at_once(lone.edge, one)
    # All three of a visitor cross or none: its worker and the connection's stay what they are.
    assert crossed > 0 and crossed % 3 == 0


def test_large_answers_cross(lone):
    whole = (bytes(range(256)) * (SIZE // 256 + 1))[:SIZE]

    def one(i):
        assert get(lone, f"/bytes/{SIZE}")[1] == whole

    assert all_at_once(lone.edge, one) > 0


@pytest.mark.parametrize("framing", ["Content-Length", "Transfer-Encoding"])
def test_large_requests_cross(lone, framing):
    def one(i):
        data = hashlib.sha256(bytes([i])).digest() * (SIZE // 32)
        value = str(len(data)) if framing == "Content-Length" else "chunked"
        seen = json.loads(get(lone, "/echo", "POST", [(framing, value)], data)[1])
        assert seen["bytes"] == len(data) and seen["sha256"] == hashlib.sha256(data).hexdigest()

    assert all_at_once(lone.edge, one) > 0


def test_visitors_that_leave_in_the_middle_of_a_crossing_harm_nobody(lone):
    def one(i):
        with socket.create_connection(("127.0.0.1", lone.edge.port("http")), timeout=60) as s:
            if i % 2:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.sendall(f"GET /bytes/50000000 HTTP/1.1\r\nHost: {lone.host}\r\n\r\n".encode())
            assert s.recv(1000)

    assert all_at_once(lone.edge, one) > 0
    until(lambda: lone.edge.metrics()["adit_edge_exchanges"] == 0, "every exchange has ended")
    assert get(lone, "/")[1] == b"hello\n"


def test_a_visitor_that_takes_nothing_stalls_its_crossing_alone(lone):
    stalled = []
    try:
        def one(i):
            s = socket.create_connection(("127.0.0.1", lone.edge.port("http")), timeout=60)
            s.sendall(f"GET /bytes/50000000 HTTP/1.1\r\nHost: {lone.host}\r\n\r\n".encode())
            stalled.append(s)
            assert s.recv(100)

        assert all_at_once(lone.edge, one) > 0
        for _ in range(VISITORS):
            assert len(get(lone, "/bytes/100000")[1]) == 100_000
    finally:
        for s in stalled:
            s.close()


@pytest.mark.parametrize("kind, transport", WAYS)
def test_websockets_cross(kind, transport, tmp_path):
    need(kind)

    def echo(ws):
        for message in ws:
            ws.send(message)

    server = websockets.sync.server.serve(echo, "127.0.0.1", 0, max_size=1 << 25)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    edge = Edge(tmp_path, 4)
    connector = start(kind, edge, tmp_path, f"http://127.0.0.1:{server.socket.getsockname()[1]}", transport)

    def one(i):
        s = socket.create_connection(("127.0.0.1", edge.port("http")), timeout=60)
        with websockets.sync.client.connect(f"ws://{connector.host}/", sock=s, max_size=1 << 25) as ws:
            for message in ("small", bytes([i]) * 100_000, bytes([i]) * SIZE):
                ws.send(message)
                assert ws.recv(timeout=60) == message

    try:
        assert all_at_once(edge, one) > 0
    finally:
        server.shutdown()
        stop(kind, connector, edge)


class Replicas:
    """Connectors of one tunnel, each with two connections."""

    def __init__(self, edge, where, url, transport):
        request = urllib.request.Request(f"http://{edge.addresses['local']}/tunnel", data=b"", method="POST")
        made = json.loads(urllib.request.urlopen(request, timeout=30).read())["result"]
        self.edge, self.where, self.host, self.count = edge, where, made["hostname"], 0
        fields = {"a": made["account_tag"], "t": made["id"], "s": made["secret"]}
        (where / "config.yml").write_text(json.dumps({"ingress": [{"service": url}]}))  # JSON is YAML
        self.command = [BUILD / "adit", "tunnel", "run", "--config", where / "config.yml", "--cacert", edge.dir / "ca.pem", "--edge", edge.addresses["tunnel"],
                        "--protocol", transport, "--ha-connections", "2", "--grace-period", "1s", "--metrics", "127.0.0.1:0",
                        "--token", base64.b64encode(json.dumps(fields).encode()).decode()]

    def start(self):
        self.count += 1
        connector = Program(self.command, self.where / f"replica-{self.count}.log", cwd=self.where)
        until(lambda: connector.text().count("Registered tunnel connection") == 2, "two connections")
        return connector


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_connections_that_come_and_go_meet_exchanges_of_every_worker(transport, tmp_path, origin):
    """Each lost connection is told to all workers while they choose among links, move exchanges, and visitors leave."""
    edge = Edge(tmp_path, 4)
    replicas = Replicas(edge, tmp_path, origin.url, transport)
    stays = replicas.start()
    over, failures, served = threading.Event(), [], []

    def ask(i):
        while not over.is_set():
            try:
                if i % 4 == 3:
                    with socket.create_connection(("127.0.0.1", edge.port("http")), timeout=60) as s:
                        s.sendall(f"GET /bytes/5000000 HTTP/1.1\r\nHost: {replicas.host}\r\n\r\n".encode())
                        with contextlib.suppress(ConnectionError):
                            s.recv(1000)  # what has begun may be cut
                else:
                    assert get(replicas, "/", "HEAD")[0].status_code == 200  # without a body that could be cut
                served.append(i)
            except Exception as e:
                failures.append(e)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(VISITORS)]
    for t in threads:
        t.start()
    try:
        for _ in range(6):
            goes = replicas.start()
            asked = len(served)
            until(lambda: len(served) > asked + VISITORS, "visitors are served")
            goes.stop(signal.SIGKILL)
            until(lambda: edge.metrics()["adit_edge_links"] == 2, "its links are gone")
    finally:
        over.set()
        for t in threads:
            t.join()
        stop("adit", stays, edge)
    assert not failures, failures[:3]
