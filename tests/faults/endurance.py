"""Many connects and disconnects, and what they leave behind."""
import itertools
import signal

from world import need, until

MIB = 1 << 20


class Flat:
    """Watches descriptors and memory of programs from a first look on, which comes after the first rounds have grown what grows once."""

    def __init__(self, is_sanitized, spare=0):
        """spare: descriptors that may be there besides those of the beginning, such as connections to the origin that are kept."""
        self.spare = spare
        self.programs, self.first = {}, {}
        # A sanitizer keeps what was freed for a while, and its own books of it.
        self.memory_slack = 256 * MIB if is_sanitized else 4 * MIB

    def watch(self, name, program):
        self.programs[name] = program

    def look(self):
        return {name: (program.descriptors(), program.memory()) for name, program in self.programs.items()}

    def begin(self):
        self.first = self.look()

    def check(self):
        """Descriptors as many as at the beginning, memory within a little of it."""
        def is_back():
            return all(now[0] <= self.first[name][0] + self.spare for name, now in self.look().items())

        until(is_back, lambda: f"as many descriptors as at first: {self.first} {self.look()}")
        for name, (_, memory) in self.look().items():
            grown = memory - self.first[name][1]
            need(grown <= max(self.memory_slack, self.first[name][1] // 10), f"{name} grew by {grown / MIB:.1f} MiB")

    def text(self):
        last = self.look()
        return "; ".join(f"{name} {self.first[name][1] / MIB:.1f} → {last[name][1] / MIB:.1f} MiB, {self.first[name][0]} → {last[name][0]} descriptors" for name in self.programs)


class Churn:
    """A connector whose links are cut off again and again, and connectors that come and go."""

    def __init__(self, world, edge, tunnel, origin):
        self.world, self.edge, self.tunnel, self.origin = world, edge, tunnel, origin
        self.relay = world.relay("--to", edge.addresses["tunnel"])
        self.steady = world.connector(edge, tunnel, origin.url, self.relay)
        self.connects = 4

    def cut(self):
        """All links of the steady connector at once: TCP by resets, QUIC by an edge that forgets it (its port is black-holed)."""
        seen = self.steady.registrations()
        if self.world.transport == "http2":
            self.relay.order("reset")
        else:
            for flow in self.relay.flows()[-4:]:
                self.relay.set(flow=flow["id"], hole=True)
        self.steady.wait_registered(seen + 4)
        self.connects += 4

    def come_and_go(self, sig, links=2):
        connector = self.world.connector(self.edge, self.tunnel, self.origin.url, connections=links)
        connector.signal(sig)
        connector.process.wait(60)
        self.world.programs.remove(connector)
        self.connects += links


def churn(world, edge, tunnel, origin, total, flat):
    """At least `total` connects, the first tenth to warm up."""
    c = Churn(world, edge, tunnel, origin)
    flat.watch("edge", edge)
    flat.watch("connector", c.steady)
    steps = itertools.cycle([c.cut] * 9 + [lambda: c.come_and_go(signal.SIGKILL), lambda: c.come_and_go(signal.SIGTERM)])
    has_begun = False
    for step in steps:
        step()
        if not has_begun and c.connects >= total // 10:
            edge.wait_links(4)
            flat.begin()
            has_begun = True
        if c.connects >= total:
            break
    edge.wait_links(4)
    flat.check()
    return c.connects
