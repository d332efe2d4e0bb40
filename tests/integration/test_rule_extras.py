"""Keys of a rule that the reference does not have: conditions, rewriting, the PROXY protocol and client certificates."""
import json
import shutil
import socket
import subprocess
import threading

import pytest
from client import Visitor, get, header
from conftest import BUILD, cloudflared, need
from ruled import Nginx, Ruled

RULES = """
ingress:
  - hostname: HOST
    path: ^/condition
    method: [PUT, POST]
    service: http_status:201
  - hostname: HOST
    path: ^/condition
    headers: {X-Beta: "on", Accept: "~json"}
    service: http_status:202
  - hostname: HOST
    path: ^/condition
    service: http_status:203
    responseHeaders: {set: {Location: "https://${host}/there", X-Id: "${request_id}"}}
  - hostname: HOST
    path: ^/api(/|$)
    service: ORIGIN
    pathPrefixStrip: /api
    pathRewrite: {match: "^/old/(.*)$", to: "/echo/$1"}
    requestHeaders:
      remove: [X-Secret]
      set: {X-Visitor: "${visitor_ip}", X-Host: "${host}"}
      add: {X-Many: [b, c]}
    responseHeaders: {remove: [server], set: {Content-Type: text/x-rewritten}, add: {X-Asked: "${host} ${request_id}"}}
    originRequest: {httpHostHeader: inside.test}
  - hostname: HOST
    path: ^/proxied/v1
    service: http://127.0.0.1:PROXIED
    proxyProtocol: v1
  - hostname: HOST
    path: ^/proxied/v2
    service: http://127.0.0.1:PROXIED
    proxyProtocol: v2
  - hostname: HOST
    path: ^/proxied/unix
    service: unix:DIR/proxied.sock
    proxyProtocol: v2
  - hostname: HOST
    path: ^/proxied/tls
    service: https://127.0.0.1:SECURE
    proxyProtocol: v1
    originRequest: {caPool: DIR/ca.pem}
  - hostname: HOST
    path: ^/proxied/unknown
    service: http://127.0.0.1:PROXIED
    proxyProtocol: v2
    requestHeaders: {remove: [Cf-Connecting-Ip]}
  - hostname: HOST
    path: ^/proxied/tcp
    service: tcp://127.0.0.1:TCP
    proxyProtocol: v1
  - hostname: HOST
    path: ^/unproxied
    service: http://127.0.0.1:PROXIED
  - hostname: HOST
    path: ^/mutual/shown
    service: https://127.0.0.1:MUTUAL
    clientCertificate: {certificate: DIR/client.pem, key: DIR/client-key.pem}
    originRequest: {caPool: DIR/ca.pem}
  - hostname: HOST
    path: ^/mutual/none
    service: https://127.0.0.1:MUTUAL
    originRequest: {caPool: DIR/ca.pem}
  - service: http_status:404
"""


class FirstBytes:
    """Keeps what each connection begins with, and says it back."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                conn = self.listener.accept()[0]
            except OSError:
                return
            with conn:
                conn.settimeout(30)
                data = b""
                while not data.endswith(b"\r\n"):
                    data += conn.recv(1)
                conn.sendall(data)


@pytest.fixture(scope="module")
def nginx(tmp_path_factory):
    if shutil.which("nginx") is None:
        pytest.skip("there is no nginx")
    server = Nginx(tmp_path_factory.mktemp("nginx"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def tunnel(tmp_path_factory, origin, nginx):
    first = FirstBytes()
    rules = RULES
    for word, value in {"ORIGIN": origin.url, "PROXIED": nginx.ports["proxied"], "SECURE": nginx.ports["proxied_tls"], "TCP": first.port,
                        "MUTUAL": nginx.ports["mutual"], "DIR": nginx.dir}.items():
        rules = rules.replace(word, str(value))
    ruled = Ruled(tmp_path_factory.mktemp("extras"), rules)
    yield ruled
    ruled.stop()
    first.listener.close()


@pytest.mark.parametrize("method, headers, status", [
    ("PUT", [], 201), ("POST", [("X-Beta", "on"), ("Accept", "application/json")], 201), ("GET", [], 203),
    ("GET", [("x-beta", "on"), ("accept", "application/json")], 202), ("GET", [("X-Beta", "on")], 203),
    ("GET", [("X-Beta", "off"), ("Accept", "application/json")], 203)])
def test_the_first_rule_whose_conditions_are_met_answers(tunnel, method, headers, status):
    if method in ("PUT", "POST"):
        headers = [*headers, ("Content-Length", "0")]
    assert get(tunnel, "/condition", method, headers)[0].status_code == status


def test_a_status_may_have_fields(tunnel):
    head, _ = get(tunnel, "/condition")
    assert header(head, "location") == f"https://{tunnel.host}/there"
    assert header(head, "cf-ray").startswith(header(head, "x-id"))


def test_path_and_fields_are_changed_on_the_way_and_back(tunnel):
    sent = [("X-Secret", "1"), ("X-Many", "a"), ("x-visitor", "forged"), ("X-Forwarded-Prefix", "/forged")]
    head, body = get(tunnel, "/api/old/a%2Fb?x=%20/old/", headers=sent)
    seen = json.loads(body)
    fields = [(name.lower(), value) for name, value in seen["headers"]]
    assert seen["path"] == "/echo/a%2Fb?x=%20/old/"
    assert dict(fields)["host"] == "inside.test" and dict(fields)["x-forwarded-host"] == tunnel.host
    assert [value for name, value in fields if name == "x-many"] == ["a", "b", "c"]
    assert [value for name, value in fields if name == "x-visitor"] == ["127.0.0.1"]
    assert [value for name, value in fields if name == "x-forwarded-prefix"] == ["/api"]
    assert dict(fields)["x-host"] == tunnel.host and "x-secret" not in dict(fields)
    assert header(head, "server") is None and header(head, "content-type") == "text/x-rewritten"
    asked, request_id = header(head, "x-asked").split(" ")
    assert asked == tunnel.host and header(head, "cf-ray").startswith(request_id)


def test_a_path_that_only_resembles_the_prefix_stays(tunnel):
    assert get(tunnel, "/apis")[0].status_code == 404  # another rule's: none has it
    assert json.loads(get(tunnel, "/api/echo/api")[1])["path"] == "/echo/api"


@pytest.mark.parametrize("which", ["v1", "v2", "unix"])
def test_nginx_learns_the_visitor_from_the_proxy_header(tunnel, which):
    head, body = get(tunnel, f"/proxied/{which}", host=f"{tunnel.host}:8443")
    assert head.status_code == 200
    assert body.decode().split(",")[:4] == ["127.0.0.1", "", "0.0.0.0", "8443"]  # nginx shows a port of 0 as none


def test_the_proxy_header_comes_before_tls(tunnel):
    head, body = get(tunnel, "/proxied/tls")
    address, version = body.decode().split()
    assert head.status_code == 200 and address == "127.0.0.1" and version.startswith("TLSv1.")


def test_the_proxy_header_is_of_the_request_as_it_came(tunnel):
    assert get(tunnel, "/proxied/unknown")[1].decode().split(",")[0] == "127.0.0.1"


def test_a_connection_with_a_proxy_header_serves_one_exchange(tunnel):
    with Visitor(tunnel.edge.port("http"), tunnel.host) as visitor:
        seen = set()
        for _ in range(4):
            visitor.request("GET", "/proxied/v2")
            seen.add(visitor.response()[1].decode().split(",")[4])
    assert len(seen) == 4


def test_nginx_refuses_who_brings_no_proxy_header(tunnel):
    assert get(tunnel, "/unproxied")[0].status_code in (400, 502)  # the test above would mean nothing otherwise


def test_a_stream_of_bytes_begins_with_the_proxy_header(tunnel):
    upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
               ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]
    with socket.create_connection(("127.0.0.1", tunnel.edge.port("http")), timeout=60) as s:
        s.sendall(f"GET /proxied/tcp HTTP/1.1\r\nHost: {tunnel.host}\r\n".encode()
                  + b"".join(f"{name}: {value}\r\n".encode() for name, value in upgrade) + b"\r\n")
        data = b""
        while b"PROXY" not in data or not data.endswith(b"\r\n"):
            more = s.recv(4096)
            assert more, data
            data += more
    assert data.startswith(b"HTTP/1.1 101") and data.endswith(b"PROXY TCP4 127.0.0.1 0.0.0.0 0 80\r\n")


def test_cloudflared_passes_over_what_it_does_not_know(tunnel):
    need("cloudflared")
    (tunnel.dir / "more.yml").write_text((tunnel.dir / "config.yml").read_text().replace("proxyProtocol: v1", "services: [http://127.0.0.1:1]\n"
                                         "    balance: round-robin\n    proxyProtocol: v1", 1))
    run = subprocess.run([cloudflared(), "tunnel", "--config", tunnel.dir / "more.yml", "ingress", "validate"], capture_output=True, text=True,
                         timeout=60)
    assert run.returncode == 0 and "unused keys" in run.stdout, (run.stdout, run.stderr)
    for key in ("method", "headers", "pathPrefixStrip", "pathRewrite", "requestHeaders", "responseHeaders", "proxyProtocol", "clientCertificate",
                "services", "balance"):
        assert f"field {key} not found" in run.stdout
    run = subprocess.run([BUILD / "adit", "tunnel", "--config", tunnel.dir / "more.yml", "ingress", "validate"], capture_output=True, text=True,
                         timeout=60)
    assert run.returncode == 0 and "OK" in run.stdout, (run.stdout, run.stderr)


def test_a_client_certificate_is_shown_to_the_origin(tunnel):
    head, body = get(tunnel, "/mutual/shown")
    assert head.status_code == 200 and body == b"SUCCESS CN=client.test\n"
    assert get(tunnel, "/mutual/none")[0].status_code == 400  # nginx wants one


@pytest.mark.parametrize("certificate, key, says", [
    ("nothing.pem", "client-key.pem", "nothing.pem"), ("client.pem", "nothing.pem", "nothing.pem"),
    ("client.pem", "server-key.pem", "the client certificate and its key cannot be used"),
    ("ca.pem", "open-key.pem", "chmod 600")])
def test_a_client_certificate_that_cannot_be_used_is_told_at_the_start(tmp_path, nginx, certificate, key, says):
    shutil.copy(nginx.dir / "client-key.pem", nginx.dir / "open-key.pem")
    (nginx.dir / "open-key.pem").chmod(0o644)
    (tmp_path / "config.yml").write_text(f"""
tunnel: 6d7a1c5e-0000-4000-8000-000000000000
credentials-file: {tmp_path}/credentials.json
ingress:
  - service: https://127.0.0.1:1
    clientCertificate: {{certificate: {nginx.dir}/{certificate}, key: {nginx.dir}/{key}}}
""")
    (tmp_path / "credentials.json").write_text(json.dumps({"AccountTag": "0" * 32, "TunnelID": "6d7a1c5e-0000-4000-8000-000000000000",
                                                           "TunnelSecret": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}))
    (tmp_path / "credentials.json").chmod(0o600)
    run = subprocess.run([BUILD / "adit", "tunnel", "--config", tmp_path / "config.yml", "run", "--edge", "127.0.0.1:1", "--metrics", "127.0.0.1:0"],
                         capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert run.returncode != 0 and says in run.stdout + run.stderr, (run.stdout, run.stderr)
