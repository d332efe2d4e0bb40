"""A new edge takes over from the one that runs on its data directory: nobody is refused, and what is under way ends where it is."""
import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import threading
import time
import urllib.request

import pytest
import websockets.exceptions
import websockets.sync.client
import websockets.sync.server

from bulk_origin import BulkOrigin
from client import Visitor, code_of, get
from test_activation import ActivatedEdge, Sockets
from control import Api, CommandLine, environment, program
from conftest import BUILD, LOOPBACK, SANITIZER, TRANSPORTS, Edge, Program, edge_flags, hostname_of, quick_command, until

pytestmark = pytest.mark.threads
GOING_AWAY = 1001


class NextEdge(Edge):
    """On the directory of another, from which it takes over."""

    def __init__(self, where, *flags, workers=2, **more):
        self.dir = where / "edge"
        command = [BUILD / "adit-edge", "serve", "--data-dir", self.dir, "--upgrade", "--workers", workers, "--grace-period", "5s", "--log-level", "debug",
                   *LOOPBACK, *flags]
        Program.__init__(self, command, where / f"edge-{time.monotonic_ns()}.log", **more)

    def ready(self):
        until(lambda: "edge is ready" in self.text() or self.process.poll() is not None, "the edge is ready")
        assert self.process.poll() is None, self.text()
        self.addresses = json.loads((self.dir / "addresses.json").read_text())
        return self


@pytest.fixture
def upgrades(tmp_path):
    """Starts one edge after the other on one directory, and holds them to a clean end."""
    started = []

    def start(*flags, workers=2, wait=True, **more):
        edge = NextEdge(tmp_path, *flags, workers=workers, **more)
        started.append(edge)
        return edge.ready() if wait else edge

    yield start
    for edge in reversed(started):
        if edge.process.poll() is None:
            assert edge.stop() == 0, edge.text()[-3000:]
    for edge in started:
        assert "runtime error" not in edge.text() and "Sanitizer" not in edge.text(), edge.text()[-6000:]


@pytest.fixture(params=TRANSPORTS)
def transport(request):
    return request.param


def registered(connector):
    return connector.text().count("Registered tunnel connection")


def connections_of(kind):
    return 4 if kind == "adit" else 1


class Load:
    """Requests of two methods, each on a connection of its own, without a pause."""

    def __init__(self, edge, host, count=6):
        self.port, self.host, self.wrong, self.counts, self.over = edge.port("http"), host, [], [0] * count, threading.Event()
        self.threads = [threading.Thread(target=self.ask, args=(i, method)) for i, method in enumerate(("GET", "POST") * (count // 2))]
        for thread in self.threads:
            thread.start()
        self.more()

    def ask(self, i, method):
        body = b"x" * 1000 if method == "POST" else b""
        while not self.over.is_set():
            try:
                with Visitor(self.port, self.host) as visitor:
                    visitor.request(method, "/echo", headers=[("Content-Length", "1000")] if body else [], body=body)
                    status = visitor.response()[0].status_code
            except Exception as e:
                status = repr(e)
            if status != 200:
                self.wrong.append((method, status))
            self.counts[i] += 1

    def more(self):
        before = list(self.counts)
        until(lambda: all(now > was + 5 for now, was in zip(self.counts, before)), "requests are served", 60)

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join(60)
        assert self.wrong == []


def test_an_upgrade_under_load_fails_no_request(upgrades, connectors, origin, kind, transport):
    edge = upgrades("--hold-time", "30s")
    connector = connectors(quick_command(kind, edge, origin.url, transport))
    until(lambda: registered(connector) == connections_of(kind), "every connection")
    load = Load(edge, hostname_of(connector))
    # Over HTTP/2 the reference comes back after up to 20 s, the next time after up to 40.
    for _ in range(1 if (kind, transport) == ("cloudflared", "http2") else 2):
        again = upgrades("--hold-time", "30s")
        assert again.addresses == edge.addresses
        assert edge.process.wait(60) == 0, edge.text()[-3000:]
        assert "another edge has taken over" in edge.text() and "drained" in edge.text()
        edge = again
        load.more()
    load.stop()


def test_a_connector_of_four_connections_comes_over_without_a_request_that_waits(upgrades, connectors, origin, tmp_path, kind, transport):
    """Its last connection at the old edge goes when one is at the new edge: --hold-time is 0."""
    edge = upgrades("--hold-time", "0s")
    line = CommandLine("adit", edge, tmp_path / "home")
    tunnel = line.create("blog")
    line("route", "dns", "blog", "blog.localhost")
    config = tmp_path / "home/config.yml"
    config.write_text(json.dumps({"tunnel": "blog", "credentials-file": str(tmp_path / f"home/{tunnel}.json"), "ingress": [{"service": origin.url}]}))
    command = [program(kind), "--config", config, "tunnel", "--no-autoupdate", "--no-prechecks", "--protocol", transport, "--grace-period", "1s", "--metrics", "127.0.0.1:0",
               *edge_flags(edge), "--cacert", edge.dir / "ca.pem", "run"]
    connector = connectors(command, env=environment(tmp_path))
    until(lambda: registered(connector) == 4, "every connection", 60)
    load = Load(edge, "blog.localhost")
    new = upgrades("--hold-time", "0s")
    assert edge.process.wait(90) == 0, edge.text()[-3000:]
    load.more()
    load.stop()
    until(lambda: new.metrics()["adit_edge_links"] == 4, "every connection is there", 90)


class Echo:
    """A websocket server that notes by which code its connections ended."""

    def __init__(self):
        self.codes = []
        self.server = websockets.sync.server.serve(self._serve, "127.0.0.1", 0)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.socket.getsockname()[1]}"

    def _serve(self, ws):
        with contextlib.suppress(websockets.exceptions.ConnectionClosed):
            while True:
                ws.send(ws.recv())
        self.codes.append(ws.close_code)


@pytest.fixture
def echo():
    origin = Echo()
    yield origin
    origin.server.shutdown()


def connect(edge, host):
    s = socket.create_connection(("127.0.0.1", edge.port("http")))
    return websockets.sync.client.connect(f"ws://{host}/", sock=s, open_timeout=60, close_timeout=20, legacy=True)


def all_echo(sockets):
    for i, ws in enumerate(sockets):
        ws.send(f"{i} " + "x" * 5000)
    assert [ws.recv(timeout=30).split()[0] for ws in sockets] == [str(i) for i in range(len(sockets))]


@pytest.fixture
def opened(upgrades, connectors, echo, transport):
    """An edge with a connector and open websockets."""
    def start(*flags, kind="adit", count=20):
        edge = upgrades("--hold-time", "30s", *flags)
        connector = connectors(quick_command(kind, edge, echo.url, transport))
        until(lambda: registered(connector) == connections_of(kind), "every connection")
        edge.connector, edge.host = connector, hostname_of(connector)
        edge.sockets = [connect(edge, edge.host) for _ in range(count)]
        all_echo(edge.sockets)
        return edge

    return start


def test_websockets_live_on_in_the_old_edge_and_what_is_new_is_served_by_the_new_one(upgrades, opened, kind):
    """Every connection of the connector has websockets: it cannot come over, and the old edge stands in for it."""
    old = opened("--upgrade-grace", "8s", kind=kind)
    end = time.monotonic() + 5
    new = upgrades("--hold-time", "30s")
    all_echo(old.sockets)
    more = [connect(new, old.host) for _ in range(4)]
    while time.monotonic() < end:
        all_echo(old.sockets + more)
    assert old.process.poll() is None
    seen = new.metrics()
    assert seen["adit_edge_requests_total"] == seen['adit_edge_lent_total{way="borrowed"}'] == 4
    assert [code_of(ws) for ws in old.sockets + more] == [GOING_AWAY] * 24
    assert old.process.wait(30) == 0 and "websockets and event streams are told" in old.text()
    until(lambda: "the edge before this one has ended" in new.text(), "the new one hears of it")
    again = [connect(new, old.host)]
    all_echo(again)
    seen = new.metrics()
    assert seen["adit_edge_requests_total"] == 5 and seen['adit_edge_lent_total{way="borrowed"}'] == 4
    again[0].close()


def test_requests_are_served_by_way_of_the_old_edge_while_websockets_hold_its_connections(upgrades, connectors, echo, kind, transport):
    """No request waits for a connector: --hold-time is 0."""
    edge = upgrades("--hold-time", "0s", "--upgrade-grace", "1h")
    connector = connectors(quick_command(kind, edge, echo.url, transport))
    until(lambda: registered(connector) == connections_of(kind), "every connection")
    host = hostname_of(connector)
    sockets = [connect(edge, host) for _ in range(20)]
    new = upgrades("--hold-time", "0s")
    until(lambda: new.metrics()["adit_edge_links"] == 0 and "another edge has taken over" in edge.text(), "the hand-over is done")
    statuses = []
    for i in range(40):
        body = b"x" * 100000 if i % 2 else b""
        with Visitor(new.port("http"), host) as visitor:  # the origin speaks websocket alone, and says so
            visitor.request("POST" if body else "GET", "/", headers=[("Content-Length", str(len(body)))] if body else [], body=body)
            statuses.append(visitor.response()[0].status_code)
    assert set(statuses[::2]) == {426}, statuses
    assert new.metrics()['adit_edge_lent_total{way="borrowed"}'] == 40
    all_echo(sockets)
    edge.process.send_signal(signal.SIGTERM)
    assert [code_of(ws) for ws in sockets] == [GOING_AWAY] * 20
    assert edge.process.wait(30) == 0


def test_an_old_edge_that_is_told_to_stop_tells_its_websockets_sooner(upgrades, opened):
    old = opened("--upgrade-grace", "1h")
    new = upgrades()
    all_echo(old.sockets)
    old.process.send_signal(signal.SIGTERM)
    assert [code_of(ws) for ws in old.sockets] == [GOING_AWAY] * 20
    assert old.process.wait(30) == 0
    assert (new.dir / "addresses.json").exists() and (new.dir / "upgrade.sock").exists()


def test_a_third_edge_is_refused_while_the_first_is_still_ending(upgrades, opened):
    old = opened("--upgrade-grace", "1h")
    upgrades()
    third = upgrades(wait=False)
    assert third.process.wait(30) == 1
    assert f"the edge before the one that runs is still ending (process {old.process.pid}" in third.text()
    all_echo(old.sockets)
    old.process.send_signal(signal.SIGTERM)
    assert old.process.wait(30) == 0
    fourth = upgrades()
    assert fourth.metrics()["adit_edge_links"] >= 0


def test_connections_of_the_old_edge_outlive_the_new_one(upgrades, opened):
    old = opened("--upgrade-grace", "1h")
    new = upgrades()
    new.process.kill()
    new.process.wait()
    until(lambda: "the edge that took over has ended" in old.text(), "the old one hears of it")
    all_echo(old.sockets)


@pytest.mark.parametrize("workers", [1, 3])
def test_a_download_over_quic_goes_on_across_upgrades(upgrades, connectors, workers):
    origin, size = BulkOrigin(), 200 << 20
    edge = first = upgrades("--upgrade-grace", "1h", workers=workers)
    connector = connectors(quick_command("adit", edge, origin.url))
    until(lambda: registered(connector) == 4, "every connection")
    with socket.create_connection(("127.0.0.1", edge.port("http")), timeout=60) as s:
        s.sendall(b"GET /%d HTTP/1.1\r\nHost: %s\r\n\r\n" % (size, hostname_of(connector).encode()))
        data = b""
        while b"\r\n\r\n" not in data:
            data += s.recv(65536)
        got = len(data.partition(b"\r\n\r\n")[2])
        new = upgrades(workers=workers)
        while got < size:
            piece = s.recv(1 << 20)
            assert piece != b"" and piece.strip(b"\0") == b""
            got += len(piece)
        assert got == size
        assert new.metrics()['adit_edge_packets_passed_on_total{result="passed"}'] > 1000
    assert first.process.wait(30) == 0
    origin.stop()


# ---- what the API of the new edge says of connectors that are at the old one ----


@pytest.fixture
def managed(upgrades, connectors, echo, tmp_path):
    """A remotely managed tunnel whose connections all have websockets."""
    edge = upgrades("--upgrade-grace", "1h")
    api = Api(edge)
    tunnel = api.create("managed", config_src="cloudflare")["id"]
    api("PUT", f"{api.tunnels}/{tunnel}/configurations", {"config": {"ingress": [{"service": echo.url}]}}).result
    api("PUT", f"/zones/{api.zones['localhost']}/tunnels/{tunnel}/routes", {"type": "dns", "user_hostname": "managed.localhost"}).result
    token = api("GET", f"{api.tunnels}/{tunnel}/token").result
    command = [program("adit"), "tunnel", "--metrics", "127.0.0.1:0", *edge_flags(edge), "--cacert", edge.dir / "ca.pem", "run", "--token", token]
    connector = connectors(command, env=environment(tmp_path))
    until(lambda: registered(connector) == 4 and get_host(edge, "managed.localhost")[0] == 426, "every connection and the rules")
    edge.sockets = [connect(edge, "managed.localhost") for _ in range(40)]
    new = upgrades()
    until(lambda: new.metrics()["adit_edge_links"] == 0, "no connection has come over")
    return edge, new, tunnel


def get_host(edge, host):
    with Visitor(edge.port("http"), host) as visitor:
        visitor.request("GET", "/")
        head, body = visitor.response()
        return head.status_code, body


def test_a_configuration_that_is_put_at_the_new_edge_reaches_connectors_of_the_old_one(managed):
    old, new, tunnel = managed
    assert get_host(new, "managed.localhost")[0] == 426
    api = Api(new)
    api("PUT", f"{api.tunnels}/{tunnel}/configurations", {"config": {"ingress": [{"service": "http_status:418"}]}}).result
    until(lambda: get_host(new, "managed.localhost")[0] == 418, "the new rules are in force")
    all_echo(old.sockets)


def test_a_hostname_that_is_made_at_the_new_edge_is_served_by_way_of_the_old_one(managed):
    old, new, tunnel = managed
    api = Api(new)
    api("PUT", f"/zones/{api.zones['localhost']}/tunnels/{tunnel}/routes", {"type": "dns", "user_hostname": "other.localhost"}).result
    until(lambda: get_host(new, "other.localhost")[0] == 426, "it is served")


def test_a_tunnel_that_is_deleted_at_the_new_edge_ends_at_the_old_one(managed):
    old, new, tunnel = managed
    api = Api(new)
    assert api("DELETE", f"{api.tunnels}/{tunnel}").status == 200
    until(lambda: old.text().count("closed by the control plane") == 4, "its connections are closed")
    assert [code_of(ws) for ws in old.sockets] != [GOING_AWAY] * 40
    assert old.process.wait(30) == 0


# ---- what does not come about ----


def start_plain(edge, *flags):
    return subprocess.run([BUILD / "adit-edge", "serve", "--data-dir", edge.dir, *LOOPBACK, *flags], capture_output=True, text=True, timeout=60,
                          env={**os.environ, **SANITIZER})


def still_serves(edge, connector):
    connector.edge, connector.host = edge, hostname_of(connector)
    assert [get(connector, "/echo")[0].status_code for _ in range(10)] == [200] * 10


@pytest.fixture
def serving(upgrades, connectors, origin, transport):
    edge = upgrades()
    connector = connectors(quick_command("adit", edge, origin.url, transport))
    until(lambda: registered(connector) == 4, "every connection")
    edge.connector = connector
    yield edge
    still_serves(edge, connector)
    assert edge.process.poll() is None


def test_a_second_edge_without_the_option_is_refused(serving):
    done = start_plain(serving)
    assert done.returncode == 1
    assert f"is in use by another edge (process {serving.process.pid}); take over from it with --upgrade" in done.stderr


def test_a_new_edge_that_cannot_serve_leaves_the_old_one_alone(serving):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = start_plain(serving, "--upgrade", "--https", "127.0.0.1:%d" % taken.getsockname()[1])
    assert done.returncode == 1 and "is in use by another program" in done.stderr
    until(lambda: "the upgrade failed, and this edge goes on" in serving.text(), "the old one says so")
    assert (serving.dir / "addresses.json").exists()


HELLO, REFUSED, WELCOME, LISTENS, RELAY, STREAM, LOCK, NEXT, END, READY = range(10)
FORM = "=IHHIIII16x"


def message(kind, version=1, magic=0x54696441):
    return struct.pack(FORM, magic, version, kind, os.getpid(), 0, 31 if kind == READY else 0, 0)


def ask(edge):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(30)
    s.connect(str(edge.dir / "upgrade.sock"))
    return s


def kind_of(data):
    return struct.unpack(FORM, data)[2]


def receive_all(s):
    """What the running edge hands over: kinds and how many descriptors came with each."""
    kinds = []
    while not kinds or kinds[-1][0] != END:
        data, fds, _, _ = socket.recv_fds(s, 100, 4)
        kinds.append((kind_of(data), len(fds)))
        for fd in fds:
            os.close(fd)
    return kinds


def test_one_that_dies_before_it_is_ready_changes_nothing(serving):
    for i in range(3):
        with ask(serving) as s:
            s.send(message(HELLO))
            kinds = receive_all(s)
            assert kinds[0] == (WELCOME, 0) and kinds[-3:] == [(LOCK, 1), (NEXT, 1), (END, 0)]
            assert [kinds.count((kind, 1)) for kind in (LISTENS, RELAY, STREAM)] == [9, 2, 2]  # two workers
        until(lambda: serving.text().count("the upgrade failed, and this edge goes on") == i + 1, "the edge says so")


@pytest.mark.parametrize("words", [[b""], [b"x"], [message(HELLO, magic=1)], [message(READY)], [message(99)], [message(HELLO), message(HELLO)],
                                   [message(HELLO) + b"x"]])
def test_whoever_says_something_else_is_sent_away(serving, words):
    with ask(serving) as s:
        for word in words:
            s.send(word)
        with contextlib.suppress(ConnectionError):
            while s.recv(100):
                pass
    until(lambda: "the upgrade failed, and this edge goes on" in serving.text(), "the edge says so")


def test_one_of_another_version_is_told(serving):
    with ask(serving) as s:
        s.send(message(HELLO, version=7))
        assert struct.unpack(FORM, s.recv(100))[2:6:3] == (REFUSED, 0)
        assert s.recv(100) == b""


def test_one_at_a_time(serving):
    with ask(serving) as first, ask(serving) as second:
        first.send(message(HELLO))
        receive_all(first)
        assert struct.unpack(FORM, second.recv(100))[2::2] == (REFUSED, os.getpid(), 0)
        assert second.recv(100) == b""
        done = start_plain(serving, "--upgrade")
        assert done.returncode == 1 and f"another edge is taking over right now (process {os.getpid()})" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_user_is_refused(serving):
    os.chmod(serving.dir, 0o711)
    os.chmod(serving.dir / "upgrade.sock", 0o666)
    for path in serving.dir.parents:
        if path.stat().st_uid == 0 and path.stat().st_mode & 0o77 == 0:
            os.chmod(path, 0o711)
    script = f"import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.connect({str(serving.dir / 'upgrade.sock')!r}); print(s.recv(100))"
    done = subprocess.run(["python3", "-c", script], capture_output=True, text=True, timeout=60, user=65534, group=65534)
    assert done.stdout == "b''\n", done.stderr
    assert "somebody else's process asked for our sockets" in serving.text()


# ---- addresses, options, service managers ----


def test_sockets_of_a_service_manager_go_from_edge_to_edge_whatever_the_options_say(tmp_path, upgrades, connectors, origin):
    given = Sockets(reuse_port=True)
    first = ActivatedEdge(tmp_path, given, 2)
    ports = {name: s.getsockname()[1] for name, s in given.by_name}
    connector = connectors(quick_command("adit", first, origin.url))
    until(lambda: registered(connector) == 4, "every connection")
    before = first
    for port in ("1", "2"):  # which nobody may bind
        new = upgrades("--http", f"127.0.0.1:{port}", "--tunnel", f"127.0.0.1:{port}")
        assert {what: new.port(what) for what in ("tunnel", "http", "https", "local")} == ports
        assert before.process.wait(60) == 0
        before = new
    until(lambda: new.metrics()["adit_edge_links"] == 4, "every connection has come over")
    connector.edge, connector.host = new, hostname_of(connector)
    assert [get(connector, "/echo")[0].status_code for _ in range(20)] == [200] * 20
    given.close()


def test_with_nobody_to_take_over_from_it_starts_as_always(upgrades):
    edge = upgrades()
    assert "taking over" not in edge.text()
    assert edge.stop() == 0
    assert not (edge.dir / "upgrade.sock").exists() and not (edge.dir / "addresses.json").exists()


def test_other_addresses_are_bound_anew_and_the_old_ones_are_closed(upgrades, connectors, origin):
    edge = upgrades()
    connector = connectors(quick_command("adit", edge, origin.url))
    until(lambda: registered(connector) == 4, "every connection")
    old = dict(edge.addresses)
    new = upgrades("--http", "127.0.0.2:0", "--https", "off", "--hold-time", "30s")
    assert edge.process.wait(60) == 0
    assert new.addresses["http"].startswith("127.0.0.2:") and new.addresses["https"] is None
    assert (new.addresses["tunnel"], new.addresses["local"]) == (old["tunnel"], old["local"])
    for what in ("http", "https"):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(old[what].rsplit(":", 1)[1])))


@pytest.mark.parametrize("before, after", [(1, 3), (3, 1)])
def test_another_number_of_workers_serves(upgrades, connectors, origin, before, after):
    edge = upgrades(workers=before)
    connector = connectors(quick_command("adit", edge, origin.url))
    until(lambda: registered(connector) == 4, "every connection")
    load = Load(edge, hostname_of(connector))
    new = upgrades("--hold-time", "30s", workers=after)
    assert edge.process.wait(60) == 0
    load.more()
    load.stop()
    assert ("as many workers as the edge before this one" in new.text()) == (after < before)


def test_what_the_api_changes_in_the_old_edge_is_known_to_the_new_one(upgrades):
    """A request that the old edge has begun to read is still answered by it."""
    edge = upgrades()
    token = (edge.dir / "admin-token").read_text()
    account = json.loads(call(edge, token, "GET", "/accounts"))["result"][0]["id"]
    body = b'{"name":"late","config_src":"local"}'
    with socket.create_connection(("127.0.0.1", edge.port("local")), timeout=60) as s:
        s.sendall(b"POST /client/v4/accounts/%s/cfd_tunnel HTTP/1.1\r\nHost: local\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                  % (account.encode(), token.encode(), len(body)))
        new = upgrades()
        s.sendall(body)
        assert b"200 OK" in s.recv(65536)
    assert "late" in call(new, token, "GET", f"/accounts/{account}/cfd_tunnel")


def call(edge, token, method, path):
    request = urllib.request.Request(edge.api + path, method=method, headers={"Authorization": f"Bearer {token}"})
    return urllib.request.urlopen(request, timeout=60).read().decode()


def test_a_service_manager_is_told_which_process_serves(upgrades, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        for _ in range(2):
            edge = upgrades(env=env)
            assert manager.recv(200).decode() == f"READY=1\nMAINPID={edge.process.pid}\n"
        edge.process.send_signal(signal.SIGTERM)
        assert manager.recv(200).decode() == f"STOPPING=1\nMAINPID={edge.process.pid}\n"
