"""Visitors over TLS that mean harm, and very many of them: handshakes that never end, garbage, thousands of idle connections, and
connections from many addresses; memory stays bounded, and everybody else is served meanwhile."""
import os
import resource
import select
import socket
import ssl

import pytest

from conftest import until
from hostile import Site, is_closed, responses, talk, within

MIB = 1 << 20
IDLE_TLS = int(os.environ.get("ADIT_IDLE_TLS", "1500"))  # with a release build ten thousand are quick too


@pytest.fixture(scope="module", autouse=True)
def descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("tls"), "--handshake-timeout", "500ms", "--max-visitors", "20000")
    yield site
    site.stop()


@pytest.fixture
def patient(tmp_path):
    """For many handshakes at once on a busy machine."""
    site = Site(tmp_path, "--max-visitors", "20000")
    yield site
    site.stop()


@pytest.fixture
def small(tmp_path):
    site = Site(tmp_path, "--max-visitors", "8")
    yield site
    site.stop()


def context(site):
    made = ssl.create_default_context(cafile=site.edge.dir / "ca.pem")
    made.check_hostname = False
    return made


def dial(site):
    return socket.create_connection(("127.0.0.1", site.edge.port("https")), timeout=30)


def hello(site):
    """A ClientHello as OpenSSL writes it."""
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context(site).wrap_bio(into, out, server_hostname=site.host.decode())
    with pytest.raises(ssl.SSLWantReadError):
        session.do_handshake()
    return out.read()


def get_tls(site):
    with context(site).wrap_socket(dial(site), server_hostname=site.host.decode()) as s:
        return responses(talk(s, b"GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % site.host))[0]


@pytest.mark.parametrize("share", [0, 1, 5, 100, None], ids=["nothing", "a byte", "a record's head", "a part", "the whole hello"])
def test_handshakes_that_stop_are_given_up(site, share):
    data = hello(site)[:share]
    with within(64 * MIB, site.edge):
        held = [dial(site) for _ in range(300)]
        for s in held:
            s.sendall(data)
        assert get_tls(site).body == b"ok" and site.get().body == b"ok"
        assert all(is_closed(s) for s in held)


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", bytes(20000), b"\x16\x03\x01\xff\xff" + b"A" * 70000, b"\x16\x03\x01\x00\x00" * 5000,
                                     b"\x15\x03\x03\x00\x02\x02\x28", b"\x17\x03\x03\x40\x00" + bytes(16384)],
                         ids=["HTTP", "zeros", "a long record", "empty records", "an alert", "data"])
def test_what_is_no_handshake_ends_the_connection(site, garbage):
    held = [dial(site) for _ in range(50)]
    for s in held:
        try:
            s.sendall(garbage)
        except OSError:
            pass  # it was quicker
    assert get_tls(site).body == b"ok"
    assert all(is_closed(s) for s in held)


def test_a_half_done_handshake_is_given_up_in_its_time(site):
    """The hello is answered, and the answer is never read to its end."""
    held = []
    for _ in range(100):
        s = dial(site)
        s.sendall(hello(site))
        held.append(s)
    for s in held:
        assert s.recv(1, socket.MSG_PEEK)
    assert get_tls(site).body == b"ok"
    assert all(is_closed(s) for s in held)


def test_handshakes_do_not_take_all_places(small):
    held = [dial(small) for _ in range(30)]
    assert small.get().body == b"ok" and get_tls(small).body == b"ok"
    assert is_closed(held[0])
    for s in held:
        s.close()


def test_handshakes_do_not_push_out_who_is_being_served(small):
    with small.connect() as s:
        s.sendall(b"POST / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhel" % small.host)
        until(lambda: b"\r\n\r\nhel" in small.origin.saw(), "the request is under way")
        held = [dial(small) for _ in range(30)]
        assert [r.status for r in responses(talk(s, b"lo"))] == [200]
    for one in held:
        one.close()


def test_ten_thousand_idle_visitors_from_many_addresses_cost_little(site):
    """They come from 127.0.0.1 to 127.0.0.50: one alone has not ports enough for more."""
    count = min(10_000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 500)  # as many as the system lets one process have
    held = []
    with within(count * 16384, site.edge):
        for i in range(count):
            held.append(socket.create_connection(("127.0.0.1", site.port), timeout=30, source_address=(f"127.0.0.{1 + i % 50}", 0)))
        assert site.get().body == b"ok"
        assert not any(is_closed_now(s) for s in held[::100])
    for s in held:
        s.close()
    assert site.get().body == b"ok"


def is_closed_now(s):
    poll = select.poll()
    poll.register(s, select.POLLIN)
    return bool(poll.poll(0))


def test_many_idle_visitors_over_tls_cost_little(patient):
    """And each of them may still ask."""
    made = context(patient)
    with within(IDLE_TLS * 96 * 1024, patient.edge):
        held = [made.wrap_socket(dial(patient), server_hostname=patient.host.decode()) for _ in range(IDLE_TLS)]
        assert get_tls(patient).body == b"ok" and patient.get().body == b"ok"
        for s in held[::IDLE_TLS // 50]:
            s.sendall(b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n" % patient.host)
            assert s.recv(100).startswith(b"HTTP/1.1 200")
    for s in held:
        s.close()
    assert get_tls(patient).body == b"ok"
