"""The way to the edge through real proxies (tinyproxy, Dante), in a network namespace where the edge has an address that is not loopback's."""
import os
import re
import shutil
import subprocess

import pytest

from conftest import BUILD, Program, until

EDGE = "10.77.0.1"
PORTS = dict(tunnel=7844, http=8080, local=7845, proxy=3128, socks=1080, origin=9000)

needs = pytest.mark.skipif(os.geteuid() != 0 or not all(map(shutil.which, ("tinyproxy", "danted", "nsenter", "unshare", "ip"))),
                           reason="needs root, tinyproxy, Dante and network namespaces")
pytestmark = needs


class Inside:
    """A network namespace, and programs in it."""

    def __init__(self, where):
        self.where = where
        self.holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self.programs = []
        until(lambda: os.readlink(f"/proc/{self.holder.pid}/ns/net") != os.readlink("/proc/self/ns/net"), "a namespace")
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "address", "add", f"{EDGE}/32", "dev", "lo")

    def enter(self, *command):
        return ["nsenter", "-t", str(self.holder.pid), "-n", *map(str, command)]

    def run(self, *command, **more):
        return subprocess.run(self.enter(*command), check=True, capture_output=True, text=True, **more).stdout

    def start(self, name, *command, **more):
        program = Program(self.enter(*command), self.where / f"{name}.log", **more)
        self.programs.append(program)
        return program

    def listens(self, port):
        until(lambda: f":{port} " in self.run("ss", "-Htln"), f"somebody listens on {port}")

    def end(self):
        for program in reversed(self.programs):
            program.stop()
        self.holder.kill()
        self.holder.wait()


@pytest.fixture
def inside(tmp_path):
    space = Inside(tmp_path)
    yield space
    space.end()
    for program in space.programs:
        assert "Sanitizer" not in program.text() and "runtime error" not in program.text(), program.text()[-4000:]


@pytest.fixture
def edge(inside, tmp_path):
    inside.start("origin", "python3", "-m", "http.server", PORTS["origin"], "--bind", "127.0.0.1", cwd=tmp_path)
    program = inside.start("edge", BUILD / "adit-edge", "serve", "--data-dir", tmp_path / "edge", "--tunnel", f"{EDGE}:{PORTS['tunnel']}", "--http",
                           f"127.0.0.1:{PORTS['http']}", "--https", "127.0.0.1:8443", "--local", f"127.0.0.1:{PORTS['local']}")
    program.wait_for("edge is ready")
    inside.listens(PORTS["origin"])
    return program


def connect(inside, environment, name="connector", *more):
    clean = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    command = [BUILD / "adit", "tunnel", "--edge", f"{EDGE}:{PORTS['tunnel']}", "--cacert", inside.where / "edge/ca.pem", "--quick-service",
               f"http://127.0.0.1:{PORTS['local']}", "--metrics", "127.0.0.1:0", "--protocol", "http2", "--url", f"http://127.0.0.1:{PORTS['origin']}", *more]
    listed = [f"{key}={value}" for key, value in environment.items()]
    return inside.start(name, "env", "-i", *(f"{key}={value}" for key, value in clean.items()), *listed, "ASAN_OPTIONS=detect_leaks=1:exitcode=99", *command)


def serves(inside, connector):
    until(lambda: connector.text().count("Registered tunnel connection") == 4, "four connections")
    host = re.search(r"[a-z]+-[a-z]+-[a-z]+\.localhost", connector.text()).group(0)
    answer = inside.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Host: {host}", f"http://127.0.0.1:{PORTS['http']}/")
    assert answer == "200"


def tinyproxy(inside, more=""):
    config = inside.where / "tinyproxy.conf"
    config.write_text(f"Port {PORTS['proxy']}\nListen 127.0.0.1\nTimeout 600\nMaxClients 50\nLogLevel Connect\n{more}\n")
    program = inside.start("tinyproxy", "tinyproxy", "-d", "-c", config)
    inside.listens(PORTS["proxy"])
    return program


def dante(inside):
    config = inside.where / "sockd.conf"
    config.write_text(f"""logoutput: stderr
internal: 127.0.0.1 port = {PORTS['socks']}
external: lo
socksmethod: none
clientmethod: none
user.privileged: root
user.unprivileged: nobody
client pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}
socks pass {{
    from: 0.0.0.0/0 to: 0.0.0.0/0
    protocol: tcp
    log: connect
}}
""")
    program = inside.start("dante", "danted", "-f", config)
    inside.listens(PORTS["socks"])
    return program


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_an_http_proxy_leads_to_the_edge(inside, edge, name):
    proxy = tinyproxy(inside)
    connector = connect(inside, {name: f"http://127.0.0.1:{PORTS['proxy']}"})
    serves(inside, connector)
    assert proxy.text().count(f"CONNECT {EDGE}:{PORTS['tunnel']}") == 4


def test_an_http_proxy_may_want_a_password(inside, edge):
    tinyproxy(inside, "BasicAuth joe s3cret")
    refused = connect(inside, {"HTTPS_PROXY": f"http://127.0.0.1:{PORTS['proxy']}"}, "refused")
    refused.wait_for("407, which asks for credentials")
    connector = connect(inside, {"HTTPS_PROXY": f"http://joe:%733cret@127.0.0.1:{PORTS['proxy']}"})
    serves(inside, connector)
    assert "s3cret" not in connector.text()


def test_a_socks_proxy_leads_to_the_edge(inside, edge):
    proxy = dante(inside)
    connector = connect(inside, {"ALL_PROXY": f"socks5://127.0.0.1:{PORTS['socks']}"})
    serves(inside, connector)
    assert proxy.text().count(f"{EDGE}.{PORTS['tunnel']}") >= 4


def test_no_proxy_means_straight(inside, edge):
    connector = connect(inside, {"HTTPS_PROXY": "http://127.0.0.1:1", "NO_PROXY": "10.77.0.0/16"})
    serves(inside, connector)


def test_a_proxy_that_is_not_there_is_named(inside, edge):
    connector = connect(inside, {"HTTPS_PROXY": "http://127.0.0.1:1"})
    connector.wait_for("the proxy http://127.0.0.1:1: connection refused")
    other = connect(inside, {"HTTPS_PROXY": "ftp://127.0.0.1:1"}, "other")
    other.wait_for("http, https or socks5 with a host is wanted")
