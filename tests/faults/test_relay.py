"""The relay does what it is told: to packets, to streams, to one flow or to all."""
import contextlib
import socket
import threading
import time

import pytest
from load import Load
from world import Failure, Relay, until


class Echo:
    """UDP and TCP on one port; whoever wrote is remembered."""

    def __init__(self):
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.port = self.tcp.getsockname()[1]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", self.port))
        self.peers = []
        threading.Thread(target=self.packets, daemon=True).start()
        threading.Thread(target=self.accept, daemon=True).start()

    def packets(self):
        with contextlib.suppress(OSError):
            while True:
                data, peer = self.udp.recvfrom(65536)
                if peer is None:  # closed
                    return
                if peer not in self.peers:
                    self.peers.append(peer)
                self.udp.sendto(data, peer)

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self.stream, args=(self.tcp.accept()[0],), daemon=True).start()

    @staticmethod
    def stream(conn):
        with conn, contextlib.suppress(OSError):
            while data := conn.recv(65536):
                conn.sendall(data)

    def close(self):
        for sock in (self.tcp, self.udp):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


@pytest.fixture
def echo():
    try:
        echo = Echo()
    except OSError:  # the port was free for TCP alone
        echo = Echo()
    yield echo
    echo.close()


@pytest.fixture
def relays(echo):
    started = []

    def start(seed=1):
        started.append(Relay("--to", f"127.0.0.1:{echo.port}", seed=seed))
        return started[-1]

    yield start
    for relay in started:
        relay.close()


@pytest.fixture
def relay(relays):
    return relays()


class Udp:
    def __init__(self, relay):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.connect(("127.0.0.1", relay.port))
        self.sock.settimeout(30)

    def send(self, count, size=100):
        for i in range(count):
            self.sock.send(i.to_bytes(4, "big") + bytes(size - 4))

    def receive(self, count):
        return [self.sock.recv(65536) for _ in range(count)]

    def numbers(self, count):
        return [int.from_bytes(data[:4], "big") for data in self.receive(count)]


def tcp(relay):
    sock = socket.create_connection(("127.0.0.1", relay.port), 30)
    return sock


def settled(relay, count):
    """That many packets were judged, of both ways."""
    until(lambda: relay.counts().get("packets", 0) >= count, lambda: relay.counts())
    return relay.counts()


def survivors(relay):
    """The numbers of those of 200 packets that a loss of 0.3 let through."""
    udp = Udp(relay)
    relay.set(way="up", loss=0.3)
    udp.send(200)
    until(lambda: any(flow["up"] == 200 * 100 for flow in relay.flows()), relay.flows)
    return udp.numbers(200 - relay.counts()["lost"])


def test_packets_and_streams_pass_untouched_while_no_fault_is_set(relay):
    udp, stream = Udp(relay), tcp(relay)
    udp.send(50)
    assert udp.numbers(50) == list(range(50))
    stream.sendall(b"x" * 300000)
    stream.shutdown(socket.SHUT_WR)
    assert len(b"".join(iter(lambda: stream.recv(65536), b""))) == 300000
    assert {flow["kind"] for flow in relay.flows()} >= {"udp"}


def test_loss_takes_packets_and_the_same_seed_takes_the_same_ones(relays):
    first, second, third = (survivors(relays(seed)) for seed in (1, 1, 2))
    assert 80 < len(first) < 190 and first == second and first != third


def test_delay_holds_every_packet_and_every_byte(relay):
    udp, stream = Udp(relay), tcp(relay)
    relay.set(delay=0.3)
    for send, receive in ((lambda: udp.send(1), lambda: udp.receive(1)), (lambda: stream.sendall(b"x"), lambda: stream.recv(1))):
        begin = time.monotonic()
        send()
        receive()
        assert time.monotonic() - begin >= 0.6


def test_packets_overtake_are_doubled_and_spoiled(relay):
    udp = Udp(relay)
    relay.set(way="up", reorder=0.3, reorder_by=0.05)
    udp.send(100)
    numbers = udp.numbers(100)
    assert sorted(numbers) == list(range(100)) and numbers != list(range(100))
    relay.order("clear")
    relay.set(way="up", duplicate=1.0)
    udp.send(10)
    assert sorted(udp.numbers(20)) == sorted(list(range(10)) * 2)
    relay.order("clear")
    relay.set(way="up", corrupt=1.0)
    udp.send(1)
    spoiled = udp.receive(1)[0]
    assert sum(bin(a ^ b).count("1") for a, b in zip(spoiled, bytes(100))) == 1
    stream = tcp(relay)
    stream.sendall(bytes(100))
    assert sum(bin(byte).count("1") for byte in stream.recv(100)) == 1


def test_a_rate_holds_streams_to_it_and_drops_packets_past_its_queue(relay):
    stream, udp = tcp(relay), Udp(relay)
    relay.set(way="up", rate=200000, queue=0.1)
    begin = time.monotonic()
    stream.sendall(bytes(100000))
    left = 100000
    while left:
        left -= len(stream.recv(65536))
    assert time.monotonic() - begin >= 0.25
    udp.send(100, 1000)
    assert settled(relay, 100)["overflowed"] >= 50


def test_a_hole_swallows_one_flow_and_no_other_and_streams_go_on_behind_it(relay):
    one, other, stream = Udp(relay), Udp(relay), tcp(relay)
    for udp in (one, other):
        udp.send(1)
        udp.receive(1)
    flows = relay.flows()
    relay.set(flow=[flow["id"] for flow in flows if flow["kind"] == "udp"][0], hole=True)
    one.send(5)
    other.send(5)
    assert other.numbers(5) == list(range(5))
    assert settled(relay, 4 + 5 + 10)["swallowed"] == 5
    relay.set(kind="tcp", hole=True)
    stream.sendall(b"waits")
    other.send(1)
    other.receive(1)
    stream.setblocking(False)
    with pytest.raises(BlockingIOError):
        stream.recv(5)
    relay.order("clear")
    stream.settimeout(30)
    assert stream.recv(5) == b"waits"


def test_rebinding_goes_on_from_another_port_and_answers_still_come(relay, echo):
    udp = Udp(relay)
    for _ in range(3):
        udp.send(2)
        assert udp.numbers(2) == [0, 1]
        relay.order("rebind")
    assert len(echo.peers) == 3


def test_streams_are_reset_or_ended_by_order(relay):
    stream = tcp(relay)
    stream.sendall(b"x")
    stream.recv(1)
    relay.order("reset")
    with pytest.raises(ConnectionResetError):
        stream.recv(1)
    stream = tcp(relay)
    stream.sendall(b"x")
    stream.recv(1)
    relay.order("end")
    assert stream.recv(1) == b""


def test_orders_that_make_no_sense_are_refused_and_it_goes_on(relay):
    with pytest.raises(Failure, match="no such order"):
        relay.order("dance")
    with pytest.raises(Failure, match="no such faults"):
        relay.set(lose=1)
    with pytest.raises(Failure, match="KeyError"):
        relay.set(flow=99, loss=1.0)
    assert relay.flows() == []


def test_the_load_client_counts_wrong_answers_and_gaps():
    """An origin that tells everybody the same answers one request rightly at most."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        with contextlib.suppress(OSError):
            while True:
                conn, _ = server.accept()
                with conn:
                    conn.recv(65536)
                    conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nword-0")

    threading.Thread(target=serve, daemon=True).start()
    with Load(server.getsockname(), "h", {"GET": 1, "PUT": 1}) as load:
        until(lambda: load.tallies["GET"].requests > 5 and load.tallies["PUT"].requests > 5, load.failures)
        load.stop()
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    get, put = load.tallies["GET"], load.tallies["PUT"]
    assert get.failed >= get.requests - 1 and put.failed == put.requests
    assert set(put.failures) == {"wrong body"}
    assert load.gap("PUT") == load.end - load.begin


def test_dials_are_told_once_each(relay):
    udp = Udp(relay)
    long_header = bytes([0xC3, 0, 0, 0, 1, 8])
    for packet in (long_header + b"A" * 8, long_header + b"A" * 8, bytes([0x43]) + b"A" * 20, long_header + b"B" * 8):
        udp.sock.send(packet)
    udp.receive(4)
    stream = tcp(relay)
    stream.sendall(b"x")
    stream.recv(1)
    clients = [client for client, _ in relay.dials()]
    assert clients == 2 * ["127.0.0.1:%d" % udp.sock.getsockname()[1]] + ["127.0.0.1:%d" % stream.getsockname()[1]]
    times = [when for _, when in relay.dials()]
    assert times == sorted(times) and times[-1] <= time.monotonic()
