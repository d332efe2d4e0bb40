"""Quick tunnels: their hostnames, how the edge is found, how they end, how many there may be."""
import json
import re
import signal
import subprocess
import sys

import pytest

from client import Visitor
from conftest import BUILD, edge_flags, hostname_of, quick_command, until
from control import Api, environment, program, write_cert
from test_serve import in_a_network_of_its_own, shared_directory  # noqa: F401 (a fixture)

WORDS = re.compile(r"[a-z]{3,8}-[a-z]{3,8}-[a-z]{3,8}")


def status(edge, host):
    with Visitor(edge.port("http"), host) as visitor:
        visitor.request("GET", "/")
        return visitor.response()[0].status_code


def started(connector, domain="localhost"):
    connector.wait_for("Registered tunnel connection")
    found = re.search(r"[a-z]+-[a-z]+-[a-z]+\." + re.escape(domain), connector.text())
    assert found, connector.text()
    return found.group(0)


def ask(edge, method="POST"):
    api = Api(edge)
    return api(method, "/tunnel", headers={"Content-Type": "application/json"}, base="")


# ---- hostnames ----

def test_the_hostname_is_three_words_under_the_first_domain(edges, connectors, origin, kind):
    edge = edges("--domain", "first.test", "--domain", "localhost")
    host = started(connectors(quick_command(kind, edge, origin.url)), "first.test")
    assert WORDS.fullmatch(host.removesuffix(".first.test"))
    assert status(edge, host) == 200
    assert status(edge, host.replace("first.test", "localhost")) == 404


def test_the_answer_says_what_both_connectors_need(edges):
    edge = edges()
    answer = ask(edge)
    result = answer.result
    assert answer.headers["content-type"] == "application/json"
    assert {"id", "name", "hostname", "account_tag", "secret"} <= set(result)
    host = result["hostname"]
    assert result["urls"] == [f"http://{host}:{edge.port('http')}", f"https://{host}:{edge.port('https')}"]
    assert ask(edge, "GET").status == 405


def test_a_web_page_cannot_make_one(edges):
    edge = edges()
    api = Api(edge)
    answer = api("POST", "/tunnel", headers={"Origin": "http://elsewhere.example", "Accept": "application/json"}, base="")
    assert answer.status == 403 and b"secret" not in answer.raw


def test_quick_tunnels_are_not_among_those_of_the_account(edges):
    edge = edges()
    ask(edge)
    api = Api(edge)
    assert api("GET", api.tunnels).result == []


# ---- finding the edge ----

def adit(*args):
    return [BUILD / "adit", "tunnel", "--metrics", "127.0.0.1:0", *args]


def test_the_edge_in_var_is_found_by_itself(edges, connectors, origin, tmp_path):
    edge = edges()
    (tmp_path / "var").symlink_to(edge.dir)
    host = started(connectors(adit("--url", origin.url), env=environment(tmp_path)))
    assert status(edge, host) == 200


def test_the_addresses_of_an_edge_that_was_killed_are_not_believed(edges, tmp_path, origin):
    edge = edges()
    edge.stop(signal.SIGKILL)
    assert (edge.dir / "addresses.json").exists()
    done = subprocess.run([str(word) for word in adit("--data-dir", edge.dir, "--url", origin.url)],
                          capture_output=True, text=True, env=environment(tmp_path), cwd=tmp_path, timeout=60)
    assert done.returncode == 1 and f"no edge runs with the data directory {edge.dir}" in done.stderr, done.stderr


@pytest.mark.parametrize("slash", ["", "/"])
def test_another_edge_is_found_by_its_quick_service(edges, connectors, origin, tmp_path, slash):
    edge = edges()
    service = f"http://{edge.addresses['local']}{slash}"
    host = started(connectors(adit("--quick-service", service, "--url", origin.url), env=environment(tmp_path)))
    assert status(edge, host) == 200


def test_another_edge_is_found_by_the_saved_login(edges, connectors, origin, tmp_path):
    edge = edges()
    home = tmp_path / "home/.cloudflared"
    home.mkdir(parents=True)
    write_cert(edge, home / "cert.pem")
    host = started(connectors(adit("--url", origin.url), env=environment(home.parent)))
    assert status(edge, host) == 200


UP = """
import fcntl, os, socket, struct, sys
s = socket.socket()
fcntl.ioctl(s, 0x8914, struct.pack("16sh", b"lo", 0x49))  # SIOCSIFFLAGS: up, loopback, running
s.close()
os.execvp(sys.argv[1], sys.argv[1:])
"""


def test_an_edge_of_root_is_found_by_whoever_may_not_read_its_directory(shared_directory):  # noqa: F811
    """By its default address: the answer has the edge's addresses and the pin of its CA."""
    script = shared_directory / "both"
    script.write_text(f"""
mkdir -m 700 root && mkdir -m 777 home && cd home
{BUILD}/adit-edge serve --data-dir ../root/edge 2>../edge.log & edge=$!
while ! grep -q 'edge is ready' ../edge.log; do kill -0 $edge || exit 3; sleep 0.05; done
setpriv --reuid 65534 --regid 65534 --clear-groups {BUILD}/adit tunnel --hello-world --metrics 127.0.0.1:0 --grace-period 1s 2>../adit.log & adit=$!
while ! grep -q 'Registered tunnel connection' ../adit.log; do kill -0 $adit || break; sleep 0.05; done
kill $adit; wait $adit; code=$?
kill $edge; wait $edge || exit 4
exit $code
""")
    env = environment(shared_directory / "home")
    done = subprocess.run([*in_a_network_of_its_own(0), sys.executable, "-c", UP, "bash", str(script)], env=env, cwd=shared_directory, timeout=90)
    text = (shared_directory / "adit.log").read_text()
    assert done.returncode == 0 and "Registered tunnel connection" in text, text


def test_without_an_edge_it_is_said_where_was_looked(tmp_path, origin):
    words = [*in_a_network_of_its_own(0), sys.executable, "-c", UP, *adit("--url", origin.url)]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, env=environment(tmp_path), cwd=tmp_path, timeout=60)
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert "no edge runs on this machine (looked in ./var and /var/lib/adit, and at 127.0.0.1:7845)" in done.stderr
    assert "--quick-service" in done.stderr


def test_a_quick_tunnel_needs_something_to_expose(edges, tmp_path):
    edge = edges()
    done = subprocess.run([str(word) for word in adit("--data-dir", edge.dir)], capture_output=True, text=True, env=environment(tmp_path), timeout=60)
    assert done.returncode == 255 and "--url http://localhost:8000" in done.stderr


# ---- the end ----

def test_it_goes_when_its_connector_has_been_away_for_long_enough(edges, connectors, origin, kind):
    edge = edges("--quick-tunnel-away", "1s")
    connector = connectors(quick_command(kind, edge, origin.url))
    host = started(connector)
    assert status(edge, host) == 200
    connector.stop(signal.SIGTERM)
    until(lambda: "quick tunnel ended" in edge.text(), "the quick tunnel ends")
    until(lambda: status(edge, host) == 404, "nobody has the hostname")


def test_one_that_never_had_a_connector_goes_too(edges):
    edge = edges("--quick-tunnel-away", "500ms", "--max-quick-tunnels", "1")
    host = ask(edge).result["hostname"]
    assert status(edge, host) == 530
    assert ask(edge).status == 429
    until(lambda: status(edge, host) == 404, "it has gone")
    assert ask(edge).status == 200


def test_a_connector_that_comes_back_keeps_its_hostname(edges, connectors, origin, kind):
    edge = edges("--quick-tunnel-away", "10m")
    connector = connectors(quick_command(kind, edge, origin.url))
    host = started(connector)
    flags = [word for name in ("tunnel", "http", "https", "local") for word in (f"--{name}", edge.addresses[name])]
    assert edge.stop() == 0
    again = edges("--quick-tunnel-away", "10m", *flags)
    until(lambda: status(again, host) == 200, "the hostname answers again", 60)


# ---- how many ----

def test_there_are_no_more_than_allowed(edges, connectors, origin, kind):
    edge = edges("--max-quick-tunnels", "2")
    assert [ask(edge).status for _ in range(3)] == [200, 200, 429]
    answer = ask(edge)
    assert answer.code == 1015 and "as many quick tunnels as it allows" in answer.body["errors"][0]["message"]
    command = quick_command(kind, edge, origin.url)
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60, env=environment(edge.dir))
    assert done.returncode == 1
    if kind == "adit":
        assert done.stderr.count("\n") == 1 and "as many quick tunnels as it allows" in done.stderr, done.stderr


def test_an_edge_may_offer_none(edges):
    assert ask(edges("--max-quick-tunnels", "0")).status == 429
