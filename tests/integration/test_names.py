"""Names that lead to several addresses, or move: of edges and of origins. The names are in a hosts file of the connector's own."""
import errno
import socket
import subprocess

import pytest

from client import get
from conftest import LOOPBACK, Edge, hostname_of, quick_command, until
from scripted import Scripted


class Names:
    """A hosts file that the programs started through it see in the place of the machine's."""

    def __init__(self, path):
        self.path = path

    def set(self, *lines):
        # In place: what is mounted is the file, not its name.
        with open(self.path, "r+" if self.path.exists() else "w") as f:
            f.truncate(0)
            f.write("".join(line + "\n" for line in lines))

    def command(self, command):
        return ["unshare", "--map-root-user", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', self.path, *command]


@pytest.fixture
def names(tmp_path):
    n = Names(tmp_path / "hosts")
    n.set()
    seen = subprocess.run(n.command(["cat", "/etc/hosts"]), capture_output=True)
    assert seen.returncode == 0, seen.stderr
    return n


def start(names, connectors, edge, url, *flags):
    connector = connectors(names.command([*quick_command("adit", edge, url), *flags]))
    connector.wait_for("Registered tunnel connection")
    connector.edge = edge
    connector.host = until(lambda: hostname_of(connector), "a hostname")
    return connector


def test_a_connector_follows_the_name_of_its_edge(edges, connectors, names, tmp_path, origin):
    first = edges()
    port = first.port("tunnel")
    names.set("127.0.0.1 edge.test")
    connector = start(names, connectors, first, origin.url, "--edge", f"edge.test:{port}")
    assert f"edge=127.0.0.1:{port}" in connector.text()
    names.set("127.0.0.2 edge.test")
    assert first.stop() == 0
    flags = [f"127.0.0.2:{port}" if flag == "127.0.0.1:0" and LOOPBACK[i - 1] == "--tunnel" else flag for i, flag in enumerate(LOOPBACK)]
    connector.edge = second = Edge(tmp_path, 1, flags)
    try:
        connector.wait_for(f"edge=127.0.0.2:{port}")
        until(lambda: get(connector, "/")[1] == b"hello\n", "an answer over the second edge")
    finally:
        assert connector.stop() == 0
        assert second.stop() == 0


def test_the_connections_are_spread_over_the_addresses_of_the_edges_name(edges, connectors, names, origin):
    edge = edges("--tunnel", "0.0.0.0:0")
    port = edge.port("tunnel")
    names.set("127.0.0.1 edge.test", "127.0.0.3 edge.test")
    connector = start(names, connectors, edge, origin.url, "--edge", f"edge.test:{port}")
    for address in ("127.0.0.1", "127.0.0.3"):
        connector.wait_for(f"edge={address}:{port}")


class Full:
    """An address that answers nothing: a listener whose queue is full, so that the kernel drops what asks for more."""

    def __init__(self, address, port):
        self.listener = until(lambda: self.bound(address, port), "nobody's outgoing connection has this port")
        self.filling = []
        for _ in range(8):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex((address, port))
            self.filling.append(s)

    @staticmethod
    def bound(address, port):
        try:
            return socket.create_server((address, port), backlog=0)
        except OSError as e:
            assert e.errno == errno.EADDRINUSE
            return None

    def stop(self):
        for s in [*self.filling, self.listener]:
            s.close()


@pytest.fixture
def far(names):
    """An origin at the address of its name that the resolver puts last: nearest to our own comes first (RFC 6724, rule 9)."""
    server = Scripted("127.0.0.4")

    def answer(talk, head):
        talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nfar")
        return True

    server.paths["/"] = answer
    names.set("127.0.0.4 origin.test", "127.0.0.1 origin.test")
    yield server
    server.stop()


@pytest.fixture
def full(far):
    silent = Full("127.0.0.1", far.port)
    yield silent
    silent.stop()


def test_an_origin_is_reached_at_the_address_that_answers(edges, connectors, names, far, full):
    connector = start(names, connectors, edges(), f"http://origin.test:{far.port}")
    assert get(connector, "/")[1] == b"far"


def test_without_happy_eyeballs_the_first_address_is_waited_for(edges, connectors, names, far, full):
    connector = start(names, connectors, edges(), f"http://origin.test:{far.port}", "--proxy-no-happy-eyeballs", "--proxy-connect-timeout", "2s")
    head, body = get(connector, "/", headers=[("Accept", "application/json")])
    assert head.status_code == 504, body


@pytest.mark.parametrize("flags", [[], ["--proxy-no-happy-eyeballs"]], ids=["racing", "one by one"])
def test_a_refusal_brings_the_next_address_whatever_the_option_says(edges, connectors, names, far, flags):
    connector = start(names, connectors, edges(), f"http://origin.test:{far.port}", *flags)
    assert get(connector, "/")[1] == b"far"
