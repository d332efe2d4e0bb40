"""Several services of one rule: one that is down is skipped, and comes back by itself."""
import contextlib
import socket
import threading

import pytest
import websockets.sync.client
from client import Visitor
from conftest import until
from ruled import Ruled
from several import Service, ask, metric

RULES = """
ingress:
  - hostname: HOST
    path: ^/failover
    service: http://127.0.0.1:ONE
    services: ["http://127.0.0.1:TWO", "http://127.0.0.1:THREE"]
  - hostname: HOST
    path: ^/turns
    service: http://127.0.0.1:ONE
    services: ["http://127.0.0.1:TWO", "http://127.0.0.1:THREE"]
    balance: round-robin
  - hostname: HOST
    path: ^/least
    service: http://127.0.0.1:ONE
    services: ["http://127.0.0.1:TWO"]
    balance: least-requests
  - hostname: HOST
    path: ^/tls
    service: https://127.0.0.1:GARBAGE
    services: ["http://127.0.0.1:TWO"]
  - hostname: HOST
    path: ^/silent
    service: https://127.0.0.1:SILENT
    services: ["http://127.0.0.1:TWO"]
    originRequest: {tlsTimeout: 300ms}
  - hostname: HOST
    path: ^/bytes
    service: tcp://127.0.0.1:ONE
    services: ["tcp://127.0.0.1:TWO", "ssh://127.0.0.1:THREE"]
  - hostname: HOST
    path: ^/streams
    service: tcp://127.0.0.1:ONE
    services: ["tcp://127.0.0.1:TWO"]
    balance: least-requests
  - service: http_status:404
"""


def garbage():
    """Greets whoever connects with what is no TLS."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        with contextlib.suppress(OSError):
            while True:
                with listener.accept()[0] as conn:
                    conn.sendall(b"220 this is no TLS\r\n")
                    conn.recv(65536)

    threading.Thread(target=serve, daemon=True).start()
    return listener


@pytest.fixture
def site(tmp_path):
    services = [Service(name) for name in ("one", "two", "three")]
    silent = socket.create_server(("127.0.0.1", 0))  # its backlog takes connections that nobody answers
    loud = garbage()
    rules = RULES.replace("SILENT", str(silent.getsockname()[1])).replace("GARBAGE", str(loud.getsockname()[1]))
    for word, service in zip(("ONE", "TWO", "THREE"), services):
        rules = rules.replace(word, str(service.port))
    ruled = Ruled(tmp_path, rules)
    ruled.services = services
    yield ruled
    ruled.stop()
    silent.close()
    loud.close()
    for service in services:
        with contextlib.suppress(OSError):
            service.stop()


def test_the_next_service_takes_over_and_the_first_comes_back(site):
    one, two, three = site.services
    assert ask(site, "/failover", 3) == ["one"] * 3
    one.stop()
    # The kept-alive connection turns out to be dead, the new one is refused: the request goes on, no visitor sees anything.
    assert ask(site, "/failover", 5) == ["two"] * 5
    two.stop()
    assert ask(site, "/failover", 5) == ["three"] * 5
    log = site.connector.text()
    assert log.count("service is down") == 2  # one line for each, whatever the number of requests
    assert metric(site, "adit_connector_services_down_total") == 2 and metric(site, "adit_connector_origin_moves_total") >= 2
    one.start()
    until(lambda: ask(site, "/failover") == ["one"], "the first serves again")
    assert ask(site, "/failover", 3) == ["one"] * 3
    assert site.connector.text().count("service is back") == metric(site, "adit_connector_services_up_total") == 1


def test_a_body_that_was_not_sent_goes_to_the_next_service(site):
    site.services[0].stop()
    assert ask(site, "/failover", method="POST", headers=[("Content-Length", "200000")], body=b"x" * 200000) == ["two"]
    assert site.services[1].asked == ["POST /failover HTTP/1.1"]


def test_when_every_service_is_down_the_visitor_is_told_and_none_is_forgotten(site):
    for service in site.services:
        service.stop()
    assert ask(site, "/failover", 3) == [502] * 3
    site.services[2].start()
    assert ask(site, "/failover") == ["three"]  # at once: with nobody in turn, all are tried


def test_services_have_their_turns(site):
    answers = ask(site, "/turns", 9)
    assert sorted(answers) == ["one"] * 3 + ["three"] * 3 + ["two"] * 3
    site.services[1].stop()
    answers = ask(site, "/turns", 8)
    assert "two" not in answers and {"one", "three"} == set(answers)


def test_the_least_busy_service_is_asked(site):
    one, two, _ = site.services
    first = ask(site, "/least")[0]
    busy, idle = (one, two) if first == "two" else (two, one)  # whose turn is next
    busy.held.clear()
    with Visitor(site.edge.port("http"), site.host) as visitor:
        before = len(busy.asked)
        visitor.request("GET", "/least/held")
        until(lambda: len(busy.asked) > before, "it is asked")
        assert ask(site, "/least", 6) == [idle.name] * 6
        busy.held.set()
        assert visitor.response()[1].decode() == busy.name


@pytest.mark.parametrize("which", ["tls", "silent"])
def test_a_service_whose_tls_fails_is_down(site, which):
    assert ask(site, f"/{which}", 4) == ["two"] * 4
    assert site.connector.text().count("service is down") == 1


def stream(site, path):
    sock = socket.create_connection(("127.0.0.1", site.edge.port("http")), timeout=30)
    return websockets.sync.client.connect(f"ws://{site.host}/{path}", sock=sock, compression=None)


def ask_on(ws):
    """Which service a stream of bytes leads to."""
    ws.send(b"GET /bytes HTTP/1.1\r\n\r\n")
    data = b""
    while b"\r\n\r\n" not in data or data.endswith(b"\n"):
        data += ws.recv(30)
    return data.rpartition(b"\n")[2].decode()


def bytes_asked(site, path="bytes"):
    with stream(site, path) as ws:
        return ask_on(ws)


def test_a_stream_of_bytes_goes_to_the_next_service(site):
    one, two, three = site.services
    assert bytes_asked(site) == "one"
    one.stop()
    assert [bytes_asked(site) for _ in range(3)] == ["two"] * 3
    assert site.connector.text().count("service is down") == 1
    two.stop()
    assert bytes_asked(site) == "three"
    one.start()
    until(lambda: bytes_asked(site) == "one", "the first serves again")
    assert bytes_asked(site) == "one" and site.connector.text().count("service is back") == 1


def test_streams_count_as_long_as_they_are_open(site):
    with stream(site, "streams") as first, stream(site, "streams") as second:
        held = {ask_on(first): first, ask_on(second): second}
        assert set(held) == {"one", "two"}
        held["one"].close()
        until(lambda: not site.services[0].open, "the connector lets go of it")
        for _ in range(3):
            assert bytes_asked(site, "streams") == "one"
            until(lambda: not site.services[0].open, "the connector lets go of it")


def test_a_stream_of_bytes_with_no_service_left_is_refused(site):
    for service in site.services:
        service.stop()
    with pytest.raises(websockets.exceptions.InvalidStatus):
        bytes_asked(site)


def test_a_kept_connection_does_not_tell_that_a_service_is_back(site):
    one = site.services[0]
    assert ask(site, "/failover") == ["one"]
    one.held.clear()
    with Visitor(site.edge.port("http"), site.host) as visitor:
        visitor.request("GET", "/failover/held")
        until(lambda: "GET /failover/held HTTP/1.1" in one.asked, "it is asked")
        one.stop(keep=True)
        assert ask(site, "/failover") == ["two"]  # a second connection is refused
        one.held.set()
        assert visitor.response()[1] == b"one"
    # Until somebody has tried it again, in vain.
    until(lambda: ask(site, "/failover") == ["two"] and metric(site, "adit_connector_origin_moves_total") == 2, "it is tried again")
    assert "service is back" not in site.connector.text()


def test_a_post_that_may_have_been_taken_is_not_sent_again(site):
    """The pooled connection dies with the request on it: what the origin did is not known."""
    one = site.services[0]
    assert ask(site, "/failover") == ["one"]
    one.held.clear()
    with Visitor(site.edge.port("http"), site.host) as visitor:
        visitor.request("POST", "/failover/once", [("Content-Length", "1")], b"x")
        until(lambda: any("/once" in line for line in one.asked), "the origin has it")
        one.stop()
        assert visitor.response()[0].status_code == 502
    one.held.set()
    assert [line for service in site.services for line in service.asked if "/once" in line] == ["POST /failover/once HTTP/1.1"]
