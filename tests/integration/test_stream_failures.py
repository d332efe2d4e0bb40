"""Streams of bytes that lead nowhere (SOCKS, bastion, tcp): each failure has its word in the log and in the metrics of the connector."""
import re
import socket
import struct

import pytest
import websockets.sync.client
from conftest import until
from ruled import Ruled

RULES = """
ingress:
  - hostname: HOST
    path: ^/socks
    service: socks-proxy
    originRequest:
      connectTimeout: 300ms
      ipRules: [{prefix: 127.0.0.1/32, allow: true}]
  - hostname: HOST
    path: ^/bastion
    service: bastion
    originRequest: {connectTimeout: 300ms}
  - hostname: HOST
    path: ^/tcp/refused
    service: tcp://127.0.0.1:REFUSED
  - hostname: HOST
    path: ^/tcp/unresolved
    service: tcp://nowhere.invalid:1
  - hostname: HOST
    path: ^/tcp/full
    service: tcp://127.0.0.1:FULL
    originRequest: {connectTimeout: 300ms}
  - service: http_status:404
"""
NAME, IPV4 = 3, 1


class Places:
    """A port that nobody listens on, and one whose queue is full, so that the next SYN is dropped."""

    def __init__(self):
        self.closed = socket.socket()
        self.closed.bind(("127.0.0.1", 0))
        self.busy = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.waiting = []
        for _ in range(4):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(self.busy.getsockname())
            self.waiting.append(s)
        self.refused, self.full = self.closed.getsockname()[1], self.busy.getsockname()[1]

    def stop(self):
        for s in (self.closed, self.busy, *self.waiting):
            s.close()


@pytest.fixture(scope="module")
def places():
    places = Places()
    yield places
    places.stop()


@pytest.fixture(scope="module")
def site(tmp_path_factory, places):
    site = Ruled(tmp_path_factory.mktemp("streams"), RULES.replace("REFUSED", str(places.refused)).replace("FULL", str(places.full)))
    yield site
    site.stop()


def counted(site):
    return {word: int(n) for word, n in re.findall(r'adit_connector_failures_total\{failure="([^"]*)"[^}]*\} (\d+)', site.metrics())}


def lines(site, word):
    return [line for line in site.connector.text().splitlines() if f"failure={word} " in line]


class Expecting:
    """One more failure of this word, with one line that says why."""

    def __init__(self, site, word, why):
        self.site, self.word, self.why = site, word, why

    def __enter__(self):
        self.before, self.lines = counted(self.site), len(lines(self.site, self.word))

    def __exit__(self, kind, *_):
        if kind is None:
            until(lambda: len(lines(self.site, self.word)) > self.lines, "the log has it")
            new = lines(self.site, self.word)[self.lines:]
            assert len(new) == 1 and self.why in new[0] and "request failed" in new[0], new
            after = counted(self.site)
            assert {word: n - self.before[word] for word, n in after.items() if n != self.before[word]} == {self.word: 1}


def connect(site, path, **more):
    sock = socket.create_connection(("127.0.0.1", site.edge.port("http")), timeout=30)
    return websockets.sync.client.connect(f"ws://{site.host}/{path}", sock=sock, compression=None, **more)


def socks(site, kind, host, port):
    """What the proxy answers to a request to connect: its code."""
    address = socket.inet_aton(host) if kind == IPV4 else bytes([len(host)]) + host.encode()
    with connect(site, "socks") as ws:
        ws.send(b"\x05\x01\x00")
        assert ws.recv(30) == b"\x05\x00"
        ws.send(b"\x05\x01\x00" + bytes([kind]) + address + struct.pack(">H", port))
        return ws.recv(30)[1]


def test_socks_to_a_port_that_refuses(site, places):
    with Expecting(site, "origin_refused", f"127.0.0.1:{places.refused}"):
        assert socks(site, IPV4, "127.0.0.1", places.refused) == 5


def test_socks_to_a_name_that_is_not_there(site):
    with Expecting(site, "origin_unresolved", "look up nowhere.invalid:80"):
        assert socks(site, NAME, "nowhere.invalid", 80) == 2


def test_socks_to_a_port_that_does_not_answer(site, places):
    with Expecting(site, "origin_connect_timeout", f"127.0.0.1:{places.full}"):
        assert socks(site, IPV4, "127.0.0.1", places.full) == 4


def test_socks_to_an_address_that_the_rules_do_not_allow(site):
    with Expecting(site, "address_refused", "ipRules do not allow 127.0.0.2, port 80"):
        assert socks(site, IPV4, "127.0.0.2", 80) == 2


CASES = {"refused": "origin_refused", "unresolved": "origin_unresolved", "full": "origin_connect_timeout"}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["bastion", "tcp"])
def test_a_stream_to_nowhere(site, places, kind, case):
    to = {"refused": f"127.0.0.1:{places.refused}", "unresolved": "nowhere.invalid:1", "full": f"127.0.0.1:{places.full}"}[case]
    more = {"additional_headers": {"Cf-Access-Jump-Destination": to}} if kind == "bastion" else {}
    with Expecting(site, CASES[case], to), pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        connect(site, f"{kind}/{case}", **more).close()
    assert refused.value.response.status_code in (502, 504)
