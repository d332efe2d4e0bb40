"""Rules that come from the edge: put by the official SDK, told to both connectors over both transports, acknowledged or refused."""
import json
import re
import threading

import cloudflare
import pytest
from client import Visitor, get
from conftest import KINDS, LOOPBACK, TRANSPORTS, need, until
from control import Api, CommandLine, environment, run_command
from scripted import Scripted

HOST = "managed.localhost"
WAYS = [(kind, transport) for kind in KINDS for transport in TRANSPORTS]
UNKNOWN = "11111111-2222-4333-8444-555555555555"


def status(code, **more):
    return {"service": f"http_status:{code}", **more}


class Managed:
    """A tunnel of an edge, reached by the SDK; connectors of one kind run it by its token and have no rules of their own."""

    def __init__(self, edge, start, where, way=("adit", "quic"), config_src="cloudflare"):
        self.start_connector, self.where, (self.kind, self.transport) = start, where, way
        self.host, self.restarted(edge)
        self.tunnel = self.sdk.create(account_id=self.api.account, name="managed", config_src=config_src)
        self.token = self.sdk.token.get(self.tunnel.id, account_id=self.api.account)
        self.api("PUT", f"/zones/{self.api.zones['localhost']}/tunnels/{self.tunnel.id}/routes", {"type": "dns", "user_hostname": HOST}).result

    host = HOST

    def restarted(self, edge):
        self.edge, self.api = edge, Api(edge)
        self.sdk = cloudflare.Cloudflare(api_token=self.api.token, base_url=edge.api, max_retries=0).zero_trust.tunnels.cloudflared

    def connect(self, *flags):
        command = run_command(self.kind, self.edge, *flags, "--token", self.token)
        command[command.index("--protocol") + 1] = self.transport
        connector = self.start_connector(command, env=environment(self.where))
        connector.wait_for("Registered tunnel connection")
        return connector

    def put(self, *rules, **more):
        return self.sdk.configurations.update(self.tunnel.id, account_id=self.api.account, config={"ingress": list(rules), **more})

    def get(self):
        return self.sdk.configurations.get(self.tunnel.id, account_id=self.api.account)

    def connectors(self):
        return list(self.sdk.connections.get(self.tunnel.id, account_id=self.api.account))

    def code(self):
        return get(self, "/")[0].status_code

    def applied(self, version, count=1):
        """Every connector has said so, and there are that many."""
        until(lambda: [c.config_version for c in self.connectors()] == [version] * count, f"version {version} is in force")

    def logged(self, event):
        lines = [line for line in self.edge.text().splitlines() if event in line]
        return [int(re.search(r"version=(\d+)", line)[1]) for line in lines]

    def metric(self, result):
        return self.edge.metrics()[f'adit_edge_configurations_total{{result="{result}"}}']


@pytest.fixture(params=WAYS, ids="-".join)
def site(request, edges, connectors, tmp_path):
    need(request.param[0])
    return Managed(edges(workers=2), connectors, tmp_path, request.param)


# ---- telling ----

def test_a_tunnel_without_rules_gets_them_when_it_registers(site, origin):
    made = site.put({"hostname": HOST, "path": "^/echo", "service": origin.url}, status(418))
    assert (made.version, made.source, made.tunnel_id, made.account_id) == (1, "cloudflare", site.tunnel.id, site.api.account)
    site.connect()
    site.applied(1)
    head, body = get(site, "/echo/a")
    assert head.status_code == 200 and json.loads(body)["path"] == "/echo/a"
    assert site.code() == 418
    assert site.metric("applied") >= 1 and site.metric("refused") == 0
    # It was told at its registration that it is managed, and so said nothing of rules of its own.
    shown = site.get()
    assert shown.version == 1 and shown.source == "cloudflare" and shown.created_at == made.created_at
    assert [rule.service for rule in shown.config.ingress] == [origin.url, "http_status:418"]


def test_a_new_version_takes_effect_while_a_download_and_an_upload_go_on(site):
    server, go_on = Scripted(), threading.Event()
    arrived = {"/down": threading.Event(), "/up": threading.Event()}

    def down(talk, head):
        talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n" + b"d" * 1000000)
        arrived["/down"].set()
        assert go_on.wait(60)
        talk.say(b"e" * 3000000)
        return True

    def up(talk, head):
        first = talk.exactly(1000000)
        arrived["/up"].set()
        body = first + talk.exactly(3000000)
        talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" if body == b"u" * 4000000 else b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
        return True

    server.paths = {"/down": down, "/up": up}
    site.put({"service": server.url})
    site.connect()
    site.applied(1)
    answers = {}

    def download():
        answers["down"] = get(site, "/down")

    def upload():
        with Visitor(site.edge.port("http"), HOST) as visitor:
            visitor.socket.sendall(b"POST /up HTTP/1.1\r\nHost: %s\r\nContent-Length: 4000000\r\n\r\n" % HOST.encode() + b"u" * 1500000)
            assert go_on.wait(60)
            visitor.socket.sendall(b"u" * 2500000)
            answer = b""
            while not answer.endswith(b"\r\n\r\nok") and (piece := visitor.socket.recv(4096)):
                answer += piece
            answers["up"] = answer

    threads = [threading.Thread(target=download), threading.Thread(target=upload)]
    for thread in threads:
        thread.start()
    try:
        for event in arrived.values():
            assert event.wait(60)
        for version, code in ((2, 201), (3, 202)):
            assert site.put(status(code)).version == version
            site.applied(version)
            assert site.code() == code and not answers
    finally:
        go_on.set()
        for thread in threads:
            thread.join(60)
    head, body = answers["down"]
    assert head.status_code == 200 and body == b"d" * 1000000 + b"e" * 3000000
    assert answers["up"].startswith(b"HTTP/1.1 200 ") and answers["up"].endswith(b"ok")
    server.stop()


def test_versions_are_applied_in_their_order_and_the_last_one_stays(site):
    site.connect()
    for version in range(1, 13):
        assert site.put(status(200 + version)).version == version
    site.applied(12)
    assert site.code() == 212
    told = site.logged("configuration applied")
    assert told == sorted(set(told)) and told[-1] == 12
    assert site.metric("sent") == site.metric("applied") == len(told)


def test_a_refused_version_leaves_the_old_one_and_is_shown(site):
    site.put(status(210))
    connector = site.connect()
    site.applied(1)
    assert site.put({"service": "nonsense"}).version == 2  # as far as the API looks, it is right
    refused = until(lambda: site.connectors()[0].model_extra["config_refused"], "the refusal")
    can_say = site.kind == "adit" or site.transport == "quic"
    reason = ("nonsense is an invalid address, please make sure it has a scheme and a hostname" if can_say
              else "the connector refused it; its log says why")
    assert refused == {"version": 2, "reason": reason}
    shown = site.connectors()[0]
    assert shown.config_version == 1 and shown.model_extra["config_version_wanted"] == 2
    assert site.code() == 210 and site.metric("refused") == 1 == site.metric("sent") - 1
    assert reason in site.edge.text() and connector.process.poll() is None
    assert site.put(status(211)).version == 3
    site.applied(3)
    assert site.code() == 211 and site.connectors()[0].model_extra["config_refused"] is None


def test_what_was_put_while_the_connector_was_away_is_there_at_its_return(site):
    site.put(status(220))
    connector = site.connect()
    site.applied(1)
    connector.stop()
    until(lambda: not site.connectors(), "the connector is gone")
    site.put(status(221)), site.put(status(222))
    site.connect()
    site.applied(3)
    assert site.code() == 222 and site.logged("configuration applied") == [1, 3]


def test_two_replicas_both_get_it(site):
    site.put(status(230))
    site.connect()
    site.applied(1)
    site.connect()
    site.applied(1, 2)
    assert site.put(status(231)).version == 2
    site.applied(2, 2)
    assert {site.code() for _ in range(8)} == {231}
    assert site.logged("configuration applied") == [1, 1, 2, 2]


def test_an_edge_that_starts_again_goes_on_with_its_version(site, edges):
    site.put(status(240))
    site.put(status(241))
    site.connect()
    site.applied(2)
    assert site.edge.stop() == 0
    addresses = site.edge.addresses
    flags = [word for name in ("tunnel", "http", "https", "local") for word in (f"--{name}", addresses[name])]
    site.restarted(edges(*flags))
    assert site.get().version == 2 and site.get().config.ingress[0].service == "http_status:241"
    site.applied(2)
    assert site.code() == 241
    assert site.put(status(242)).version == 3
    site.applied(3)
    assert site.code() == 242


# ---- rules of the connector's own ----

def test_local_rules_are_shown_until_the_edge_has_others(edges, connectors, tmp_path, kind, transport):
    site = Managed(edges(), connectors, tmp_path, (kind, transport), config_src="local")
    before = site.get()
    assert (before.version, before.source, before.config) == (0, "local", None)
    config = tmp_path / "config.yml"
    config.write_text(json.dumps({"ingress": [{"hostname": HOST, "service": "http_status:250"}, status(404)]}))
    command = run_command(kind, site.edge, "--token", site.token, before=["--config", config])
    command[command.index("--protocol") + 1] = transport
    connectors(command, env=environment(tmp_path)).wait_for("Registered tunnel connection")
    until(lambda: site.get().config, "what it serves")
    shown = site.get()
    assert (shown.version, shown.source) == (0, "local")
    assert [(rule.hostname, rule.service) for rule in shown.config.ingress] == [(HOST, "http_status:250"), (None, "http_status:404")]
    assert site.sdk.get(site.tunnel.id, account_id=site.api.account).config_src == "local" and site.code() == 250
    assert site.put(status(251)).source == "cloudflare"
    site.applied(1)  # though it registered as one with rules of its own
    assert site.code() == 251 and site.get().config.ingress[0].service == "http_status:251"
    assert site.sdk.get(site.tunnel.id, account_id=site.api.account).config_src == "cloudflare"


@pytest.fixture(params=TRANSPORTS)
def transport(request):
    return request.param


# ---- the API ----

@pytest.fixture(scope="module")
def api(tmp_path_factory):
    from conftest import Edge
    edge = Edge(tmp_path_factory.mktemp("configurations"), 1, LOOPBACK)
    yield Api(edge)
    assert edge.stop() == 0


def put(api, tunnel, body):
    return api("PUT", f"{api.tunnels}/{tunnel}/configurations", body)


@pytest.mark.parametrize("config, message", [
    (None, "config must be an object"), ([], "config must be an object"), ({}, "doesn't contain any ingress rules"),
    ({"ingress": []}, "The config file doesn't contain any ingress rules\n"), ({"ingress": None}, "doesn't contain any ingress rules"),
    ({"ingress": {}}, "ingress must be a list"), ({"ingress": ["x"]}, "must be an object"), ({"ingress": [{}]}, "has no service"),
    ({"ingress": [{"service": ""}]}, "has no service"), ({"ingress": [{"service": 7}]}, "must be texts"),
    ({"ingress": [{"hostname": "a.example", "path": "/x"}, {"service": "http_status:404"}]}, "has no service"),
    ({"ingress": [{"service": "http_status:404", "originRequest": 7}]}, "originRequest"),
    ({"ingress": [{"service": "http://localhost:1", "hostname": "a.acme.example"}]},
     "The last ingress rule must match all URLs (i.e. it should not have a hostname or path filter)\n"),
    ({"ingress": [{"service": "http://localhost:1", "path": "^/a"}]}, "The last ingress rule must match all URLs"),
    ({"ingress": [{"service": "http_status:404"}], "x": "y" * 990000}, "too large"),
])
def test_what_is_no_configuration_is_refused(api, config, message):
    tunnel = api.create(f"refused {abs(hash(repr(config)))}")["id"]
    answer = put(api, tunnel, {"config": config})
    assert (answer.status, answer.code) == (400, 1056)
    text = answer.body["errors"][0]["message"]
    assert text.startswith("Bad Configuration: Validation failed: ") and message in text
    left = api("GET", f"{api.tunnels}/{tunnel}/configurations").result
    assert (left["version"], left["source"], left["config"]) == (0, "local", None)


def test_a_document_is_given_back_as_it_was_put(api):
    tunnel = api.create("echo")["id"]
    config = {"ingress": [{"hostname": "a.example", "path": "^/ä", "service": "https://10.0.0.5:8443",
                           "originRequest": {"connectTimeout": 10, "noTLSVerify": True, "unknown": [1, None, {}]}},
                          {"hostname": "", "service": "http_status:404"}], "originRequest": {}, "adit": {"x": -9007199254740993}}
    put(api, tunnel, {"config": config, "more": 1}).result
    made = put(api, tunnel, {"config": config}).result
    assert list(made["config"]) == ["ingress", "originRequest", "adit", "warp-routing"]
    assert made["config"] == {**config, "warp-routing": {"enabled": False}}
    assert (made["version"], made["source"], made["account_id"], made["tunnel_id"]) == (2, "cloudflare", api.account, tunnel)
    assert api("GET", f"{api.tunnels}/{tunnel}/configurations").result == made
    shown = api("GET", f"{api.tunnels}/{tunnel}").result
    assert shown["remote_config"] is True and shown["config_src"] == "cloudflare"
    routed = put(api, tunnel, {"config": {**config, "warp-routing": {"enabled": True}}}).result
    assert routed["config"]["warp-routing"] == {"enabled": True} and routed["version"] == 3


def test_a_deleted_tunnel_has_no_configuration(api):
    tunnel = api.create("deleted")["id"]
    put(api, tunnel, {"config": {"ingress": [status(404)]}}).result
    api("DELETE", f"{api.tunnels}/{tunnel}").result
    for answer in (put(api, tunnel, {"config": {"ingress": [status(404)]}}), api("GET", f"{api.tunnels}/{tunnel}/configurations")):
        assert (answer.status, answer.code) == (404, 1055)
        assert answer.body["errors"][0]["message"] == "Configuration for tunnel not found"
    assert put(api, UNKNOWN, {"config": {"ingress": [status(404)]}}).status == 404


def test_tunnel_info_says_which_version_each_connector_has(edges, connectors, tmp_path):
    site = Managed(edges(), connectors, tmp_path)
    line = CommandLine("adit", site.edge, tmp_path / "home")
    site.put(status(260))
    site.connect()
    site.applied(1)
    one, = json.loads(line("info", "-o", "json", "managed").stdout)["conns"]
    assert (one["config_version"], one["config_version_wanted"], one["config_refused"]) == (1, 1, None)
    assert "refused" not in line("info", "managed").stdout
    site.put({"service": "nonsense"})
    until(lambda: site.connectors()[0].model_extra["config_refused"], "the refusal")
    one, = json.loads(line("info", "-o", "json", "managed").stdout)["conns"]
    assert (one["config_version"], one["config_version_wanted"], one["config_refused"]["version"]) == (1, 2, 2)
    assert one["config_refused"]["reason"] in line("info", "managed").stdout
