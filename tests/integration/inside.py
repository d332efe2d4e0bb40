"""A network of its own: a namespace where an edge has an address that is not loopback's, with programs and proxies in it."""
import os
import re
import shutil
import subprocess

import pytest

from conftest import BUILD, Program, until
from control import Api, environment, write_cert

EDGE = "10.77.0.1"
PORTS = dict(tunnel=7844, http=8080, local=7845, proxy=3128, tls_proxy=3129, socks=1080, origin=9000, tls_api=8445)
TOOLS = ("tinyproxy", "danted", "microsocks", "stunnel", "dnsmasq", "nsenter", "unshare", "ip")

needs = pytest.mark.skipif(os.geteuid() != 0 or not all(map(shutil.which, TOOLS)), reason="needs root, " + ", ".join(TOOLS))


class Inside:
    """A network namespace, with a resolv.conf of its own, and programs in it."""

    def __init__(self, where):
        self.where = where
        self.resolv = where / "resolv.conf"
        self.resolv.write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:2\n")
        bound = 'mount --bind "$0" /etc/resolv.conf && touch "$1" && exec sleep infinity'
        self.holder = subprocess.Popen(["unshare", "--net", "--mount", "sh", "-c", bound, self.resolv, where / "made"])
        self.programs = []
        until((where / "made").exists, "a namespace")
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "address", "add", f"{EDGE}/32", "dev", "lo")

    def enter(self, *command):
        return ["nsenter", "-t", str(self.holder.pid), "-n", "-m", f"--wd={self.where}", *map(str, command)]

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


def start_edge(inside, name="edge", local=f"127.0.0.1:{PORTS['local']}", tunnel=f"{EDGE}:{PORTS['tunnel']}", http=PORTS["http"]):
    program = inside.start(name, BUILD / "adit-edge", "serve", "--data-dir", inside.where / "edge", "--tunnel", tunnel, "--http", f"127.0.0.1:{http}", "--https",
                           "127.0.0.1:8443", "--local", local)
    program.wait_for("edge is ready")
    return program


@pytest.fixture
def edge(inside, tmp_path):
    inside.start("origin", "python3", "-m", "http.server", PORTS["origin"], "--bind", "127.0.0.1", cwd=tmp_path)
    program = start_edge(inside)
    inside.listens(PORTS["origin"])
    return program


def bare(proxies):
    """The environment without the machine's proxies and with these, as words for env."""
    clean = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    return ["env", "-i", *(f"{key}={value}" for key, value in {**clean, **proxies}.items())]


def connect(inside, environment, name="connector", *more, edge=("--edge", f"{EDGE}:{PORTS['tunnel']}"), protocol="http2"):
    command = [BUILD / "adit", "tunnel", *edge, "--cacert", inside.where / "edge/ca.pem", "--quick-service", f"http://127.0.0.1:{PORTS['local']}",
               "--metrics", "127.0.0.1:0", "--protocol", protocol, "--url", f"http://127.0.0.1:{PORTS['origin']}", *more]
    return inside.start(name, *bare(environment), "ASAN_OPTIONS=detect_leaks=1:exitcode=99", *command)


def hostname(connector):
    return re.search(r"[a-z]+-[a-z]+-[a-z]+\.localhost", connector.text()).group(0)


def serves(inside, connector):
    until(lambda: connector.text().count("Registered tunnel connection") == 4, "four connections")
    answer = inside.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", f"Host: {hostname(connector)}", f"http://127.0.0.1:{PORTS['http']}/")
    assert answer == "200"


class Commands:
    """adit's commands inside, with a cert.pem for the edge's API at `url`."""

    def __init__(self, inside, url):
        self.inside = inside
        self.url = url
        self.cert = inside.where / "cert.pem"
        done = inside.run(BUILD / "adit-edge", "cert", "--data-dir", inside.where / "edge")
        self.cert.write_text(done)

    def __call__(self, proxies, *args, before=()):
        command = [BUILD / "adit", "--origincert", self.cert, "tunnel", "--api-url", f"{self.url}/client/v4", *before, *args]
        done = subprocess.run(self.inside.enter(*bare({**environment(self.inside.where), **proxies}), *command), capture_output=True, text=True, timeout=60)
        assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
        return done


# ---- proxies ----

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


def microsocks(inside, user, password):
    program = inside.start("microsocks", "microsocks", "-i", "127.0.0.1", "-p", PORTS["socks"], "-u", user, "-P", password)
    inside.listens(PORTS["socks"])
    return program


def certificate(inside, name, address):
    """One that signed itself, for an address; the files are NAME.pem and NAME.key."""
    cert, key = inside.where / f"{name}.pem", inside.where / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
                    "-subj", f"/CN={name}", "-addext", f"subjectAltName=IP:{address}"], check=True, capture_output=True)
    return cert, key


def stunnel(inside, name, listen, to):
    """TLS in front of what listens at `to`; returns its certificate."""
    cert, key = certificate(inside, name, listen.rsplit(":", 1)[0])
    config = inside.where / f"{name}.conf"
    config.write_text(f"foreground = yes\npid =\nsyslog = no\ndebug = 5\n[{name}]\naccept = {listen}\nconnect = {to}\ncert = {cert}\nkey = {key}\n")
    inside.start(name, "stunnel", config)
    inside.listens(listen.rsplit(":", 1)[1])
    return cert


# ---- names ----

class Names:
    """A name server (dnsmasq) for the network inside: `set` starts it anew with other records."""

    def __init__(self, inside):
        self.inside = inside
        self.program = None
        self.count = 0

    def set(self, *records):
        """host-record=NAME,ADDRESS and srv-host=NAME,TARGET,PORT,PRIORITY,WEIGHT, as dnsmasq has them."""
        self.end()
        self.count += 1
        self.program = self.inside.start(f"dnsmasq-{self.count}", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
                                         "--listen-address=127.0.0.1", "--bind-interfaces", "--user=root", "--pid-file=", "--log-queries", "--log-facility=-",
                                         "--local=/test/", *(f"--{record}" for record in records))
        until(lambda: ":53 " in self.inside.run("ss", "-Hulnp"), "the name server listens")

    def end(self):
        if self.program is not None:
            self.program.stop()
            self.inside.programs.remove(self.program)
            until(lambda: ":53 " not in self.inside.run("ss", "-Hulnp"), "the name server is gone")
        self.program = None


@pytest.fixture
def names(inside):
    server = Names(inside)
    yield server
    server.end()
