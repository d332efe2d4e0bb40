"""Named tunnels: made by either command line, run by either connector, by credentials and by token."""
import json
import os
import pathlib
import re
import subprocess

import pytest

from client import Visitor
from conftest import KINDS, edge_flags, need, until
from control import Api, CommandLine, environment, make_token, parse_token, program, run_command

BOTH_WAYS = [(maker, runner) for maker in KINDS for runner in KINDS]


@pytest.fixture(params=BOTH_WAYS, ids="-made-".join)
def pair(request):
    for one in request.param:
        need(one)
    return request.param


def get(edge, host, path="/"):
    with Visitor(edge.port("http"), host) as visitor:
        visitor.request("GET", path)
        head, body = visitor.response()
        return head.status_code, body


def serving(edge, host):
    until(lambda: get(edge, host) == (200, b"hello\n"), f"{host} answers")


# ---- credentials, config.yml, cert.pem, tokens: made by one, run by the other ----

def test_credentials_and_configuration_of_one_are_run_by_the_other(edges, connectors, origin, tmp_path, pair):
    maker, runner = pair
    edge = edges()
    line = CommandLine(maker, edge, tmp_path / "home")
    tunnel = line.create("blog")
    line("route", "dns", "blog", "blog.localhost")
    config = tmp_path / "home/config.yml"
    config.write_text(json.dumps({"tunnel": "blog", "credentials-file": str(tmp_path / f"home/{tunnel}.json"), "ingress": [
        {"hostname": "blog.localhost", "service": origin.url}, {"service": "http_status:418"}]}))
    connectors(run_command(runner, edge, before=["--config", config]), env=environment(tmp_path)).wait_for("Registered tunnel connection")
    serving(edge, "blog.localhost")
    CommandLine(runner, edge, tmp_path / "other")("route", "dns", tunnel, "else.localhost")
    until(lambda: get(edge, "else.localhost")[0] == 418, "the last rule answers")


def test_a_certificate_beside_its_credentials_runs_a_tunnel_by_name(edges, connectors, origin, tmp_path, pair):
    maker, runner = pair
    edge = edges()
    line = CommandLine(maker, edge, tmp_path / "home")
    line.create("by name")
    line("route", "dns", "by name", "named.localhost")
    before = ["--origincert", line.cert]
    command = run_command(runner, edge, "--url", origin.url, "by name", before=before)
    connectors(command, env=environment(tmp_path, TUNNEL_API_URL=edge.api)).wait_for("Registered tunnel connection")
    serving(edge, "named.localhost")


def test_a_token_of_one_is_run_by_the_other(edges, connectors, origin, tmp_path, pair):
    maker, runner = pair
    edge = edges()
    line = CommandLine(maker, edge, tmp_path / "home")
    line.create("t")
    line("route", "dns", "t", "t.localhost")
    token = line("token", "t").stdout.strip()
    connectors(run_command(runner, edge, "--token", token, "--url", origin.url), env=environment(tmp_path)).wait_for("Registered tunnel connection")
    serving(edge, "t.localhost")


def test_a_token_of_the_edge_needs_nothing_else(edges, connectors, origin, tmp_path):
    edge = edges()
    line = CommandLine("adit", edge, tmp_path / "home")
    line.create("t")
    line("route", "dns", "t", "t.localhost")
    token = line("token", "t").stdout.strip()
    assert parse_token(token)["edges"] == [edge.addresses["tunnel"]]
    command = run_command("adit", edge, "--token", token, "--url", origin.url, trust=False)
    connectors(command, env=environment(tmp_path)).wait_for("Registered tunnel connection")
    serving(edge, "t.localhost")


def test_the_pin_of_a_token_is_checked(edges, connectors, tmp_path):
    edge = edges()
    fields = parse_token(Api(edge).create("pinned")["token"])
    other = parse_token(Api(edges(where=mkdir(tmp_path / "other"))).create("pinned")["token"])
    run = connectors(run_command("adit", edge, "--token", make_token({**fields, "ca": other["ca"]}), trust=False), env=environment(tmp_path))
    run.wait_for("connection to the edge failed")
    assert "connection registered" not in edge.text() and "connection refused" not in edge.text()


def mkdir(path):
    path.mkdir()
    return path


def test_tokens_say_what_the_edge_advertises(edges):
    edge = edges("--advertise", "edge.test:7844", "--advertise", "[2001:db8::1]:7844")
    assert parse_token(Api(edge).create("far")["token"])["edges"] == ["edge.test:7844", "[2001:db8::1]:7844"]


def test_token_can_write_credentials(edges, connectors, tmp_path, pair):
    maker, runner = pair
    edge = edges()
    line = CommandLine(maker, edge, tmp_path / "home")
    line.create("t")
    path = tmp_path / "again.json"
    line("token", "--cred-file", path, "t")
    assert path.stat().st_mode & 0o777 == 0o400
    connectors(run_command(runner, edge, "--cred-file", path, "t"), env=environment(tmp_path)).wait_for("Registered tunnel connection")


# ---- out of argv ----

WAYS = [(kind, way) for kind in KINDS for way in ("environment", "file", "stdin") if (kind, way) != ("cloudflared", "stdin")]


@pytest.mark.parametrize("kind, way", WAYS)
def test_a_token_can_stay_out_of_argv(edges, connectors, tmp_path, kind, way):
    need(kind)
    edge = edges()
    token = Api(edge).create("hidden")["token"]
    (tmp_path / "token").write_text(f"  {token}\n")
    args = {"environment": [], "file": ["--token-file", tmp_path / "token"], "stdin": ["--token-file", "-"]}[way]
    env = environment(tmp_path, **({"TUNNEL_TOKEN": token} if way == "environment" else {}))
    with open(tmp_path / "token") as stdin:
        run = connectors(run_command(kind, edge, *args), env=env, stdin=stdin)
        run.wait_for("Registered tunnel connection")
    assert token not in pathlib.Path(f"/proc/{run.process.pid}/cmdline").read_text()


@pytest.mark.parametrize("text, words", [
    ("", "no token came on standard input"),
    ("%%%", "the tunnel token is not valid: it is not base64"),
    ("aGVsbG8=", "its content is not a JSON object"),
])
def test_what_is_no_token_is_said_in_one_line(edges, tmp_path, text, words):
    command = run_command("adit", edges(), "--token-file", "-")
    done = subprocess.run([str(word) for word in command], input=text, capture_output=True, text=True, timeout=60, env=environment(tmp_path))
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and words in done.stderr, done.stderr
    assert not text or text not in done.stderr


# ---- refusals ----

@pytest.mark.parametrize("what", ["secret", "tunnel", "account", "deleted"])
def test_who_may_not_connect_is_refused_and_can_read_why(edges, connectors, tmp_path, kind, what):
    edge = edges()
    api = Api(edge)
    made = api.create("closed")
    fields = parse_token(made["token"])
    fields.update({"secret": {"s": "A" * 43 + "="}, "tunnel": {"t": "11111111-2222-4333-8444-555555555555"}, "account": {"a": "0" * 32}}.get(what, {}))
    if what == "deleted":
        api("DELETE", f"{api.tunnels}/{made['id']}").result
    run = connectors(run_command(kind, edge, "--token", make_token(fields)), env=environment(tmp_path))
    edge.wait_for('msg="connection refused"')
    line = next(line for line in edge.text().splitlines() if 'msg="connection refused"' in line)
    assert fields["t"] in line and "Unauthorized: the tunnel does not exist, or its secret is another" in line
    run.wait_for("Unauthorized" if kind == "adit" else "Serve tunnel error")
    assert "connection registered" not in edge.text()


def test_a_new_secret_is_wanted_from_new_connections(edges, connectors, tmp_path, kind):
    edge = edges()
    api = Api(edge)
    made = api.create("changed")
    secret = "QUFB" * 11
    assert "token" not in api("PATCH", f"{api.tunnels}/{made['id']}", {"tunnel_secret": secret}).result
    connectors(run_command(kind, edge, "--token", made["token"]), env=environment(tmp_path))
    edge.wait_for('msg="connection refused"')
    token = api("GET", f"{api.tunnels}/{made['id']}/token").result
    assert parse_token(token)["s"] == secret
    connectors(run_command(kind, edge, "--token", token), env=environment(tmp_path)).wait_for("Registered tunnel connection")


# ---- a tunnel that is connected ----

@pytest.fixture
def blog(edges, connectors, origin, tmp_path, kind):
    """A tunnel that serves blog.localhost."""
    edge = edges()
    edge.line = CommandLine(kind, edge, tmp_path / "home")
    edge.api_of = Api(edge)
    edge.tunnel = edge.line.create("blog")
    edge.line("route", "dns", "blog", "blog.localhost")
    edge.token = edge.line("token", "blog").stdout.strip()
    edge.run = connectors(run_command(kind, edge, "--token", edge.token, "--url", origin.url), env=environment(tmp_path))
    edge.run.wait_for("Registered tunnel connection")
    serving(edge, "blog.localhost")
    return edge


def test_a_connected_tunnel_is_deleted_by_force_alone(blog):
    done = blog.line("delete", "blog", status=1)
    assert "code: 1022" in done.stderr and "active connections" in done.stderr
    assert get(blog, "blog.localhost")[0] == 200 and (blog.line.where / f"{blog.tunnel}.json").exists()
    blog.line("delete", "-f", "blog")
    assert not (blog.line.where / f"{blog.tunnel}.json").exists()
    until(lambda: get(blog, "blog.localhost")[0] == 404, "the hostname has gone")
    blog.wait_for('msg="connection refused"')  # when the connector comes back
    until(lambda: blog.api_of("GET", f"{blog.api_of.tunnels}/{blog.tunnel}").result["connections"] == [], "no connection is left")


def test_cleanup_ends_connections_and_the_connector_comes_back(blog):
    before = {conn["id"] for conn in blog.api_of.connections(blog.tunnel)}
    blog.line("cleanup", "blog")
    until(lambda: (now := {conn["id"] for conn in blog.api_of.connections(blog.tunnel)}) and not now & before, "other connections")
    serving(blog, "blog.localhost")


def test_cleanup_of_one_connector_leaves_the_other(blog, connectors, origin, tmp_path, kind):
    connectors(run_command(kind, blog, "--token", blog.token, "--url", origin.url), env=environment(tmp_path)).wait_for("Registered tunnel connection")
    clients = until(lambda: (found := {conn["client_id"] for conn in blog.api_of.connections(blog.tunnel)}) and len(found) == 2 and found, "two connectors")
    first, second = sorted(clients)
    ids = lambda client: {conn["id"] for conn in blog.api_of.connections(blog.tunnel) if conn["client_id"] == client}  # noqa: E731
    before, kept = ids(first), ids(second)
    blog.line("cleanup", "--connector-id", first, "blog")
    until(lambda: not ids(first) & before, "the connections of one have gone")
    assert kept <= ids(second)


def test_info_and_list_show_who_is_connected(blog):
    until(lambda: len(blog.api_of.connections(blog.tunnel)) >= 2, "two connections")
    info = json.loads(blog.line("info", "-o", "json", "blog").stdout)
    conns = info["conns"][0]
    assert info["id"] == blog.tunnel and info["name"] == "blog" and len(conns["conns"]) >= 2
    assert conns["arch"].startswith("linux_") and conns["version"] and "serialized_headers" in conns["features"]
    assert {conn["origin_ip"] for conn in conns["conns"]} == {"127.0.0.1"}
    rows = blog.line("info", "blog").stdout.splitlines()
    assert rows[4].startswith("CONNECTOR ID") and rows[5].startswith(conns["id"]) and re.search(r" 127\.0\.0\.1 [24]xADT $", rows[5])
    assert re.search(r" [24]xADT +$", blog.line("list").stdout.splitlines()[2])


def test_a_stopped_connector_is_gone_from_the_list(blog):
    tunnel = lambda: blog.api_of("GET", f"{blog.api_of.tunnels}/{blog.tunnel}").result  # noqa: E731
    assert tunnel()["status"] in ("healthy", "degraded") and tunnel()["conns_inactive_at"] is None
    blog.run.stop()
    until(lambda: tunnel()["status"] == "down", "the tunnel is down")
    assert tunnel()["connections"] == [] and tunnel()["conns_inactive_at"] and tunnel()["conns_active_at"] is None
    until(lambda: get(blog, "blog.localhost")[0] == 530, "a page that says so")
    blog.line("delete", "blog")


def test_a_route_that_is_moved_leads_to_the_other_tunnel_at_once(blog, connectors, tmp_path, kind):
    other = blog.line.create("other")
    assert "code: 1003" in blog.line("route", "dns", "other", "blog.localhost", status=1).stderr
    config = tmp_path / "other.yml"
    config.write_text(json.dumps({"tunnel": other, "credentials-file": str(blog.line.where / f"{other}.json"), "ingress": [{"service": "http_status:418"}]}))
    connectors(run_command(kind, blog, before=["--config", config]), env=environment(tmp_path)).wait_for("Registered tunnel connection")
    blog.line("route", "dns", "-f", "other", "blog.localhost")
    until(lambda: get(blog, "blog.localhost")[0] == 418, "the other tunnel answers")


# ---- login ----

def test_login_on_the_machine_of_the_edge_is_good_for_both(edges, tmp_path, kind):
    edge = edges()
    env = environment(tmp_path)
    login = [str(program("adit")), "tunnel", "--data-dir", str(edge.dir), "login"]
    done = subprocess.run(login, capture_output=True, text=True, env=env, timeout=60)
    path = tmp_path / ".cloudflared/cert.pem"
    assert done.returncode == 0 and str(path) in done.stdout and path.stat().st_mode & 0o777 == 0o600
    again = subprocess.run(login, capture_output=True, text=True, env=env, timeout=60)
    assert again.returncode == 1 and "would overwrite" in again.stderr
    made = subprocess.run([str(program(kind)), "tunnel", *(["--api-url", edge.api] if kind == "cloudflared" else []), "create", "x"],
                          capture_output=True, text=True, env=env, cwd=tmp_path, timeout=60)
    assert made.returncode == 0, made.stderr
    assert [t["name"] for t in Api(edge)("GET", Api(edge).tunnels).result] == ["x"]
    assert len(list((tmp_path / ".cloudflared").glob("*-*.json"))) == 1
