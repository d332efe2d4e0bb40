"""curl as the visitor."""
import contextlib
import hashlib
import json
import shutil
import socket
import subprocess

import pytest
from client import get
from conftest import Edge, start_tunnel, stop_clean, stop_tunnel, until
from nginx import BINARY, TEXT

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl: apt-get install curl")


class Result:
    def __init__(self, done):
        self.code, self.body, self.log = done.returncode, done.stdout, done.stderr.decode(errors="replace")

    def head(self):
        """(status line, {name: value}) of -i or -I."""
        lines = self.body.split(b"\r\n\r\n")[0].decode().split("\r\n")
        return lines[0], {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines[1:])}

    def seen(self):
        """What /echo of the origin saw."""
        seen = json.loads(self.body)
        seen["fields"] = {k.lower(): v for k, v in seen["headers"]}
        return seen


def curl(site, paths, *words, scheme="http", data=None, code=0):
    """Runs curl for one path of the site, or a list of them."""
    port = site.edge.port(scheme)
    command = ["curl", "-sS", "--noproxy", "*", "--max-time", "50", "--resolve", f"{site.host}:{port}:127.0.0.1",
               *[str(word) for word in words]]
    command += [f"{scheme}://{site.host}:{port}{path}" for path in ([paths] if isinstance(paths, str) else paths)]
    result = Result(subprocess.run(command, input=data, capture_output=True, timeout=60))
    assert result.code == code, (result.code, result.log)
    return result


@pytest.fixture(scope="module")
def site(kind, edge, origin, tmp_path_factory):
    connector = start_tunnel(kind, edge, tmp_path_factory.mktemp(f"curl-{kind}"), origin.url)
    yield connector
    stop_tunnel(connector)


@pytest.fixture(scope="module")
def files(kind, edge, nginx, tmp_path_factory):
    """A tunnel to nginx, for what the plain origin has not."""
    connector = start_tunnel(kind, edge, tmp_path_factory.mktemp(f"curl-files-{kind}"), nginx.url("http"))
    yield connector
    stop_tunnel(connector)


# ---- downloads ----

def test_a_page(site):
    result = curl(site, "/", "-i")
    status, fields = result.head()
    assert status == "HTTP/1.1 200 OK" and fields["content-length"] == "6"
    assert result.body.endswith(b"\r\n\r\nhello\n")


def test_a_head_request_ends_with_the_head(site):
    result = curl(site, "/bytes/12345", "-I")
    status, fields = result.head()
    assert status.startswith("HTTP/1.1 200") and fields["content-length"] == "12345"
    assert result.body.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("path", ["/chunks/200", "/bytes/100000", "/close"])
def test_http_1_0_gets_the_body_without_chunks(site, path):
    plain = curl(site, path).body
    result = curl(site, path, "--http1.0", "-i")
    status, fields = result.head()
    assert status.split()[1] == "200" and "transfer-encoding" not in fields
    assert plain and result.body.split(b"\r\n\r\n", 1)[1] == plain


def test_several_urls_use_one_connection(site):
    result = curl(site, ["/status/404", "/chunks/1", "/status/204", "/bytes/0", "/"], "-w", "|%{num_connects} %{http_code}|")
    assert result.body.split(b"|")[1::2] == [b"1 404", b"0 200", b"0 204", b"0 200", b"0 200"]
    assert result.body.startswith(b"status 404\n") and b"hello\n" in result.body


def test_parallel_downloads(site):
    sizes = [n * 1000 for n in range(1, 31)]
    assert len(curl(site, [f"/bytes/{size}" for size in sizes], "-Z", "--parallel-max", 10).body) == sum(sizes)


def test_a_download_is_resumed_where_it_stopped(files, tmp_path):
    part = tmp_path / "data.bin"
    part.write_bytes(BINARY[:123_456])
    result = curl(files, "/data.bin", "-C", "-", "-o", part, "-w", "%{http_code} %{size_download}")
    assert result.body.split() == [b"206", b"%d" % (len(BINARY) - 123_456)]
    assert part.read_bytes() == BINARY


def test_a_range(files):
    assert curl(files, "/data.bin", "-r", "100-199").body == BINARY[100:200]


def test_a_page_that_has_not_changed_is_not_fetched_again(files, tmp_path):
    tag = tmp_path / "etag"
    assert curl(files, "/page.txt", "--etag-save", tag).body == TEXT
    assert curl(files, "/page.txt", "--etag-compare", tag, "-w", "%{http_code}").body == b"304"


def test_a_compressed_page_is_unpacked_by_curl(files):
    body, _, size = curl(files, "/gzip/page.txt", "--compressed", "-w", "|%{size_download}").body.rpartition(b"|")
    assert body == TEXT and int(size) < len(TEXT) / 4


# ---- uploads ----

DATA = hashlib.shake_256(b"curl").digest(2_000_000)


def check_upload(result, method, data):
    seen = result.seen()
    assert seen["method"] == method
    assert (seen["bytes"], seen["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    return seen["fields"]


def test_a_file_is_put_with_its_length(site, tmp_path):
    (tmp_path / "up").write_bytes(DATA)
    fields = check_upload(curl(site, "/echo", "-T", tmp_path / "up"), "PUT", DATA)
    assert fields["content-length"] == str(len(DATA)) and "transfer-encoding" not in fields


def test_a_pipe_is_put_in_chunks(site):
    fields = check_upload(curl(site, "/echo", "-T", "-", data=DATA), "PUT", DATA)
    assert fields["transfer-encoding"] == "chunked" and "content-length" not in fields


def test_a_form(site):
    fields = check_upload(curl(site, "/echo", "--data", "a=1&b=%20", "-H", "Expect:"), "POST", b"a=1&b=%20")
    assert fields["content-type"] == "application/x-www-form-urlencoded"
    assert curl(site, "/echo", "-F", "file=@-;filename=x", data=b"123").seen()["fields"]["content-type"].startswith("multipart/form-data")


@pytest.mark.parametrize("path", ["/echo", "/status/404"])
def test_a_body_waits_for_100_continue(site, path):
    result = curl(site, path, "-v", "-H", "Expect: 100-continue", "--expect100-timeout", 40, "--data-binary", "@-", data=DATA)
    assert "HTTP/1.1 100" in result.log
    if path == "/echo":
        check_upload(result, "POST", DATA)


def test_an_upload_to_nowhere_is_told_before_the_body(site):
    result = curl(site, "/", "-v", "-H", "Host: nobody.localhost", "-H", "Expect: 100-continue", "--expect100-timeout", 40,
                  "--data-binary", "@-", "-w", "|%{http_code} %{size_upload}", data=DATA)
    assert "HTTP/1.1 100" not in result.log and result.body.endswith(b"|404 0")


# ---- odd but legal ----

def test_a_path_is_passed_as_it_is(site):
    for path in ("/echo/../x/./%2e%2e//y?a=b&c=%zz&d=%C3%A9", "/echo?", "/echo/;p=1?q=[1]"):
        assert curl(site, path, "--path-as-is", "-g").seen()["path"] == path


def test_options_of_the_server_itself(site):
    # BaseHTTPRequestHandler gives * to the same handler: any answer of the origin will do.
    result = curl(site, "/", "-X", "OPTIONS", "--request-target", "*", "-w", "|%{http_code}")
    assert result.body == b"hello\n|200"


def test_large_headers_pass(site):
    cookie = "c=" + "x" * 30_000
    fields = curl(site, "/echo", "-H", f"Cookie: {cookie}", "-H", "X-Empty;").seen()["fields"]
    assert fields["cookie"] == cookie and fields["x-empty"] == ""


def test_an_offer_of_h2c_is_not_taken(site):
    result = curl(site, "/echo", "--http2", "-w", "|%{http_version} %{http_code}")
    assert result.body.rpartition(b"|")[2] == b"1.1 200"


def test_the_host_may_be_in_capitals(site):
    assert curl(site, "/", "-H", f"Host: {site.host.upper()}").body == b"hello\n"


# ---- an origin that hangs ----

def test_max_time_ends_a_wait_for_an_origin_that_hangs(kind, edge, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        site = start_tunnel(kind, edge, tmp_path, f"http://127.0.0.1:{listener.getsockname()[1]}")
        try:
            curl(site, "/", "--max-time", "1", code=28)
            listener.settimeout(30)
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(30)
                assert connection.recv(4096).startswith(b"GET / HTTP/1.1\r\n")
            assert edge.process.poll() is None and site.process.poll() is None
        finally:
            stop_tunnel(site)


# ---- TLS ----

@pytest.fixture(scope="module")
def secure(kind, origin, tmp_path_factory):
    """An edge with a domain of two labels: its wildcard is one that curl takes."""
    where = tmp_path_factory.mktemp(f"curl-tls-{kind}")
    flags = [word for name in ("tunnel", "http", "https", "local") for word in (f"--{name}", "127.0.0.1:0")]
    edge = Edge(where, 1, [*flags, "--domain", "tunnels.test"])
    connector = start_tunnel(kind, edge, where / "connector", origin.url)
    connector.ca = edge.dir / "ca.pem"
    yield connector
    stop_tunnel(connector)
    stop_clean(edge)


@pytest.mark.parametrize("version", ["--tlsv1.3", "--tls-max=1.2"])
def test_https_with_the_certificate_checked(secure, version):
    words = version.split("=")
    assert secure.host.endswith(".tunnels.test")
    fields = curl(secure, "/echo", "--cacert", secure.ca, *words, scheme="https").seen()["fields"]
    assert fields["x-forwarded-proto"] == "https" and json.loads(fields["cf-visitor"]) == {"scheme": "https"}


def test_https_with_another_authority_is_refused_by_curl(secure, nginx):
    curl(secure, "/", "--cacert", nginx.dir / "cert.pem", scheme="https", code=60)


def test_http_2_is_offered_or_1_1_is_agreed_on(secure):
    result = curl(secure, "/", "--cacert", secure.ca, "--http2", "-w", "|%{http_version}", scheme="https")
    assert result.body in (b"hello\n|1.1", b"hello\n|2")


def test_uploads_and_several_urls_over_https(secure, tmp_path):
    (tmp_path / "up").write_bytes(DATA)
    check_upload(curl(secure, "/echo", "--cacert", secure.ca, "-T", tmp_path / "up", scheme="https"), "PUT", DATA)
    result = curl(secure, ["/", "/bytes/9", "/chunks/2"], "--cacert", secure.ca, "-w", "|%{num_connects}|", scheme="https")
    assert result.body.split(b"|")[1::2] == [b"1", b"0", b"0"]


def test_plain_http_on_the_tls_port_harms_nobody(secure):
    with socket.create_connection(("127.0.0.1", secure.edge.port("https")), timeout=30) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            while s.recv(4096):
                pass
    until(lambda: get(secure, "/")[1] == b"hello\n", "the edge serves")
    assert curl(secure, "/", "--cacert", secure.ca, scheme="https").body == b"hello\n"
