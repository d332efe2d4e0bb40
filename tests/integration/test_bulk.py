"""Large bodies: whole, with flat memory, and stalled by whoever does not read them. ADIT_BULK_BYTES sets how large."""
import os
import socket
import subprocess

import pytest
from bulk_origin import BulkOrigin
from client import get
from conftest import Edge, KINDS, Program, hostname_of, need, quick_command, until

BULK = int(os.environ.get("ADIT_BULK_BYTES", 1 << 30))
# What a body may take in one program at once: windows, buffers, and the allocator's slack. Far below the body, far above noise.
MEMORY = 32 << 20


@pytest.fixture(scope="module")
def bulk_origin():
    server = BulkOrigin()
    yield server
    server.stop()


@pytest.fixture(scope="module", params=KINDS)
def bulk(request, tmp_path_factory, bulk_origin):
    need(request.param)
    where = tmp_path_factory.mktemp(f"bulk-{request.param}")
    # Freed memory goes back at once, or the sanitizer's quarantine would look like a leak.
    env = {"ASAN_OPTIONS": "detect_leaks=1:exitcode=99:quarantine_size_mb=1"}
    edge = Edge(where, env=env)
    connector = Program(quick_command(request.param, edge, bulk_origin.url), where / "connector.log", cwd=where, env=env)
    connector.wait_for("Registered tunnel connection")
    connector.host = until(lambda: hostname_of(connector), "a hostname")
    connector.edge, connector.kind = edge, request.param
    get(connector, "/1000000")  # what is allocated once is there
    yield connector
    assert connector.stop() == 0 or request.param != "adit"
    assert edge.stop() == 0


def memory(program, what):
    with open(f"/proc/{program.process.pid}/status") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith(what))


class Flat:
    """Asserts that our programs' memory did not grow with the body, at its peak."""

    def __init__(self, bulk):
        self.programs = [bulk.edge] + ([bulk] if bulk.kind == "adit" else [])

    def __enter__(self):
        for program in self.programs:
            with open(f"/proc/{program.process.pid}/clear_refs", "w") as f:
                f.write("5")  # resets VmHWM
        self.before = [memory(program, "VmRSS") for program in self.programs]

    def __exit__(self, kind, *args):
        if kind is None:
            grown = [memory(p, "VmHWM") - b for p, b in zip(self.programs, self.before)]
            assert max(grown) < MEMORY, grown


def curl(bulk, *args):
    url = f"http://{bulk.host}:{bulk.edge.port('http')}"
    run = subprocess.run(["curl", "-sS", "--resolve", f"{bulk.host}:{bulk.edge.port('http')}:127.0.0.1", "-o", "/dev/null", "-w",
                          "%{http_code} %{size_download} %{size_upload}", *[a.replace("URL", url) for a in args]],
                         capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    return [int(n) for n in run.stdout.split()]


def test_a_large_download_arrives_whole_and_memory_stays_flat(bulk):
    with Flat(bulk):
        assert curl(bulk, f"URL/{BULK}")[:2] == [200, BULK]


def test_a_large_upload_arrives_whole_and_memory_stays_flat(bulk, tmp_path):
    body = tmp_path / "body"
    with open(body, "wb") as f:
        f.truncate(BULK)
    with Flat(bulk):
        status, _, up = curl(bulk, "-X", "POST", "-H", "Expect:", "-T", str(body), "URL/take")
        assert (status, up) == (200, BULK)


def test_downloads_at_once_share_the_tunnel_and_memory_stays_flat(bulk):
    with Flat(bulk):
        url = f"http://{bulk.host}:{bulk.edge.port('http')}/{BULK // 16}"
        runs = [subprocess.Popen(["curl", "-sS", "-o", "/dev/null", "-w", "%{size_download}", "-H", f"Host: {bulk.host}",
                                  url.replace(bulk.host, "127.0.0.1")], stdout=subprocess.PIPE) for _ in range(8)]
        assert [int(run.communicate(timeout=300)[0]) for run in runs] == [BULK // 16] * 8


@pytest.mark.parametrize("ending", ["keep-alive", "close"])
def test_a_slow_visitor_over_tls_gets_everything(bulk, ending):
    url = f"https://{bulk.host}:{bulk.edge.port('https')}/12000000"
    run = subprocess.run(["curl", "-sSk", "--resolve", f"{bulk.host}:{bulk.edge.port('https')}:127.0.0.1", "-o", "/dev/null",
                          "--limit-rate", "8M", "-H", f"Connection: {ending}", "-w", "%{size_download}", url], capture_output=True,
                         text=True, timeout=60)
    assert (run.returncode, run.stdout) == (0, "12000000"), run.stderr


def test_a_visitor_that_does_not_read_stalls_the_origin_and_nobody_else(bulk, bulk_origin):
    target = f"/{8 << 30}/{bulk.kind}"
    with Flat(bulk), socket.socket() as visitor:
        visitor.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        visitor.connect(("127.0.0.1", bulk.edge.port("http")))
        visitor.sendall(f"GET {target} HTTP/1.1\r\nHost: {bulk.host}\r\n\r\n".encode())
        visitor.recv(100)
        # Others are served meanwhile, and when they are through the origin's send has long come to rest.
        seen = -1
        while seen != bulk_origin.sent[target]:
            seen = bulk_origin.sent[target]
            assert get(bulk, "/2000000")[0].status_code == 200
        assert bulk_origin.sent[target] < 64 << 20  # the kernel's socket buffers and the two programs' windows
    until(lambda: target in bulk_origin.failed, "the origin learns that nobody wants the rest")
