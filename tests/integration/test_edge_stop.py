"""An edge that is told to stop: connectors go elsewhere, what is under way ends, and they come back when an edge listens again."""
import contextlib
import re
import signal
import socket
import threading

import h11
import pytest

import origin as origins
from client import Visitor, get
from conftest import TRANSPORTS, hostname_of, quick_command, until

pytestmark = pytest.mark.threads


def fixed(edge):
    """Flags by which the next edge has the addresses of this one."""
    return [word for what in ("tunnel", "http", "https", "local") for word in (f"--{what}", edge.addresses[what])]


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
def busy(edges, connectors, origin, kind, transport):
    """An edge of two workers, a connector with several connections, and a response that cannot end before finish()."""
    edge = edges(workers=2)
    connector = connectors(quick_command(kind, edge, origin.url, transport))
    count = 4 if kind == "adit" else 1
    until(lambda: connector.text().count("Registered tunnel connection") == count, "every connection")
    connector.host, connector.edge, connector.count = until(lambda: hostname_of(connector), "a hostname"), edge, count
    visitor = Visitor(edge.port("http"), connector.host)
    visitor.request("GET", "/stepwise")
    assert isinstance(visitor.event(), h11.Response) and visitor.event().data == b"piece 0\n"
    connector.visitor = visitor
    connector.finish = lambda: [origin.step.release() for _ in range(3)]
    yield connector
    visitor.socket.close()


def test_connections_without_exchanges_are_sent_away_and_the_one_in_use_stays(busy):
    edge = busy.edge
    edge.process.send_signal(signal.SIGTERM)
    until(lambda: edge.text().count("sent away: the edge stops") == busy.count - 1, "the others are sent away")
    assert edge.process.poll() is None
    busy.finish()
    head, body = busy.visitor.response()
    assert body.endswith(b"piece 2\n")
    assert edge.process.wait(30) == 0 and "drained" in edge.text()


def test_connectors_come_back_to_the_next_edge_of_the_same_addresses(busy, edges):
    edge = busy.edge
    before = busy.text().count("Registered tunnel connection")
    edge.process.send_signal(signal.SIGTERM)
    busy.finish()
    assert edge.process.wait(30) == 0
    again = edges(*fixed(edge), workers=2)
    until(lambda: busy.text().count("Registered tunnel connection") > before, "it is back", 60)
    head, _ = get(again_of(busy, again), "/")
    assert head.status_code == 200


def again_of(connector, edge):
    connector.edge = edge
    return connector


def test_a_stop_under_load_fails_no_request_that_was_taken(edges, connectors, origin, transport):
    """Each request on a connection that is kept alive: it ends with its answer, or before the edge had taken it."""
    edge = edges(workers=2)
    connector = connectors(quick_command("adit", edge, origin.url, transport))
    until(lambda: connector.text().count("Registered tunnel connection") == 4, "every connection")
    host, wrong, counts = until(lambda: hostname_of(connector), "a hostname"), [], [0] * 8

    def ask(i, method):
        body = b"x" * 1000 if method == "POST" else b""
        request = b"%s /echo HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s" % (method.encode(), host.encode(), len(body), body)
        with socket.create_connection(("127.0.0.1", edge.port("http")), timeout=60) as s:
            while True:
                data = b""
                with contextlib.suppress(ConnectionError):
                    s.sendall(request)
                    while not (found := re.match(rb"(?s)(.*?)\r\n\r\n(.*)", data)) or len(found[2]) < length_of(found[1]):
                        piece = s.recv(65536)
                        if not piece:
                            break
                        data += piece
                if data == b"":
                    return  # it was idle and was closed while the request was on its way
                if not data.startswith(b"HTTP/1.1 200 ") or b'"bytes": %d}' % len(body) not in data.replace(b", \"headers", b"}"):
                    wrong.append(data)
                counts[i] += 1
                if b"connection: close" in data.lower():
                    return

    askers = [threading.Thread(target=ask, args=(i, method)) for i, method in enumerate(("GET", "POST") * 4)]
    for asker in askers:
        asker.start()
    until(lambda: min(counts) > 5, "requests are served")
    edge.process.send_signal(signal.SIGTERM)
    for asker in askers:
        asker.join(60)
    assert edge.process.wait(30) == 0
    assert wrong == []


def length_of(head):
    return int(re.search(rb"(?i)content-length: (\d+)", head)[1])
