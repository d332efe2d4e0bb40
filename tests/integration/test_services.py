"""The kinds of service behind an ingress rule, and the command that tells which rule answers what; with both connectors."""
import json
import os
import pathlib
import socket
import ssl
import subprocess
import threading
import urllib.request

import pytest
from client import Visitor, get, header
from conftest import BUILD, KINDS, Edge, Program, cloudflared, edge_flags, need

import origin as origins


class UnixServer(origins.Server):
    address_family = socket.AF_UNIX

    def server_bind(self):
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "unix", 0

    def get_request(self):
        conn, _ = super().get_request()
        return conn, ("unix", 0)


def serve_unix(path, context=None):
    server = UnixServer(str(path), origins.Handler)
    server.step = threading.Semaphore(0)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    where = tmp_path_factory.mktemp("certificate")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
                    "/CN=origin.test", "-addext", "subjectAltName=DNS:origin.test,DNS:localhost", "-keyout", where / "key.pem", "-out",
                    where / "cert.pem"], check=True, capture_output=True)
    return where


RULES = """
ingress:
  - hostname: HOST
    path: ^/status
    service: http_status:418
  - hostname: HOST
    path: ^/unix
    service: unix:DIR/plain.sock
  - hostname: HOST
    path: ^/tls
    service: unix+tls:DIR/tls.sock
    originRequest: {noTLSVerify: true}
  - hostname: HOST
    path: ^/https-unchecked
    service: https://127.0.0.1:HTTPS
    originRequest: {noTLSVerify: true}
  - hostname: HOST
    path: ^/https-checked
    service: https://localhost:HTTPS
    originRequest: {caPool: CERTIFICATE/cert.pem, originServerName: origin.test, httpHostHeader: inside.test}
  - hostname: HOST
    path: ^/https-refused
    service: https://localhost:HTTPS
    originRequest: {caPool: CERTIFICATE/cert.pem, originServerName: other.test}
  - hostname: HOST
    path: ^/closed
    service: http://127.0.0.1:CLOSED
  - hostname: HOST
    path: ^/unresolvable
    service: http://nowhere.invalid:80
  - hostname: HOST
    path: ^/circle
    service: http://127.0.0.1:EDGE
    originRequest: {httpHostHeader: HOST}
  - hostname: HOST
    path: ^/hello
    service: hello_world
  - service: http_status:503
"""


@pytest.fixture(scope="module", params=KINDS)
def services(request, tmp_path_factory, certificate):
    """A tunnel with one rule for each kind of service."""
    need(request.param)
    where = tmp_path_factory.mktemp(request.param)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    servers = [serve_unix(where / "plain.sock"), serve_unix(where / "tls.sock", context)]
    secure = origins.Server(("127.0.0.1", 0), origins.Handler)
    secure.socket = context.wrap_socket(secure.socket, server_side=True)
    threading.Thread(target=secure.serve_forever, daemon=True).start()
    closed = socket.socket()
    closed.bind(("127.0.0.1", 0))  # bound and never listening: whoever connects is refused
    edge = Edge(where)
    tunnel = json.loads(urllib.request.urlopen(urllib.request.Request(f"http://{edge.addresses['local']}/tunnel", data=b"")).read())["result"]
    rules = RULES
    for word, value in {"HOST": tunnel["hostname"], "DIR": where, "HTTPS": secure.server_address[1], "CERTIFICATE": certificate,
                        "CLOSED": closed.getsockname()[1], "EDGE": edge.port("http")}.items():
        rules = rules.replace(word, str(value))
    (where / "config.yml").write_text(rules)
    (where / "credentials.json").write_text(json.dumps({"AccountTag": tunnel["account_tag"], "TunnelID": tunnel["id"],
                                                        "TunnelSecret": tunnel["secret"]}))
    os.chmod(where / "credentials.json", 0o400)
    flags = ["--config", where / "config.yml", "--credentials-file", where / "credentials.json", "--cacert", edge.dir / "ca.pem",
             "--metrics", "127.0.0.1:0", "--protocol", "quic", "--grace-period", "1s", *edge_flags(edge, 3)]
    if request.param == "adit":
        command = [BUILD / "adit", "tunnel", "run", *flags, tunnel["id"]]
    else:
        command = [cloudflared(), "tunnel", "--no-autoupdate", "--no-prechecks", *flags, "run", tunnel["id"]]
    connector = Program(command, where / "connector.log", cwd=where)
    connector.wait_for("Registered tunnel connection")
    connector.edge, connector.host, connector.kind = edge, tunnel["hostname"], request.param
    yield connector
    assert connector.stop() == 0 or request.param != "adit"
    assert edge.stop() == 0
    for server in [*servers, secure]:
        server.shutdown()
    closed.close()


def test_a_status_is_answered_by_the_connector(services):
    head, body = get(services, "/status/x")
    assert head.status_code == 418 and body == b""


@pytest.mark.parametrize("where", ["unix", "tls", "https-unchecked"])
def test_a_service_is_asked_as_its_rule_says(services, where):
    head, body = get(services, f"/{where}")
    assert head.status_code == 200 and body == b"hello\n"


def test_a_checked_certificate_and_another_host(services):
    head, body = get(services, "/https-checked")
    assert head.status_code == 200


def test_a_certificate_with_another_name_is_refused_with_the_reason(services):
    head, body = get(services, "/https-refused")
    assert head.status_code == 502 and b"certificate" in body


def test_an_origin_that_is_down_has_its_own_page(services):
    head, body = get(services, "/closed")
    assert head.status_code == 502 and b"connection refused" in body and b"error 1040" in body
    assert header(head, "content-type").startswith("text/plain")
    head, body = get(services, "/closed", headers=[("Accept", "application/json")])
    assert json.loads(body)["hop"] == "origin" and json.loads(body)["code"] == 1040


def test_an_origin_whose_name_is_unknown_is_named(services):
    head, body = get(services, "/unresolvable")
    assert head.status_code == 502 and b"nowhere.invalid" in body


def test_a_service_that_leads_back_to_the_edge_is_told_of(services):
    head, body = get(services, "/circle")
    assert head.status_code == 508 and b"round in circles" in body


def test_the_hello_page(services):
    head, body = get(services, "/hello", headers=[("Accept", "text/html")])
    assert head.status_code == 200 and b"<html" in body.lower() and header(head, "content-type").startswith("text/html")
    assert int(header(head, "content-length") or len(body)) == len(body)


def test_the_last_rule_takes_the_rest_and_the_connection_goes_on(services):
    with Visitor(services.edge.port("http"), services.host) as visitor:
        for target, status in (("/none", 503), ("/status", 418), ("/closed", 502), ("/unix", 200)) * 3:
            visitor.request("GET", target)
            assert visitor.response()[0].status_code == status, target


# ---- adit tunnel ingress ----

def ingress(where, *words):
    run = subprocess.run([BUILD / "adit", "tunnel", "--config", where / "config.yml", "ingress", *words], capture_output=True, text=True,
                         timeout=30, env=dict(os.environ, HOME=str(where)))
    return run.returncode, run.stdout, run.stderr


SMALL = """
ingress:
  - hostname: shop.example.com
    path: \\.(png|css)$
    service: http://localhost:8001
  - hostname: "*.example.com"
    service: unix:/run/app.sock
  - service: http_status:404
"""


@pytest.mark.parametrize("url, index, service", [
    ("https://shop.example.com/a/logo.png?x=1", 0, "http://localhost:8001"), ("https://shop.example.com/", 1, "unix:/run/app.sock"),
    ("http://a.b.example.com:8080/x", 1, "unix:/run/app.sock"), ("https://elsewhere.net/logo.png", 2, "http_status:404")])
def test_ingress_rule_tells_which_rule_answers(tmp_path, url, index, service):
    (tmp_path / "config.yml").write_text(SMALL)
    code, out, err = ingress(tmp_path, "rule", url)
    assert code == 0 and f"Matched rule #{index}" in out and f"service: {service}" in out, (out, err)


def test_ingress_validate_accepts_good_rules(tmp_path):
    (tmp_path / "config.yml").write_text(SMALL)
    code, out, err = ingress(tmp_path, "validate")
    assert code == 0 and out.endswith("OK\n") and str(tmp_path / "config.yml") in out


@pytest.mark.parametrize("text, says", [
    ("ingress:\n  - service: localhost:8000\n", "make sure it has a scheme and a hostname"),
    ("ingress:\n  - hostname: a.b\n    service: http://localhost:1\n", "must match all URLs"),
    ("ingress:\n  - service: http_status:404\n  - hostname: a.b\n    service: http_status:404\n", "never be triggered"),
    ("ingress:\n  - path: '(?=x)'\n    hostname: a.b\n    service: http_status:404\n  - service: http_status:404\n", "invalid regex"),
    ("ingress: [\n", "config.yml:"), ("tunnel: x\n", "ingress")])
def test_ingress_validate_says_what_is_wrong(tmp_path, text, says):
    (tmp_path / "config.yml").write_text(text)
    code, out, err = ingress(tmp_path, "validate")
    assert code != 0 and says in err and "OK" not in out, (code, out, err)


def test_ingress_without_a_file_says_how_to_name_one(tmp_path):
    run = subprocess.run([BUILD / "adit", "tunnel", "ingress", "validate"], capture_output=True, text=True, cwd=tmp_path,
                         env=dict(os.environ, HOME=str(tmp_path)))
    assert run.returncode != 0
    assert "--config" in run.stderr or pathlib.Path("/etc/cloudflared/config.yml").exists()
