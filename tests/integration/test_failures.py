"""Every way in which a request can fail: its status, its code, the hop, the page in three forms, the line in the log and the metric, with
both connectors and origins that are really broken in that way."""
import concurrent.futures
import contextlib
import datetime
import ipaddress
import json
import re
import socket
import ssl
import threading
import urllib.request

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from conftest import need, until
from ruled import Ruled, bound

SECOND = datetime.timedelta(seconds=1)
DAY = datetime.timedelta(days=1)


def certificate(where, name, host="localhost", begins=-DAY, ends=DAY, issuer=None):
    """Writes NAME.pem with a key and a certificate for a host; signed by itself unless an issuer is given."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.timezone.utc)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    build = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer[1] if issuer else subject).public_key(key.public_key())
             .serial_number(x509.random_serial_number()).not_valid_before(now + begins).not_valid_after(now + ends)
             .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), True))
    if host is not None:
        named = x509.DNSName(host) if isinstance(host, str) else x509.IPAddress(host)
        build = build.add_extension(x509.SubjectAlternativeName([named]), False)
    made = build.sign(issuer[0] if issuer else key, hashes.SHA256())
    pem = made.public_bytes(serialization.Encoding.PEM)
    (where / f"{name}.crt").write_bytes(pem)
    (where / f"{name}.pem").write_bytes(pem + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                                                serialization.NoEncryption()))
    return key, subject


# Answers that are no HTTP, or two things at once.
MALFORMED = {
    "status": b"HTTP/1.1 abc OK\r\n\r\n", "coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx",
    "codings": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "line": b"HTTP/1.1 200 OK\r\nfoo bar\r\n\r\n",
    "words": b"tls: x509: no such host\r\n\r\n", "head": b"HTTP/1.1 200 OK\r\nA: " + b"x" * 11_000_000 + b"\r\n\r\n",
}


class Origins:
    """One listener for each way of being broken."""

    def __init__(self, where):
        self.sockets, self.ports, self.held = [], {}, []
        self.over = threading.Event()
        ca = certificate(where, "ca", None, -10 * DAY, 10 * DAY)
        certificate(where, "sound", issuer=ca)
        certificate(where, "other", "other.test", issuer=ca)
        certificate(where, "expired", begins=-2 * DAY, ends=-DAY, issuer=ca)
        certificate(where, "early", begins=DAY, ends=2 * DAY, issuer=ca)
        certificate(where, "self")
        self.ca = where / "ca.crt"
        for name in ("other", "expired", "early", "self"):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(where / f"{name}.pem")
            self.listen(f"tls-{name}", lambda sock, context=context: context.wrap_socket(sock, server_side=True).recv(1))
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        old.load_cert_chain(where / "sound.pem")
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        old.set_ciphers("ECDHE-ECDSA-CAMELLIA128-SHA256:ECDHE-ECDSA-ARIA128-GCM-SHA256:@SECLEVEL=0")
        self.listen("tls-odd", lambda sock: old.wrap_socket(sock, server_side=True).recv(1))
        self.listen("plain", lambda sock: self.reply(sock, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"))
        self.listen("silent", lambda sock: self.over.wait(60))
        self.listen("mute", lambda sock: (sock.recv(65536), self.over.wait(60)))
        self.has_patient, self.may_answer = threading.Event(), threading.Event()
        self.listen("patient", self.answer_late)
        self.listen("closing", lambda sock: sock.recv(65536))
        self.listen("garbage", lambda sock: self.reply(sock, b"SSH-2.0-OpenSSH_9.2\r\n"))
        self.listen("lengths", lambda sock: self.reply(sock, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"))
        self.listen("cut", lambda sock: self.reply(sock, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"))
        self.listen("cut-chunks", lambda sock: self.reply(sock, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"))
        self.listen("stops", lambda sock: (self.reply(sock, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"), self.over.wait(60)))
        for name, answer in MALFORMED.items():
            self.listen(f"bad-{name}", lambda sock, answer=answer: self.reply(sock, answer))
        self.listen("partial", lambda sock: self.reply(sock, b"HTTP/1.1 200 OK\r\nA: b"))
        certificate(where, "numbered", ipaddress.ip_address("192.0.2.7"), issuer=ca)
        numbered = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        numbered.load_cert_chain(where / "numbered.pem")
        self.listen("tls-numbered", lambda sock: numbered.wrap_socket(sock, server_side=True).recv(1))
        self.refused = self.free_port()
        self.full = self.full_backlog()

    def listen(self, name, serve):
        sock = bound()
        self.sockets.append(sock)
        self.ports[name] = sock.getsockname()[1]
        threading.Thread(target=self.accept, args=(sock, serve), daemon=True).start()

    def accept(self, sock, serve):
        def one(peer):
            with contextlib.suppress(OSError, ssl.SSLError), peer:
                serve(peer)
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=one, args=(sock.accept()[0],), daemon=True).start()

    @staticmethod
    def reply(sock, data):
        sock.recv(65536)
        sock.sendall(data)

    def answer_late(self, sock):
        sock.recv(65536)
        self.has_patient.set()
        self.may_answer.wait(60)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    @staticmethod
    def free_port():
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            return sock.getsockname()[1]

    def full_backlog(self):
        """A port whose queue of connections is full: the next one's SYN is dropped."""
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        self.sockets.append(sock)
        for _ in range(8):
            waiting = socket.socket()
            waiting.setblocking(False)
            waiting.connect_ex(sock.getsockname())
            self.held.append(waiting)
        return sock.getsockname()[1]

    def stop(self):
        self.over.set()
        for sock in [*self.sockets, *self.held]:
            sock.close()


def rules(origins, kind):
    p = origins.ports
    more = {
        "mute": ("http", p["mute"], "responseTimeout: 300ms"), "stops": ("http", p["stops"], "idleTimeout: 300ms"),
    } if kind == "adit" else {}
    table = {
        "refused": ("http", origins.refused, ""), "full": ("http", origins.full, "connectTimeout: 300ms"),
        "tls-silent": ("https", p["silent"], "tlsTimeout: 300ms"), "tls-plain": ("https", p["plain"], ""),
        **{name: ("https", p[name], f"caPool: {origins.ca}") for name in p if name.startswith("tls-")},
        **{name: ("http", p[name], "") for name in ("closing", "garbage", "lengths", "cut", "cut-chunks", "partial", "patient")},
        **{name: ("http", p[name], "") for name in p if name.startswith("bad-")}, **more,
    }
    text = "ingress:\n"
    for name, (scheme, port, key) in table.items():
        text += f"  - {{path: ^/{name}$, service: '{scheme}://localhost:{port}', originRequest: {{noHappyEyeballs: true, {key}}}}}\n"
    text += "  - {path: ^/unresolved$, service: 'http://nowhere.invalid:80'}\n"
    text += "  - {path: ^/no-socket$, service: 'unix:/nonexistent/socket'}\n"
    return text + "  - {service: http_status:204}\n"


@pytest.fixture(scope="module")
def origins(tmp_path_factory):
    origins = Origins(tmp_path_factory.mktemp("origins"))
    yield origins
    origins.stop()


@pytest.fixture(scope="module", params=["adit", "cloudflared"])
def site(request, tmp_path_factory, origins):
    need(request.param)
    site = Ruled(tmp_path_factory.mktemp("failures"), rules(origins, request.param), request.param)
    yield site
    site.stop()


def ask(site, path, accept="application/json", host=None, method="GET", more=""):
    """Status, fields and body; a response that was cut off has None as body."""
    host_, _, port = site.edge.addresses["http"].rpartition(":")
    with socket.create_connection((host_, int(port)), 30) as sock:
        sock.sendall(f"{method} {path} HTTP/1.1\r\nHost: {host or site.host}\r\nAccept: {accept}\r\nConnection: close\r\n{more}\r\n".encode())
        data, is_reset = b"", False
        try:
            while piece := sock.recv(65536):
                data += piece
        except ConnectionResetError:
            is_reset = True
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    length = int(fields.get(b"content-length", -1))
    is_whole = not is_reset and (len(body) == length if length >= 0 else body.endswith(b"0\r\n\r\n"))
    return int(head.split(b" ")[1]) if head else 0, fields, body if is_whole else None


def ray_of(fields):
    return fields[b"cf-ray"].decode().split("-")[0]


def has_said(site, program, path, word, ray):
    """A program's log has the line of a failed request. Past a burst a second, lines are only counted: then we ask again."""
    rays = [ray]

    def is_there():
        if any(re.search(rf"request={each}\b.*failure={word}", program.text()) for each in rays):
            return True
        rays.append(ray_of(ask(site, path)[1]))
        return False

    until(is_there, f"the line of {word} in the log")


def counters(text, family):
    return {tuple(re.findall(r'"([^"]*)"', labels)): int(value) for labels, value in re.findall(family + r"\{([^}]*)\} (\d+)", text)}


def edge_failures(site):
    return counters("\n".join(f"{name} {value:.0f}" for name, value in site.edge.metrics().items()), "adit_edge_failures_total")


FAILURES = [
    ("/refused", "origin_refused", 502, 1040, "origin"), ("/unresolved", "origin_unresolved", 502, 1041, "origin"),
    ("/full", "origin_connect_timeout", 504, 1043, "origin"), ("/no-socket", "origin_no_socket", 502, 1044, "origin"),
    ("/tls-silent", "origin_tls_timeout", 504, 1046, "origin"), ("/tls-odd", "origin_tls", 502, 1047, "origin"),
    ("/tls-plain", "origin_not_tls", 502, 1048, "origin"), ("/tls-other", "origin_cert_name", 502, 1049, "origin"),
    ("/tls-expired", "origin_cert_expired", 502, 1050, "origin"), ("/tls-early", "origin_cert_early", 502, 1051, "origin"),
    ("/tls-self", "origin_cert_self_signed", 502, 1064, "origin"), ("/closing", "origin_reset", 502, 1055, "origin"),
    ("/garbage", "origin_malformed", 502, 1058, "origin"), ("/lengths", "origin_malformed", 502, 1058, "origin"),
    ("/mute", "origin_headers_timeout", 504, 1056, "origin"), ("/partial", "origin_cut", 502, 1059, "origin"),
    ("/tls-numbered", "origin_cert_name", 502, 1049, "origin"),
    *[(f"/bad-{name}", "origin_malformed", 502, 1058, "origin") for name in MALFORMED],
]


@pytest.mark.parametrize("path, word, status, code, hop", FAILURES, ids=[path[1:] for path, *_ in FAILURES])
def test_a_failed_origin_says_what_failed(site, path, word, status, code, hop):
    if site.kind != "adit" and path == "/mute":
        return  # the reference waits for ever
    if site.kind != "adit" and path == "/tls-early":
        word, code = "origin_cert_expired", 1050  # its text is the same for both
    if site.kind != "adit" and path == "/tls-self":
        word, code = "origin_cert_issuer", 1052
    before = edge_failures(site)
    got, fields, body = ask(site, path)
    assert got == status, body
    page = json.loads(body)
    assert (page["status"], page["code"], page["hop"]) == (status, code, hop), page
    assert page["text"] and page["next"] and page["title"]
    ray = ray_of(fields)
    assert page["request"] == ray
    assert edge_failures(site)[(word, hop)] == before[(word, hop)] + 1
    has_said(site, site.edge, path, word, ray)
    if site.kind == "adit":
        has_said(site, site.connector, path, word, ray)
        assert counters(site.metrics(), "adit_connector_failures_total")[(word, hop)] > 0


def test_the_text_names_what_was_tried(site, origins):
    assert f"127.0.0.1:{origins.refused}" in json.loads(ask(site, "/refused")[2])["text"].replace("localhost", "127.0.0.1")
    assert "nowhere.invalid" in json.loads(ask(site, "/unresolved")[2])["text"]
    text = json.loads(ask(site, "/tls-other")[2])["text"]
    assert "localhost" in text and "other.test" in text
    if site.kind == "adit":
        assert "192.0.2.7" in json.loads(ask(site, "/tls-numbered")[2])["text"]


def test_a_page_has_the_form_that_is_asked_for(site):
    status, fields, html = ask(site, "/refused", "text/html,*/*;q=0.8", )
    assert status == 502 and fields[b"content-type"].startswith(b"text/html")
    assert b"<span class=bad>origin</span>" in html and b"error 1040" in html and b"<script" not in html
    status, fields, text = ask(site, "/refused", "*/*")
    assert status == 502 and fields[b"content-type"].startswith(b"text/plain") and b"failed at: origin" in text
    assert ask(site, "/refused", "text/html", method="HEAD")[0] == 502


@pytest.mark.parametrize("path", ["/cut", "/cut-chunks"])
def test_a_response_that_the_origin_cuts_is_cut_for_the_visitor(site, path):
    before = edge_failures(site)
    status, _, body = ask(site, path)
    assert status in (200, 502) and (status == 502 or body is None)
    until(lambda: edge_failures(site)[("origin_cut", "origin")] > before[("origin_cut", "origin")], "it is counted")


def test_an_origin_that_stops_in_mid_answer_is_given_up(site):
    if site.kind != "adit":
        return
    status, fields, body = ask(site, "/stops")
    assert status in (200, 504) and (status == 504 or body is None)
    has_said(site, site.connector, "/stops", "origin_idle_timeout", ray_of(fields))


def test_an_origin_without_a_limit_may_take_its_time(site, origins):
    """Long polling: it is silent for longer than a rule with a limit would wait, which is seen beside it."""
    origins.has_patient.clear()
    origins.may_answer.clear()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(ask, site, "/patient")
        assert origins.has_patient.wait(60)
        if site.kind == "adit":
            assert ask(site, "/mute")[0] == 504
        assert not waiting.done()
        origins.may_answer.set()
        status, _, body = waiting.result(60)
    assert (status, body) == (200, b"ok")


def test_what_the_edge_fails_by_itself(site):
    status, _, body = ask(site, "/", host="nobody.localhost")
    page = json.loads(body)
    assert (status, page["code"], page["hop"]) == (404, 1001, "edge") and "nobody.localhost" in page["text"]
    before = edge_failures(site)
    asked = urllib.request.Request(f"http://{site.edge.addresses['local']}/tunnel", data=b"")
    deserted = json.loads(urllib.request.urlopen(asked, timeout=20).read())["result"]["hostname"]
    status, _, body = ask(site, "/", host=deserted)
    page = json.loads(body)
    assert (status, page["code"], page["hop"]) == (530, 1033, "tunnel") and page["next"]
    status, _, body = ask(site, "/", more="CDN-Loop: adit; loops=99\r\n")
    page = json.loads(body)
    assert (status, page["code"], page["hop"]) == (508, 1036, "origin") and page["next"]
    for reason in (("no_link", "tunnel"), ("loop", "origin")):
        assert edge_failures(site)[reason] == before[reason] + 1


REFUSED = [
    (b"GET / HTTP/1.1\r\nHost: HOST\r\nBad Name: x\r\n\r\n", "bad_request", 400, 1002),
    (b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: HOST\r\n\r\n", "target_too_large", 414, 1063),
    (b"GET / HTTP/1.1\r\nHost: HOST\r\nCookie: " + b"a" * 200_000 + b"\r\n\r\n", "head_too_large", 431, 1003),
]


@pytest.mark.parametrize("data, word, status, code", REFUSED, ids=[word for _, word, *_ in REFUSED])
def test_a_request_that_is_refused_says_why(site, data, word, status, code):
    before = edge_failures(site)
    host, _, port = site.edge.addresses["http"].rpartition(":")
    with socket.create_connection((host, int(port)), 30) as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(data.replace(b"HOST", site.host.encode()))
        got = b""
        with contextlib.suppress(ConnectionError):
            while piece := sock.recv(65536):
                got += piece
    head, _, body = got.decode().partition("\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ") and f"error {code}, request " in body and "failed at: visitor" in body
    ray = re.search(r"\r\nCf-Ray: ([0-9a-f]{16})-", head)[1]
    assert f"request {ray}\n" in body
    until(lambda: re.search(rf"request={ray}\b.*failure={word}\b.*hop=visitor", site.edge.text()), "the line in the edge's log")
    assert edge_failures(site)[(word, "visitor")] == before[(word, "visitor")] + 1


def test_a_visitor_who_goes_away_is_no_error(site, origins):
    before = edge_failures(site)[("visitor_gone", "visitor")]
    gone = counters(site.metrics(), "adit_connector_failures_total")[("visitor_gone", "visitor")] if site.kind == "adit" else 0
    host, _, port = site.edge.addresses["http"].rpartition(":")
    sock = socket.create_connection((host, int(port)), 30)
    sock.sendall(f"GET /tls-silent HTTP/1.1\r\nHost: {site.host}\r\n\r\n".encode())
    if site.kind == "adit":
        until(lambda: "cloudflared_tunnel_concurrent_requests_per_tunnel 1\n" in site.metrics(), "the request is under way")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    sock.close()
    until(lambda: edge_failures(site)[("visitor_gone", "visitor")] > before, "it is counted")
    programs = [site.edge]
    if site.kind == "adit":
        programs.append(site.connector)
        until(lambda: counters(site.metrics(), "adit_connector_failures_total")[("visitor_gone", "visitor")] > gone, "also at the connector")
        assert "cloudflared_tunnel_concurrent_requests_per_tunnel 0\n" in site.metrics()
    for program in programs:
        lines = [line for line in program.text().splitlines() if "visitor_gone" in line]
        assert lines and all(re.search(r"\bdebug\b", line) for line in lines), lines
