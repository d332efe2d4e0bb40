"""Sockets that somebody else has bound (systemd's socket activation): edges come and go, and whoever asks waits and is not refused."""
import json
import os
import socket
import subprocess
import threading
import time

import pytest

from client import Visitor, get
from conftest import BUILD, SANITIZER, TRANSPORTS, Edge, Program, hostname_of, quick_command, until

pytestmark = pytest.mark.threads


class Sockets:
    """Bound as systemd does it, and kept open by the test."""

    def __init__(self, **more):
        self.by_name = []
        for name in ("http", "https", "local"):
            self.by_name.append((name, self.bind(socket.SOCK_STREAM)))
        while len(self.by_name) == 3:  # one port that is free for both
            udp = self.bind(socket.SOCK_DGRAM, **more)
            try:
                self.by_name += [("tunnel", udp), ("tunnel", self.bind(socket.SOCK_STREAM, udp.getsockname()[1]))]
            except OSError:
                udp.close()

    @staticmethod
    def bind(kind, port=0, reuse_port=False):
        s = socket.socket(socket.AF_INET, kind)
        if reuse_port:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        s.bind(("127.0.0.1", port))
        if kind == socket.SOCK_STREAM:
            s.listen(512)
        return s

    def hand_over(self, command, names=None):
        """A command and what Popen needs besides, so that they are its descriptors from 3 on."""
        fds = [s.fileno() for _, s in self.by_name]
        names = names or [name for name, _ in self.by_name]

        def place():
            high = [os.dup(fd) for fd in fds]
            for i, fd in enumerate([os.dup2(fd, 100 + k) for k, fd in enumerate(high)]):
                os.dup2(fd, 3 + i)

        shell = ["sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh", *command]
        env = {"LISTEN_FDS": str(len(fds)), "LISTEN_FDNAMES": ":".join(names)}
        return shell, {"preexec_fn": place, "pass_fds": range(3, 3 + len(fds)), "env": env}

    def close(self):
        for _, s in self.by_name:
            s.close()


class ActivatedEdge(Edge):
    def __init__(self, where, sockets, workers, *flags):
        self.dir = where / "edge"
        # One that is bound in vain would be seen: the options' own addresses are taken.
        command = [BUILD / "adit-edge", "serve", "--data-dir", self.dir, "--workers", workers, "--grace-period", "5s", "--log-level", "debug", *flags]
        shell, more = sockets.hand_over([str(word) for word in command])
        Program.__init__(self, shell, where / f"edge-{time.monotonic_ns()}.log", **more)
        self.ready()

    def ready(self):
        until(lambda: "edge is ready" in self.text() or self.process.poll() is not None, "the edge is ready")
        assert self.process.poll() is None, self.text()
        self.addresses = json.loads((self.dir / "addresses.json").read_text())


@pytest.fixture
def sockets():
    made = []

    def start(**more):
        made.append(Sockets(**more))
        return made[-1]

    yield start
    for s in made:
        s.close()


@pytest.fixture
def activated(tmp_path):
    started = []

    def start(sockets, workers=1, *flags):
        edge = ActivatedEdge(tmp_path, sockets, workers, *flags)
        started.append(edge)
        return edge

    yield start
    for edge in started:
        if edge.process.poll() is None:
            assert edge.stop() == 0, edge.text()[-3000:]
        assert "runtime error" not in edge.text() and "Sanitizer" not in edge.text(), edge.text()[-6000:]


def test_the_sockets_that_are_handed_over_are_served(sockets, activated, connectors, origin):
    for workers, reuse_port in ((1, False), (3, True), (3, False)):
        given = sockets(reuse_port=reuse_port)
        edge = activated(given, workers)
        ports = {name: s.getsockname()[1] for name, s in given.by_name}
        assert {what: edge.port(what) for what in ("tunnel", "http", "https", "local")} == ports
        for transport in TRANSPORTS:
            connector = connectors(quick_command("adit", edge, origin.url, transport))
            until(lambda: connector.text().count("Registered tunnel connection") == 4, "every connection")
            connector.edge, connector.host = edge, hostname_of(connector)
            assert [get(connector, "/echo")[0].status_code for _ in range(20)] == [200] * 20
            assert connector.stop() == 0
        assert edge.stop() == 0


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_upgrade_under_load_fails_no_request(sockets, activated, connectors, origin, kind, transport):
    """One edge after the other on the same sockets and directory; each request on a connection of its own."""
    given = sockets(reuse_port=True)
    edge = activated(given, 2, "--hold-time", "30s")
    connector = connectors(quick_command(kind, edge, origin.url, transport))
    until(lambda: connector.text().count("Registered tunnel connection") == (4 if kind == "adit" else 1), "every connection")
    host, wrong, counts, stop = hostname_of(connector), [], [0] * 6, threading.Event()

    def ask(i, method):
        body = b"x" * 1000 if method == "POST" else b""
        while not stop.is_set():
            try:
                with Visitor(edge.port("http"), host) as visitor:
                    visitor.request(method, "/echo", headers=[("Content-Length", "1000")] if body else [], body=body)
                    status = visitor.response()[0].status_code
            except Exception as e:
                status = e
            if status != 200:
                wrong.append((method, status))
            counts[i] += 1

    askers = [threading.Thread(target=ask, args=(i, method)) for i, method in enumerate(("GET", "POST") * 3)]
    for asker in askers:
        asker.start()
    until(lambda: min(counts) > 5, "requests are served")
    # Over HTTP/2 the reference comes back after up to 20 s, the next time after up to 40.
    for _ in range(1 if (kind, transport) == ("cloudflared", "http2") else 2):
        assert edge.stop() == 0
        edge = activated(given, 2, "--hold-time", "30s")
        before = list(counts)
        until(lambda: all(now > was + 5 for now, was in zip(counts, before)), "requests are served by the next edge")
    stop.set()
    for asker in askers:
        asker.join(60)
    assert wrong == []


@pytest.mark.parametrize("names, words", [
    (["http", "https", "local", "tunnel", "web"], 'the socket "web" that was handed over has no use here'),
    (["http", "http", "local", "tunnel", "tunnel"], 'the socket "http" that was handed over is there twice'),
    (["http", "https", "local", "http", "tunnel"], 'the socket "http" that was handed over has no use here'),
    (["http", "https", "local", "tunnel"], 'the socket "" that was handed over has no use here'),
])
def test_sockets_that_mean_nothing_are_refused(sockets, tmp_path, names, words):
    command, more = sockets().hand_over([str(BUILD / "adit-edge"), "serve", "--data-dir", str(tmp_path / "edge")], names)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, preexec_fn=more["preexec_fn"], pass_fds=more["pass_fds"],
                          env={**os.environ, **SANITIZER, **more["env"]})
    assert done.returncode == 1 and words in done.stderr, done.stderr
    assert not (tmp_path / "edge").exists()


def test_sockets_that_are_meant_for_another_process_are_left_alone(sockets, tmp_path, edges):
    given = sockets()
    command, more = given.hand_over([])
    os.environ.update(LISTEN_PID="1", **more["env"])
    try:
        edge = edges()
        assert edge.port("http") not in {s.getsockname()[1] for _, s in given.by_name}
    finally:
        for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
            os.environ.pop(name, None)
