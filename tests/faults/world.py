"""Edges, connectors, relays and origins of the fault suite: real programs on ports that were free, in a directory of their own."""
import json
import os
import pathlib
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parents[1]
SANITIZER = {"ASAN_OPTIONS": "detect_leaks=1:exitcode=99:quarantine_size_mb=4",
             "LSAN_OPTIONS": f"suppressions={pathlib.Path(__file__).resolve().parents[1]}/lsan.supp:print_suppressions=0",
             "UBSAN_OPTIONS": "halt_on_error=1:exitcode=99:print_stacktrace=1"}
BUILDS = (TOP / "build-asan", TOP / "build")


class Failure(Exception):
    """A promise that was not kept, or a program that did not do what it should."""


def need(holds, what):
    if not holds:
        raise Failure(what)


def build_dir():
    if "ADIT_BUILD" in os.environ:
        return pathlib.Path(os.environ["ADIT_BUILD"]) / "src/prog"
    return next(d / "src/prog" for d in BUILDS if (d / "src/prog/adit").exists())


def cloudflared():
    for path in (os.environ.get("CLOUDFLARED"), shutil.which("cloudflared"), TOP / "build/peers/cloudflared", TOP.parent / "shared/peers/cloudflared"):
        if path and os.access(path, os.X_OK):
            return str(path)
    return None


def until(condition, what, seconds=60):
    """Waits for a condition, generously; never sleeps longer than it must."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        need(time.monotonic() < end, f"never: {what() if callable(what) else what}")
        time.sleep(0.01)


def environment(home):
    """Nothing of whoever runs the tests: no configuration, no token."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("TUNNEL_", "ADIT_"))}
    return {**env, **SANITIZER, "HOME": str(home)}


class Program:
    """A process with its log in a file."""

    def __init__(self, command, log, home, **more):
        self.log, self.command = log, [str(word) for word in command]
        with open(log, "ab") as file:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment(home), cwd=home, **more)

    @property
    def pid(self):
        return self.process.pid

    def text(self):
        return self.log.read_text(errors="replace")

    def signal(self, sig):
        self.process.send_signal(sig)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def stop(self, seconds=60):
        """SIGTERM, and a clean end."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Failure(f"did not stop: {self.text()[-3000:]}") from None
        need(code == 0, f"ended with {code}: {self.text()[-3000:]}")

    def lives(self):
        need(self.process.poll() is None, f"{self.command[0]} ended with {self.process.poll()}: {self.text()[-3000:]}")
        return True

    def wait_for(self, words, count=1, seconds=60):
        until(lambda: self.lives() and self.text().count(words) >= count, lambda: f"{count} × {words!r} in {self.text()[-2000:]}", seconds)

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def memory(self):
        """Resident bytes."""
        return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{self.pid}/status").read_text())[1]) * 1024


def get_text(addr, path, seconds=5):
    with urllib.request.urlopen(f"http://{addr}{path}", timeout=seconds) as answer:
        return answer.read().decode()


def metrics_of(addr):
    """name{labels}: value."""
    values = {}
    for line in get_text(addr, "/metrics").splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            values[name] = float(value)
    return values


class Edge(Program):
    def __init__(self, world, name="edge", data_dir=None, addresses=None, flags=(), bind="127.0.0.1"):
        self.dir = data_dir or world.where / name
        where = addresses or {}
        places = []
        for what in ("tunnel", "http", "https", "local"):
            places += [f"--{what}", where.get(what) or f"{bind if what == 'tunnel' else '127.0.0.1'}:0"]
        (self.dir / "addresses.json").unlink(missing_ok=True)
        super().__init__([*world.before["edge"], world.build / "adit-edge", "serve", "--data-dir", self.dir, "--workers", world.workers, "--grace-period", "10s",
                          *places, *flags], world.where / f"{name}-{time.monotonic_ns()}.log", world.where)
        path = self.dir / "addresses.json"
        until(lambda: self.lives() and path.exists() and "edge is ready" in self.text(), "the edge is ready")
        self.ready_at = time.monotonic()
        self.addresses = json.loads(path.read_text())

    def addr(self, what):
        host, port = self.addresses[what].rsplit(":", 1)
        return host, int(port)

    def metrics(self):
        return metrics_of(self.addresses["local"])

    def links(self):
        return int(self.metrics()["adit_edge_links"])

    def wait_links(self, count, seconds=60):
        until(lambda: self.lives() and self.links() == count, lambda: f"{count} links; there are {self.links()}: {self.text()[-2000:]}", seconds)
        return time.monotonic()


class Connector(Program):
    """adit or cloudflared."""

    def metrics(self):
        where = re.search(r"Starting metrics server.*?(127\.0\.0\.1:\d+)", self.text())
        return metrics_of(where[1]) if where else {}

    def registrations(self):
        """Connections that the edge has accepted so far. The log is no measure: it holds repeats back."""
        self.lives()
        try:
            return int(self.metrics().get('cloudflared_tunnel_tunnel_register_success{rpcName="registerConnection"}', 0))
        except OSError:  # it does not listen yet
            return 0

    def wait_registered(self, count, seconds=60):
        until(lambda: self.registrations() >= count, lambda: f"{count} registrations; there were {self.registrations()}: {self.text()[-2000:]}", seconds)


class Relay:
    """A relay of its own, and its orders."""

    def __init__(self, *args, seed=1):
        self.process = subprocess.Popen([sys.executable, HERE / "relay.py", "--seed", str(seed), *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.answers = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        self.port = self._answer().get("port")
        self.address = f"127.0.0.1:{self.port}"
        self.lock = threading.Lock()

    def _listen(self):
        for line in self.process.stdout:
            self.answers.put(json.loads(line))
        self.answers.put({"error": "the relay has ended"})

    def _answer(self):
        answer = self.answers.get(timeout=60)
        need("error" not in answer, answer.get("error"))
        return answer

    def order(self, do, **more):
        with self.lock:
            self.process.stdin.write(json.dumps({"do": do, **more}) + "\n")
            self.process.stdin.flush()
            return self._answer()

    def set(self, flow=None, kind=None, way=None, **faults):
        self.order("set", flow=flow, kind=kind, way=way, faults=faults)

    def flows(self):
        return self.order("flows")["flows"]

    def dials(self):
        return [(client, when) for client, when in self.order("dials")["dials"]]

    def counts(self):
        return self.order("counts")["counts"]

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)


class Origin(Program):
    def __init__(self, world, port=0):
        super().__init__([sys.executable, HERE / "load_origin.py", *([str(port)] if port else [])], world.where / f"origin-{time.monotonic_ns()}.log", world.where)
        self.port = int(until(lambda: self.lives() and self.text().strip(), "the origin tells its port"))
        self.url = f"http://127.0.0.1:{self.port}"

    def stop(self, seconds=60):
        self.kill()


class Tunnel:
    def __init__(self, hostname, token):
        self.hostname, self.token = hostname, token


class World:
    """Everything that one scenario starts; all of it ends with it, and whatever a sanitizer said is a failure."""

    def __init__(self, where, workers=1, connector="adit", transport="quic"):
        self.where, self.workers = pathlib.Path(where), workers
        self.connector_kind, self.transport = connector, transport
        self.build = build_dir()
        self.is_sanitized = "asan" in str(self.build) or "tsan" in str(self.build)
        self.programs, self.relays, self.serial = [], [], 0
        self.before = {"edge": [], "adit": [], "cloudflared": []}  # by way of what each is started

    def __enter__(self):
        return self

    def keep(self, program):
        self.programs.append(program)
        return program

    def edge(self, *args, **more):
        return self.keep(Edge(self, *args, **more))

    def origin(self, *args):
        return self.keep(Origin(self, *args))

    def relay(self, *args, **more):
        relay = Relay(*args, **more)
        self.relays.append(relay)
        return relay

    def command(self, edge, *args):
        done = subprocess.run([self.build / "adit", "tunnel", "--data-dir", edge.dir, *args], env=environment(self.where), cwd=self.where, capture_output=True,
                              text=True, timeout=60, check=False)
        need(done.returncode == 0, f"{args}: {done.stderr[-2000:]}")
        return done.stdout

    def tunnel(self, edge, name="t"):
        if not (self.where / ".cloudflared/cert.pem").exists():
            self.command(edge, "login")
        self.command(edge, "create", name)
        self.command(edge, "route", "dns", name, f"{name}.localhost")
        return Tunnel(f"{name}.localhost", self.command(edge, "token", name).strip().splitlines()[-1])

    def connector(self, edge, tunnel, url, relay=None, kind=None, transport=None, connections=4, grace="10s", wait=True, address=None):
        kind, transport = kind or self.connector_kind, transport or self.transport
        address = address or (relay.address if relay else edge.addresses["tunnel"])
        edges = [word for _ in range(5 if kind == "cloudflared" else 1) for word in ("--edge", address)]
        program = self.build / "adit" if kind == "adit" else cloudflared()
        need(program, "there is no cloudflared ($CLOUDFLARED, PATH)")
        self.serial += 1
        more = ["--ha-connections", connections] if connections != 4 else []
        c = self.keep(Connector([*self.before[kind], program, "tunnel", "--no-autoupdate", "--no-prechecks", "--protocol", transport, "--grace-period", grace, "--metrics",
                                 "127.0.0.1:0", *more,
                               *edges, "--cacert", edge.dir / "ca.pem", "run", "--url", url, "--token", tunnel.token],
                              self.where / f"connector-{self.serial}.log", self.where))
        if wait:
            c.wait_registered(connections)
        return c

    def __exit__(self, kind, value, trace):
        errors = []
        for program in reversed(self.programs):
            was_running = program.process.poll() is None
            try:
                if was_running:
                    program.signal(signal.SIGCONT)
                    if kind is None and "cloudflared" not in program.command[0]:
                        program.stop()
                    else:
                        program.kill()
            except Failure as e:
                errors.append(str(e))
            text = program.text()
            if "Sanitizer" in text or "runtime error" in text:
                errors.append(text[-6000:])
        for relay in self.relays:
            relay.close()
        if errors and kind is None:
            raise Failure("\n".join(errors))
        return False
