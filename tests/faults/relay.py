#!/usr/bin/env python3
"""A network that misbehaves on order: a relay for UDP and TCP between connectors and an edge.

    relay.py [--seed N] --to HOST:PORT           one port for UDP and TCP, which its first line tells: {"port": 40001}
    relay.py [--seed N] --tun NAME               a TUN device: whole packets, so that TCP loses segments too

It takes orders on standard input, a JSON object a line, and answers each with one on standard output:

    {"do": "set", "faults": {"loss": 0.05}, "flow": 3, "kind": "udp", "way": "up"}   of what is left out: all
    {"do": "clear"}       no faults at all any more
    {"do": "flows"}       those it knows: id, kind, client, bytes each way
    {"do": "rebind"}      (flow) UDP goes on from another port, as behind a NAT that forgot
    {"do": "reset"}       (flow) TCP connections are reset towards both ends
    {"do": "end"}         (flow) TCP connections end towards both ends, as when a process dies that owes nothing to read
    {"do": "dials"}       when each client began a connection through it: address, and seconds of the monotonic clock
    {"do": "counts"}      what happened to packets so far

Faults: loss, duplicate, corrupt and reorder are probabilities; delay, jitter and reorder_by are seconds; rate is bytes a second for each
way of a flow, with a queue of `queue` seconds; hole takes everything and gives nothing. A stream of TCP that ends here knows no lost,
doubled or overtaking packets: of these faults it has delay, jitter, rate, corrupt and hole. Over a TUN device all of them hold for both:
a packet comes back with its two addresses exchanged, so that whoever talks to the far address of the device talks to this machine.
"""
import argparse
import collections
import errno
import fcntl
import heapq
import json
import os
import random
import resource
import select
import socket
import struct
import sys
import time

FLOWS_MAX = 4096
PACKETS_A_TURN = 64
QUEUED_MAX = 200000  # packets that wait for their time, over all flows
STREAM_QUEUE_BYTES = 1 << 20
READ_BYTES = 65536
SO_TIMESTAMPNS = 35  # of Linux; Python has no name for it
NO_FAULTS = {"loss": 0.0, "duplicate": 0.0, "corrupt": 0.0, "reorder": 0.0, "reorder_by": 0.02, "delay": 0.0, "jitter": 0.0, "rate": 0.0,
             "queue": 0.2, "hole": False}


class Way:
    """One direction of a flow."""

    def __init__(self, name):
        self.name = name
        self.faults = dict(NO_FAULTS)
        self.is_clean = True
        self.free_at = 0.0  # when the line is free again, with a rate
        self.last = 0.0     # of a stream: nothing overtakes
        self.bytes = 0

    def set(self, faults):
        self.faults.update(faults)
        self.is_clean = all(self.faults[name] == NO_FAULTS[name] for name in NO_FAULTS if name not in ("queue", "reorder_by"))


class Clockwork:
    """What is to happen later, in order."""

    def __init__(self):
        self.heap = []
        self.serial = 0

    def at(self, when, act, *what):
        self.serial += 1
        heapq.heappush(self.heap, (when, self.serial, act, what))

    def run(self, now):
        while self.heap and self.heap[0][0] <= now:
            _, _, act, what = heapq.heappop(self.heap)
            act(*what)

    def wait(self, now):
        return min(max(self.heap[0][0] - now, 0), 1) if self.heap else 1


class Fate:
    """Decides what becomes of packets, by a seed."""

    def __init__(self, seed, clockwork):
        self.random = random.Random(seed)
        self.clockwork = clockwork
        self.counts = collections.Counter()

    def spoil(self, data, skip=0):
        at = self.random.randrange(skip, len(data)) if len(data) > skip else 0
        spoiled = bytearray(data)
        if spoiled:
            spoiled[at] ^= 1 << self.random.randrange(8)
        self.counts["corrupted"] += 1
        return bytes(spoiled)

    def leave_at(self, way, size, now):
        """When a packet has left the line; None: its queue is full."""
        f = way.faults
        if f["rate"] <= 0:
            return now
        begin = max(now, way.free_at)
        if begin - now > f["queue"]:
            return None
        way.free_at = begin + size / f["rate"]
        return way.free_at

    def packet(self, way, data, deliver, skip=0):
        """`deliver(data)` happens now, later, twice, or never. The first `skip` bytes are not corrupted."""
        way.bytes += len(data)
        self.counts["packets"] += 1
        if way.is_clean:
            deliver(data)
            return
        f, chance, now = way.faults, self.random.random, time.monotonic()
        if f["hole"] or (f["loss"] and chance() < f["loss"]):
            self.counts["swallowed" if f["hole"] else "lost"] += 1
            return
        left = self.leave_at(way, len(data), now)
        if left is None or len(self.clockwork.heap) > QUEUED_MAX:
            self.counts["overflowed"] += 1
            return
        if f["corrupt"] and chance() < f["corrupt"]:
            data = self.spoil(data, skip)
        when = left + f["delay"] + (chance() * f["jitter"] if f["jitter"] else 0)
        if f["reorder"] and chance() < f["reorder"]:
            self.counts["reordered"] += 1
            when += f["reorder_by"]
        copies = 1
        if f["duplicate"] and chance() < f["duplicate"]:
            self.counts["duplicated"] += 1
            copies = 2
        for _ in range(copies):
            if when <= now:
                deliver(data)
            else:
                self.clockwork.at(when, deliver, data)


class Flow:
    def __init__(self, ident, kind, client):
        self.id, self.kind, self.client = ident, kind, client
        self.ways = {"up": Way("up"), "down": Way("down")}

    def seen(self):
        return {"id": self.id, "kind": self.kind, "client": self.client, "up": self.ways["up"].bytes, "down": self.ways["down"].bytes}

    def rebind(self):
        pass

    def reset(self):
        pass

    def end(self):
        pass

    def resume(self):
        """Its faults have changed."""

    def close(self):
        pass


class Relay:
    """The loop, the flows, and the orders."""

    def __init__(self, seed):
        self.poll = select.epoll()
        self.handlers = {}  # descriptor: function of the events
        self.clockwork = Clockwork()
        self.fate = Fate(seed, self.clockwork)
        self.flows = collections.OrderedDict()
        self.serial = 0
        self.rules = []  # orders that hold for flows to come
        self.dials, self.dialled = [], set()
        self.orders = b""

    def watch(self, fd, handler, events=select.EPOLLIN):
        self.handlers[fd] = handler
        self.poll.register(fd, events)

    def unwatch(self, fd):
        if self.handlers.pop(fd, None):
            self.poll.unregister(fd)

    def add(self, flow_class, kind, client, *more):
        while len(self.flows) >= FLOWS_MAX:
            self.forget(next(iter(self.flows.values())))
        self.serial += 1
        flow = flow_class(self.serial, kind, client, *more)
        self.flows[flow.id] = flow
        for rule in self.rules:
            self.apply(rule, flow)
        return flow

    def forget(self, flow):
        if self.flows.pop(flow.id, None):
            flow.close()

    @staticmethod
    def apply(rule, flow):
        if rule.get("kind") in (None, flow.kind):
            for way in flow.ways.values():
                if rule.get("way") in (None, way.name):
                    way.set(rule["faults"])
            flow.resume()

    def meant(self, order):
        if order.get("flow") is not None:
            return [self.flows[order["flow"]]]
        return list(self.flows.values())

    def note_dial(self, client, data, more):
        """Of QUIC: an Initial packet for a connection id that this client had not chosen before (RFC 9000 §17.2)."""
        if len(data) > 6 and data[0] & 0xF0 == 0xC0:
            key = (client, data[6:6 + data[5]])
            if key not in self.dialled:
                self.dialled.add(key)
                # When the kernel had it: this program may be late.
                seconds, nanoseconds = struct.unpack("qq", more[0][2])
                self.dials.append(["%s:%d" % client[:2], time.monotonic() - (time.time() - seconds - nanoseconds / 1e9)])

    def obey(self, order):
        do = order["do"]
        if do == "set":
            unknown = set(order["faults"]) - set(NO_FAULTS)
            if unknown:
                return {"error": f"there are no such faults: {sorted(unknown)}"}
            if order.get("flow") is None:
                self.rules.append(order)
            for flow in self.meant(order):
                self.apply(order, flow)
        elif do == "clear":
            self.rules = []
            for flow in self.flows.values():
                self.apply({"faults": NO_FAULTS}, flow)
        elif do in ("rebind", "reset", "end"):
            for flow in self.meant(order):
                getattr(flow, do)()
        elif do == "flows":
            return {"flows": [flow.seen() for flow in self.flows.values()]}
        elif do == "dials":
            return {"dials": self.dials}
        elif do == "counts":
            return {"counts": dict(self.fate.counts)}
        else:
            return {"error": f"there is no such order: {do}"}
        return {}

    def on_orders(self, _):
        data = os.read(0, READ_BYTES)
        if not data:
            sys.exit(0)  # whoever gave the orders is gone
        *lines, self.orders = (self.orders + data).split(b"\n")
        for line in lines:
            try:
                answer = self.obey(json.loads(line))
            except (ValueError, KeyError, TypeError) as e:
                answer = {"error": f"{type(e).__name__}: {e}"}
            print(json.dumps(answer), flush=True)

    def run(self):
        self.watch(0, self.on_orders)
        while True:
            now = time.monotonic()
            self.clockwork.run(now)
            for fd, events in self.poll.poll(self.clockwork.wait(now)):
                handler = self.handlers.get(fd)
                if handler:
                    handler(events)


# ---- UDP ----

class UdpFlow(Flow):
    def __init__(self, ident, kind, client, relay, door):
        super().__init__(ident, kind, "%s:%d" % client[:2])
        self.relay, self.door, self.addr, self.sock = relay, door, client, None
        self.rebind()

    def rebind(self):
        old, self.sock = self.sock, socket.socket(self.door.family, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.sock.connect(self.door.target)
        self.relay.watch(self.sock.fileno(), self.on_answer)
        if old:  # closed after the new one is bound, so that the port is a new one
            self.relay.unwatch(old.fileno())
            old.close()

    def to_edge(self, data):
        try:
            self.sock.send(data)
        except OSError:
            self.relay.fate.counts["unsent"] += 1

    def to_client(self, data):
        try:
            self.door.udp.sendto(data, self.addr)
        except OSError:
            self.relay.fate.counts["unsent"] += 1

    def on_answer(self, _):
        for _ in range(PACKETS_A_TURN):
            try:
                data = self.sock.recv(READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                continue  # nobody listens at the edge's port: the next may get through
            self.relay.fate.packet(self.ways["down"], data, self.to_client)

    def close(self):
        self.door.by_client.pop(self.addr, None)
        self.relay.unwatch(self.sock.fileno())
        self.sock.close()


# ---- TCP ----

class Half:
    """Bytes of one direction that wait for their time, then for their socket."""

    def __init__(self, flow, way, source, sink):
        self.flow, self.way, self.source, self.sink = flow, way, source, sink
        self.on_their_way = 0
        self.ready = collections.deque()
        self.is_ended = False

    def wants_bytes(self):
        return not self.is_ended and not self.way.faults["hole"] and self.on_their_way < STREAM_QUEUE_BYTES

    def pull(self):
        try:
            data = self.source.recv(READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self.is_ended = True
        fate, f, now = self.flow.relay.fate, self.way.faults, time.monotonic()
        self.way.bytes += len(data)
        self.on_their_way += len(data)
        if data and f["corrupt"] and fate.random.random() < f["corrupt"]:
            data = fate.spoil(data)
        when = now
        if f["rate"] > 0:
            when = self.way.free_at = max(now, self.way.free_at) + len(data) / f["rate"]
        when = max(when + f["delay"] + f["jitter"] * fate.random.random(), self.way.last)
        self.way.last = when
        if when <= now and not self.way.faults["hole"]:
            self.arrive(data)
        else:
            self.flow.relay.clockwork.at(when, self.arrive, data)

    def arrive(self, data):
        if self.flow.is_closed:
            return
        self.ready.append(data)
        self.push()
        self.flow.interest()

    def push(self):
        while self.ready and not self.way.faults["hole"]:
            data = self.ready[0]
            try:
                n = self.sink.send(data) if data else 0
                if not data:
                    self.sink.shutdown(socket.SHUT_WR)
            except BlockingIOError:
                return
            except OSError:
                self.flow.reset()
                return
            self.on_their_way -= n
            self.ready.popleft()
            if n < len(data):
                self.ready.appendleft(data[n:])


class TcpFlow(Flow):
    def __init__(self, ident, kind, client, relay, conn, target):
        super().__init__(ident, kind, "%s:%d" % client[:2])
        self.relay, self.is_closed, self.is_connected = relay, False, False
        self.client_side, self.edge_side = conn, socket.socket(conn.family, socket.SOCK_STREAM)
        self.up = Half(self, self.ways["up"], self.client_side, self.edge_side)
        self.down = Half(self, self.ways["down"], self.edge_side, self.client_side)
        for sock in (self.client_side, self.edge_side):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.edge_side.connect_ex(target)
        self.relay.watch(self.client_side.fileno(), self.on_client, 0)
        self.relay.watch(self.edge_side.fileno(), self.on_edge, select.EPOLLOUT)

    def interest(self):
        """What each socket is watched for: a hole shows nothing of either end to the other, and no end of anything."""
        if self.is_closed or not self.is_connected:
            return
        for sock, reads, writes in ((self.client_side, self.up, self.down), (self.edge_side, self.down, self.up)):
            events = select.EPOLLIN if reads.wants_bytes() else 0
            if writes.ready and not writes.way.faults["hole"]:
                events |= select.EPOLLOUT
            if sock.fileno() in self.relay.handlers:
                self.relay.poll.modify(sock.fileno(), events)
        if self.up.is_ended and self.down.is_ended and not self.up.ready and not self.down.ready and self.up.on_their_way + self.down.on_their_way == 0:
            self.relay.forget(self)

    def resume(self):
        ends = (self.client_side, self.edge_side)
        if not self.is_closed and self.is_connected and any(end.fileno() not in self.relay.handlers for end in ends):
            self.reset()  # an end went while nobody was to know
        self.interest()

    def on(self, events, reads, writes):
        try:
            if events & select.EPOLLOUT:
                writes.push()
            if events & (select.EPOLLERR | select.EPOLLHUP) and not reads.wants_bytes():
                if reads.way.faults["hole"]:  # not told, and not asked again
                    self.relay.unwatch(reads.source.fileno())
                elif reads.is_ended:
                    self.reset()
                return
            if events & (select.EPOLLIN | select.EPOLLERR | select.EPOLLHUP) and reads.wants_bytes():
                reads.pull()
        except OSError:
            self.reset()
        self.interest()

    def on_client(self, events):
        if not self.is_connected:
            return
        self.on(events, self.up, self.down)

    def on_edge(self, events):
        if not self.is_connected:
            if self.edge_side.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self.reset()
                return
            self.is_connected = True
            self.interest()
            return
        self.on(events, self.down, self.up)

    def reset(self):
        for sock in (self.client_side, self.edge_side):
            if not self.is_closed:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.relay.forget(self)

    def end(self):
        self.relay.forget(self)

    def close(self):
        if self.is_closed:
            return
        self.is_closed = True
        for sock in (self.client_side, self.edge_side):
            self.relay.unwatch(sock.fileno())
            sock.close()


class Door:
    """The port that connectors dial, for UDP and for TCP."""

    def __init__(self, relay, target):
        host, port = target.rsplit(":", 1)
        self.target = (host.strip("[]"), int(port))
        self.family = socket.AF_INET6 if ":" in self.target[0] else socket.AF_INET
        self.relay = relay
        self.by_client = {}
        self.tcp, self.udp = self.bind()
        relay.watch(self.tcp.fileno(), self.on_accept)
        relay.watch(self.udp.fileno(), self.on_packets)

    def bind(self):
        local = "::1" if self.family == socket.AF_INET6 else "127.0.0.1"
        while True:
            tcp = socket.create_server((local, 0), family=self.family, backlog=256)
            udp = socket.socket(self.family, socket.SOCK_DGRAM)
            try:
                udp.bind((local, tcp.getsockname()[1]))
            except OSError as e:
                if e.errno != errno.EADDRINUSE:
                    raise
                tcp.close()
                udp.close()
                continue
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
            udp.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            udp.setblocking(False)
            tcp.setblocking(False)
            return tcp, udp

    @property
    def port(self):
        return self.tcp.getsockname()[1]

    def on_accept(self, _):
        try:
            conn, client = self.tcp.accept()
        except OSError:
            return
        self.relay.dials.append(["%s:%d" % client[:2], time.monotonic()])
        self.relay.add(TcpFlow, "tcp", client, self.relay, conn, self.target)

    def on_packets(self, _):
        for _ in range(PACKETS_A_TURN):
            try:
                data, more, _, client = self.udp.recvmsg(READ_BYTES, 64)
            except OSError:
                return
            flow = self.by_client.get(client)
            if flow is None:
                flow = self.by_client[client] = self.relay.add(UdpFlow, "udp", client, self.relay, self)
            self.relay.note_dial(client, data, more)
            self.relay.fate.packet(flow.ways["up"], data, flow.to_edge)


# ---- packets of a TUN device ----

class TunDoor:
    SET_IFF, TUN_NO_PI = 0x400454CA, 0x1001

    def __init__(self, relay, name):
        self.relay = relay
        self.fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(self.fd, self.SET_IFF, struct.pack("16sH", name.encode(), self.TUN_NO_PI))
        self.by_port = {}
        relay.watch(self.fd, self.on_packets)

    def deliver(self, data):
        try:
            os.write(self.fd, data)
        except OSError:
            self.relay.fate.counts["unsent"] += 1

    def flow_of(self, packet):
        """By the lower of its ports that is not the edge's: whoever sent the first packet is the client."""
        size = (packet[0] & 15) * 4
        kind = {6: "tcp", 17: "udp"}.get(packet[9])
        if packet[0] >> 4 != 4 or kind is None or len(packet) < size + 4:
            return None, None
        source, target = struct.unpack_from(">HH", packet, size)
        flow = self.by_port.get((kind, target, source))
        if flow:
            return flow, flow.ways["down"]
        flow = self.by_port.get((kind, source, target))
        if flow is None:
            flow = self.by_port[(kind, source, target)] = self.relay.add(Flow, kind, f"port {source}")
        return flow, flow.ways["up"]

    def on_packets(self, _):
        for _ in range(PACKETS_A_TURN):
            try:
                packet = os.read(self.fd, READ_BYTES)
            except OSError:
                return
            flow, way = self.flow_of(packet)
            if flow is None:
                continue
            # Both addresses exchanged: the sums over them stay what they are.
            packet = packet[:12] + packet[16:20] + packet[12:16] + packet[20:]
            self.relay.fate.packet(way, packet, self.deliver, skip=20)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--to", help="host:port of the edge, for UDP and TCP")
    parser.add_argument("--tun", help="name of a TUN device")
    args = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a flow has a socket
    relay = Relay(args.seed)
    if args.tun:
        TunDoor(relay, args.tun)
        print(json.dumps({"tun": args.tun}), flush=True)
    else:
        print(json.dumps({"port": Door(relay, args.to).port}), flush=True)
    relay.run()


if __name__ == "__main__":
    main()
