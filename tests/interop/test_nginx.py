"""nginx as the origin: over plain HTTP, over TLS that is checked and not checked, and over a unix socket."""
import gzip
import hashlib
import threading

import h11
import pytest
from client import Visitor, get, header
from conftest import start_tunnel, stop_tunnel
from nginx import BINARY, TEXT

WAYS = ["http", "https-unverified", "https-verified", "unix"]


def service_of(way, nginx):
    """(service, originRequest) of the ingress rule."""
    if way == "http":
        return nginx.url("http"), {}
    if way == "https-unverified":
        return nginx.url("https"), {"noTLSVerify": True}
    if way == "https-verified":
        return nginx.url("https"), {"caPool": str(nginx.dir / "cert.pem"), "originServerName": "nginx.test"}
    return f"unix:{nginx.unix}", {}


@pytest.fixture(scope="module", params=WAYS)
def way(request):
    return request.param


@pytest.fixture(scope="module")
def site(kind, way, edge, nginx, tmp_path_factory):
    """A tunnel to nginx."""
    service, options = service_of(way, nginx)
    connector = start_tunnel(kind, edge, tmp_path_factory.mktemp(f"{kind}-{way}"), service, options)
    connector.way = way
    yield connector
    stop_tunnel(connector)


def test_a_static_file_arrives_whole_with_its_validators(site):
    head, body = get(site, "/page.txt")
    assert head.status_code == 200 and body == TEXT
    assert header(head, "content-length") == str(len(TEXT))
    assert header(head, "accept-ranges") == "bytes"
    assert header(head, "etag").strip('"') and header(head, "last-modified").endswith("GMT")
    assert header(head, "server").startswith("nginx")
    assert header(head, "content-type") == "text/plain"


def test_the_origin_is_asked_in_the_way_that_was_configured(site):
    head, body = get(site, "/echo")
    assert header(head, "x-scheme") == ("https" if site.way.startswith("https") else "http")
    assert body.decode() == f"GET {site.host} http HTTP/1.1\n"


@pytest.mark.parametrize("wanted, first, last", [("0-99", 0, 99), ("1000-", 1000, None), ("-500", len(BINARY) - 500, None)])
def test_a_range_is_206(site, wanted, first, last):
    head, body = get(site, "/data.bin", headers=[("Range", f"bytes={wanted}")])
    end = len(BINARY) - 1 if last is None else last
    assert head.status_code == 206
    assert header(head, "content-range") == f"bytes {first}-{end}/{len(BINARY)}"
    assert body == BINARY[first:end + 1]


def test_several_ranges_are_one_multipart_answer(site):
    head, body = get(site, "/data.bin", headers=[("Range", "bytes=0-9,1000-1009")])
    kind = header(head, "content-type")
    assert head.status_code == 206 and kind.startswith("multipart/byteranges; boundary=")
    assert body.count(b"--" + kind.split("=")[1].encode()) == 3
    assert BINARY[0:10] in body and BINARY[1000:1010] in body


def test_a_range_outside_is_416(site):
    head, body = get(site, "/data.bin", headers=[("Range", f"bytes={len(BINARY)}-")])
    assert head.status_code == 416 and header(head, "content-range") == f"bytes */{len(BINARY)}"


def test_a_condition_that_holds_is_304_without_a_body(site):
    head, body = get(site, "/page.txt")
    etag, modified = header(head, "etag"), header(head, "last-modified")
    with Visitor(site.edge.port("http"), site.host) as visitor:
        for condition in (("If-None-Match", etag), ("If-Modified-Since", modified)):
            visitor.request("GET", "/page.txt", [condition])
            head, body = visitor.response()
            assert head.status_code == 304 and body == b"" and header(head, "etag") == etag
        visitor.request("GET", "/page.txt", [("If-None-Match", '"another"')])
        head, body = visitor.response()
        assert head.status_code == 200 and body == TEXT


def test_a_compressed_answer_is_not_touched(site):
    head, body = get(site, "/gzip/page.txt", headers=[("Accept-Encoding", "gzip")])
    assert head.status_code == 200 and header(head, "content-encoding") == "gzip"
    assert header(head, "etag").startswith("W/")
    assert len(body) < len(TEXT) / 4 and gzip.decompress(body) == TEXT


def test_a_visitor_that_asks_for_no_coding_gets_none(site):
    head, body = get(site, "/gzip/page.txt")
    assert header(head, "content-encoding") is None and body == TEXT


def test_head_tells_the_length_alone(site):
    with Visitor(site.edge.port("http"), site.host) as visitor:
        visitor.request("HEAD", "/data.bin")
        head, body = visitor.response()
        assert head.status_code == 200 and header(head, "content-length") == str(len(BINARY)) and body == b""
        visitor.request("GET", "/empty.txt")
        head, body = visitor.response()
        assert head.status_code == 200 and header(head, "content-length") == "0" and body == b""


def test_what_is_missing_is_nginx_own_404(site):
    head, body = get(site, "/missing")
    assert head.status_code == 404 and b"<center>nginx" in body


def test_a_redirect_is_not_followed(site):
    head, body = get(site, "/redirect")
    assert head.status_code == 302 and header(head, "location") == f"http://{site.host}/elsewhere"


def test_a_large_post_is_stored_as_it_was_sent(site):
    data = hashlib.shake_256(b"a post").digest(5_000_000)
    head, body = get(site, "/post", "POST", [("Content-Length", str(len(data)))], data)
    assert head.status_code == 200 and body.decode() == f"POST {len(data)}\n"
    with open(header(head, "x-body-file"), "rb") as f:
        assert f.read() == data


def test_a_chunked_upload_is_stored_as_it_was_sent(site, nginx):
    data = hashlib.shake_256(site.way.encode()).digest(700_000)
    name = f"{site.kind}-{site.way}.bin"
    with Visitor(site.edge.port("http"), site.host) as visitor:
        visitor.send(h11.Request(method="PUT", target=f"/dav/{name}", headers=[("Host", site.host), ("Transfer-Encoding", "chunked")]))
        for at in range(0, len(data), 50_001):
            visitor.send(h11.Data(data=data[at:at + 50_001]))
        visitor.send(h11.EndOfMessage())
        head, body = visitor.response()
        assert head.status_code in (201, 204)
        assert (nginx.dir / "dav" / name).read_bytes() == data
        visitor.request("DELETE", f"/dav/{name}")
        head, body = visitor.response()
        assert head.status_code == 204 and not (nginx.dir / "dav" / name).exists()


def test_a_body_that_is_too_large_gets_nginx_413(site):
    # nginx answers from the head alone and closes; the visitor must see its answer though the body was on its way.
    with Visitor(site.edge.port("http"), site.host) as visitor:
        visitor.send(h11.Request(method="POST", target="/post", headers=[("Host", site.host), ("Content-Length", str(100_000_000))]))
        event = visitor.event()
        assert isinstance(event, h11.Response) and event.status_code == 413


def test_a_connection_to_the_origin_is_used_again(site):
    seen = [get(site, "/connection")[1].split() for _ in range(12)]
    connections = {connection for connection, _ in seen}
    assert len(connections) < len(seen) and max(int(count) for _, count in seen) > 1


def test_an_origin_that_closes_after_each_answer_loses_nothing(site):
    with Visitor(site.edge.port("http"), site.host) as visitor:
        for _ in range(5):
            visitor.request("GET", "/close/data.bin")
            head, body = visitor.response()
            assert head.status_code == 200 and body == BINARY


def test_an_origin_that_hangs_up_without_an_answer_is_a_502(site):
    head, body = get(site, "/drop")
    assert head.status_code == 502
    assert get(site, "/page.txt")[1] == TEXT


def test_a_slow_download_arrives_whole_and_holds_nobody_up(site):
    with Visitor(site.edge.port("http"), site.host) as visitor:
        visitor.request("GET", "/slow/data.bin")
        assert visitor.event().status_code == 200
        got = visitor.event().data
        for _ in range(5):
            assert get(site, "/page.txt")[1] == TEXT
        while not isinstance(event := visitor.event(), h11.EndOfMessage):
            got += event.data
    assert got == BINARY


def test_many_visitors_at_once(site):
    failures = []

    def one():
        try:
            with Visitor(site.edge.port("http"), site.host) as visitor:
                for target, content in (("/page.txt", TEXT), ("/data.bin", BINARY)) * 2:
                    visitor.request("GET", target)
                    assert visitor.response()[1] == content
        except Exception as e:
            failures.append(e)

    threads = [threading.Thread(target=one) for _ in range(20)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


def test_an_origin_that_leaves_after_three_requests_is_dialled_again(kind, edge, nginx, tmp_path):
    site = start_tunnel(kind, edge, tmp_path, nginx.url("http", "impatient"))
    try:
        seen = []
        with Visitor(edge.port("http"), site.host) as visitor:
            for _ in range(10):
                visitor.request("GET", "/connection")
                head, body = visitor.response()
                assert head.status_code == 200
                seen.append(body.split())
        assert max(int(count) for _, count in seen) == 3
        assert len({connection for connection, _ in seen}) >= 4
    finally:
        stop_tunnel(site)


@pytest.mark.parametrize("options", [{}, {"caPool": "other-cert.pem", "originServerName": "nginx.test"},
                                     {"caPool": "cert.pem", "originServerName": "another.test"}],
                         ids=["no pool", "another pool", "another name"])
def test_a_certificate_that_does_not_fit_is_refused(kind, edge, nginx, tmp_path, options):
    if "caPool" in options:
        options = dict(options, caPool=str(nginx.dir / options["caPool"]))
    site = start_tunnel(kind, edge, tmp_path, nginx.url("https"), options)
    try:
        head, body = get(site, "/page.txt")
        assert head.status_code == 502 and TEXT[:20] not in body
    finally:
        stop_tunnel(site)
