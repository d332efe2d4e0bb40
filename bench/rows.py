"""The rows: what is measured of a running system. Each gives values by the name of a figure; FIGURES says how they are shown."""
import collections
import os
import pathlib
import shutil
import subprocess
import time

import loads
import outages
from programs import Failure, until

GIB = 1 << 30
# format: of a value; more: whether a larger value is the better one, None for neither.
Figure = collections.namedtuple("Figure", "title format more")
FIGURES = {
    "start": Figure("start to first request, ms", "{:,.0f}", False),
    "rate": Figure("requests/s, 64 connections", "{:,.0f}", True),
    "cpu_requests": Figure("CPU s per 10,000 requests", "{:.3f}", False),
    "p50": Figure("p50 on one connection, µs", "{:,.0f}", False),
    "p99": Figure("p99 on one connection, µs", "{:,.0f}", False),
    "added": Figure("p50 added to direct, µs", "{:,.0f}", False),
    "down": Figure("1 download, Gbit/s", "{:.2f}", True),
    "cpu_down": Figure("CPU s per GiB down", "{:.2f}", False),
    "up": Figure("1 upload, Gbit/s", "{:.2f}", True),
    "cpu_up": Figure("CPU s per GiB up", "{:.2f}", False),
    "down8": Figure("8 downloads, Gbit/s", "{:.2f}", True),
    "cpu_down8": Figure("CPU s per GiB, 8 downloads", "{:.2f}", False),
    "killed_gap": Figure("kill -9 of one of two clients: longest gap, ms", "{:,.0f}", False),
    "killed_failed": Figure("kill -9 of one of two clients: failed GETs", "{:,.0f}", False),
    "frozen_gap": Figure("SIGSTOP of one of two clients: longest gap, ms", "{:,.0f}", False),
    "frozen_failed": Figure("SIGSTOP of one of two clients: failed GETs", "{:,.0f}", False),
    "reconnect": Figure("server kill -9 and restart: to the first request, ms", "{:,.0f}", False),
    "idle_server": Figure("RSS idle, server, MiB", "{:.1f}", False),
    "idle_client": Figure("RSS idle, client, MiB", "{:.1f}", False),
    "peak_server": Figure("RSS peak under load, server, MiB", "{:.1f}", False),
    "peak_client": Figure("RSS peak under load, client, MiB", "{:.1f}", False),
    "socket_server": Figure("an idle websocket, server, KiB", "{:.1f}", False),
    "socket_client": Figure("an idle websocket, client, KiB", "{:.1f}", False),
    "size_server": Figure("stripped binary, server, MB", "{:.2f}", False),
    "size_client": Figure("stripped binary, client, MB", "{:.2f}", False),
}
# What --rows may name, in the order of measuring.
ROWS = ["start", "requests", "latency", "down", "up", "down8", "rss", "websockets", "failover", "reconnect", "size"]
OF_LOADS = {"start", "requests", "latency", "down", "up", "down8", "rss"}


class Sizes:
    """How much of everything; --quick does just enough to see that it works."""

    def __init__(self, quick):
        self.seconds = 2 if quick else 8
        self.warm = 1 if quick else 2
        self.big = GIB // 8 if quick else GIB
        self.part = self.big // 8
        self.sockets = 100 if quick else 1000
        self.outage = 2 if quick else 6  # seconds that are looked at after one of two clients has gone
        self.patience = 1 if quick else 5  # seconds until a GET meanwhile has failed


def measure(system, rows, sizes, value, failed):
    """Starts the system and measures the rows. value(figure, number) and failed(row, why) take what comes of it."""
    rows = [row for row in rows if system.rows is None or row in system.rows]
    if OF_LOADS & set(rows):
        took = begin(system)
        if "start" in rows and system.measures_processes:
            value("start", took * 1000)
        measure_loads(system, rows, sizes, value, failed)
        system.stop()
    if "websockets" in rows and system.measures_processes:
        # A system that has been under load has memory at hand, or gives some back meanwhile: this one is new.
        begin(system)
        attempt("websockets", websockets, system, sizes, value, failed)
        system.stop()
    if "failover" in rows and system.is_tunnel and not system.without_replicas:
        attempt("failover", outages.failover, system, sizes, value, failed)
        system.stop()
    if "reconnect" in rows and system.is_tunnel:
        begin(system)
        attempt("reconnect", outages.reconnect, system, sizes, value, failed)
        system.stop()
    if "size" in rows:
        for side, path in system.paths().items():
            value(f"size_{side}", stripped(path, system.dir) / 1e6)


def begin(system):
    """Starts the system: seconds until it had answered a request."""
    start = time.monotonic()
    system.start()
    until(system.is_up, f"a first answer through {system.name}", seconds=60)
    took = time.monotonic() - start
    until(lambda: loads.is_served(system.service, "/up"), "an answer of the service behind it", programs=system.programs)
    return took


def measure_loads(system, rows, sizes, value, failed):
    if "rss" in rows:
        settled(system)
        for side in sides(system):
            value(f"idle_{side}", memory(system, side) / 1024)
    for program in system.programs:
        program.reset_peak()
    for row, act in (("requests", requests), ("latency", latency), ("down", down), ("up", up), ("down8", down8)):
        if row in rows:
            attempt(row, act, system, sizes, value, failed)
    if "rss" in rows:
        for side in sides(system):
            value(f"peak_{side}", memory(system, side, peak=True) / 1024)


def attempt(row, act, system, sizes, value, failed):
    """One row that fails leaves the others to be measured, as long as the programs live."""
    try:
        act(system, sizes, value)
    except (OSError, Failure, subprocess.TimeoutExpired) as fault:
        for program in system.programs:
            program.check()
        failed(row, fault)


def sides(system):
    return dict.fromkeys(program.side for program in system.programs)


def memory(system, side, peak=False):
    return sum(program.rss(peak) for program in system.programs if program.side == side)


def settled(system):
    """Until the memory of the programs has been the same for a second: all connections are there, nothing is being built up."""
    seen = collections.deque(maxlen=10)

    def same():
        seen.append(memory_of_all(system))
        return len(seen) == seen.maxlen and max(seen) - min(seen) <= 64

    try:
        until(same, "memory that does not change", seconds=10, programs=system.programs, pause=0.1)
    except Failure:
        for program in system.programs:
            program.check()  # One that never settles is measured as it is.


def memory_of_all(system):
    return sum(program.rss() for program in system.programs)


def cpu(system):
    return sum(program.cpu() for program in system.programs)


def requests(system, sizes, value):
    loads.requests(system.web, sizes.warm)
    before = cpu(system)
    count, rate = loads.requests(system.web, sizes.seconds)
    value("rate", rate)
    if system.measures_processes:
        value("cpu_requests", (cpu(system) - before) * 10000 / count)


def latency(system, sizes, value):
    loads.latency(system.web, sizes.warm / 4)
    p50, p99 = loads.latency(system.web, sizes.seconds / 2)
    value("p50", p50)
    value("p99", p99)


def bulk(system, value, name, total, act):
    before, began = cpu(system), time.monotonic()
    act()
    took = time.monotonic() - began
    value(name, total * 8 / took / 1e9)
    if system.measures_processes:
        value(f"cpu_{name}", (cpu(system) - before) * GIB / total)


def down(system, sizes, value):
    bulk(system, value, "down", sizes.big, lambda: loads.download(system.web, "/big", sizes.big))


def up(system, sizes, value):
    bulk(system, value, "up", sizes.big, lambda: loads.upload(system.service, "/up", sizes.big))


def down8(system, sizes, value):
    bulk(system, value, "down8", sizes.part * 8, lambda: loads.downloads(system.web, "/part", sizes.part, 8))


def websockets(system, sizes, value):
    settled(system)
    before = {side: memory(system, side) for side in sides(system)}
    sockets = loads.Websockets(system.service, "/ws", sizes.sockets)
    try:
        settled(system)
        for side, kib in before.items():
            value(f"socket_{side}", (memory(system, side) - kib) / sizes.sockets)
    finally:
        sockets.close()


def stripped(path, where):
    """The size of a program without its symbols."""
    copy = pathlib.Path(where) / "stripped"
    shutil.copyfile(os.path.realpath(path), copy)
    try:
        subprocess.run(["strip", copy], capture_output=True, timeout=60)
        return copy.stat().st_size
    finally:
        copy.unlink()
