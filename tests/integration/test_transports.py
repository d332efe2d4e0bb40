"""Which transport a connector takes: the fall back to HTTP/2 where UDP vanishes, and the way back, with no request lost."""
import re
import threading
import time
import urllib.request

import pytest

from conftest import BUILD, until
from relay import Relay


@pytest.fixture
def relays():
    started = []

    def start(edge, **more):
        started.append(Relay(edge.addresses["tunnel"], **more))
        return started[-1]

    yield start
    for relay in started:
        relay.stop()


def command(edge, relay, url, *more):
    return [BUILD / "adit", "tunnel", "--data-dir", edge.dir, "--edge", relay.address, "--cacert", edge.dir / "ca.pem", "--quick-service",
            f"http://{edge.addresses['local']}", "--metrics", "127.0.0.1:0", "--url", url, *more]


def protocols(connector):
    return re.findall(r"Registered tunnel connection.*protocol=(\w+)", connector.text())


def host_of(connector):
    return until(lambda: re.search(r"[a-z]+-[a-z]+-[a-z]+\.localhost", connector.text()), "a hostname").group(0)


def get(edge, host, path="/bytes/10"):
    request = urllib.request.Request(f"http://{edge.addresses['http']}{path}", headers={"Host": host})
    with urllib.request.urlopen(request, timeout=30) as response:
        return response.status, response.read()


def changes(connector, to):
    address = re.search(r'Starting metrics server" address=(\S+)', connector.text()).group(1)
    page = urllib.request.urlopen(f"http://{address}/metrics", timeout=30).read().decode()
    return int(re.search(rf'adit_connector_transport_changes_total{{to="{to}"}} (\d+)', page).group(1))


def test_where_udp_vanishes_http2_serves_and_quic_is_returned_to(edges, connectors, relays, origin):
    edge = edges()
    relay = relays(edge, udp=False)
    connector = connectors(command(edge, relay, origin.url, "--quic-retry", "200ms"))
    until(lambda: protocols(connector) == ["http2"] * 4, "four connections over HTTP/2")
    assert changes(connector, "http2") == 4 and changes(connector, "quic") == 0
    host = host_of(connector)
    answers, is_over = [], threading.Event()

    def ask():
        while not is_over.is_set():
            answers.append(get(edge, host))

    visitors = [threading.Thread(target=ask) for _ in range(4)]
    slow = []
    long = threading.Thread(target=lambda: slow.append(get(edge, host, "/stepwise")))
    for thread in (*visitors, long):
        thread.start()
    relay.udp = True
    until(lambda: protocols(connector).count("quic") == 4, "four connections over QUIC")
    assert changes(connector, "quic") == 4
    for _ in range(3):  # one that began over HTTP/2 ends there
        get(edge, host, "/next")
    until(lambda: edge.text().count("connection ended") >= 4, "the old ones have ended")
    is_over.set()
    for thread in (*visitors, long):
        thread.join()
    assert len(answers) > 20 and {status for status, _ in answers} == {200} and slow == [(200, b"piece 0\npiece 1\npiece 2\n")]


def test_a_network_that_lets_nothing_through_is_told_in_one_message(edges, connectors, relays, origin):
    edge = edges()
    relay = relays(edge, udp=False, tcp=False)
    connector = connectors(command(edge, relay, origin.url))
    connector.wait_for("connection to the edge failed")
    line = next(line for line in connector.text().splitlines() if "connection to the edge failed" in line)
    assert "quic:" in line and "http2:" in line and relay.address in line
    told = [line for line in connector.text().splitlines() if "the edge cannot be reached" in line]
    assert len(told) == 1 and "--edge HOST:443" in told[0] and "HTTPS_PROXY" in told[0] and relay.address in told[0]
    relay.tcp = True
    until(lambda: protocols(connector).count("http2") == 4, "it came back by itself")


def test_http2_is_left_alone_where_it_was_chosen(edges, connectors, relays, origin):
    edge = edges()
    relay = relays(edge)
    connector = connectors(command(edge, relay, origin.url, "--quic-retry", "10ms", "--protocol", "http2"))
    until(lambda: protocols(connector) == ["http2"] * 4, "four connections over HTTP/2")
    assert get(edge, host_of(connector))[0] == 200
    assert protocols(connector) == ["http2"] * 4 and changes(connector, "http2") == 0


def test_quic_that_begins_and_then_stops_is_not_tried_first_for_ever(edges, connectors, relays, origin):
    edge = edges()
    relay = relays(edge)
    connector = connectors(command(edge, relay, origin.url, "--ha-connections", "1"))
    for times in (1, 2):
        until(lambda times=times: protocols(connector).count("quic") == times, "over QUIC")
        relay.udp = False
        until(lambda times=times: connector.text().count("connection to the edge failed") >= times, "it is lost")
        relay.udp = True
    until(lambda: protocols(connector)[-1] == "http2", "over HTTP/2, though QUIC would open")
    assert get(edge, host_of(connector))[0] == 200


@pytest.mark.parametrize("way", ["tunnel", "https"])
def test_a_connector_may_come_by_the_visitors_port(edges, connectors, origin, way):
    edge = edges()
    connector = connectors([BUILD / "adit", "tunnel", "--data-dir", edge.dir, "--edge", edge.addresses[way], "--cacert", edge.dir / "ca.pem",
                            "--quick-service", f"http://{edge.addresses['local']}", "--metrics", "127.0.0.1:0", "--protocol", "http2", "--url", origin.url])
    until(lambda: protocols(connector) == ["http2"] * 4, "four connections")
    started = time.monotonic()
    assert get(edge, host_of(connector))[0] == 200 and time.monotonic() > started
