"""Origins behind the HTTP proxy that the connector's environment names; with both connectors. The names of the origins exist for the proxy
alone, so that nothing but the proxy can lead to them."""
import base64
import contextlib
import json
import socket
import threading

import pytest
import websockets.sync.client
import websockets.sync.server
from client import get
from conftest import KINDS, need
from ruled import Nginx, Ruled

RULES = """
ingress:
  - hostname: HOST
    path: ^/echo/plain
    service: http://plain.test
  - hostname: HOST
    path: ^/echo/port
    service: http://plain.test:8000
    originRequest: {httpHostHeader: inside.test}
  - hostname: HOST
    path: ^/socket
    service: http://socket.test
    originRequest: {httpHostHeader: socket.test}
  - hostname: HOST
    path: ^/secure
    service: https://origin.test
    originRequest: {caPool: DIR/ca.pem}
  - hostname: HOST
    path: ^/denied
    service: https://denied.test
  - hostname: HOST
    path: ^/direct
    service: http://direct.test
  - hostname: HOST
    path: ^/loopback
    service: ORIGIN
  - service: http_status:404
"""


class Proxy:
    """Leads names to ports. Keeps the heads that it got; gives those of plain requests on as they are but for the target."""

    def __init__(self, places):
        self.places, self.heads = places, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self.listener.accept()[0],), daemon=True).start()

    def _pump(self, a, b):
        with contextlib.suppress(OSError):
            while data := a.recv(65536):
                b.sendall(data)
        with contextlib.suppress(OSError):
            b.shutdown(socket.SHUT_WR)

    def _serve(self, conn):
        with conn, contextlib.suppress(OSError):
            data = b""
            while b"\r\n\r\n" not in data:
                more = conn.recv(65536)
                if not more:
                    return
                data += more
            line, _, rest = data.partition(b"\r\n")
            self.heads.append(data.partition(b"\r\n\r\n")[0].decode())
            method, target, version = line.decode().split(" ")
            name = target.removeprefix("http://").split("/")[0]
            if name not in self.places:
                conn.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                return
            with socket.create_connection(("127.0.0.1", self.places[name])) as there:
                if method == "CONNECT":
                    conn.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    there.sendall(f"{method} {target.removeprefix('http://' + name)} {version}\r\n".encode() + rest)
                threading.Thread(target=self._pump, args=(there, conn), daemon=True).start()
                self._pump(conn, there)


@pytest.fixture(scope="module")
def nginx(tmp_path_factory):
    server = Nginx(tmp_path_factory.mktemp("nginx"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def echo():
    server = websockets.sync.server.serve(lambda ws: [ws.send(message) for message in ws], "127.0.0.1", 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.socket.getsockname()[1]
    server.shutdown()


@pytest.fixture(scope="module", params=KINDS)
def site(request, tmp_path_factory, origin, nginx, echo):
    need(request.param)
    proxy = Proxy({"plain.test": origin.server_address[1], "plain.test:8000": origin.server_address[1], "socket.test": echo,
                   "origin.test:443": nginx.ports["tls"]})
    env = {"HTTP_PROXY": f"http://me:it%27s%20me@127.0.0.1:{proxy.port}", "https_proxy": f"127.0.0.1:{proxy.port}", "NO_PROXY": "direct.test"}
    ruled = Ruled(tmp_path_factory.mktemp(f"proxy-{request.param}"), RULES.replace("DIR", str(nginx.dir)).replace("ORIGIN", origin.url),
                  request.param, env=env)
    ruled.proxy = proxy
    # The reference asks the proxy for the Host that the origin is to see, wherever the rule's service is.
    if request.param == "cloudflared":
        proxy.places |= {ruled.host: origin.server_address[1], "inside.test": origin.server_address[1]}
    yield ruled
    ruled.stop()
    proxy.listener.close()


def heads(site, word):
    return [head for head in site.proxy.heads if word in head]


@pytest.mark.parametrize("path, authority, host", [("plain", "plain.test", None), ("port", "plain.test:8000", "inside.test")])
def test_a_plain_origin_is_asked_at_the_proxy(site, path, authority, host):
    head, body = get(site, f"/echo/{path}?a=%20b")
    assert head.status_code == 200 and json.loads(body)["path"] == f"/echo/{path}?a=%20b"
    asked, = heads(site, f"/echo/{path}")
    if site.kind == "cloudflared":
        authority = host or site.host
    lines = asked.lower().split("\r\n")
    assert asked.startswith(f"GET http://{authority}/echo/{path}?a=%20b HTTP/1.1\r\n")
    assert f"host: {host or site.host}" in lines
    password = base64.b64encode(b"me:it's me").decode()
    assert f"Proxy-Authorization: Basic {password}" in asked.split("\r\n")


def test_a_websocket_goes_through_the_proxy(site):
    sock = socket.create_connection(("127.0.0.1", site.edge.port("http")), timeout=30)
    with websockets.sync.client.connect(f"ws://{site.host}/socket", sock=sock, compression=None) as ws:
        ws.send("hello")
        assert ws.recv(30) == "hello"
    assert len(heads(site, "/socket")) >= 1


def test_tls_goes_through_a_tunnel_of_the_proxy(site):
    head, body = get(site, "/secure")
    assert head.status_code == 200 and body == b"<origin.test>"
    asked, = heads(site, "origin.test:443")
    assert asked.startswith("CONNECT origin.test:443 HTTP/1.1\r\nHost: origin.test:443")


def test_what_the_proxy_denies_is_refused(site):
    head, _ = get(site, "/denied")
    assert head.status_code == 502 and len(heads(site, "denied.test:443")) == 1
    if site.kind == "adit":
        site.connector.wait_for("answers CONNECT denied.test:443 with 403")
    assert "it's me" not in site.connector.text() and "it%27s" not in site.connector.text()


def test_who_is_excepted_is_asked_directly(site):
    assert get(site, "/direct")[0].status_code == 502  # the name exists for the proxy alone
    assert get(site, "/loopback")[0].status_code == 200
    assert not heads(site, "/direct") and not heads(site, "/loopback")


@pytest.mark.parametrize("proxy, says", [("socks5://127.0.0.1:1", "http://host:port"), ("http://127.0.0.1:CLOSED", "proxyconnect tcp: dial tcp 127.0.0.1:")])
def test_a_proxy_that_cannot_be_used_is_not_passed_by(tmp_path, origin, proxy, says):
    closed = socket.socket()
    closed.bind(("127.0.0.1", 0))  # and never listens
    proxy = proxy.replace("CLOSED", str(closed.getsockname()[1]))
    ruled = Ruled(tmp_path, "ingress: [{service: 'http://192.0.2.1:80', originRequest: {connectTimeout: 1s}}]\n", env={"HTTP_PROXY": proxy})
    try:
        assert get(ruled, "/")[0].status_code in (501, 502)
        assert says in ruled.connector.text()
    finally:
        ruled.stop()
        closed.close()
