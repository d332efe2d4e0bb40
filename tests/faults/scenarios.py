"""What can go wrong, and what is promised then. Each scenario is a function of a world and a form; it returns a Row and raises Failure
when a promise is not kept. The short form asks for the same with fewer rounds, and with generous times, as busy machines need them."""
import dataclasses
import os
import random
import resource
import signal
import statistics
import subprocess
import threading
import time

import storm as storms
from load import Load, Visitor
from world import environment, need, until

SCENARIOS = {}
SOAK_SECONDS = int(os.environ.get("SOAK_SECONDS", "600"))


@dataclasses.dataclass
class Form:
    is_full: bool

    def pick(self, short, full):
        return full if self.is_full else short

    @property
    def patience(self):
        """Flags of an edge on a machine that may be busy; in the full form it has its defaults."""
        return self.pick(("--hold-time", "60s"), ())


@dataclasses.dataclass
class Row:
    requests: int
    failures: int
    gap: float | None
    note: str = ""


@dataclasses.dataclass
class Scenario:
    name: str
    promise: str
    act: object
    ways: list        # (connector, transport)
    short_ways: list
    needs: str = ""   # "network": a network namespace of its own
    estimate: int = 30  # seconds of the full form


ADIT = [("adit", "quic"), ("adit", "http2")]
EVERY = [*ADIT, ("cloudflared", "quic"), ("cloudflared", "http2")]


def scenario(name, promise, ways, short_ways=None, needs="", estimate=30):
    def take(act):
        SCENARIOS[name] = Scenario(name, promise, act, ways, ways if short_ways is None else short_ways, needs, estimate)
        return act

    return take


# ---- replicas ----

def settle(load, count=30):
    """The load is under way with every method."""
    for kind in load.kinds:
        until(lambda kind=kind: load.counted(kind) >= (count if kind == "GET" else 3), lambda kind=kind: f"{kind} under way: {load.failures()}")


def carry_on(load, form):
    """As much load again as shows what comes after; never less than a few seconds' worth in the full form."""
    end = time.monotonic() + form.pick(0.5, 4)
    already = load.counted()
    until(lambda: time.monotonic() > end and load.counted() >= already + 30, lambda: f"load goes on: {load.failures()}")


def replicas(world, count, flags=()):
    edge, origin = world.edge(flags=flags), world.origin()
    tunnel = world.tunnel(edge)
    return edge, tunnel, origin, [world.connector(edge, tunnel, origin.url) for _ in range(count)]


@scenario("graceful restart, one of two", "no request of any method fails", EVERY, [("adit", "quic"), ("adit", "http2"), ("cloudflared", "quic")])
def restart_one_of_two(world, form):
    edge, tunnel, origin, connectors = replicas(world, 2)
    with Load(edge.addr("http"), tunnel.hostname) as load:
        settle(load)
        for i in range(form.pick(1, 6)):
            old = connectors[i % 2]
            old.signal(signal.SIGTERM)
            old.process.wait(60)
            connectors[i % 2] = world.connector(edge, tunnel, origin.url)
        carry_on(load, form)
        load.stop()
    need(load.failed() == 0, f"of {load.requests} failed {load.failed()}: {load.failures()}")
    return Row(load.requests, load.failed(), load.gap())


@scenario("graceful restart, the only replica", "no request of any method fails: they wait for its return", ADIT)
def restart_only(world, form):
    edge, tunnel, origin, connectors = replicas(world, 1, form.patience)
    with Load(edge.addr("http"), tunnel.hostname, timeout=60) as load:
        settle(load)
        for _ in range(form.pick(1, 6)):
            old = connectors.pop()
            old.signal(signal.SIGTERM)
            old.process.wait(60)
            connectors.append(world.connector(edge, tunnel, origin.url))
        carry_on(load, form)
        load.stop()
    need(load.failed() == 0, f"of {load.requests} failed {load.failed()}: {load.failures()}")
    return Row(load.requests, load.failed(), load.gap(), f"{int(edge.metrics()['adit_edge_held_total'])} requests waited")


@scenario("kill -9, one of two", "no GET fails; none is missed for more than 1 s", EVERY, [("adit", "quic"), ("adit", "http2"), ("cloudflared", "quic")])
def kill_one_of_two(world, form):
    edge, tunnel, origin, connectors = replicas(world, 2)
    with Load(edge.addr("http"), tunnel.hostname) as load:
        settle(load)
        for i in range(form.pick(1, 6)):
            connectors[i % 2].kill()
            connectors[i % 2] = world.connector(edge, tunnel, origin.url)
        carry_on(load, form)
        load.stop()
    need(load.failed("GET") == 0, f"of {load.tallies['GET'].requests} GETs failed {load.failed('GET')}: {load.failures()}")
    need(load.gap("GET") <= form.pick(10, 1), f"a gap of {load.gap('GET'):.2f} s")
    return Row(load.requests, load.failed(), load.gap("GET"), load.failures())


@scenario("SIGSTOP and SIGCONT, one of two", "no GET fails; none is missed for more than 1 s", ADIT)
def freeze_one_of_two(world, form):
    edge, tunnel, origin, connectors = replicas(world, 2)
    with Load(edge.addr("http"), tunnel.hostname, timeout=30) as load:
        settle(load)
        for i in range(form.pick(1, 6)):
            before = edge.metrics()['adit_edge_link_health_total{to="suspect"}']
            connectors[i % 2].signal(signal.SIGSTOP)
            until(lambda before=before: edge.metrics()['adit_edge_link_health_total{to="suspect"}'] > before, "the edge notices")
            carry_on(load, form)
            connectors[i % 2].signal(signal.SIGCONT)
            edge.wait_links(8)
        carry_on(load, form)
        load.stop()
    need(load.failed("GET") == 0, f"of {load.tallies['GET'].requests} GETs failed {load.failed('GET')}: {load.failures()}")
    need(load.gap("GET") <= form.pick(10, 1), f"a gap of {load.gap('GET'):.2f} s")
    return Row(load.requests, load.failed(), load.gap("GET"), load.failures())


# ---- the edge ----

@scenario("edge kill -9 and restart", "every connector is back within 3 s of the edge's return (cloudflared goes by its own back-off)", EVERY, ADIT, estimate=60)
def edge_crash(world, form):
    edge, tunnel, origin, _ = replicas(world, form.pick(2, 8))
    is_ours = world.connector_kind == "adit"
    links, times, load = edge.links(), [], None
    requests = failures = 0
    longest = 0.0
    for _ in range(form.pick(1, 5) if is_ours else 1):
        with Load(edge.addr("http"), tunnel.hostname, timeout=30) as load:
            settle(load)
            edge.kill()
            edge = world.edge(data_dir=edge.dir, addresses=edge.addresses)
            times.append(edge.wait_links(links, 60 if is_ours else 300) - edge.ready_at)
            carry_on(load, form)
            load.stop()
        requests, failures, longest = requests + load.requests, failures + load.failed(), max(longest, load.gap("GET"))
    need(not is_ours or max(times) <= form.pick(40, 3), "back after " + ", ".join(f"{t:.2f}" for t in times) + " s")
    return Row(requests, failures, longest, f"back after at most {max(times):.2f} s, {links} links")


@scenario("edge restart, many connectors", "connections that lose their edge at one moment do not come back at one moment", ADIT[:1], estimate=90)
def storm(world, form):
    """250 connectors of four connections, told at once by an edge that stops. Their dials are counted in front of it, for how fast it takes
    them says nothing of how they come."""
    edge, origin = world.edge(), world.origin()
    relay = world.relay("--to", edge.addresses["tunnel"])
    count = form.pick(12, 250)
    links = 4 * count
    for i in range(count):
        if i % 50 == 0:  # an edge lets a tunnel have 256 connections
            tunnel = world.tunnel(edge, f"t{i}")
        world.connector(edge, tunnel, origin.url, relay, wait=False)
        if i % 10 == 9:  # so that their start is no storm either
            edge.wait_links(4 * (i + 1), 120)
    edge.wait_links(links, 120)
    end = time.monotonic()
    edge.stop()
    edge = world.edge(data_dir=edge.dir, addresses=edge.addresses)
    seen = storms.watch_return(edge, links, 120)
    dials = storms.first_dials(relay, end)
    need(len(dials) >= 0.95 * links, f"{len(dials)} of {links} connections dialled anew")
    share, spread = storms.busiest(dials) / len(dials), max(dials) - min(dials)
    need(share <= form.pick(0.5, 0.25), f"{share:.0%} of the connections dial in the same 100 ms")
    need(spread >= 1, f"all connections dial within {spread:.2f} s")
    return Row(0, 0, None, f"{links} connections of {count} connectors: {share:.0%} of them dial in the busiest 100 ms, all in {spread:.1f} s; "
                           f"the edge has them all {seen[-1][0] - edge.ready_at:.1f} s after its return, {storms.busiest(storms.arrivals(seen))} in the busiest 100 ms")


@scenario("edge kill -9, quiet connector", "the first of its idle connections that finds out tells the others", ADIT[:1], estimate=60)
def quiet(world, form):
    """Nothing is sent for ten seconds and more; then the edge is gone without a word, which only who asks finds out."""
    edge, origin = world.edge(), world.origin()
    connections = form.pick(16, 4)
    rounds, times, waits = form.pick(1, 3), [], []
    connector = world.connector(edge, world.tunnel(edge), origin.url, connections=connections)
    for _ in range(rounds):
        silent = storms.silence(connector)
        edge.kill()
        killed = time.monotonic()
        first = storms.when_left(connector, connections - 1)
        times.append(storms.when_left(connector, 0) - first)
        waits.append(first - killed)
        edge = world.edge(data_dir=edge.dir, addresses=edge.addresses)
        edge.wait_links(connections)
        need(silent > 10, f"silent for {silent:.1f} s")
    need(max(times) <= form.pick(10, 3), f"the last connection found out {max(times):.1f} s after the first")
    return Row(0, 0, None, f"of {connections} idle connections the first found out after {', '.join(f'{w:.1f}' for w in waits)} s, the last at most {max(times):.1f} s later")


@scenario("edge upgrade", "no request of any method fails, no websocket or event stream is cut", EVERY, [ADIT[0], EVERY[3]])
def edge_upgrade(world, form):
    edge, tunnel, origin, _ = replicas(world, 1)
    times = []
    with Load(edge.addr("http"), tunnel.hostname, timeout=60) as load:
        settle(load)
        for _ in range(form.pick(1, 3)):
            old, begun = edge, time.monotonic()
            edge = world.edge(data_dir=old.dir, addresses=old.addresses, flags=("--upgrade",))
            times.append(edge.ready_at - begun)
            need(old.process.wait(200) == 0, "the old edge did not end well: " + old.text()[-2000:])
            carry_on(load, form)
        load.stop()
    need(load.failed() == 0, f"of {load.requests} failed {load.failed()}: {load.failures()}")
    return Row(load.requests, load.failed(), load.gap("GET"), f"the new edge serves after at most {max(times):.2f} s")


@scenario("edge cannot write", "what serves goes on; a change is refused in words; all is well once there is room", ADIT[:1])
def disk_full(world, form):
    """No file may grow: as on a full disk, for the data directory, the log and the access log alike."""
    access = world.where / "access.log"
    access.touch(0o666)
    edge, origin = world.edge(flags=("--access-log", access)), world.origin()
    tunnel = world.tunnel(edge)
    world.connector(edge, tunnel, origin.url)
    with Load(edge.addr("http"), tunnel.hostname) as load:
        settle(load)
        resource.prlimit(edge.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        carry_on(load, form)
        done = refused(world, edge)
        edge.lives()
        another = world.connector(edge, tunnel, origin.url)  # a registration is no file
        another.stop()
        carry_on(load, form)
        resource.prlimit(edge.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        world.command(edge, "create", "after")
        carry_on(load, form)
        load.stop()
    need(load.failed() == 0, f"of {load.requests} failed {load.failed()}: {load.failures()}")
    return Row(load.requests, load.failed(), load.gap(), f"refused: {done}")


def refused(world, edge):
    """A new tunnel is refused; the reason."""
    done = subprocess.run([world.build / "adit", "tunnel", "--data-dir", edge.dir, "create", "meanwhile"], env=environment(world.where), cwd=world.where,
                          capture_output=True, text=True, timeout=60, check=False)
    need(done.returncode != 0, "a tunnel was made where nothing can be written")
    words = done.stderr.strip().splitlines()
    need(words, "refused without a word")
    return words[-1].rpartition("reason: ")[2]


@scenario("edge's disk is full", "what serves goes on; a change is refused in words; all is well once there is room", ADIT[:1], [])
def disk_mounts(world, form):
    from mounts import Disk

    with Disk(world.where / "disk", 4 << 20) as disk:
        edge, origin = world.edge(data_dir=disk.path / "edge"), world.origin()
        tunnel = world.tunnel(edge)
        world.connector(edge, tunnel, origin.url)
        with Load(edge.addr("http"), tunnel.hostname) as load:
            settle(load)
            disk.fill()
            carry_on(load, form)
            words = refused(world, edge)
            world.connector(edge, tunnel, origin.url).stop()
            disk.free()
            world.command(edge, "create", "after")
            carry_on(load, form)
            load.stop()
        need(load.failed() == 0, f"of {load.requests} failed {load.failed()}: {load.failures()}")
        edge.stop()
    return Row(load.requests, load.failed(), load.gap(), f"refused: {words}")


# ---- networks ----

@scenario("TCP to the edge ends or is reset", "a GET without an answer is sent again", [("adit", "http2")])
def tcp_ends(world, form):
    edge, origin = world.edge(flags=form.patience), world.origin()
    tunnel = world.tunnel(edge)
    relay = world.relay("--to", edge.addresses["tunnel"])
    connector = world.connector(edge, tunnel, origin.url, relay)
    rounds = 0
    for how in ("end", "reset") * form.pick(1, 5):
        seen = connector.registrations()
        with Visitor(edge.addr("http"), tunnel.hostname, 60) as visitor:
            visitor.ask("GET", f"/second/{how}-{rounds}")
            until(lambda how=how, rounds=rounds: f"asked for {how}-{rounds}" in origin.text(), "the origin is asked")
            relay.order(how)
            need(b"".join(visitor.pieces(visitor.head())) == f"{how}-{rounds}".encode(), "the wrong answer")
        connector.wait_registered(seen + 4)
        rounds += 1
    return Row(rounds, 0, None)



@scenario("UDP goes nowhere", "auto serves the first request over HTTP/2 within 1.5 s of its start", [("adit", "auto")])
def blocked_udp(world, form):
    edge, origin = world.edge(), world.origin()
    tunnel = world.tunnel(edge)
    relay = world.relay("--to", edge.addresses["tunnel"])
    relay.set(kind="udp", hole=True)
    times = []
    for _ in range(form.pick(1, 5)):
        begin = time.monotonic()
        connector = world.connector(edge, tunnel, origin.url, relay, wait=False)
        with Load(edge.addr("http"), tunnel.hostname, {"GET": 1}, pause=0.01) as load:
            until(lambda load=load: load.counted(), "a first answer")
            times.append(load.tallies["GET"].successes[0] - begin)
        connector.wait_for("protocol=http2", 4)
        connector.stop()
    need(max(times) <= form.pick(30, 1.5), "first answers after " + ", ".join(f"{t:.2f}" for t in times) + " s")
    return Row(len(times), 0, max(times), "gap: from the start to the first answer")


def link_ports(relay):
    return {flow["id"]: flow for flow in relay.flows()}


@scenario("links cut at random", "a link is back within 5 s, 99 of 100 times; no GET fails", ADIT + [("adit", "auto")], ADIT[:1], estimate=240)
def link_cuts(world, form):
    """One link of several connectors after the other goes silent for good, from one packet to the next."""
    edge, origin = world.edge(), world.origin()
    tunnel = world.tunnel(edge)
    count, cuts = form.pick((5, 20), (8, 334))
    relays = [world.relay("--to", edge.addresses["tunnel"], seed=i) for i in range(count)]
    connectors = [world.connector(edge, tunnel, origin.url, relay) for relay in relays]
    times, errors = [], []

    def cut(relay, connector, seed):
        chance = random.Random(seed)
        try:
            for _ in range(cuts // count + (seed < cuts % count)):
                time.sleep(chance.random() * 0.5)  # a random moment
                times.append(cut_one(relay, connector, chance))
        except Exception as e:  # of a thread: told by the scenario
            errors.append(repr(e))

    with Load(edge.addr("http"), tunnel.hostname, timeout=60) as load:
        settle(load)
        threads = [threading.Thread(target=cut, args=(*pair, i)) for i, pair in enumerate(zip(relays, connectors))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        carry_on(load, form)
        load.stop()
    need(not errors, errors[:3])
    need(load.failed("GET") == 0, f"of {load.tallies['GET'].requests} GETs failed {load.failed('GET')}: {load.failures()}")
    p99 = statistics.quantiles(times, n=100)[98]
    need(p99 < form.pick(60, 5), f"p99 of {len(times)}: {p99:.2f} s")
    return Row(load.requests, load.failed(), load.gap("GET"), f"{len(times)} cuts, back after {statistics.median(times):.2f} s (median), {p99:.2f} s (p99)")


def cut_one(relay, connector, chance):
    """Seconds until as many connections as before are registered again."""
    before = connector.registrations()
    bytes_before = {flow["id"]: flow["down"] for flow in relay.flows()}
    alive = until(lambda: [f["id"] for f in relay.flows() if f["down"] > bytes_before.get(f["id"], 0)], "a flow with traffic")
    relay.set(flow=chance.choice(alive), hole=True)
    begin = time.monotonic()
    connector.wait_registered(before + 1, 90)
    return time.monotonic() - begin


@scenario("NAT forgets in mid-transfer", "the transfers lose nothing", [("adit", "quic"), ("cloudflared", "quic")], [("adit", "quic")])
def nat_rebinding(world, form):
    from load_origin import content

    edge, origin = world.edge(), world.origin()
    tunnel = world.tunnel(edge)
    relay = world.relay("--to", edge.addresses["tunnel"])
    world.connector(edge, tunnel, origin.url, relay)
    relay.set(rate=2e6, queue=0.5)
    size, rebinds = form.pick(2 << 20, 8 << 20), form.pick(3, 10)
    with Load(edge.addr("http"), tunnel.hostname, timeout=60) as load, Visitor(edge.addr("http"), tunnel.hostname, 60) as visitor:
        settle(load, 3)
        visitor.ask("GET", f"/bytes/{size}")
        fields, took, done = visitor.head(), bytearray(), 0
        for piece in visitor.pieces(fields):
            took += piece
            if done < rebinds and len(took) > (done + 1) * size // (rebinds + 1):
                relay.order("rebind")
                done += 1
        load.stop()
    need(bytes(took) == b"".join(content(size)) and done == rebinds, f"{len(took)} of {size} bytes, {done} times another port")
    need(load.failed() == 0, f"of {load.requests} failed {load.failed()}: {load.failures()}")
    links = edge.links()
    need(links == 4, f"{links} links are left of 4")
    return Row(load.requests + 1, load.failed(), load.gap(), f"{size >> 20} MiB whole over {rebinds} changes of every port")


@scenario("a bad line", "no request fails through loss, delay, reordering, doubled and corrupted packets", [("adit", "quic"), ("cloudflared", "quic")], [("adit", "quic")])
def bad_line(world, form):
    edge, origin = world.edge(), world.origin()
    tunnel = world.tunnel(edge)
    relay = world.relay("--to", edge.addresses["tunnel"])
    world.connector(edge, tunnel, origin.url, relay)
    relay.set(loss=0.03, delay=0.01, jitter=0.005, reorder=0.05, duplicate=0.02, corrupt=0.01)
    with Load(edge.addr("http"), tunnel.hostname, timeout=60) as load:
        settle(load, form.pick(20, 2000))
        load.stop()
    counts = relay.counts()
    need(all(counts.get(what, 0) > 0 for what in ("lost", "reordered", "duplicated", "corrupted")), counts)
    need(load.failed() == 0, f"of {load.requests} failed {load.failed()}: {load.failures()}")
    return Row(load.requests, load.failed(), load.gap(), ", ".join(f"{counts[what]} {what}" for what in ("lost", "reordered", "duplicated", "corrupted")))


@scenario("5 % loss, 50 ms each way", "one download over QUIC is at least three times as fast as by `cloudflared --protocol http2`", [("adit", "quic")], [], needs="network", estimate=90)
def lossy_bulk(world, form):
    from lossy_line import FAR, HERE, download_rate, lay

    relay = lay(world)
    edge, origin = world.edge(bind=HERE), world.origin()
    tunnel = world.tunnel(edge)
    address = f"{FAR}:{edge.addr('tunnel')[1]}"
    relay.set(loss=0.05, delay=0.05)
    rates = {}
    for kind, transport in (("adit", "quic"), ("cloudflared", "http2")):
        connector = world.connector(edge, tunnel, origin.url, kind=kind, transport=transport, address=address, connections=1 if kind == "adit" else 4, grace="1s")
        rates[kind, transport] = download_rate(edge, tunnel, 20)
        connector.signal(signal.SIGTERM)
        connector.process.wait(60)
        edge.wait_links(0)
    times = rates["adit", "quic"] / rates["cloudflared", "http2"]
    text = ", ".join(f"{kind} {transport} {rate / 1000:.0f} kB/s" for (kind, transport), rate in rates.items())
    need(times >= 3, f"{times:.2f} times as fast: {text}")
    return Row(len(rates), 0, None, f"{times:.1f} times as fast: {text}")


# ---- clocks ----

@scenario("clock jumps", "no request fails and no connection is lost, whichever way the wall clock goes", ADIT, ADIT[:1])
def clock_jumps(world, form):
    from clock import Clock

    clocks = [Clock(world.where / name) for name in ("edge-clock", "connector-clock")]
    world.before["edge"], world.before["adit"] = (clock.command for clock in clocks)
    edge, tunnel, origin, (connector,) = replicas(world, 1, flags=form.patience)
    registered = connector.registrations()
    with Load(edge.addr("http"), tunnel.hostname, timeout=30) as load:
        settle(load)
        for jump in ("+1h", "-1h", "+3d", "-2d", "+0"):
            for chosen in (clocks[:1], clocks[1:], clocks):
                for clock in chosen:
                    clock.set(jump)
                carry_on(load, Form(is_full=False))
                need(clocks[0].is_told_by(edge.addr("http")), "the edge goes by another clock")
        carry_on(load, form)
        load.stop()
    need(load.failed() == 0, f"of {load.requests} failed {load.failed()}: {load.failures()}")
    need(connector.registrations() == registered and edge.links() == registered, "connections were lost")
    return Row(load.requests, load.failed(), load.gap("GET"))


# ---- endurance ----

@scenario("connects and disconnects", "memory and descriptors of both ends stay flat", ADIT, ADIT[1:], estimate=600)
def connects(world, form):
    """Links are reset, or their connectors killed, again and again; each comes back."""
    from endurance import Flat, churn

    edge, origin = world.edge(flags=form.patience), world.origin()
    tunnel = world.tunnel(edge)
    total = form.pick(200, 10000) if world.transport == "http2" else form.pick(40, 400)
    with Load(edge.addr("http"), tunnel.hostname, {"GET": 1}, timeout=60, pause=0.05) as load:
        flat = Flat(world.is_sanitized)
        done = churn(world, edge, tunnel, origin, total, flat)
        load.stop()
    return Row(load.requests, load.failed(), None, f"{done} connects; {flat.text()}")


@scenario("soak", "load of every kind, hour after hour: nothing fails, memory and descriptors of both ends stay flat", ADIT, ADIT[:1], estimate=620)
def soak(world, form):
    """In rounds, between which nothing is under way, so that what is left can be counted."""
    from endurance import Flat

    edge, tunnel, origin, (connector,) = replicas(world, 1, flags=form.patience)
    flat = Flat(world.is_sanitized, spare=8)
    flat.watch("edge", edge)
    flat.watch("connector", connector)
    rounds, requests, longest = form.pick(3, 11), 0, 0.0
    for i in range(rounds):
        with Load(edge.addr("http"), tunnel.hostname, timeout=60) as load:
            settle(load)
            time.sleep(form.pick(0.5, SOAK_SECONDS / rounds))  # how long the load lasts is what is tested
            load.stop()
        need(load.failed() == 0, f"of {load.requests} failed {load.failed()}: {load.failures()}")
        requests, longest = requests + load.requests, max(longest, load.gap("GET"))
        until(lambda: edge.metrics()["adit_edge_exchanges"] == 0, "nothing is under way")
        if i == 0:
            flat.begin()
    flat.check()
    return Row(requests, 0, longest, flat.text())


# ---- the origin ----

@scenario("origin kill -9, SIGSTOP", "errors are quick and say what failed; all is well once it is back", ADIT[:1])
def origin_faults(world, form):
    edge, tunnel, origin, _ = replicas(world, 1)
    kinds = {"GET": 2, "POST": 1}
    requests = failures = 0
    with Load(edge.addr("http"), tunnel.hostname, kinds, timeout=60) as load:
        settle(load, 10)
        origin.kill()
        until(lambda: load.tallies["GET"].failures["status 502"] >= 20, lambda: f"502: {load.failures()}")
        world.origin(origin.port)
        carry_on(load, form)
        load.stop()
    allowed = {"status 502", "body cut", "closed without an answer"}
    seen = {why for tally in load.tallies.values() for why in tally.failures}
    need(seen <= allowed, f"other failures than promised: {load.failures()}")
    requests, failures = requests + load.requests, failures + load.failed()
    origin = world.programs[-1]
    with Load(edge.addr("http"), tunnel.hostname, kinds, timeout=60) as load:
        settle(load, 10)
        origin.signal(signal.SIGSTOP)
        until(lambda: edge.metrics()["adit_edge_exchanges"] >= 3, "requests that wait for the origin")
        origin.signal(signal.SIGCONT)
        carry_on(load, form)
        load.stop()
    need(load.failed() == 0, f"an origin that stood still failed {load.failed()}: {load.failures()}")
    return Row(requests + load.requests, failures, load.gap("GET"), f"killed: {failures} answers 502")
