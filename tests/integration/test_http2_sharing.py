"""How connections to an origin over HTTP/2 are shared: what begins at once waits for one, and a dead one is found."""
import contextlib
import select
import socket
import struct
import threading

import pytest
from client import Visitor, get
from conftest import until
from h2_origin import H2Origin
from ruled import Ruled, certificates

RULES = """
ingress:
  - hostname: HOST
    service: https://localhost:PORT
    originRequest: {http2Origin: true, caPool: DIR/ca.pem, noHappyEyeballs: true}
  - service: http_status:404
"""
MANY = 20


class Way:
    """A way to the origin that can go dead: nothing comes through any more, and nobody is told."""

    def __init__(self, port):
        self.to, self.dead, self.count = port, threading.Event(), 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, self.count = self.listener.accept()[0], self.count + 1
                threading.Thread(target=self.carry, args=(near, self.dead), daemon=True).start()

    def carry(self, near, dead):
        with near, socket.create_connection(("127.0.0.1", self.to)) as far, contextlib.suppress(OSError):
            while True:
                for s in select.select([near, far], [], [])[0]:
                    data = s.recv(1 << 16)
                    if not data:
                        return
                    if not dead.is_set():
                        (far if s is near else near).sendall(data)

    def die(self):
        """What is connected now; who comes later gets through."""
        dead, self.dead = self.dead, threading.Event()
        dead.set()

    def stop(self):
        self.listener.close()


@pytest.fixture
def site(tmp_path):
    certificates(tmp_path)
    origin = H2Origin(tmp_path / "server.pem", tmp_path / "server-key.pem")
    way = Way(origin.port)
    site = Ruled(tmp_path, RULES.replace("DIR", str(tmp_path)).replace("PORT", str(way.port)))
    site.origin, site.way = origin, way
    yield site
    origin.open_door.set()
    site.stop()
    way.stop()
    origin.stop()


def answers_of_many(site):
    """To requests that are all there before a connection to the origin stands."""
    site.origin.open_door.clear()
    with contextlib.ExitStack() as stack:
        visitors = [stack.enter_context(Visitor(site.edge.port("http"), site.host)) for _ in range(MANY)]
        for visitor in visitors:
            visitor.request("GET", "/burst")
        until(lambda: site.connector.text().count("target=/burst") == MANY, "the connector has all of them")
        site.origin.open_door.set()
        return sorted(visitor.response()[0].status_code for visitor in visitors)


def test_requests_that_begin_at_once_share_the_connection_that_is_dialled(site):
    assert answers_of_many(site) == [200] * MANY
    assert site.origin.connections == site.way.count == 1


def test_when_that_one_fails_the_others_are_not_lost_with_it(site):
    site.origin.turned_away = 1
    assert answers_of_many(site) == [200] * (MANY - 1) + [502]
    assert site.origin.connections <= MANY


def test_when_its_visitor_leaves_the_others_get_their_answers(site):
    site.origin.open_door.clear()
    with contextlib.ExitStack() as stack:
        first = Visitor(site.edge.port("http"), site.host)
        first.request("GET", "/first")
        until(lambda: site.way.count == 1, "it dials")
        second = stack.enter_context(Visitor(site.edge.port("http"), site.host))
        second.request("GET", "/second")
        until(lambda: "target=/second" in site.connector.text(), "it waits")
        first.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        first.socket.close()  # with a reset: it asks for nothing any more
        until(lambda: "visitor_gone" in site.connector.text(), "the connector knows")
        site.origin.open_door.set()
        assert second.response()[0].status_code == 200


def test_a_connection_that_is_dead_is_found_when_a_request_waits_on_it(site):
    assert get(site, "/before")[0].status_code == 200
    site.way.die()
    head, body = get(site, "/after")  # sent again on a new one: nothing of an answer had come
    assert head.status_code == 200 and site.way.count == 2


def test_a_request_that_must_not_be_sent_twice_fails_on_a_dead_connection(site):
    assert get(site, "/before")[0].status_code == 200
    site.way.die()
    head, _ = get(site, "/after", method="POST", headers=[("Content-Length", "1")], body=b"x")
    assert head.status_code == 504 and site.way.count == 1
    assert "failure=origin_headers_timeout" in site.connector.text()


def test_a_ping_is_sent_only_while_a_request_waits_and_the_origin_is_silent(site):
    for _ in range(10):
        assert get(site, "/quick")[0].status_code == 200
    assert site.origin.pings == 0
    with Visitor(site.edge.port("http"), site.host) as visitor:
        visitor.request("GET", "/held")
        until(lambda: site.origin.pings == 1, "the origin is asked for a sign of life")
        site.origin.answers.set()
        for _ in range(10):
            assert get(site, "/quick")[0].status_code == 200
        assert visitor.response()[1] == b"held"
    assert site.origin.pings == 1 and site.origin.connections == 1
