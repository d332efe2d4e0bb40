"""Real programs on free ports: an edge, a connector (adit or the real cloudflared), an origin."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time
import urllib.request

import pytest

import origin as origins

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("ADIT_BUILD", TOP / "build-asan")) / "src/prog"
SANITIZER = {"ASAN_OPTIONS": "detect_leaks=1:exitcode=99", "LSAN_OPTIONS": f"suppressions={TOP}/tests/lsan.supp:print_suppressions=0",
             "UBSAN_OPTIONS": "halt_on_error=1:exitcode=99:print_stacktrace=1"}


def cloudflared():
    for path in (os.environ.get("CLOUDFLARED"), shutil.which("cloudflared"), TOP.parent / "shared/peers/cloudflared"):
        if path and os.access(path, os.X_OK):
            return str(path)
    return None


def until(condition, what, seconds=30):
    """Waits for a condition, generously; never sleeps longer than it must."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"never: {what}")


class Program:
    """A process with its log in a file."""

    def __init__(self, command, log, **more):
        self.log = log
        self.file = open(log, "w")
        env = dict(os.environ, **SANITIZER)
        env.update(more.pop("env", {}))
        self.process = subprocess.Popen([str(word) for word in command], stdout=self.file, stderr=self.file, env=env, **more)

    def text(self):
        return self.log.read_text()

    def stop(self, sig=signal.SIGTERM, seconds=40):
        if self.process.poll() is None:
            self.process.send_signal(sig)
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"did not stop: {self.text()[-3000:]}")
        self.file.close()
        return code

    def wait_for(self, words, seconds=30):
        def there():
            assert self.process.poll() is None, self.text()[-3000:]
            return words in self.text()

        try:
            until(there, repr(words), seconds)
        except AssertionError as e:
            raise AssertionError(f"{e} in {self.text()[-3000:]}") from None


class Edge(Program):
    def __init__(self, where, workers=1, flags=(), **more):
        self.dir = where / "edge"
        flags = list(flags) or ["--tunnel", "127.0.0.1:0", "--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--local", "127.0.0.1:0"]
        command = [BUILD / "adit-edge", "serve", "--data-dir", self.dir, "--workers", workers, "--grace-period", "5s", "--log-level", "debug", *flags]
        path = self.dir / "addresses.json"

        def ready():
            """None where somebody's outgoing connection has a port for a moment that this edge had before and is to have again."""
            if self.process.poll() is not None and "is in use by another program" in self.text():
                return None
            assert self.process.poll() is None, self.text()
            return path.exists() and "edge is ready" in self.text()

        def started():
            Program.__init__(self, command, where / f"edge-{time.monotonic_ns()}.log", **more)
            return until(lambda: ready() is not False, "the edge is ready or cannot be") and ready()

        until(started, "the edge is ready")
        self.addresses = json.loads(path.read_text())

    def port(self, what):
        return int(self.addresses[what].rsplit(":", 1)[1])

    @property
    def api(self):
        return f"http://{self.addresses['local']}/client/v4"

    def metrics(self):
        """name{labels}: value."""
        with urllib.request.urlopen(f"http://{self.addresses['local']}/metrics", timeout=60) as page:
            lines = page.read().decode().splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))}


def edge_flags(edge, count=5):
    flags = []
    for _ in range(count):
        flags += ["--edge", edge.addresses["tunnel"]]
    return flags


def quick_command(kind, edge, url, transport="quic"):
    if kind == "adit":
        return [BUILD / "adit", "tunnel", "--data-dir", edge.dir, "--grace-period", "1s", "--metrics", "127.0.0.1:0", "--protocol", transport, "--url", url]
    return [cloudflared(), "tunnel", "--protocol", transport, "--no-autoupdate", "--no-prechecks", "--grace-period", "1s", "--metrics", "127.0.0.1:0", *edge_flags(edge, 2), "--cacert",
            edge.dir / "ca.pem", "--quick-service", f"http://{edge.addresses['local']}", "--url", url]


def hostname_of(program):
    import re

    found = re.search(r"[a-z]+-[a-z]+-[a-z]+\.localhost", program.text())
    return found.group(0) if found else None


@pytest.fixture(scope="session")
def origin():
    server = origins.start()
    yield server
    server.shutdown()


KINDS = ["adit", "cloudflared"]


def need(kind):
    if kind == "cloudflared" and not cloudflared():
        pytest.skip("there is no cloudflared ($CLOUDFLARED, PATH, ../shared/peers/cloudflared)")


TRANSPORTS = ["quic", "http2"]
EVERY_WAY = [(kind, workers, transport) for kind in KINDS for workers in (1, 4) for transport in TRANSPORTS]


@pytest.fixture(scope="session", params=EVERY_WAY, ids=lambda p: "-".join(map(str, p)))
def tunnel(request, tmp_path_factory, origin):
    """An edge with a quick tunnel to the origin."""
    kind, workers, transport = request.param
    need(kind)
    where = tmp_path_factory.mktemp(f"{kind}-{workers}-{transport}")
    edge = Edge(where, workers)
    connector = Program(quick_command(kind, edge, origin.url, transport), where / "connector.log", cwd=where)
    connector.wait_for("Registered tunnel connection")
    connector.host = until(lambda: hostname_of(connector), "a hostname")
    connector.edge = edge
    connector.kind = kind
    connector.transport = transport
    yield connector
    code = connector.stop()
    edge_code = edge.stop()
    assert "runtime error" not in edge.text() and "Sanitizer" not in edge.text(), edge.text()[-6000:]
    if kind == "adit":
        assert "runtime error" not in connector.text() and "Sanitizer" not in connector.text(), connector.text()[-6000:]
        assert code == 0
    assert edge_code == 0


LOOPBACK = ["--tunnel", "127.0.0.1:0", "--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--local", "127.0.0.1:0"]


@pytest.fixture(params=KINDS)
def kind(request):
    """Each connector, and each command line."""
    need(request.param)
    return request.param


@pytest.fixture
def edges(tmp_path):
    """Starts edges in the test's directory, and holds them to a clean end."""
    started = []

    def start(*flags, workers=1, where=tmp_path):
        edge = Edge(where, workers, [*LOOPBACK, *flags])
        started.append(edge)
        return edge

    yield start
    for edge in started:
        if edge.process.poll() is None:
            assert edge.stop() == 0, edge.text()[-3000:]
        assert "runtime error" not in edge.text() and "Sanitizer" not in edge.text(), edge.text()[-6000:]


@pytest.fixture
def connectors(tmp_path):
    """Starts connectors from any command line, and holds them to a clean end."""
    started = []

    def start(command, **more):
        log = tmp_path / f"connector-{len(started)}.log"
        program = Program(command, log, cwd=more.pop("cwd", tmp_path), **more)
        started.append(program)
        return program

    yield start
    for program in started:
        was_running = program.process.poll() is None
        code = program.stop()
        assert "runtime error" not in program.text() and "Sanitizer" not in program.text(), program.text()[-6000:]
        assert code == 0 or not was_running, program.text()[-3000:]
