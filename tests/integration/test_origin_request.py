"""What every key of originRequest does to a request under way; with both connectors, so that they agree."""
import contextlib
import socket
import threading

import pytest
import websockets.sync.client
from client import Visitor, get, header
from conftest import KINDS, need, until
from ruled import Nginx, Ruled, bound

PATHS = {}


def rule(name, service, request="", more=""):
    PATHS[name] = f"""
  - hostname: HOST
    path: ^/{name}$
    service: {service}
    originRequest: {{{request}}}
    {more}"""


rule("connect", "http://127.0.0.1:FULL", "connectTimeout: 300ms")
rule("handshake", "https://127.0.0.1:FULL", "connectTimeout: 20s, tlsTimeout: 300ms")
rule("silent", "https://127.0.0.1:SILENT", "tlsTimeout: 300ms")
rule("probes-preset", "http://127.0.0.1:KEEPER")
rule("probes-often", "http://127.0.0.2:KEEPER", "tcpKeepAlive: 7s")
rule("probes-zero", "http://127.0.0.3:KEEPER", "tcpKeepAlive: 0s")
rule("probes-none", "http://127.0.0.4:KEEPER", "tcpKeepAlive: -1s")
rule("kept-two", "http://127.0.0.5:KEEPER", "keepAliveConnections: 2")
rule("kept-zero", "http://127.0.0.6:KEEPER", "keepAliveConnections: 0")
rule("kept-none", "http://127.0.0.7:KEEPER", "keepAliveConnections: -1")
rule("kept-preset", "http://127.0.0.8:KEEPER")
rule("idle-short", "http://127.0.0.9:KEEPER", "keepAliveTimeout: 300ms")
rule("idle-zero", "http://127.0.0.10:KEEPER", "keepAliveTimeout: 0s")
rule("host", "http://127.0.0.1:PLAIN", "httpHostHeader: inside.test")
rule("name-preset", "https://localhost:SECURE", "caPool: DIR/ca.pem")
rule("name-other", "https://127.0.0.1:SECURE", "caPool: DIR/ca.pem, originServerName: origin.test")
rule("name-wrong", "https://127.0.0.1:SECURE", "caPool: DIR/ca.pem, originServerName: wrong.test")
rule("name-wrong-unchecked", "https://127.0.0.1:SECURE", "originServerName: wrong.test, noTLSVerify: true")
rule("name-host", "https://127.0.0.1:SECURE", "noTLSVerify: true, matchSNItoHost: true")
rule("name-host-header", "https://127.0.0.1:SECURE", "caPool: DIR/ca.pem, matchSNItoHost: true, httpHostHeader: origin.test")
rule("unknown-authority", "https://localhost:SECURE")
rule("unchecked", "https://localhost:SECURE", "noTLSVerify: true")
rule("unframed", "http://127.0.0.1:RAW", "disableChunkedEncoding: true")
rule("chunked", "http://127.0.0.1:RAW")
rule("bastion", "http://127.0.0.1:FULL", "bastionMode: true")
rule("socks", "tcp://127.0.0.1:ECHO", "proxyType: socks")


class Keeper:
    """Answers after all have come that it waits for, and knows which of its connections are open. One for all of 127.0.0.0/8."""

    def __init__(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("0.0.0.0", 0))
        self.listener.listen(64)
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.open = {}  # address asked: number of connections
        self.asked = {}  # address asked: number of requests
        self.gate = threading.Event()
        self.gate.set()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self.listener.accept()[0],), daemon=True).start()

    def _count(self, where, address, by):
        with self.lock:
            where[address] = where.get(address, 0) + by

    def _serve(self, conn):
        address = conn.getsockname()[0]
        self._count(self.open, address, 1)
        with conn, contextlib.suppress(OSError):
            data = b""
            while True:
                more = conn.recv(65536)
                if not more:
                    break
                data += more
                if b"\r\n\r\n" in data:
                    data = b""
                    self._count(self.asked, address, 1)
                    self.gate.wait(30)
                    conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        self._count(self.open, address, -1)

    def timer(self, address):
        """Of the one connection to an address: (is the keep-alive timer set, seconds left), from the client's side."""
        remote = "%02X%02X%02X%02X" % tuple(reversed([int(part) for part in address.split(".")])) + ":%04X" % self.port
        with open("/proc/net/tcp") as table:
            rows = [line.split() for line in table]
        timers = [row[5].split(":") for row in rows if row[2] == remote and row[3] == "01"]
        assert len(timers) == 1, timers
        return timers[0][0] == "02", int(timers[0][1], 16) / 100


class Raw:
    """Keeps the head and the first bytes behind it, and answers when it has seen `stop`."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                with self.listener.accept()[0] as conn:
                    conn.settimeout(30)
                    data = b""
                    while b"stop" not in data:
                        data += conn.recv(65536)
                    self.head, _, self.body = data.partition(b"\r\n\r\n")
                    conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")


def echo_bytes():
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(conn):
        with conn, contextlib.suppress(OSError):
            while data := conn.recv(65536):
                conn.sendall(data)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener


def full():
    """A listener whose queue is full: who connects gets no answer, as from a host that drops packets."""
    listener = bound()
    listener.listen(0)
    held = []
    while True:
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(listener.getsockname())
        held.append(s)
        with open("/proc/net/tcp") as table:
            waits = [line for line in table if line.split()[2].endswith(":%04X" % listener.getsockname()[1]) and line.split()[3] == "02"]
        if waits:
            return listener, held


@pytest.fixture(scope="module")
def nginx(tmp_path_factory):
    server = Nginx(tmp_path_factory.mktemp("nginx"))
    yield server
    server.stop()


@pytest.fixture(scope="module", params=KINDS)
def site(request, tmp_path_factory, nginx):
    need(request.param)
    keeper, raw, echo, (blocked, held) = Keeper(), Raw(), echo_bytes(), full()
    silent = socket.create_server(("127.0.0.1", 0))  # its queue takes connections, and nobody says a word
    rules = "ingress:" + "".join(PATHS.values()) + "\n  - service: http_status:404\n"
    for word, value in {"FULL": blocked.getsockname()[1], "SILENT": silent.getsockname()[1], "KEEPER": keeper.port, "PLAIN": nginx.ports["host"],
                        "SECURE": nginx.ports["tls"], "RAW": raw.port, "ECHO": echo.getsockname()[1], "DIR": nginx.dir}.items():
        rules = rules.replace(word, str(value))
    ruled = Ruled(tmp_path_factory.mktemp(f"request-{request.param}"), rules, request.param)
    ruled.keeper, ruled.raw, ruled.echo = keeper, raw, echo.getsockname()[1]
    yield ruled
    ruled.stop()
    for s in (keeper.listener, raw.listener, echo, blocked, silent, *held):
        s.close()


@pytest.mark.parametrize("path", ["connect", "silent"])
def test_an_origin_that_does_not_answer_is_given_up_in_its_time(site, path):
    with Visitor(site.edge.port("http"), site.host) as visitor:
        visitor.socket.settimeout(8)  # the presets are 30 s and 10 s
        visitor.request("GET", f"/{path}")
        assert visitor.response()[0].status_code in (502, 504)


def test_the_time_of_tls_does_not_limit_the_dial(site):
    with Visitor(site.edge.port("http"), site.host) as visitor:
        visitor.socket.settimeout(2)
        visitor.request("GET", "/handshake")
        with pytest.raises(TimeoutError):
            visitor.response()


@pytest.mark.parametrize("path, address, is_set, least, most", [
    ("probes-preset", "127.0.0.1", True, 15.1, 30), ("probes-often", "127.0.0.2", True, 0, 7), ("probes-zero", "127.0.0.3", True, 7.1, 15),
    ("probes-none", "127.0.0.4", False, 0, 0)])
def test_the_kernel_probes_the_origin_as_often_as_asked(site, path, address, is_set, least, most):
    assert get(site, f"/{path}")[1] == b"ok"
    got, left = site.keeper.timer(address)
    assert got == is_set and least <= left <= most


@pytest.mark.parametrize("path, address, kept", [("kept-two", "127.0.0.5", 2), ("kept-zero", "127.0.0.6", 2), ("kept-none", "127.0.0.7", 0),
                                                 ("kept-preset", "127.0.0.8", 5)])
def test_as_many_idle_connections_are_kept_as_asked(site, path, address, kept):
    keeper = site.keeper
    keeper.gate.clear()
    visitors = [Visitor(site.edge.port("http"), site.host) for _ in range(5)]
    for visitor in visitors:
        visitor.request("GET", f"/{path}")
    until(lambda: keeper.asked.get(address, 0) == 5, "five connections ask at once")
    assert keeper.open[address] == 5
    keeper.gate.set()
    assert [visitor.response()[1] for visitor in visitors] == [b"ok"] * 5
    until(lambda: keeper.open[address] == kept, f"{kept} connections are left")
    for visitor in visitors:
        visitor.socket.close()
    before = keeper.open[address]
    assert get(site, f"/{path}")[1] == b"ok" and before == kept


def test_an_idle_connection_is_kept_for_its_time(site):
    assert get(site, "/idle-zero")[1] == b"ok" and get(site, "/idle-short")[1] == b"ok"
    until(lambda: site.keeper.open["127.0.0.9"] == 0, "the connection is closed")  # the preset is 90 s
    assert site.keeper.open["127.0.0.10"] == 1  # 0 is without end


def test_another_host_is_told_to_the_origin(site):
    head, body = get(site, "/host", headers=[("X-Forwarded-Host", "forged.test")])
    assert head.status_code == 200 and body.decode().split() == ["inside.test", site.host]


@pytest.mark.parametrize("path, name", [("name-preset", "localhost"), ("name-other", "origin.test"), ("name-wrong-unchecked", "wrong.test"),
                                        ("name-host", None), ("name-host-header", "origin.test"), ("unchecked", "localhost")])
def test_the_origin_is_asked_by_its_name_in_tls(site, path, name):
    head, body = get(site, f"/{path}")
    assert head.status_code == 200 and body.decode() == f"<{name or site.host}>"


@pytest.mark.parametrize("path", ["name-wrong", "unknown-authority"])
def test_a_certificate_that_does_not_hold_is_refused(site, path):
    assert get(site, f"/{path}")[0].status_code == 502


@pytest.mark.parametrize("path, framed", [("unframed", False), ("chunked", True)])
def test_a_body_of_unknown_length_goes_out_as_the_rule_says(site, path, framed):
    with Visitor(site.edge.port("http"), site.host) as visitor:
        visitor.request("POST", f"/{path}", [("Transfer-Encoding", "chunked")], b"the body, stop")
        assert visitor.response()[1] == b"ok"
    head = site.raw.head.lower()
    assert (b"transfer-encoding: chunked" in head) == framed and b"content-length" not in head
    assert site.raw.body.startswith(b"e\r\nthe body, stop" if framed else b"the body, stop")


def stream(site, path, headers=None):
    sock = socket.create_connection(("127.0.0.1", site.edge.port("http")), timeout=30)
    return websockets.sync.client.connect(f"ws://{site.host}/{path}", sock=sock, compression=None, additional_headers=headers)


def test_bastion_mode_leads_where_the_visitor_asks(site):
    with stream(site, "bastion", {"Cf-Access-Jump-Destination": f"127.0.0.1:{site.echo}"}) as ws:
        ws.send(b"hello")
        assert ws.recv(30) == b"hello"


def test_a_socks_dialogue_leads_to_the_rules_service(site):
    with stream(site, "socks") as ws:
        ws.send(bytes.fromhex("050100"))
        assert ws.recv(30) == bytes.fromhex("0500")
        ws.send(bytes.fromhex("0501000309") + b"elsewhere"[:9] + bytes.fromhex("0050"))
        assert ws.recv(30)[:2] == bytes.fromhex("0500")
        ws.send(b"hello")
        assert ws.recv(30) == b"hello"
