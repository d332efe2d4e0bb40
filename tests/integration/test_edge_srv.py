"""Edges that are found by SRV records, of a real name server (dnsmasq) in a network of its own."""
import pytest

from conftest import until
from inside import EDGE, PORTS, connect, hostname, inside, names, needs, serves, start_edge  # noqa: F401

pytestmark = needs

SRV = "_v2-origintunneld._tcp.edge.test"
OTHER, SPARE = "10.77.0.2", "10.77.0.3"
HOSTS = [f"host-record=a.test,{EDGE}", f"host-record=b.test,{OTHER}", f"host-record=spare.test,{SPARE}"]


@pytest.fixture
def edge(inside, tmp_path):
    """An edge that listens on three addresses."""
    for address in (OTHER, SPARE):
        inside.run("ip", "address", "add", f"{address}/32", "dev", "lo")
    inside.start("origin", "python3", "-m", "http.server", PORTS["origin"], "--bind", "127.0.0.1", cwd=tmp_path)
    program = start_edge(inside, tunnel=f"0.0.0.0:{PORTS['tunnel']}")
    inside.listens(PORTS["origin"])
    return program


def srv(target, priority, weight=1, port=PORTS["tunnel"], name=SRV):
    return f"srv-host={name},{target},{port},{priority},{weight}"


def registered(connector):
    lines = [line for line in connector.text().splitlines() if "Registered tunnel connection" in line]
    return [next(word for word in line.split() if word.startswith("edge="))[5:] for line in lines]


@pytest.mark.parametrize("protocol", ["quic", "http2"])
@pytest.mark.parametrize("name", ["edge.test", "_other._tcp.edge.test"])
def test_connections_are_spread_over_the_targets_of_the_first_priority(inside, edge, names, name, protocol):
    asked = SRV if name == "edge.test" else name
    names.set(*HOSTS, srv("a.test", 10, name=asked), srv("spare.test", 20, name=asked), srv("b.test", 10, 99, name=asked))
    connector = connect(inside, {}, "connector", edge=("--edge-srv", name), protocol=protocol)
    serves(inside, connector)
    port = PORTS["tunnel"]
    assert sorted(registered(connector)) == 2 * [f"{EDGE}:{port}"] + 2 * [f"{OTHER}:{port}"]


def test_targets_of_the_next_priority_serve_when_the_first_cannot_be_dialled(inside, edge, names):
    names.set(*HOSTS, srv("a.test", 10, port=1), srv("b.test", 10, port=2), srv("spare.test", 20))
    connector = connect(inside, {}, "connector", edge=("--edge-srv", "edge.test"))
    serves(inside, connector)
    assert registered(connector) == 4 * [f"{SPARE}:{PORTS['tunnel']}"]
    for dead in (f"{EDGE}:1", f"{OTHER}:2"):
        assert f"edge={dead}" in connector.text()


def test_records_that_come_later_are_found_without_a_restart(inside, edge, names):
    names.set(*HOSTS)
    connector = connect(inside, {}, "connector", edge=("--edge-srv", "edge.test"))
    connector.wait_for(f"no address is known of the SRV name {SRV}: not found")
    names.set(*HOSTS, srv("a.test", 10))
    serves(inside, connector)
    assert registered(connector) == 4 * [f"{EDGE}:{PORTS['tunnel']}"]


def test_a_name_server_that_does_not_answer_is_told_and_waited_for(inside, edge, names):
    connector = connect(inside, {}, "connector", edge=("--edge-srv", "edge.test", "--edge", "b.test"))
    connector.wait_for("no address is known of")
    names.set(*HOSTS, srv("a.test", 10))
    serves(inside, connector)


def test_an_edge_is_followed_to_where_its_records_lead(inside, edge, names):
    names.set(*HOSTS, srv("a.test", 10))
    connector = connect(inside, {}, "connector", edge=("--edge-srv", "edge.test"))
    serves(inside, connector)
    edge.stop()
    moved = 7999
    names.set(*HOSTS, srv("b.test", 10, port=moved))
    start_edge(inside, "second", tunnel=f"{OTHER}:{moved}")
    until(lambda: registered(connector)[4:] == 4 * [f"{OTHER}:{moved}"], "four connections to where it is now")
    answer = inside.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Host: {hostname(connector)}", f"http://127.0.0.1:{PORTS['http']}/")
    assert answer == "200"


def test_a_target_without_an_address_is_no_hindrance(inside, edge, names):
    names.set(*HOSTS, srv("nowhere.test", 10), srv("b.test", 10))
    connector = connect(inside, {}, "connector", edge=("--edge-srv", "edge.test"))
    serves(inside, connector)
    assert registered(connector) == 4 * [f"{OTHER}:{PORTS['tunnel']}"]


def test_a_service_that_is_said_not_to_be_there_is_told(inside, edge, names):
    names.set(*HOSTS, f"srv-host={SRV}")
    connector = connect(inside, {}, "connector", edge=("--edge-srv", "edge.test"))
    connector.wait_for(f"no address is known of the SRV name {SRV}: not found")
    long = "x." * 120
    refused = connect(inside, {}, "refused", edge=("--edge-srv", long))
    assert refused.process.wait(30) == 1 and "--edge-srv" in refused.text() and "too long" in refused.text()
