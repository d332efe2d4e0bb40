"""The command line of adit beside that of cloudflared: the same words, the same JSON, the same exit status."""
import datetime
import json
import re
import subprocess

import pytest

from conftest import KINDS, need
from control import Api, CommandLine, environment, program, read_cert, write_cert

TUNNEL = "11111111-2222-4333-8444-555555555555"


@pytest.fixture
def both(edges, tmp_path):
    """Both command lines at one edge, which has three tunnels."""
    need("cloudflared")
    edge = edges("--domain", "localhost", "--domain", "two.test")
    api = Api(edge)
    for name in ("beta", "alpha", "a name & more=%"):
        api.create(name)
    gone = api.create("gone")["id"]
    api("DELETE", f"{api.tunnels}/{gone}").result
    lines = [CommandLine(kind, edge, tmp_path / kind) for kind in KINDS]
    lines[0].api = api
    return lines


def plain(text):
    return text.replace("cloudflared", "adit")


def times(value):
    """The same with every time as a time: fractions are written with and without final zeros."""
    if isinstance(value, dict):
        return {k: times(v) for k, v in value.items()}
    if isinstance(value, list):
        return [times(v) for v in value]
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", value):
        return datetime.datetime.fromisoformat(value)
    return value


@pytest.mark.parametrize("args", [
    ["list"], ["list", "-d"], ["list", "--name", "alpha"], ["list", "--name", "a name & more=%"], ["list", "--name-prefix", "a"],
    ["list", "--np", "b"], ["list", "--exclude-name-prefix", "a"], ["list", "--id", TUNNEL], ["list", "--name", "absent"],
    ["list", "--sort-by", "name", "--invert-sort"], ["list", "--sort-by", "id", "--invert-sort"], ["list", "--sort-by", "numConnections"], ["--max-fetch-size", "1", "list"],
    ["info", "alpha"], ["info", "a name & more=%"],
], ids=" ".join)
def test_listings_are_the_same_text(both, args):
    adit, cloudflared = (line(*args) for line in both)
    assert adit.stdout == plain(cloudflared.stdout) and adit.stdout


def test_listings_are_sorted_by_when_they_were_made(both):
    names = [[t["name"] for t in json.loads(both[0]("list", "-o", "json", "--sort-by", "createdAt", *more).stdout)] for more in ([], ["--invert-sort"])]
    assert names[0] == ["beta", "alpha", "a name & more=%"] and names[1] == names[0][::-1]
    assert "--sort-by colour: there is no such order" in both[0]("list", "--sort-by", "colour", status=1).stderr


@pytest.mark.parametrize("args", [["list", "-o", "json"], ["list", "-d", "--output", "json"], ["info", "-o", "json", "beta"]], ids=" ".join)
def test_listings_are_the_same_json(both, args):
    adit, cloudflared = (times(json.loads(line(*args).stdout)) for line in both)
    assert adit == cloudflared and adit


def test_created_tunnels_are_the_same_json(both):
    made = [json.loads(line("create", "-o", "json", f"by-{line.kind}").stdout) for line in both]
    assert [list(one) for one in made] == [["id", "name", "created_at", "deleted_at", "connections", "token"]] * 2
    assert [one["deleted_at"] for one in made] == ["0001-01-01T00:00:00Z"] * 2


def test_created_tunnels_are_the_same_text(both):
    texts = [re.sub(r"[0-9a-f-]{36}", "ID", line("create", f"by-{line.kind}").stdout).replace(str(line.where), "DIR") for line in both]
    adit, cloudflared = (text.replace("by-adit", "N").replace("by-cloudflared", "N") for text in texts)
    assert adit == plain(cloudflared)


@pytest.mark.parametrize("args, words", [
    (["create", "alpha"], "failed to create tunnel: Create Tunnel API call failed: tunnel with name already exists"),
    (["create", TUNNEL], "you cannot use UUIDs as tunnel names"),
    (["create", "--secret", "YQ==", "x"], "Decoded tunnel secret must be at least 32 bytes long"),
    (["create", "--secret", "???", "x"], "Couldn't decode tunnel secret from base64"),
    (["create"], '"adit tunnel create" requires exactly 1 argument, the name of tunnel to create.'),
    (["create", "a", "b"], '"adit tunnel create" requires exactly 1 argument, the name of tunnel to create.'),
    (["info", "absent"], "error parsing tunnel ID: absent is neither the ID nor the name of any of your tunnels"),
    (["info", TUNNEL], "code: 1003, reason: Tunnel not found"),
    (["info"], '"adit tunnel info"'),
    (["token", "absent"], "error parsing tunnel ID: absent is neither the ID nor the name of any of your tunnels"),
    (["token", TUNNEL], "code: 1003, reason: Tunnel not found"),
    (["token"], '"adit tunnel token"'),
    (["delete", "absent"], "there should only be 1 non-deleted Tunnel named absent"),
    (["delete", TUNNEL], ""),
    (["delete"], '"adit tunnel delete" requires at least 1 argument'),
    (["cleanup", "absent"], "there should only be 1 non-deleted Tunnel named absent"),
    (["cleanup"], '"adit tunnel cleanup" requires at least 1 argument'),
    (["route", "dns", "alpha"], 'This command expects the format "adit tunnel route dns <tunnel name/id> <hostname>"'),
    (["route", "dns", "alpha", "no host"], ""),
    (["list", "-o", "xml"], "Unknown output format 'xml'"),
], ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_refusals_have_the_same_words_and_status(both, args, words):
    adit, cloudflared = (line(*args, status=None) for line in both)
    assert adit.returncode == cloudflared.returncode != 0, (adit, cloudflared)
    assert words in adit.stderr and words in plain(cloudflared.stderr), (adit.stderr, cloudflared.stderr)
    assert adit.stdout == cloudflared.stdout == "" and adit.stderr.startswith("adit: ")


@pytest.mark.parametrize("args", [["cleanup", "alpha"], ["cleanup", "-c", TUNNEL, "alpha", "beta"], ["delete", "alpha", "beta"], ["delete", "-f", "a name & more=%"]], ids=" ".join)
def test_changes_print_nothing_on_standard_output(both, args):
    for line in both:
        assert line(*args).stdout == ""
        for name in args[1:]:
            if args[0] == "delete" and not name.startswith("-"):
                both[0].api.create(name)  # for the other one


def test_a_wrong_name_among_several_deletes_nothing(both):
    both[0]("delete", "alpha", "absent", status=1)
    assert "alpha" in both[0]("list").stdout


@pytest.mark.parametrize("name, value", [("TUNNEL_NAME", "beta"), ("TUNNEL_LIST_SORT_BY", "id"), ("TUNNEL_INFO_SORT_BY", "version"),
                                         ("TUNNEL_FORCE_PROVISIONING_DNS", "true"), ("TUNNEL_RUN_FORCE_OVERWRITE", "true")])
def test_a_variable_means_what_it_does_to_cloudflared(both, name, value):
    lists, infos = zip(*[[line(*args, env={name: value}).stdout for args in (["list"], ["info", "-o", "json", "alpha"])] for line in both])
    assert lists[0] == plain(lists[1]) and times(json.loads(infos[0])) == times(json.loads(infos[1]))
    routes = []
    for line in both:
        line("route", "dns", "alpha", f"{line.kind}.localhost")
        routes.append(line("route", "dns", "beta", f"{line.kind}.localhost", env={name: value}, status=None).returncode)
    assert routes[0] == routes[1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_deleted_tunnel_is_not_deleted_again(edges, tmp_path, kind):
    need(kind)
    line = CommandLine(kind, edges(), tmp_path / "home")
    tunnel = line.create("once")
    line("delete", tunnel)
    assert not (line.where / f"{tunnel}.json").exists()
    assert "has already been deleted" in line("delete", tunnel, status=1).stderr
    line("token", tunnel, status=1)
    assert tunnel in line("list", "-d").stdout and tunnel not in line("list").stdout
    assert line.create("once") != tunnel  # its name is free again


@pytest.mark.parametrize("kind", KINDS)
def test_routes_are_new_then_unchanged_then_updated(edges, tmp_path, kind):
    need(kind)
    line = CommandLine(kind, edges(), tmp_path / "home")
    one, two = line.create("one"), line.create("two")
    assert f"Added CNAME app.localhost which will route to this tunnel tunnelID={one}" in line("route", "dns", "one", "app").stderr
    assert "app.localhost is already configured to route to your tunnel" in line("route", "dns", "one", "APP.localhost").stderr
    assert "code: 1003" in line("route", "dns", "two", "app.localhost", status=1).stderr
    assert f"app.localhost updated to route to your tunnel tunnelID={two}" in line("route", "dns", "--overwrite-dns", "two", "app").stderr
    assert "Added CNAME *.wild.localhost" in line("route", "dns", "two", "*.wild.localhost").stderr


def test_adit_finds_the_zone_of_a_hostname(edges, tmp_path):
    line = CommandLine("adit", edges("--domain", "localhost", "--domain", "two.test", "--domain", "sub.two.test"), tmp_path / "home")
    line.create("t")
    for host in ("a.two.test", "a.sub.two.test", "a.localhost"):
        assert f"Added CNAME {host} which" in line("route", "dns", "t", host).stderr
    assert "Added CNAME a.other.test.localhost which" in line("route", "dns", "t", "a.other.test").stderr


def test_a_certificate_is_of_the_domain_that_was_asked_for(edges, tmp_path):
    edge = edges("--domain", "one.test", "--domain", "two.test")
    zones = Api(edge).zones
    assert read_cert(write_cert(edge, tmp_path / "a"))["zoneID"] == zones["one.test"]
    cert = read_cert(write_cert(edge, tmp_path / "b", "--domain", "two.test", "--api-url", "http://edge.test/client/v4"))
    assert cert["zoneID"] == zones["two.test"] and cert["apiURL"] == "http://edge.test/client/v4"
    done = subprocess.run([program("adit").parent / "adit-edge", "cert", "--data-dir", edge.dir, "--domain", "three.test"], capture_output=True, text=True)
    assert done.returncode == 1 and "does not serve the domain three.test" in done.stderr and done.stdout == ""


def adit(*args, where, **env):
    return subprocess.run([str(program("adit")), *args], capture_output=True, text=True, cwd=where, env=environment(where, **env), timeout=60)


@pytest.mark.parametrize("args, words, status", [
    (["tunnel", "--bogus"], "there is no flag --bogus", 255),
    (["tunnel", "frobnicate"], "there is no command frobnicate", 1),
    (["frobnicate"], "there is no command frobnicate", 1),
    (["tunnel", "--loglevel", "loud", "list"], "--loglevel loud", 255),
    (["tunnel", "--ha-connections", "0", "list"], "between 1 and 32", 255),
    (["tunnel", "--grace-period", "4m", "list"], "--grace-period 4m", 255),
    (["tunnel", "--config", "absent.yml", "list"], "absent.yml: cannot be opened", 1),
    (["tunnel", "--origincert", "absent.pem", "list"], "absent.pem: cannot be opened", 1),
    (["tunnel", "--data-dir", "absent", "list"], "there is no cert.pem, and no edge runs on this machine (looked in absent)", 1),
    (["tunnel", "--data-dir", "absent", "login"], "no edge whose data directory you may read runs on this machine", 1),
    (["tunnel", "run"], "say which tunnel to run", 1),
    (["tunnel", "run", "--token", "x"], "the tunnel token is not valid", 1),
    (["tunnel", "run", "--credentials-contents", "{", TUNNEL], "it is not JSON", 1),
    (["tunnel", "--cred-file", "absent.json", "run", TUNNEL], "absent.json: cannot be opened", 1),
])
def test_what_is_wrong_is_said_in_one_line(tmp_path, args, words, status):
    done = adit(*args, where=tmp_path)
    assert done.returncode == status and done.stdout == "", done
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("adit: ") and words in done.stderr, done.stderr


def test_an_api_that_is_not_there_is_named(tmp_path, edges):
    edge = edges()
    line = CommandLine("adit", edge, tmp_path / "home")
    assert edge.stop() == 0
    done = line("list", status=1)
    assert edge.addresses["local"] in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("text, words", [
    ("", "there is no ARGO TUNNEL TOKEN in it"),
    ("-----BEGIN ARGO TUNNEL TOKEN-----\ne30=\n-----END ARGO TUNNEL TOKEN-----\n", "no zoneID or no apiToken"),
])
def test_a_certificate_that_is_none_is_named(tmp_path, text, words):
    (tmp_path / "cert.pem").write_text(text)
    done = adit("--origincert", "cert.pem", "tunnel", "list", where=tmp_path)
    assert done.returncode == 1 and done.stderr.startswith("adit: cert.pem: ") and words in done.stderr, done.stderr


def test_a_token_that_is_not_the_edges_is_unauthorized(edges, tmp_path, kind):
    edge = edges()
    line = CommandLine(kind, edge, tmp_path / "home")
    other = CommandLine(kind, edges(where=tmp_path / "home"), tmp_path / "elsewhere")
    line.cert = other.cert
    done = line("list", status=1)
    assert "403" in done.stderr or "10000" in done.stderr or "unauthorized" in done.stderr


def test_help_and_version(tmp_path):
    for args in (["--help"], ["help"], ["tunnel", "--help"], ["tunnel", "create", "-h"]):
        done = adit(*args, where=tmp_path)
        assert done.returncode == 0 and "adit tunnel create NAME" in done.stdout and "--token-file" in done.stdout
    for args in (["version"], ["--version"]):
        assert re.fullmatch(r"adit \d+\.\d+\.\d+\n", adit(*args, where=tmp_path).stdout)
