"""Visitors that keep the edge busy or waiting: each is given up in its time, memory stays bounded, and everybody else is served
meanwhile."""
import resource
import select
import socket
import ssl
import time

import pytest

from conftest import until
from hostile import Site, is_closed, responses, rss, talk

BIG = 32 << 20


@pytest.fixture(scope="module", autouse=True)
def descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """An edge with little patience."""
    site = Site(tmp_path_factory.mktemp("flood"), "--head-timeout", "500ms", "--idle-timeout", "1s", "--stall-timeout", "500ms")
    site.origin.replies[b"/big"] = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG + bytes(BIG)
    yield site
    site.stop()


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    """An edge as it is without options but for its limit of visitors."""
    site = Site(tmp_path_factory.mktemp("patient"), "--max-visitors", "2100")
    yield site
    site.stop()


@pytest.fixture(scope="module")
def hurried(tmp_path_factory):
    """An edge whose visitors must move twenty megabytes in each second in which bytes wait."""
    site = Site(tmp_path_factory.mktemp("hurried"), "--stall-timeout", "1s", "--min-rate", "20000000")
    site.origin.replies[b"/big"] = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * BIG) + bytes(2 * BIG)
    yield site
    site.stop()


@pytest.fixture
def edge_of_four(tmp_path):
    site = Site(tmp_path, "--max-visitors", "4")
    yield site
    site.stop()


def drip(site, start, piece):
    """Sends a little again and again until the edge has had enough. Returns what it said."""
    with site.connect() as s:
        s.sendall(start.replace(b"HOST", site.host))
        s.settimeout(0.02)
        got = b""
        for _ in range(1500):
            try:
                part = s.recv(65536)
                if not part:
                    return got
                got += part
            except TimeoutError:
                try:
                    s.sendall(piece)
                except OSError:
                    pass
            except ConnectionError:
                return got
    raise AssertionError("the edge waits for ever")


@pytest.mark.parametrize("start, piece", [(b"G", b"E"), (b"GET / HTTP/1.1\r\nHost: HOST\r\n", b"X: y\r\n"), (b"GET / HTTP/1.1\r\nX: ", b"x"),
                                          (b"\r\n", b"")], ids=["method", "lines", "value", "empty line"])
def test_a_head_that_drips_is_given_up_with_408(site, start, piece):
    got = drip(site, start, piece)
    assert [r.status for r in responses(got)] == [408]
    assert site.get().body == b"ok"


def test_a_hundred_heads_that_never_end_keep_nobody_from_being_served(site):
    held = [site.connect() for _ in range(100)]
    for s in held:
        s.sendall(b"GET / HTTP/1.1\r\nHost: %s\r\n" % site.host)
    assert site.get().body == b"ok"
    assert all(is_closed(s) for s in held)


@pytest.mark.parametrize("framing, start", [(b"Content-Length: 100", b"hello"), (b"Content-Length: 9223372036854775807", b""),
                                            (b"Transfer-Encoding: chunked", b"5\r\nhel"), (b"Transfer-Encoding: chunked", b"5"),
                                            (b"Transfer-Encoding: chunked", b"0\r\n")])
def test_a_body_that_does_not_come_is_given_up(site, framing, start):
    with site.connect() as s:
        s.sendall(b"POST /never HTTP/1.1\r\nHost: %s\r\n%s\r\n\r\n%s" % (site.host, framing, start))
        assert site.get().body == b"ok"
        assert is_closed(s)
    assert b"/never" not in [r.target for r in site.origin.requests]


def test_a_visitor_who_reads_nothing_is_given_up(site):
    before = rss(site.edge)
    held = []
    for _ in range(4):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect(("127.0.0.1", site.port))
        s.sendall(b"GET /big HTTP/1.1\r\nHost: %s\r\n\r\n" % site.host)
        held.append(s)
    until(lambda: sum(r.target == b"/big" for r in site.origin.requests) >= 4, "the origin was asked")
    assert site.get().body == b"ok"
    until(lambda: "visitor" in site.edge.text() and len(established(site, held)) == 0, "the edge gave them up")
    assert rss(site.edge) < before + BIG
    for s in held:
        assert len(talk(s, b"")) < BIG
        s.close()


@pytest.mark.parametrize("is_tls", [False, True], ids=["http", "https"])
def test_a_visitor_who_reads_slowly_is_served_for_as_long_as_it_reads(site, is_tls):
    """The edge's kernel holds far more than such a visitor reads in the time that it has, and takes no more meanwhile: what it
    acknowledges counts. When it stops, so does the edge."""
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        port = site.edge.port("https") if is_tls else site.port
        s.connect(("127.0.0.1", port))
        if is_tls:
            trust = ssl.create_default_context(cafile=site.edge.dir / "ca.pem")
            trust.check_hostname = False
            s = trust.wrap_socket(s, server_hostname=site.host.decode())
        s.sendall(b"GET /big HTTP/1.1\r\nHost: %s\r\n\r\n" % site.host)
        start, got = time.monotonic(), 0
        while time.monotonic() < start + 3:  # six times as long as it may stall
            piece = s.recv(1024)
            assert piece, got
            got += len(piece)
            select.select([], [], [], 0.02)
        assert got < 1 << 20
        until(lambda: not established(site, [s], port), "the edge gave it up")


def established(site, sockets, port=None):
    """Those of these whose connection the edge still has: its end is in the system's table."""
    ports = {s.getsockname()[1] for s in sockets}
    found = []
    with open("/proc/net/tcp") as f:
        for line in f.readlines()[1:]:
            local, remote, state = line.split()[1:4]
            if int(local.split(":")[1], 16) == (port or site.port) and int(remote.split(":")[1], 16) in ports and state == "01":
                found.append(remote)
    return found


def test_visitors_who_ask_for_nothing_are_let_go(site):
    held = [site.connect() for _ in range(50)]
    with site.connect() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n" % site.host)
        assert is_closed(s)  # after its answer too
    assert all(is_closed(s) for s in held)


def test_two_thousand_idle_visitors_cost_little_and_keep_nobody_waiting(patient):
    before = rss(patient.edge)
    held = [patient.connect() for _ in range(2000)]
    until(lambda: len(established(patient, held)) == 2000, "all are connected")
    assert patient.get().body == b"ok"
    assert rss(patient.edge) < before + 2000 * 16384
    until(lambda: len(established(patient, held)) == 2000, "all are still connected")
    for s in held:
        s.close()


def flood(site, count):
    """The connections that were not refused as soon as they were made."""
    held = []
    for _ in range(count):
        try:
            held.append(site.connect())
        except ConnectionError:
            pass
    return held


def is_served(site):
    try:
        return site.get().body == b"ok"
    except (ConnectionError, IndexError):
        return False


def test_a_flood_past_the_limit_takes_neither_requests_nor_new_visitors_their_place(patient):
    with patient.connect() as s:
        s.sendall(b"POST / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhel" % patient.host)
        until(lambda: b"\r\n\r\nhel" in patient.origin.saw(), "the request is under way")
        held = flood(patient, 2300)
        until(lambda: len(established(patient, held)) == 2099, "as many as may be are in")
        assert patient.get().body == b"ok"
        s.sendall(b"lo")
        assert [r.status for r in responses(talk(s, b""))] == [200]
    assert is_closed(held[0])  # who asked for nothing for the longest time gave way
    for one in held:
        one.close()
    until(lambda: is_served(patient), "a new visitor is served")


def test_a_limit_full_of_requests_refuses_more(edge_of_four):
    site = edge_of_four
    held = [site.connect() for _ in range(4)]
    for s in held:
        s.sendall(b"POST / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhel" % site.host)
    until(lambda: site.origin.saw().count(b"\r\n\r\nhel") == 4, "all are under way")
    assert site.send(b"GET / HTTP/1.1\r\nHost: HOST\r\n\r\n") == b""
    assert "visitor refused: too many connections" in site.edge.text()
    for s in held:
        assert [r.status for r in responses(talk(s, b"lo"))] == [200]
        s.close()


def test_ten_thousand_pipelined_requests_are_answered_within_bounds(patient):
    before = rss(patient.edge), rss(patient.connector)
    one = b"GET /p HTTP/1.1\r\nHost: HOST\r\n\r\n"
    got = responses(patient.send(one * 9_999 + one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")))
    assert [r.status for r in got] == [200] * 10_000
    assert rss(patient.edge) < before[0] + (64 << 20) and rss(patient.connector) < before[1] + (64 << 20)


def test_a_flood_of_field_lines_is_refused_as_it_comes(patient):
    before = rss(patient.edge)
    for _ in range(50):
        got = responses(patient.send(b"GET / HTTP/1.1\r\nHost: HOST\r\n" + b"a:\r\n" * 50_000))
        assert [r.status for r in got] == [431]
    assert rss(patient.edge) < before + (64 << 20)
    assert patient.get().body == b"ok"


# ---- a least rate ----

def test_a_visitor_who_takes_a_little_now_and_then_is_given_up(hurried):
    """Eight megabytes a second: never without progress, but too slow. The system's buffers let go in pieces of that size."""
    s = hurried.connect()
    s.sendall(b"GET /big HTTP/1.1\r\nHost: %s\r\n\r\n" % hurried.host)
    taken = 0
    with s:
        try:
            while taken < 3 * BIG // 2 and (piece := s.recv(65536)):
                taken += len(piece)
                time.sleep(0.008)
        except ConnectionError:
            pass
    assert taken < 3 * BIG // 2
    assert hurried.get().body == b"ok"


def test_a_body_with_a_length_that_drips_is_given_up(hurried):
    got = drip(hurried, b"POST /drip HTTP/1.1\r\nHost: HOST\r\nContent-Length: 1000000\r\n\r\n", b"ten bytes.")
    assert got == b"" or responses(got)[0].status == 408
    assert hurried.get().body == b"ok"


def test_a_body_without_a_length_may_be_a_conversation(hurried):
    """Ten bytes every fiftieth of a second, for more than one of those windows."""
    with hurried.connect() as s:
        s.sendall(b"POST /talk HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n" % hurried.host)
        for _ in range(100):
            s.sendall(b"a\r\nten bytes.\r\n")
            time.sleep(0.02)
        assert [r.status for r in responses(talk(s, b"0\r\n\r\n"))] == [200]


def test_an_origin_that_says_little_is_not_its_visitors_fault(hurried):
    def events(s):
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        for _ in range(30):
            s.sendall(b"data: x\n\n")
            time.sleep(0.05)

    hurried.origin.replies[b"/events"] = events
    assert hurried.get(b"/events").body == b"data: x\n\n" * 30
