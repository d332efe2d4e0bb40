"""adit-edge serve: its options, its data directory, its start and its end."""
import base64
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time

import h11
import pytest

from client import Visitor
from conftest import BUILD, LOOPBACK, SANITIZER, Edge, hostname_of, quick_command, until
from control import Api, CommandLine, environment, make_token, parse_token, run_command

EDGE = BUILD / "adit-edge"
TOKEN = re.compile(r"[0-9A-Za-z_-]{40,80}")


def edge_once(*args, cwd=None, env=None):
    """A run that is expected to end by itself."""
    done = subprocess.run([str(word) for word in (EDGE, *args)], capture_output=True, text=True, cwd=cwd, timeout=60,
                          env={**environment(cwd or "/"), **(env or {})})
    assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
    return done


# ---- options ----

DEFAULTS = {
    "data-dir": "[./var; for root /var/lib/adit]", "tunnel": "[:7844]", "http": "[:8080; for root :80]",
    "https": "[:8443; for root :443]", "local": "[127.0.0.1:7845]", "domain": "[localhost]", "workers": "[0]",
    "max-quick-tunnels": "[1024]", "quick-tunnel-away": "[5m]", "grace-period": "[30s]", "log-level": "[info]",
    "log-format": "[logfmt]", "config": "[none]",
}


def test_help_lists_every_option_with_its_default_and_its_variable():
    done = edge_once("--help")
    rows = {row.split()[0]: " ".join(row.split()) for row in done.stdout.split("\n  --")[1:]}
    assert done.returncode == 0 and done.stderr == ""
    for name, default in DEFAULTS.items():
        assert default in rows[name], name
        assert "$ADIT_EDGE_" + name.upper().replace("-", "_") in rows[name]
    assert max(len(line) for line in done.stdout.splitlines()) <= 100


def test_options_come_from_flags_then_environment_then_file(edges, tmp_path):
    config = tmp_path / "edge.yml"
    config.write_text("log-format: json\nlog-level: debug\ndomain: [one.test, two.test]\nmax-quick-tunnels: 7\nworkers: 2\n")
    os.environ["ADIT_EDGE_DOMAIN"] = "three.test,four.test"
    try:
        edge = edges("--config", config, "--log-level", "info")
    finally:
        del os.environ["ADIT_EDGE_DOMAIN"]
    assert all(json.loads(line)["level"] != "debug" for line in edge.text().splitlines())
    assert set(Api(edge).zones) == {"three.test", "four.test"}


@pytest.mark.parametrize("args, words", [
    (["serve", "--bogus"], "there is no flag --bogus"),
    (["serve", "--worker", "2"], "did you mean --workers"),
    (["serve", "--workers", "many"], "--workers many: a whole number is wanted"),
    (["serve", "--workers", "257"], "between 0 and 256"),
    (["serve", "--http"], "--http needs a value"),
    (["serve", "--http", "nonsense"], "--http nonsense: an address is wanted"),
    (["serve", "--http", "127.0.0.1:65536"], "--http 127.0.0.1:65536: an address is wanted"),
    (["serve", "--tunnel", "off"], "--tunnel off: an address is wanted"),
    (["serve", "--local", "off"], "--local off: an address is wanted"),
    (["serve", "--domain", "a b"], "--domain a b: a domain name is wanted"),
    (["serve", "--domain", "a.test", "--domain", "A.test"], "--domain a.test is there twice"),
    (["serve", "--advertise", "no port:x"], "--advertise no port:x: host:port is wanted"),
    (["serve", "--grace-period", "5"], "a duration is wanted"),
    (["serve", "--log-level", "loud"], "--log-level loud"),
    (["serve", "--log-format", "xml"], "--log-format xml"),
    (["serve", "--config", "absent.yml"], "absent.yml: cannot be opened: No such file"),
    (["serve", "--config", "."], ".: cannot be read"),
    (["serve", "extra"], "serve takes flags alone, not extra"),
    (["frobnicate"], "there is no command frobnicate"),
    (["cert", "--data-dir", "absent"], "absent is not the data directory of an edge"),
])
def test_what_is_wrong_is_said_in_one_line_before_anything_is_written(tmp_path, args, words):
    done = edge_once(*args, *(["--data-dir", "var"] if args[0] == "serve" and args[1:] != ["--http"] else []), cwd=tmp_path)
    assert done.returncode != 0 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("adit-edge: ") and words in done.stderr, done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text, words", [
    ("bogus: 1\n", 'there is no option "bogus"'),
    ("http: ':0'\nworkers: many\n", "edge.yml:2:10: --workers many"),
    ("- http\n", "edge.yml:1:1: options are wanted"),
    ("http: [\n", "edge.yml:2:1: "),
    ("http: {a: b}\n", "a single value is wanted"),
])
def test_a_file_of_options_is_refused_with_line_and_column(tmp_path, text, words):
    (tmp_path / "edge.yml").write_text(text)
    done = edge_once("serve", "--config", "edge.yml", cwd=tmp_path)
    assert done.returncode != 0 and done.stderr.count("\n") == 1 and words in done.stderr, done.stderr


def test_a_variable_with_a_bad_value_is_named(tmp_path):
    done = edge_once("serve", cwd=tmp_path, env={"ADIT_EDGE_WORKERS": "many"})
    assert done.returncode != 0 and "ADIT_EDGE_WORKERS: --workers many" in done.stderr


# ---- defaults that depend on who runs it ----

def in_a_network_of_its_own(user):
    """Fixed ports are free there, and nobody else's are touched."""
    words = ["unshare", "--net"]
    if user:
        words += ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups"]
    if os.geteuid() != 0 or subprocess.run([*words, "true"], capture_output=True).returncode != 0:
        pytest.skip("only root may make a network namespace")
    return words


@pytest.fixture
def shared_directory():
    """Which another user may reach; pytest's own may be entered by its maker alone."""
    path = pathlib.Path(tempfile.mkdtemp())
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize("user, http, https", [(0, 80, 443), (65534, 8080, 8443)])
def test_ports_by_default_are_those_that_the_user_may_bind(shared_directory, user, http, https):
    words = [*in_a_network_of_its_own(user), EDGE, "serve"] + (["--data-dir", "var"] if user == 0 else [])
    log = open(shared_directory / "log", "w")
    edge = subprocess.Popen([str(word) for word in words], cwd=shared_directory, stderr=log, env={**environment("/"), **SANITIZER})
    try:
        path = shared_directory / "var/addresses.json"  # also the default directory, for who is not root
        until(lambda: path.exists() or edge.poll() is not None, "addresses.json")
        addresses = json.loads(path.read_text())
        assert path.parent.stat().st_uid == user
    finally:
        edge.terminate()
        assert edge.wait(30) == 0, (shared_directory / "log").read_text()
    assert addresses == {"tunnel": "127.0.0.1:7844", "http": f"127.0.0.1:{http}", "https": f"127.0.0.1:{https}", "local": "127.0.0.1:7845"}


def test_the_data_directory_of_root_is_below_var_lib(tmp_path):
    done = edge_once("cert", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.split()[1] == ("/var/lib/adit" if os.geteuid() == 0 else "./var")


# ---- the data directory ----

def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()
            if path.is_file() and not path.name.startswith("adit.db") and path.name != "lock"}


def test_the_first_start_makes_everything_and_the_second_keeps_it(edges):
    edge = edges()
    assert edge.dir.stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in edge.dir.iterdir() if stat.S_ISREG(path.stat().st_mode)}
    assert {"ca.pem", "ca.key", "server.key", "seal.key", "quic.secret", "admin-token", "adit.db", "addresses.json"} <= set(modes)
    assert {name for name, mode in modes.items() if mode != 0o600} == {"ca.pem", "addresses.json"}
    assert TOKEN.fullmatch((edge.dir / "admin-token").read_text())
    assert b"BEGIN CERTIFICATE" in (edge.dir / "ca.pem").read_bytes() and b"PRIVATE" not in (edge.dir / "ca.pem").read_bytes()
    api = Api(edge)
    made, before = api.create("kept"), contents(edge.dir)
    assert edge.stop() == 0
    again = edges()
    after = contents(again.dir)
    del before["addresses.json"], after["addresses.json"]
    assert after == before
    api = Api(again)
    assert api.account == made["account_tag"]
    assert parse_token(api("GET", f"{api.tunnels}/{made['id']}/token").result)["s"] == parse_token(made["token"])["s"]


def test_addresses_json_has_what_is_bound_and_goes_with_the_edge(edges):
    edge = edges("--https", "off")
    path = edge.dir / "addresses.json"
    addresses = json.loads(path.read_text())
    assert list(addresses) == ["tunnel", "http", "https", "local"] and addresses["https"] is None
    assert all(re.fullmatch(r"127\.0\.0\.1:[1-9]\d*", addresses[name]) for name in ("tunnel", "http", "local"))
    for name in ("http", "local"):
        socket.create_connection(("127.0.0.1", edge.port(name)), timeout=10).close()
        assert f"{name}={addresses[name]}" in edge.text()
    assert edge.stop() == 0 and not path.exists()


def test_a_data_directory_in_use_is_refused_and_its_edge_goes_on(edges):
    edge = edges()
    before = contents(edge.dir)
    done = edge_once("serve", "--data-dir", edge.dir, *LOOPBACK)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert f"the data directory {edge.dir} is in use by another edge (process {edge.process.pid})" in done.stderr
    assert contents(edge.dir) == before and Api(edge).account


def test_what_an_edge_that_was_killed_left_is_in_nobodys_way(edges):
    edge = edges()
    api = Api(edge)
    api.create("survives")
    edge.stop(signal.SIGKILL)
    assert (edge.dir / "addresses.json").exists()
    again = edges()
    assert [t["name"] for t in Api(again)("GET", api.tunnels).result] == ["survives"]


def test_a_key_that_does_not_open_the_database_is_refused(edges):
    edge = edges()
    Api(edge).create("sealed")
    assert edge.stop() == 0
    (edge.dir / "seal.key").write_bytes(bytes(32))
    done = edge_once("serve", "--data-dir", edge.dir, *LOOPBACK)
    assert done.returncode == 1 and "sealed with another key than seal.key" in done.stderr


def test_a_lost_key_of_the_ca_does_not_quietly_make_a_new_ca(edges):
    edge = edges()
    before = (edge.dir / "ca.pem").read_bytes()
    assert edge.stop() == 0
    (edge.dir / "ca.key").unlink()
    done = edge_once("serve", "--data-dir", edge.dir, *LOOPBACK)
    assert done.returncode == 1 and "ca.key is missing though ca.pem is there" in done.stderr
    assert (edge.dir / "ca.pem").read_bytes() == before


def test_an_admin_token_that_was_replaced_is_valid_no_more(edges):
    edge = edges()
    old = (edge.dir / "admin-token").read_text()
    assert edge.stop() == 0
    (edge.dir / "admin-token").unlink()
    api = Api(edges())
    assert api.token != old
    assert api("GET", "/accounts", headers={"Authorization": f"Bearer {old}"}).status == 403


def test_a_secret_that_others_may_read_is_refused(edges):
    edge = edges()
    assert edge.stop() == 0
    (edge.dir / "admin-token").chmod(0o644)
    done = edge_once("serve", "--data-dir", edge.dir, *LOOPBACK)
    assert done.returncode == 1 and "chmod 600" in done.stderr


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("what", ["tunnel", "http", "https", "local"])
def test_a_busy_port_is_said_with_the_option_that_changes_it(edges, tmp_path, what, workers):
    edge = edges(workers=workers)
    flags = dict(zip(LOOPBACK[::2], LOOPBACK[1::2]))
    flags[f"--{what}"] = edge.addresses[what]
    done = edge_once("serve", "--data-dir", tmp_path / "other", "--workers", workers, *[word for pair in flags.items() for word in pair])
    assert done.returncode == 1
    assert f"{edge.addresses[what]} is in use by another program; choose another address with --{what}\n" in done.stderr


# ---- the end ----

@pytest.fixture
def under_way(edges, connectors, origin):
    """An edge with a request whose response has begun and cannot end before finish() is called."""
    edge = edges()
    connector = connectors(quick_command("adit", edge, origin.url))
    connector.wait_for("Registered tunnel connection")
    visitor = Visitor(edge.port("http"), until(lambda: hostname_of(connector), "a hostname"))
    visitor.request("GET", "/stepwise")
    assert isinstance(visitor.event(), h11.Response) and visitor.event().data == b"piece 0\n"
    edge.visitor = visitor
    edge.finish = lambda: [origin.step.release() for _ in range(3)]
    yield edge
    edge.finish()
    visitor.socket.close()
    while origin.step.acquire(blocking=False):
        pass


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_what_is_under_way_end_and_exits_with_zero(under_way, sig):
    edge = under_way
    edge.process.send_signal(sig)
    edge.wait_for("stopping: requests under way may end")
    until(lambda: refuses(edge.port("http")), "new visitors are refused")
    assert edge.process.poll() is None
    edge.finish()
    head, body = edge.visitor.response()
    assert body.endswith(b"piece 2\n")
    assert edge.process.wait(30) == 0 and "drained" in edge.text()
    assert not (edge.dir / "addresses.json").exists()


def refuses(port):
    """Nobody takes the connection, or it ends without an answer."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as s:
            s.settimeout(0.2)
            s.sendall(b"GET / HTTP/1.1\r\nHost: nobody.localhost\r\n\r\n")
            return s.recv(1) == b""
    except OSError:
        return True


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_exits_at_once(under_way, sig):
    edge = under_way
    edge.process.send_signal(sig)
    edge.wait_for("stopping: requests under way may end")
    started = time.monotonic()
    edge.process.send_signal(sig)
    assert edge.process.wait(4) == 0  # the grace period is 5 seconds
    assert time.monotonic() - started < 4 and "drained" not in edge.text()
    assert not (edge.dir / "addresses.json").exists()


# ---- secrets ----

def test_nothing_secret_is_in_the_logs(edges, connectors, tmp_path, kind):
    edge = edges("--log-level", "trace")
    line = CommandLine(kind, edge, tmp_path / "home")
    api, tunnel = Api(edge), line.create("quiet")
    token = line("token", tunnel).stdout.strip()
    fields = parse_token(token)
    run = connectors(run_command(kind, edge, before=["--loglevel", "debug"]), env=environment(tmp_path, TUNNEL_TOKEN=token))
    run.wait_for("Registered tunnel connection")
    wrong = dict(fields, s="d3Jvbmcgc2VjcmV0IHdyb25nIHNlY3JldCB3cm9uZyE=")
    bad = connectors(run_command(kind, edge), env=environment(tmp_path, TUNNEL_TOKEN=make_token(wrong)))
    edge.wait_for("connection refused")
    run.stop()
    bad.stop()
    secrets = [api.token, token, fields["s"], wrong["s"], (edge.dir / "seal.key").read_bytes().hex(), (edge.dir / "quic.secret").read_bytes().hex()]
    for text in (edge.text(), run.text(), bad.text()):
        assert [secret for secret in secrets if secret in text] == []


def test_secrets_are_not_in_the_database_as_they_are(edges):
    edge = edges()
    api = Api(edge)
    secret = parse_token(api.create("sealed")["token"])["s"]
    assert edge.stop() == 0
    stored = b"".join(path.read_bytes() for path in edge.dir.glob("adit.db*"))
    assert b"sealed" in stored
    for text in (secret.encode(), base64.b64decode(secret), api.token.encode()):
        assert text not in stored


def test_an_edge_that_stops_before_its_connectors_ends_in_order(edges, connectors, origin):
    edge = edges(workers=2)
    connector = connectors(quick_command("adit", edge, origin.url))
    connector.wait_for("Registered tunnel connection")
    assert edge.stop() == 0
    assert "runtime error" not in edge.text() and "Sanitizer" not in edge.text(), edge.text()[-6000:]
