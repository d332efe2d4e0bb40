"""Services that are streams of bytes, from a websocket client through the edge and either connector to a TCP origin."""
import contextlib
import hashlib
import os
import socket
import struct
import subprocess

import pytest
import websockets.exceptions
import websockets.sync.client
from conftest import Program, ask_quick_tunnel, cloudflared, connector_command, need, start_tunnel, stop_tunnel, token_of
from raw_origin import Echo, Listener

BANNER = b"banner\n"
NO_AUTHENTICATION = b"\x05\x01\x00"


class Counter(Listener):
    """Takes as many bytes as are wanted, and says how many there were and which."""

    def serve(self, connection):
        count, digest = 0, hashlib.sha256()
        while count < self.wanted and (data := connection.recv(1 << 16)):
            count, _ = count + len(data), digest.update(data)
        connection.sendall(b"%d %s" % (count, digest.hexdigest().encode()))


class Source(Listener):
    """Sends what it has, and ends."""

    def serve(self, connection):
        connection.sendall(self.data)


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def echo():
    server = Echo()
    yield server
    server.stop()


@pytest.fixture
def tunnels(kind, edge, tmp_path):
    """Starts connectors; the edge is everyone's."""
    with contextlib.ExitStack() as stack:
        def start(service, **origin_request):
            tunnel = start_tunnel(kind, edge, tmp_path / f"{len(stack._exit_callbacks)}", service, origin_request)
            stack.callback(stop_tunnel, tunnel)
            return tunnel
        yield start


@pytest.fixture
def tunnel_of_flags(kind, edge, tmp_path):
    """A connector that has its one service from the command line."""
    with contextlib.ExitStack() as stack:
        def start(*flags):
            tunnel = ask_quick_tunnel(edge)
            (tmp_path / "config.yml").write_text("{}")
            command = connector_command(kind, tmp_path / "config.yml", edge.dir / "ca.pem", [edge.addresses["tunnel"]] * 3, token_of(tunnel))
            at = command.index("--config")
            connector = Program([*command[:at], *flags, *command[at:]], tmp_path / "connector.log", cwd=tmp_path)
            connector.edge, connector.host, connector.kind = edge, tunnel["hostname"], kind
            stack.callback(stop_tunnel, connector)
            connector.wait_for("Registered tunnel connection")
            return connector
        yield start


def connect(tunnel, **headers):
    s = socket.create_connection(("127.0.0.1", tunnel.edge.port("http")))
    return websockets.sync.client.connect(f"ws://{tunnel.host}/", sock=s, max_size=None, compression=None, additional_headers=headers)


def read(ws, size):
    data = b""
    while len(data) < size:
        data += ws.recv(timeout=30)
    return data


def test_bytes_come_back_in_order_whatever_messages_they_went_in(tunnels, echo):
    data = os.urandom(200_000)
    with connect(tunnels(f"tcp://{echo.address}")) as ws:
        assert read(ws, len(BANNER)) == BANNER
        for at in range(0, len(data), 9001):
            ws.send(data[at:at + 9001])
        ws.send([b"in ", b"", b"three ", b"pieces"])
        assert read(ws, len(data) + 15) == data + b"in three pieces"


def test_a_ping_is_answered_and_text_is_not_the_origins(tunnels, echo):
    with connect(tunnels(f"ssh://{echo.address}")) as ws:
        assert read(ws, len(BANNER)) == BANNER
        ws.send("text")
        assert ws.ping(b"payload").wait(30)
        ws.send(b"bytes")
        assert read(ws, 5) == b"bytes"


def test_what_an_origin_sends_is_whole_and_then_ends(tunnels):
    source = Source()
    source.data = os.urandom(5_000_000)
    with connect(tunnels(f"other://{source.address}")) as ws:
        got, sizes = b"", []
        with pytest.raises(websockets.exceptions.ConnectionClosed):
            while True:
                sizes.append(len(message := ws.recv(timeout=30)))
                got += message
        assert got == source.data and max(sizes) <= 16384
    source.stop()


def test_a_long_message_arrives_whole(tunnels, kind):
    """The reference loses what is beyond 16 KiB of a message: there the same bytes go in messages that it can take."""
    counter = Counter()
    data = os.urandom(16_000_000)
    step = len(data) if kind == "adit" else 16384
    counter.wanted = len(data)
    with connect(tunnels(f"tcp://{counter.address}")) as ws:
        for at in range(0, len(data), step):
            ws.send(data[at:at + step])
        assert ws.recv(timeout=60) == b"%d %s" % (len(data), hashlib.sha256(data).hexdigest().encode())
    counter.stop()


def test_a_service_that_is_not_there_is_a_bad_gateway(tunnels):
    tunnel = tunnels(f"tcp://127.0.0.1:{closed_port()}")
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        connect(tunnel)
    assert refused.value.response.status_code == 502


def test_a_service_without_a_port_is_a_bad_gateway(tunnels):
    tunnel = tunnels("other://127.0.0.1")
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        connect(tunnel)
    assert refused.value.response.status_code == 502


def test_a_bastion_goes_where_the_visitor_says(tunnels, echo):
    tunnel = tunnels("bastion")
    for destination in (echo.address, f"localhost:{echo.port}", f"ssh://user@{echo.address}/path?q#f", f"{echo.address}/path"):
        with connect(tunnel, **{"Cf-Access-Jump-Destination": destination}) as ws:
            assert read(ws, len(BANNER)) == BANNER
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        connect(tunnel)
    assert refused.value.response.status_code == 502


# ---- SOCKS ----

def ip4(port, ip="127.0.0.1", command=1):
    return struct.pack("!BBBB4sH", 5, command, 0, 1, socket.inet_aton(ip), port)


def name(port, text):
    return struct.pack("!BBBBB", 5, 1, 0, 3, len(text)) + text + struct.pack("!H", port)


def ip6(port, ip):
    return struct.pack("!BBBB16sH", 5, 1, 0, 4, socket.inet_pton(socket.AF_INET6, ip), port)


def ask(ws, request):
    """The reply to one request: one message."""
    ws.send(NO_AUTHENTICATION)
    assert ws.recv(timeout=30) == b"\x05\x00"
    ws.send(request)
    return ws.recv(timeout=30)


def over(ws):
    with pytest.raises(websockets.exceptions.ConnectionClosed):
        ws.recv(timeout=30)
    return True


def rules(echo):
    return [{"prefix": "127.0.0.2/32", "allow": False}, {"prefix": "127.0.0.0/8", "ports": [echo.port, 1], "allow": True},
            {"prefix": "127.0.0.0/8", "allow": False}, {"prefix": "0.0.0.0/0", "ports": [1], "allow": True}]


def test_socks_leads_to_addresses_and_names_that_the_rules_allow(tunnels, echo):
    tunnel = tunnels("socks-proxy", ipRules=rules(echo))
    for request in (ip4(echo.port), name(echo.port, b"localhost"), name(echo.port, b"127.0.0.1"), ip6(echo.port, "::ffff:127.0.0.1")):
        with connect(tunnel) as ws:
            reply = ask(ws, request)
            assert len(reply) == 10 and reply[:8] == b"\x05\x00\x00\x01\x7f\x00\x00\x01"
            ws.send(b"through")
            assert read(ws, len(BANNER) + 7) == BANNER + b"through"


def test_socks_refuses_what_the_rules_do_not_allow_and_echoes_it(tunnels, echo):
    tunnel = tunnels("socks-proxy", ipRules=rules(echo))
    for request in (ip4(echo.port, "127.0.0.2"), ip4(echo.port + 1), ip4(80, "192.0.2.1"), ip6(echo.port, "::1"),
                    name(echo.port, b"127.0.0.2"), name(echo.port, b"nowhere.invalid")):
        with connect(tunnel) as ws:
            assert ask(ws, request) == b"\x05\x02\x00" + request[3:] and over(ws)


def test_socks_tells_why_a_dial_failed(tunnels, echo):
    port = closed_port()
    tunnel = tunnels("socks-proxy", ipRules=[{"prefix": "127.0.0.0/8", "allow": True}])
    with connect(tunnel) as ws:
        assert ask(ws, ip4(port)) == b"\x05\x05\x00\x01" + bytes(6) and over(ws)


def test_socks_knows_no_other_command_and_no_authentication(tunnels, echo):
    tunnel = tunnels("socks-proxy", ipRules=rules(echo))
    with connect(tunnel) as ws:
        assert ask(ws, ip4(echo.port, command=2)) == b"\x05\x07\x00\x01" + bytes(6) and over(ws)
    with connect(tunnel) as ws:
        ws.send(b"\x05\x01\x02")
        assert ws.recv(timeout=30) == b"\x05\xff" and over(ws)


def test_socks_before_a_fixed_service_asks_no_rules(tunnels, echo):
    with connect(tunnels(f"tcp://{echo.address}", proxyType="socks")) as ws:
        assert ask(ws, ip4(9, "192.0.2.1"))[:2] == b"\x05\x00"
        ws.send(b"through")
        assert read(ws, len(BANNER) + 7) == BANNER + b"through"


def test_a_dialogue_may_come_in_single_bytes_with_data_behind_it(tunnels, echo):
    with connect(tunnels("socks-proxy", ipRules=rules(echo))) as ws:
        for byte in NO_AUTHENTICATION + ip4(echo.port) + b"early":
            ws.send(bytes([byte]))
        assert ws.recv(timeout=30) == b"\x05\x00" and ws.recv(timeout=30)[:2] == b"\x05\x00"
        assert read(ws, len(BANNER) + 5) == BANNER + b"early"


def test_a_bastion_may_be_asked_for_by_a_flag(tunnel_of_flags, echo):
    with connect(tunnel_of_flags("--bastion"), **{"Cf-Access-Jump-Destination": echo.address}) as ws:
        assert read(ws, len(BANNER)) == BANNER


def test_socks_before_a_url_may_be_asked_for_by_a_flag(tunnel_of_flags, echo):
    with connect(tunnel_of_flags("--url", f"tcp://{echo.address}", "--socks5")) as ws:
        assert ask(ws, ip4(9, "192.0.2.1"))[:2] == b"\x05\x00" and read(ws, len(BANNER)) == BANNER


# ---- the reference's client ----

@contextlib.contextmanager
def access(tunnel, *flags):
    """cloudflared access, over its standard input and output; it trusts the CA of the edge."""
    need("cloudflared")
    command = [cloudflared(), "access", "tcp", "--hostname", tunnel.host, "--connect-to", f"127.0.0.1:{tunnel.edge.port('https')}", *flags]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               env=dict(os.environ, SSL_CERT_FILE=str(tunnel.edge.dir / "ca.pem")))
    try:
        yield process
    finally:
        process.stdin.close()
        process.kill()
        process.wait()
        process.stdout.close()


def check_access(process):
    data = os.urandom(100_000)
    assert process.stdout.read(len(BANNER)) == BANNER
    for at in range(0, len(data), 10_000):
        process.stdin.write(data[at:at + 10_000])
        process.stdin.flush()
        assert process.stdout.read(min(10_000, len(data) - at)) == data[at:at + 10_000]


def test_the_references_client_reaches_a_service(tunnels, echo):
    with access(tunnels(f"tcp://{echo.address}")) as process:
        check_access(process)


def test_the_references_client_reaches_a_destination_behind_a_bastion(tunnels, echo):
    with access(tunnels("bastion"), "--destination", echo.address) as process:
        check_access(process)
