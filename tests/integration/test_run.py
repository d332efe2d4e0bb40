"""tools/run, which is `make run` without the building: what a new user sees, and that nothing stays behind."""
import os
import pathlib
import re
import signal
import socket
import subprocess
import time

import pytest

from client import Visitor
from conftest import BUILD, LOOPBACK, TOP, until
from control import environment


def left(directory):
    """Processes that have to do with a data directory."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if str(directory).encode() in words:
            found.append(b" ".join(words))
    return found


class Run:
    def __init__(self, where, *args, edge=()):
        self.data, self.log = where / "var", where / f"run-{time.monotonic_ns()}.log"
        (where / "build").mkdir(exist_ok=True)
        for name in ("adit", "adit-edge"):
            if not (where / "build" / name).exists():
                (where / "build" / name).symlink_to(BUILD / name)
        env = environment(where, DATA=str(self.data), BUILD=str(where / "build"), EDGE=" ".join([*LOOPBACK, *edge]))
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([TOP / "tools/run", *args], stdout=log, stderr=log, env=env, start_new_session=True)

    def text(self):
        return self.log.read_text()

    def ready(self):
        until(lambda: self.process.poll() is not None or "Ctrl-C" in self.text(), "the URLs")
        assert self.process.poll() is None, self.text()
        return self

    def interrupt(self):
        os.killpg(self.process.pid, signal.SIGINT)  # as a terminal does

    def urls(self):
        return re.findall(r"(https?)://([a-z]+-[a-z]+-[a-z]+\.localhost):(\d+)", self.text())


@pytest.fixture
def run(tmp_path):
    started = []

    def start(*args, **more):
        started.append(Run(tmp_path, *args, **more))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.interrupt()
            assert one.process.wait(60) == 0, one.text()
        assert left(one.data) == []


def get(port, host):
    with Visitor(int(port), host) as visitor:
        visitor.request("GET", "/")
        head, body = visitor.response()
        return head.status_code, body


def test_it_prints_where_everything_is_and_stops_cleanly(run):
    one = run().ready()
    (http, host, port), (https, same, tls_port) = one.urls()
    assert (http, https) == ("http", "https") and host == same
    assert get(port, host)[0] == 200
    socket.create_connection(("127.0.0.1", int(tls_port)), timeout=10).close()
    assert re.search(r"API +http://127\.0\.0\.1:\d+/client/v4 +\(token: " + re.escape(f"{one.data}/admin-token"), one.text())
    assert "a built-in page" in one.text() and "make run URL=" in one.text()
    assert len(left(one.data)) == 2
    one.interrupt()
    assert one.process.wait(60) == 0 and "Stopping." in one.text()
    assert left(one.data) == [] and not (one.data / "addresses.json").exists()
    assert "drained" in (one.data / "edge.log").read_text()


def test_it_exposes_the_url_that_is_given(run, origin):
    one = run(origin.url).ready()
    _, host, port = one.urls()[0]
    assert get(port, host) == (200, b"hello\n") and f"It is {origin.url}" in one.text()


def test_an_empty_url_is_the_built_in_page(run):
    assert "a built-in page" in run("").ready().text()


@pytest.mark.parametrize("what", ["http", "https", "local"])
def test_a_busy_port_is_said_with_the_option_that_changes_it(run, what):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        address = f"127.0.0.1:{busy.getsockname()[1]}"
        one = run(edge=[f"--{what}", address])
        assert one.process.wait(60) == 1
    assert f"{address} is in use by another program; choose another address with --{what}" in one.text()
    assert 'make run EDGE="--http :9080' in one.text()


def test_a_second_run_is_refused_and_the_first_goes_on(run):
    first = run().ready()
    _, host, port = first.urls()[0]
    before = (first.data / "addresses.json").read_text()
    second = run()
    assert second.process.wait(60) == 1 and "is in use by another edge" in second.text()
    assert (first.data / "addresses.json").read_text() == before and get(port, host)[0] == 200


def test_when_one_of_them_dies_the_other_is_stopped(run):
    one = run().ready()
    os.kill(int((one.data / "lock").read_text()), signal.SIGKILL)
    assert one.process.wait(60) == 1 and "One of them ended" in one.text()


def test_ctrl_c_while_the_edge_is_still_starting_leaves_nothing(run):
    one = run()
    until(lambda: left(one.data), "the edge's process")
    one.interrupt()
    assert one.process.wait(60) == 0, one.text()
