"""How the edge tells a connector its configuration, seen by one that is made by hand: pycapnp's server over aioquic, and worse ones."""
import asyncio
import json

import capnp
import pytest
import wire
from conftest import Edge, check_clean, until
from control import Api
from handmade_connector import Connector
from peer import hang_up, pipe_for_rpc

HOST = "push.localhost"


class Manager(wire.SCHEMA.ConfigurationManager.Server):
    def __init__(self, connector):
        self.connector = connector

    async def updateConfiguration(self, version, config, _context, **_):
        self.connector.told.append((version, json.loads(config)))
        applied, err = self.connector.say(version)
        _context.results.result.latestAppliedVersion = applied
        _context.results.result.err = err


class Told(Connector):
    """`spoil`: what is done with streams that come before one is served."""

    def __init__(self, edge, tunnel):
        super().__init__(edge, tunnel, {})
        self.told, self.spoil, self.streams, self.used = [], [], 0, []
        self.say = lambda version: (version, "")
        self.served = []

    async def serve(self, stream):
        self.streams += 1
        self.used.append(stream.peer)
        try:
            assert await stream.read(6) == wire.RPC_SIGNATURE
            if self.spoil:
                await self.spoil.pop(0)(self, stream)
                return
            await self.answer(stream, Manager(self))
        except EOFError:
            pass
        except Exception as e:
            self.faults.append(e)

    async def answer(self, stream, manager):
        """Kept, and let go, in the loop's thread."""
        self.served.append(capnp.TwoPartyServer(await pipe_for_rpc(stream), bootstrap=manager))

    async def let_go(self):
        self.served.clear()

    def stop(self):
        self.run(self.let_go())
        super().stop()


class Site:
    def __init__(self, where, **more):
        self.edge = Edge(where, 2)
        self.api = Api(self.edge)
        made = self.api.create("push", **more)
        self.path = f"{self.api.tunnels}/{made['id']}"
        self.connector = Told(self.edge, {"hostname": HOST, "id": made["id"], "account_tag": self.api.account,
                                          "secret": made["credentials_file"]["TunnelSecret"]})

    def put(self, *rules):
        return self.api("PUT", f"{self.path}/configurations", {"config": {"ingress": list(rules)}}).result["version"]

    def state(self):
        one, = self.api("GET", f"{self.path}/connections").result
        return one["config_version"], one["config_version_wanted"], one["config_refused"]

    def register(self, index=0):
        async def ask():
            peer = await self.connector.dial()
            await self.connector.control(peer)
            return peer, await self.connector.ask_to_register(peer, index)

        peer, (which, fields) = self.connector.run(ask())
        assert which == "connectionDetails", fields
        return peer, fields


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path)
    yield made
    made.connector.stop()
    assert made.edge.stop() == 0
    check_clean(made.edge)


RULE = {"service": "http_status:404"}
WHOLE = {"ingress": [RULE], "warp-routing": {"enabled": False}}


def test_a_managed_tunnel_is_said_to_be_and_told_over_capn_protos_own_rpc(site):
    assert site.put(RULE) == 1
    _, details = site.register()
    assert details["tunnelIsRemotelyManaged"] is True
    until(lambda: site.state() == (1, 1, None), "it has taken it")
    assert site.put(RULE) == 2
    until(lambda: site.state() == (2, 2, None), "and the next one")
    assert site.connector.told == [(1, WHOLE), (2, WHOLE)]


def test_a_tunnel_with_rules_of_its_own_is_told_nothing(site):
    _, details = site.register()
    assert details["tunnelIsRemotelyManaged"] is False
    assert site.state() == (0, 0, None) and site.connector.streams == 0
    site.put(RULE)
    until(lambda: site.state() == (1, 1, None), "now it is managed, and told")


def test_one_connection_of_a_connector_is_told_for_all(site):
    site.put(RULE)
    for index in range(4):
        site.register(index)
    until(lambda: site.state() == (1, 1, None), "it has taken it")
    site.put(RULE)
    until(lambda: site.state() == (2, 2, None), "and the next one")
    assert [version for version, _ in site.connector.told] == [1, 2]


def test_a_refusal_and_its_text_are_kept(site):
    site.connector.say = lambda version: (-1, "nö: " + "x" * 3000)
    site.put(RULE)
    site.register()
    applied, wanted, refused = until(lambda: site.state()[2] and site.state(), "the refusal")
    assert (applied, wanted, refused["version"]) == (0, 1, 1)
    assert refused["reason"].startswith("nö: xxx") and 400 < len(refused["reason"]) < 520
    site.connector.say = lambda version: (version, "")
    site.put(RULE)
    until(lambda: site.state() == (2, 2, None), "another version is another matter")
    assert [version for version, _ in site.connector.told] == [1, 2]


def test_a_connector_with_a_later_version_keeps_it(site):
    site.connector.say = lambda version: (57, "")
    site.put(RULE)
    site.register()
    until(lambda: site.state() == (57, 1, None), "it has a later one")


async def reset(connector, stream):
    stream.reset()


async def end(connector, stream):
    stream.write(b"", True)


async def rubbish(connector, stream):
    stream.write(bytes(range(256)) * 40)


async def endless(connector, stream):
    stream.write((512).to_bytes(4, "little") + (0xffffff).to_bytes(4, "little") * 513)


async def abort(connector, stream):
    stream.write(bytes.fromhex("000000000700000000000000010001000100000000000000000000000100010000000000000000000100000072000000"
                               "7270633a2073687574646f776e000000"))


async def exception(connector, stream):
    class Broken(wire.SCHEMA.ConfigurationManager.Server):
        async def updateConfiguration(self, version, config, _context, **_):
            raise RuntimeError("too many configurations at once")

    await connector.answer(stream, Broken())


async def older(connector, stream):
    class Older(wire.SCHEMA.ConfigurationManager.Server):
        async def updateConfiguration(self, version, config, _context, **_):
            _context.results.result.latestAppliedVersion = version - 1

    await connector.answer(stream, Older())


SPOILED = [reset, end, rubbish, endless, abort, exception, older]


@pytest.mark.parametrize("spoil", SPOILED, ids=lambda f: f.__name__)
def test_what_is_no_answer_is_asked_for_again(site, spoil):
    site.connector.spoil = [spoil, spoil]
    site.put(RULE)
    site.register()
    until(lambda: site.state() == (1, 1, None), "it is told again")
    assert site.connector.streams == 3 and [version for version, _ in site.connector.told] == [1]
    assert "configuration not taken" in site.edge.text()


def test_another_connection_is_tried_when_one_goes(site):
    site.put(RULE)
    held = asyncio.Event()

    async def hold(connector, stream):
        connector.held = stream.peer
        held.set()

    site.connector.spoil = [hold]
    site.register(0), site.register(1)

    async def cut():
        await asyncio.wait_for(held.wait(), 30)
        peer = site.connector.held
        peer.control = peer.rpc = None
        peer.close()
        await peer.wait_closed()
        site.connector.peers.remove(peer)

    site.connector.run(cut())
    until(lambda: site.state() == (1, 1, None), "the other connection is asked")


def test_what_failed_on_one_connection_is_told_on_another(site):
    site.register(0), site.register(1)
    site.connector.spoil = [reset]
    site.put(RULE)
    until(lambda: site.state() == (1, 1, None), "it is told again")
    first, second = site.connector.used
    assert first is not second


def test_a_connector_that_comes_back_is_told_again(site):
    """It may be another process by the same name, with nothing in force."""
    site.put(RULE)
    peer, _ = site.register()
    until(lambda: site.state() == (1, 1, None), "it has taken it")

    async def leave():
        await site.connector.let_go()
        peer.control = peer.rpc = None
        await hang_up(peer)
        site.connector.peers.remove(peer)

    site.connector.run(leave())
    until(lambda: not site.api("GET", f"{site.path}/connections").result, "it is gone")
    site.register()
    until(lambda: len(site.connector.told) == 2, "it is told again")
    assert [version for version, _ in site.connector.told] == [1, 1]


def test_an_edge_ends_in_order_while_nobody_answers(site):
    async def silent(connector, stream):
        pass

    site.connector.spoil = [silent] * 9
    site.put(RULE)
    site.register()
    until(lambda: site.connector.streams == 1, "it is told")


def test_rules_of_its_own_that_are_none_are_not_shown(site):
    peer, _ = site.register()

    async def report(data):
        await peer.control.updateLocalConfiguration(config=data)

    shown = lambda: site.api("GET", f"{site.path}/configurations").result["config"]  # noqa: E731
    site.connector.run(report(b'{"ingress":[]}'))
    until(lambda: shown() == {"ingress": []}, "what it said")
    for data in (b"", b"7", b"{", b"\xff", b"{\"a\":\"\xff\"}", b"[" * 100000):
        site.connector.run(report(data))
    site.connector.run(report(b'{"ingress":[1]}'))
    until(lambda: shown() == {"ingress": [1]}, "the last that was right")
    assert site.edge.text().count("are not kept") == 6


def test_rules_of_its_own_do_not_pile_up(site):
    """Several in each packet: one is taken at a time, and the others are told so."""
    peer, _ = site.register()
    data = b'{"x":1}'

    async def one(call):
        try:
            await call
        except capnp.KjException as e:
            return str(e)
        return ""

    async def flood():
        return await asyncio.gather(*[one(peer.control.updateLocalConfiguration(config=data)) for _ in range(60)])

    answers = site.connector.run(flood())
    assert 0 < answers.count("") < 60 and all("being taken" in answer for answer in answers if answer)
    until(lambda: site.api("GET", f"{site.path}/configurations").result["config"], "one was taken")
