"""Addresses at which the edge was good, kept for a start without a name server; in a network of its own with dnsmasq."""
import pytest

from conftest import BUILD, until
from inside import EDGE, PORTS, Commands, bare, edge, inside, names, needs, start_edge  # noqa: F401

pytestmark = needs

SRV = "_v2-origintunneld._tcp.edge.test"
HOSTS = [f"host-record=edge.test,{EDGE}", f"srv-host={SRV},edge.test,{PORTS['tunnel']},10,1"]


class Runs:
    """A named tunnel, and connectors of it that keep what they know in one directory."""

    def __init__(self, inside):
        self.inside = inside
        self.dir = inside.where / "state/below"
        self.count = 0
        commands = Commands(inside, f"http://127.0.0.1:{PORTS['local']}")
        assert commands({}, "create", "one").returncode == 0
        self.token = commands({}, "token", "one").stdout.strip()

    def start(self, *edge, cache=None, environment=()):
        self.count += 1
        place = [] if environment else ["--edge-cache", cache or self.dir]
        return self.inside.start(f"connector-{self.count}", *bare({"TUNNEL_TOKEN": self.token, **dict(environment)}), "ASAN_OPTIONS=detect_leaks=1:exitcode=99",
                                 BUILD / "adit", "tunnel", *edge, "--cacert", self.inside.where / "edge/ca.pem", "--metrics", "127.0.0.1:0", "--grace-period", "1s",
                                 "--url", f"http://127.0.0.1:{PORTS['origin']}", *place, "run")

    def serves(self, connector):
        until(lambda: connector.text().count("Registered tunnel connection") == 4, "four connections")
        return connector

    def end(self, connector):
        assert connector.stop() == 0
        self.inside.programs.remove(connector)

    def file(self, where=None):
        found = list((where or self.dir).glob("edges-*"))
        assert len(found) == 1
        return found[0]


@pytest.fixture
def runs(inside, edge):
    return Runs(inside)


WAYS = [("--edge", f"edge.test:{PORTS['tunnel']}"), ("--edge-srv", "edge.test")]


@pytest.mark.parametrize("way", WAYS, ids=["name", "srv"])
def test_a_connector_starts_without_a_name_server_where_it_had_one_before(runs, names, way):
    names.set(*HOSTS)
    runs.end(runs.serves(runs.start(*way)))
    assert runs.file().stat().st_mode & 0o777 == 0o600 and f"{EDGE}:{PORTS['tunnel']}\n" in runs.file().read_text()
    names.end()
    connector = runs.serves(runs.start(*way))
    assert "an edge's name could not be resolved: addresses that were good before are dialled" in connector.text()


def test_an_address_from_before_serves_when_the_name_leads_nowhere(runs, names):
    names.set(*HOSTS)
    runs.end(runs.serves(runs.start("--edge-srv", "edge.test")))
    names.set(HOSTS[0], f"srv-host={SRV},edge.test,1,10,1")
    connector = runs.serves(runs.start("--edge-srv", "edge.test"))
    assert f"edge={EDGE}:1" in connector.text() and "an address of an earlier run serves" in connector.text()


@pytest.mark.parametrize("way", WAYS, ids=["name", "srv"])
def test_nothing_is_kept_when_it_is_off(runs, names, way):
    names.set(*HOSTS)
    runs.end(runs.serves(runs.start(*way, cache="off")))
    assert not runs.dir.exists() and not (runs.inside.where / "off").exists()
    names.end()
    runs.start(*way, cache="off").wait_for("no address is known of")


@pytest.mark.parametrize("key", ["STATE_DIRECTORY", "XDG_STATE_HOME", "HOME"])
def test_the_directory_is_that_of_the_environment(runs, names, key):
    names.set(*HOSTS)
    home = runs.inside.where / "home"
    where = {"STATE_DIRECTORY": home, "XDG_STATE_HOME": home / "adit", "HOME": home / ".local/state/adit"}[key]
    runs.end(runs.serves(runs.start("--edge", "edge.test", environment=[(key, str(home))])))
    assert "edge.test:7844 " in runs.file(where).read_text()


def test_an_edge_that_is_given_by_its_address_makes_no_directory(runs):
    runs.end(runs.serves(runs.start("--edge", EDGE)))
    assert not runs.dir.exists()


@pytest.mark.parametrize("spoil", ["text", "mode"])
def test_a_file_that_cannot_be_trusted_is_told_and_not_used(runs, names, spoil):
    names.set(*HOSTS)
    runs.end(runs.serves(runs.start("--edge", "edge.test")))
    if spoil == "text":
        runs.file().write_text("adit edges 1\nedge.test:7844 nonsense\n")
    else:
        runs.file().chmod(0o644)
    names.end()
    connector = runs.start("--edge", "edge.test")
    connector.wait_for("no address is known of edge.test")
    assert "good addresses of the edge are not known from before" in connector.text()
    names.set(*HOSTS)
    runs.end(runs.serves(connector))
    assert f"edge.test:7844 {EDGE}:7844\n" in runs.file().read_text() and runs.file().stat().st_mode & 0o777 == 0o600


def test_an_address_that_was_slipped_in_is_dialled_and_not_believed(runs, names, inside):
    names.set(*HOSTS)
    runs.end(runs.serves(runs.start("--edge", "edge.test")))
    stranger = inside.start("stranger", BUILD / "adit-edge", "serve", "--data-dir", inside.where / "stranger", "--tunnel", f"{EDGE}:7999", "--http", "127.0.0.1:8081",
                            "--https", "127.0.0.1:8444", "--local", "127.0.0.1:7999", "--log-level", "debug")
    stranger.wait_for("edge is ready")
    runs.file().write_text(f"adit edges 1\nedge.test:7844 {EDGE}:7999\n")
    names.end()
    connector = runs.start("--edge", "edge.test")
    until(lambda: f"edge={EDGE}:7999" in connector.text() and "certificate" in connector.text(), "its certificate is refused")
    assert "Registered" not in connector.text()
