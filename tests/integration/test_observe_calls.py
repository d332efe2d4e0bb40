"""The connector's counters of what it asks of the edge and of the connections that it makes for flows: those of the reference."""
import base64
import json
import re
import signal
import socket
import struct
import urllib.request

from conftest import BUILD, cloudflared, edge_flags, until
from test_observe import Observed, value

OPERATIONS, FAILURES, TIMES = (f"cloudflared_rpc_client_{what}" for what in ("operations_total", "failures_total", "latency_secs_count"))


def upgrade(one):
    """A websocket's connection, and the status that it began with."""
    s = socket.create_connection(("127.0.0.1", one.edge.port("http")), timeout=30)
    s.sendall(f"GET / HTTP/1.1\r\nHost: {one.host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
              "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        piece = s.recv(1)
        assert piece, head
        head += piece
    return s, int(head.split()[1])


def test_flows_of_bytes_have_the_time_that_it_took_to_connect_them(edges, connectors, kind):
    with socket.create_server(("127.0.0.1", 0)) as service:
        one = Observed(edges, connectors, kind, f"tcp://127.0.0.1:{service.getsockname()[1]}")
        assert value(one.metrics, "cloudflared_proxy_connect_latency_count") == 0
        for count in (1, 2):
            s, status = upgrade(one)
            with s:
                assert status == 101
                until(lambda: value(one.metrics, "cloudflared_proxy_connect_latency_count") == count, "it is counted")
        assert value(one.metrics, "cloudflared_proxy_connect_latency_bucket", le="5000") == 2
    s, status = upgrade(one)  # nobody listens any more
    s.close()
    assert status == 502
    until(lambda: value(one.metrics, "cloudflared_proxy_connect_streams_errors_total") == 1, "the failure is counted")
    assert value(one.metrics, "cloudflared_proxy_connect_latency_count") == 2


def test_calls_of_the_edge_are_counted_and_timed(edges, connectors, origin, kind):
    one = Observed(edges, connectors, kind, origin.url)

    def count(name, method):
        return value(one.metrics, name, handler="registration", method=method)

    until(lambda: count(OPERATIONS, "update_local_configuration") == 1, "the configuration was told")
    registered = until(lambda: count(OPERATIONS, "register_connection"), "connections were registered")
    assert count(TIMES, "register_connection") >= registered and count(TIMES, "update_local_configuration") == 1
    assert count(FAILURES, "register_connection") is None and count(OPERATIONS, "unregister_connection") is None


def test_leaving_is_a_call_too(edges, connectors, kind):
    """A flow that is under way keeps the connector until its time to leave is over."""
    with socket.create_server(("127.0.0.1", 0)) as service:
        one = Observed(edges, connectors, kind, f"tcp://127.0.0.1:{service.getsockname()[1]}", connector=["--grace-period", "20s"])
        flow, _ = upgrade(one)
        with flow:
            one.connector.process.send_signal(signal.SIGTERM)
            until(lambda: value(one.metrics, OPERATIONS, method="unregister_connection"), "it is counted")
            assert value(one.metrics, TIMES, method="unregister_connection") >= 1
            assert value(one.metrics, FAILURES, method="unregister_connection") is None
            flow.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # its end is no half of one
        if kind == "cloudflared":
            one.connector.process.kill()  # it stays for its whole time
        assert one.connector.process.wait(60) == 0 or kind == "cloudflared"


def test_a_registration_that_is_refused_is_a_failure(edges, connectors, kind):
    edge = edges()
    request = urllib.request.Request(f"http://{edge.addresses['local']}/tunnel", data=b"", method="POST")
    tunnel = json.loads(urllib.request.urlopen(request, timeout=30).read())["result"]
    wrong = {"a": tunnel["account_tag"], "t": tunnel["id"], "s": base64.b64encode(bytes(32)).decode()}
    flags = ["--no-autoupdate", "--no-prechecks", "--metrics", "127.0.0.1:0", "--cacert", edge.dir / "ca.pem", *edge_flags(edge, 2)]
    connector = connectors([BUILD / "adit" if kind == "adit" else cloudflared(), "tunnel", *flags, "run", "--token",
                            base64.b64encode(json.dumps(wrong).encode()).decode()])
    address = until(lambda: re.search(r"Starting metrics server.*?(127\.0\.0\.1:\d+)", connector.text()), "the metrics address").group(1)
    until(lambda: value(address, FAILURES, handler="registration", method="register_connection"), "the failure is counted")
    assert value(address, OPERATIONS, method="register_connection") >= 1 and value(address, TIMES, method="register_connection") >= 1
    connector.process.kill()  # it would try again for long
    connector.process.wait(30)
