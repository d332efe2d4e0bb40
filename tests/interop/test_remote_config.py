"""Configurations that an edge sends: adit and cloudflared answer the same calls alike, and serve by what they then have."""
import asyncio
import copy
import json
import pathlib
import re
import urllib.request

import capnp
import pytest
import wire
from conftest import KINDS, Program, connector_command, need, stop_clean, until
from handmade_edge import HOST, HandmadeEdge, random_token
from peer import pipe_for_rpc

pytestmark = pytest.mark.threads
VECTORS = pathlib.Path(__file__).resolve().parents[1] / "vectors"
SCENARIOS = [v for v in json.loads((VECTORS / "config_remote.json").read_text())["vectors"] if "flags" not in v]


def config(*rules, **more):
    return json.dumps({"ingress": list(rules), **more})


def status(code, **more):
    return {"service": f"http_status:{code}", **more}


class Managed:
    """A connector of a hand-made edge, which tells it what to serve. Without rules of its own unless some are given."""

    def __init__(self, kind, where, rules=None, flags=(), workers=1):
        need(kind)
        self.kind = kind
        self.edge = HandmadeEdge(where)
        (where / "config.yml").write_text(json.dumps({"ingress": rules} if rules else {}))
        command = connector_command(kind, where / "config.yml", self.edge.ca, [self.edge.address] * 2, random_token()[1])
        if kind == "adit":
            command += ["--workers", workers, "--loglevel", "debug"]
        self.program = Program([*command, *flags], where / "connector.log", cwd=where)
        self.program.wait_for("Registered tunnel connection")
        until(lambda: len(self.edge.serving) == 2, "both connections")
        self.version = -1

    def stop(self):
        if self.kind == "adit":
            stop_clean(self.program)
        else:
            self.program.stop()
        self.edge.stop()

    async def call(self, version, text):
        stream = self.edge.serving[0].open()
        stream.write(wire.RPC_SIGNATURE)
        client = capnp.TwoPartyClient(await pipe_for_rpc(stream))
        manager = client.bootstrap().cast_as(wire.SCHEMA.ConfigurationManager)
        answer = (await manager.updateConfiguration(version=version, config=text.encode())).result.to_dict()
        return answer["latestAppliedVersion"], answer.get("err", "")

    def update(self, version, text):
        return self.edge.run(self.call(version, text))

    def next(self, text):
        """(whether it was applied, err) of the next version."""
        got, err = self.update(self.version + 1, text)
        is_applied = got == self.version + 1
        self.version = got
        return is_applied, err

    def local(self, path):
        found = until(lambda: re.search(r"127\.0\.0\.1:(\d+)", [line for line in self.program.text().splitlines()
                                                               if "tarting metrics server" in line][0]), "the metrics address")
        with urllib.request.urlopen(f"http://127.0.0.1:{found.group(1)}{path}", timeout=30) as answer:
            return answer.read().decode()


@pytest.fixture(scope="module", params=KINDS)
def managed(request, tmp_path_factory):
    connector = Managed(request.param, tmp_path_factory.mktemp(request.param), workers=3)
    yield connector
    connector.stop()


def code_of(connector):
    head, _ = connector.edge.ask(wire.http_request("GET", HOST, "/"))
    return dict(wire.pairs_of(head))["HttpStatus"]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda v: v["name"])
def test_a_scenario_is_answered_and_shown_as_recorded(managed, scenario):
    """The recorded ones begin at -1; here each goes on from the last, so versions count from there."""
    assert managed.next(config(status(299)))[0]
    base = managed.version + 1
    for step in scenario["steps"]:
        if scenario["name"] == "versions" and abs(step["version"]) > 1000:
            continue  # nothing would be greater than the last one afterwards
        got, err = managed.update(step["version"] + base, step["config_text"])
        managed.version = got
        was_applied = step["last_applied_version"] == step["version"] and step["version"] >= 0
        assert err == step["error"]
        if not was_applied:
            continue
        assert got == step["version"] + base
        shown = json.loads(managed.local("/config"))
        wanted = copy.deepcopy(step["effective"]["config"])
        if managed.kind == "adit" and scenario["name"] == "global_access":
            wanted["ingress"][0]["Handlers"] = [{}]  # on purpose: it is enforced
        assert shown == {"version": got, "config": wanted}


def test_a_new_configuration_serves_at_once_on_every_connection(managed):
    for code in (201, 202, 203):
        assert managed.next(config(status(code))) == (True, "")
        assert {code_of(managed) for _ in range(6)} == {str(code)}
        for peer in managed.edge.serving:
            async def one(peer=peer):
                stream = peer.open()
                stream.write(wire.http_request("GET", HOST, "/"), True)
                return await managed.edge.answer(stream)
            head, _ = managed.edge.run(one())
            assert dict(wire.pairs_of(head))["HttpStatus"] == str(code)


def test_a_mistake_leaves_everything_as_it_was(managed):
    assert managed.next(config(status(210))) == (True, "")
    before = managed.local("/config")
    assert managed.next(config({"service": "nonsense"})) == (
        False, "nonsense is an invalid address, please make sure it has a scheme and a hostname")
    assert managed.next('{"ingress":') == (False, "unexpected end of JSON input")
    assert code_of(managed) == "210" and managed.local("/config") == before


def test_a_version_that_is_not_newer_is_passed_over(managed):
    assert managed.next(config(status(211))) == (True, "")
    for version in (managed.version, managed.version - 1, -1, -2147483648):
        assert managed.update(version, "rubbish") == (managed.version, "")
    assert code_of(managed) == "211"


def test_configurations_are_calls_by_the_edge_in_the_metrics(managed):
    """A mistake in one is no failure of the call: it is answered."""
    labels = r'\{handler="config",method="update_configuration"\} (\d+)'

    def count(what):
        found = re.search(r"^cloudflared_rpc_server_" + what + labels, managed.local("/metrics"), re.M)
        return int(found.group(1)) if found else 0

    before = count("operations")
    assert managed.next(config(status(211)))[0] and not managed.next(config({"service": "nonsense"}))[0]
    until(lambda: count("operations") == before + 2, "both are counted")
    until(lambda: count("latency_secs_count") == count("operations"), "both are timed")
    assert count("failures") == 0


def test_the_version_is_in_the_metrics(managed):
    assert managed.next(config(status(212))) == (True, "")
    assert f"cloudflared_orchestration_config_version {managed.version}" in managed.local("/metrics").splitlines()


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_under_way_ends_by_the_rules_it_began_with(kind, tmp_path):
    connector = Managed(kind, tmp_path)
    edge = connector.edge

    async def everything():
        arrived, go_on = asyncio.Event(), asyncio.Event()

        async def slow(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
            arrived.set()
            await asyncio.wait_for(go_on.wait(), 30)
            writer.write(b" last")

        server = await asyncio.start_server(slow, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        answers = [await connector.call(0, config({"service": f"http://127.0.0.1:{port}"}))]
        stream = await edge.open(wire.http_request("GET", HOST, "/"))
        await asyncio.wait_for(arrived.wait(), 30)
        answers += [await connector.call(version, config(status(217 + version))) for version in (1, 2)]
        other, _ = await edge.answer(await edge.open(wire.http_request("GET", HOST, "/")))
        go_on.set()
        head, body = await edge.answer(stream)
        server.close()
        return answers, dict(wire.pairs_of(other))["HttpStatus"], dict(wire.pairs_of(head))["HttpStatus"], body

    assert edge.run(everything()) == ([(0, ""), (1, ""), (2, "")], "219", "200", b"first last")
    connector.stop()


@pytest.mark.parametrize("kind", KINDS)
def test_the_edge_stands_above_a_local_file(kind, tmp_path):
    connector = Managed(kind, tmp_path, [status(220)])
    assert code_of(connector) == "220"
    assert json.loads(connector.local("/config"))["version"] == -1
    assert connector.next(config(status(221))) == (True, "")
    assert code_of(connector) == "221"
    connector.stop()


@pytest.mark.parametrize("kind", KINDS)
def test_the_flag_for_flows_stands_above_the_edge(kind, tmp_path):
    connector = Managed(kind, tmp_path, flags=["--max-active-flows", "5"])
    assert connector.next(config(status(222), **{"warp-routing": {"maxActiveFlows": 1000}})) == (True, "")
    assert json.loads(connector.local("/config"))["config"]["warp-routing"] == {"maxActiveFlows": 5}
    connector.stop()


def test_a_connector_may_refuse_to_be_told(tmp_path):
    connector = Managed("adit", tmp_path, [status(223)], flags=["--no-remote-config"])
    is_applied, err = connector.next(config(status(224)))
    assert not is_applied and "--no-remote-config" in err
    assert code_of(connector) == "223"
    assert "allow_remote_config" not in connector.edge.registrations[0]["options"]["client"]["features"]
    connector.stop()


TRANSCRIPTS = {v["name"]: v for v in json.loads((VECTORS / "rpc_transcripts.json").read_text())["vectors"]}


def test_an_answer_comes_though_the_edge_said_its_last_word(tmp_path):
    """The call and the end of the edge's direction in one packet: the supervisor answers later."""
    connector = Managed("adit", tmp_path)
    messages = [m["hex"] for m in TRANSCRIPTS["edge_rpc_update_configuration"]["messages"] if m["from"] == "client" and m.get("hex")][:3]

    async def talk():
        stream = await connector.edge.open(bytes.fromhex("".join(messages)))
        return wire.frames(await stream.rest())

    answers = connector.edge.run(talk())
    kinds = []
    for frame in answers:
        with wire.RPC.Message.from_bytes(frame) as message:
            kinds.append((str(message.which()), getattr(message, "return").answerId, str(getattr(message, "return").which())))
    assert kinds == [("return", 0, "results"), ("return", 1, "results")]
    connector.stop()


@pytest.mark.parametrize("kind", KINDS)
def test_calls_in_a_row_on_one_stream_are_all_answered(kind, tmp_path):
    connector = Managed(kind, tmp_path)

    async def talk():
        stream = connector.edge.serving[0].open()
        stream.write(wire.RPC_SIGNATURE)
        client = capnp.TwoPartyClient(await pipe_for_rpc(stream))
        manager = client.bootstrap().cast_as(wire.SCHEMA.ConfigurationManager)
        calls = [manager.updateConfiguration(version=v, config=config(status(230 + v)).encode()) for v in range(12)]
        return [(await call).result.to_dict() for call in calls]

    answers = connector.edge.run(talk())
    # Each is applied, or passed over because a later one came first: the reference takes them side by side.
    assert all(a["latestAppliedVersion"] >= v and not a.get("err") for v, a in enumerate(answers))
    assert code_of(connector) == "241"
    connector.stop()
