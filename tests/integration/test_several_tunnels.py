"""Several tunnels in one process: by their names, and by the list of the configuration file, of one edge and of different ones."""
import json
import os
import pathlib
import re
import signal
import threading
import urllib.request

import pytest

import origin as origins
from client import Visitor
from conftest import BUILD, edge_flags, until
from control import Api, CommandLine, environment, make_token, parse_token, program


class Several:
    """Edges with their command lines and tunnels, and one connector with a file of its own."""

    def __init__(self, edges, connectors, where):
        self.edges, self.connectors, self.where = edges, connectors, where
        self.config = where / "config.yml"
        self.ids = {}

    def line(self, name="first", **more):
        (self.where / name).mkdir()
        return CommandLine("adit", self.edges(where=self.where / name, **more), self.where / f"{name}-home")

    def tunnel(self, line, name):
        """A tunnel with the hostname NAME.localhost, as an entry with its credentials, its edge and its CA."""
        self.ids[name] = line.create(name)
        line("route", "dns", name, f"{name}.localhost")
        return {"tunnel": self.ids[name], "credentials-file": str(line.where / f"{self.ids[name]}.json"), "edge": [line.edge.addresses["tunnel"]],
                "cacert": str(line.edge.dir / "ca.pem")}

    def write(self, entries, **more):
        fresh = self.where / "fresh.yml"
        fresh.write_text(json.dumps({"tunnels": entries, **more}))
        os.rename(fresh, self.config)

    def start(self, *args, flags=(), before=None, env=None):
        command = [program("adit"), *(before or ["--config", self.config]), "tunnel", "--grace-period", "10s", "--metrics", "127.0.0.1:0", *flags, "run", *args]
        self.connector = self.connectors(command, env=environment(self.where, **(env or {})))
        return self.connector

    def serving(self, count):
        until(lambda: self.connector.text().count("Registered tunnel connection") >= count, f"{count} connections")

    def local(self, path):
        address = until(lambda: re.search(r'Starting metrics server" address=(\S+)', self.connector.text()), "the metrics server").group(1)
        with urllib.request.urlopen(f"http://{address}{path}", timeout=30) as answer:
            return answer.read().decode()


@pytest.fixture
def several(edges, connectors, tmp_path):
    return Several(edges, connectors, tmp_path)


def get(edge, name, path="/"):
    with Visitor(edge.port("http"), f"{name}.localhost") as visitor:
        visitor.request("GET", path)
        head, body = visitor.response()
        return head.status_code, body


def answers(code):
    return [{"service": f"http_status:{code}"}]


# ---- running ----

def test_tunnels_are_run_by_their_names(several, origin):
    line = several.line()
    for name in ("one", "two"):
        several.tunnel(line, name)
    several.start("one", "two", flags=[*edge_flags(line.edge, 1), "--cacert", line.edge.dir / "ca.pem", "--url", origin.url], before=["--origincert", line.cert],
                  env={"TUNNEL_API_URL": line.edge.api})
    several.serving(8)
    assert get(line.edge, "one") == get(line.edge, "two") == (200, b"hello\n")
    api = Api(line.edge)
    for name, tunnel in several.ids.items():
        assert len(api.connections(tunnel)) == 4
        registered = [text for text in several.connector.text().splitlines() if "Registered tunnel connection" in text and f"tunnel={tunnel}" in text]
        assert len(registered) == 4, name


def test_one_set_of_threads_serves_all_of_them_and_one_page_shows_them(several, origin):
    line = several.line()
    entries = [several.tunnel(line, name) for name in ("one", "two", "three")]
    several.write(entries, ingress=[{"service": origin.url}])
    several.start(flags=["--workers", "2"])
    several.serving(12)
    tasks = pathlib.Path(f"/proc/{several.connector.process.pid}/task")
    names = [task.joinpath("comm").read_text().strip() for task in tasks.iterdir()]
    assert sorted(name for name in names if name.startswith("connector-")) == ["connector-0", "connector-1"]
    for name in several.ids:
        assert get(line.edge, name)[0] == 200
    assert get(line.edge, "two")[0] == 200
    page = several.local("/metrics")
    for name, count in (("one", 1), ("two", 2), ("three", 1)):
        label = f'tunnel="{several.ids[name]}"'
        assert f"cloudflared_tunnel_total_requests{{{label}}} {count}\n" in page
        assert f"cloudflared_tunnel_ha_connections{{{label}}} 4\n" in page
        assert f'cloudflared_tunnel_response_by_code{{{label},status_code="200"}} {count}\n' in page
        assert f'cloudflared_tunnel_server_locations{{{label},connection_id="3",edge_location="ADT"}} 1\n' in page
    heads = [text for text in page.splitlines() if text.startswith("# TYPE")]
    assert len(heads) == len(set(heads))
    ready = json.loads(several.local("/ready"))
    assert ready["readyConnections"] == 12 and {t["id"]: t["readyConnections"] for t in ready["tunnels"]} == {tunnel: 4 for tunnel in several.ids.values()}
    assert [t["tunnelID"] for t in json.loads(several.local("/diag/tunnel"))] == list(several.ids.values())
    assert [t["id"] for t in json.loads(several.local("/config"))["tunnels"]] == list(several.ids.values())


def test_a_single_tunnel_of_the_list_is_shown_as_ever(several, origin):
    line = several.line()
    several.write([several.tunnel(line, "one")], ingress=[{"service": origin.url}])
    several.start()
    several.serving(4)
    assert get(line.edge, "one")[0] == 200
    page = several.local("/metrics")
    assert "\ncloudflared_tunnel_total_requests 1\n" in page and "tunnel=" not in page
    assert set(json.loads(several.local("/ready"))) == {"status", "readyConnections", "connectorId"}


def test_tunnels_of_different_edges_have_their_own_rules_transport_and_trust(several, tmp_path):
    first, second = several.line("first"), several.line("second")
    one, two = several.tunnel(first, "one"), several.tunnel(second, "two")
    token = tmp_path / "two.token"
    token.write_text(second("token", "two").stdout)
    several.write([{**one, "ingress": answers(201), "protocol": "http2"}, {"token-file": str(token), "ingress": answers(202), "protocol": "quic"}, ])
    several.start()
    several.serving(8)
    assert get(first.edge, "one")[0] == 201 and get(second.edge, "two")[0] == 202
    assert get(first.edge, "two")[0] == 404 and get(second.edge, "one")[0] == 404
    registered = [text for text in several.connector.text().splitlines() if "Registered tunnel connection" in text]
    for tunnel, protocol, edge in ((several.ids["one"], "http2", first.edge), (several.ids["two"], "quic", second.edge)):
        mine = [text for text in registered if f"tunnel={tunnel}" in text]
        assert len(mine) == 4 and all(f"protocol={protocol}" in text and f"edge={edge.addresses['tunnel']}" in text for text in mine)
    assert two["tunnel"] == several.ids["two"]


def test_the_arguments_choose_among_the_tunnels_of_the_list(several):
    line = several.line()
    one, two = several.tunnel(line, "one"), several.tunnel(line, "two")
    several.write([{**one, "ingress": answers(201)}, {**two, "ingress": answers(202)}])
    several.start(several.ids["two"])
    several.serving(4)
    assert get(line.edge, "two")[0] == 202 and get(line.edge, "one")[0] == 530


def test_a_wrong_secret_of_one_does_not_stop_the_other(several, tmp_path):
    line = several.line()
    one, two = several.tunnel(line, "one"), several.tunnel(line, "two")
    wrong = tmp_path / "wrong.token"
    wrong.write_text(make_token({**parse_token(line("token", "one").stdout.strip()), "s": "d3Jvbmcgc2VjcmV0IG9mIHRoaXJ0eS10d28gYnl0ZXM="}))
    several.write([{"token-file": str(wrong), "ingress": answers(201)}, {**two, "ingress": answers(202)}])
    several.start()
    several.serving(4)
    until(lambda: re.search(rf"connection to the edge failed.*Unauthorized.*tunnel={several.ids['one']}", several.connector.text()), "the refusal is told")
    assert get(line.edge, "two")[0] == 202
    ready = json.loads(several.local("/ready"))
    assert ready["status"] == 200 and sorted(t["readyConnections"] for t in ready["tunnels"]) == [0, 4]
    assert f'cloudflared_tunnel_tunnel_register_fail{{tunnel="{several.ids["one"]}",error="' in several.local("/metrics")
    assert one["tunnel"] == several.ids["one"]


# ---- changes and the end ----

def test_rules_of_all_change_together_or_not_at_all(several):
    line = several.line()
    one, two = several.tunnel(line, "one"), several.tunnel(line, "two")
    several.write([{**one, "ingress": answers(201)}, {**two, "ingress": answers(202)}])
    several.start()
    several.serving(8)
    assert [get(line.edge, name)[0] for name in several.ids] == [201, 202]
    several.write([{**one, "ingress": answers(203)}, {**two, "ingress": answers("nonsense")}])
    until(lambda: "the configuration file is refused" in several.connector.text(), "the mistake is told")
    assert [get(line.edge, name)[0] for name in several.ids] == [201, 202]
    several.write([{**two, "ingress": answers(204)}, {**one, "ingress": answers(203)}])
    until(lambda: [get(line.edge, name)[0] for name in several.ids] == [203, 204], "the new rules of both")
    several.connector.process.send_signal(signal.SIGHUP)
    for tunnel in several.ids.values():
        until(lambda: re.search(rf"the configuration file was read again.*reason=SIGHUP.*tunnel={tunnel}", several.connector.text()), "it is read for each")
    several.write([{**two, "ingress": answers(205)}])
    until(lambda: "is not in the list any more" in several.connector.text(), "a tunnel that is gone is told")
    assert [get(line.edge, name)[0] for name in several.ids] == [203, 204]
    assert 'adit_connector_config_reloads_total{tunnel="' + several.ids["one"] + '",result="refused"} 2' in several.local("/metrics")


@pytest.mark.threads
def test_all_of_them_drain(several):
    first, second = several.line("first"), several.line("second")
    server = origins.start()
    several.write([several.tunnel(first, "one"), several.tunnel(second, "two")], ingress=[{"service": server.url}])
    several.start()
    several.serving(8)
    results = {}
    threads = [threading.Thread(target=lambda line, name: results.update({name: get(line.edge, name, "/stepwise")}), args=pair)
               for pair in ((first, "one"), (second, "two"))]
    for thread in threads:
        thread.start()
    for tunnel in several.ids.values():
        until(lambda: f'cloudflared_tunnel_concurrent_requests_per_tunnel{{tunnel="{tunnel}"}} 1\n' in several.local("/metrics"), "its request is under way")
    several.connector.process.send_signal(signal.SIGTERM)
    until(lambda: several.connector.text().count("unregistering") == 8, "every connection of both is unregistered")
    assert results == {}
    server.step.release(6)
    for thread in threads:
        thread.join()
    assert results == {name: (200, b"piece 0\npiece 1\npiece 2\n") for name in several.ids}
    assert several.connector.process.wait(30) == 0
    server.shutdown()


# ---- mistakes ----

@pytest.mark.parametrize("entries, more, why", [
    ([{"tunnel": "a", "colour": "red"}], {}, "a tunnel has tunnel, credentials-file"),
    ([{"edge": "127.0.0.1:1"}], {}, "a tunnel needs tunnel: NAME|ID"),
    ([{"tunnel": "a"}, {"tunnel": "a"}], {}, "this tunnel is in the list twice"),
    ([{"tunnel": "a", "protocol": "carrier pigeon"}], {}, "protocol is auto, quic or http2"),
    ([{"tunnel": ["a"]}], {}, "tunnel of a tunnel is a text"),
    ([{"tunnel": "a", "edge": {"b": 1}}], {}, "edge of a tunnel is host:port"),
    (["a"], {}, "each of tunnels is a map"),
    ([], {}, "tunnels is a list of the tunnels to run"),
    ([{"tunnel": "a"}], {"tunnel": "b"}, "say either tunnel: or tunnels:"),
    ([{"tunnel": f"a{i}"} for i in range(33)], {}, "one process runs up to 32 tunnels"),
    ([{"tunnel": "a"}], {"credentials-file": "/nowhere"}, "the credentials of one tunnel were given"),
], ids=lambda value: value.replace(" ", "_") if isinstance(value, str) else "")
def test_a_mistake_in_the_list_is_told(several, entries, more, why):
    several.write(entries, **more)
    connector = several.start()
    assert connector.process.wait(30) in (1, 255)
    assert why in connector.text(), connector.text()


def test_one_tunnel_by_two_ways_is_told(several, tmp_path):
    line = several.line()
    one = several.tunnel(line, "one")
    token = tmp_path / "one.token"
    token.write_text(line("token", "one").stdout)
    several.write([{**one, "ingress": answers(201)}, {"token-file": str(token), "ingress": answers(202)}])
    connector = several.start()
    assert connector.process.wait(30) == 1 and "one tunnel is named twice" in connector.text()


def test_the_rules_of_each_are_validated(several, connectors, tmp_path):
    several.write([{"tunnel": "a", "ingress": answers(201)}, {"tunnel": "b", "ingress": [{"service": "nonsense"}]}])
    check = [BUILD / "adit", "tunnel", "--config", several.config, "ingress", "validate"]
    bad = connectors(check, env=environment(tmp_path))
    assert bad.process.wait(30) == 1 and "nonsense is an invalid address" in bad.text()
    several.write([{"tunnel": "a", "ingress": answers(201)}, {"tunnel": "b", "ingress": answers(202)}])
    good = connectors(check, env=environment(tmp_path))
    assert good.process.wait(30) == 0 and "OK" in good.text() and "unused" not in good.text()
