"""A live edge and Cap'n Proto's own library: first its RPC system, then single messages with every field in our hands."""
import struct
import uuid

import capnp
import pytest
import wire
from client import get, header
from conftest import ask_quick_tunnel
from handmade_connector import Connector
from wire import RPC, SCHEMA


@pytest.fixture(scope="module")
def connector(edge):
    """Registers by itself where a test asks for it."""
    connector = Connector(edge, ask_quick_tunnel(edge), {"/": answer_in_segments})
    yield connector
    connector.stop()


async def answer_in_segments(stream, request):
    """A head whose objects lie in several segments, joined by far pointers."""
    message = SCHEMA.ConnectResponse.new_message(num_first_segment_words=1)
    message.metadata = wire.metadata([("HttpStatus", "200"), ("HttpHeader:Content-Length", "2")] +
                                     [(f"HttpHeader:X-{i}", "v" * i) for i in range(1, 60)])
    data = message.to_bytes()
    assert struct.unpack_from("<I", data)[0] + 1 >= 3  # segments
    stream.write(wire.PREAMBLE + data + b"ok", True)


async def fresh(connector):
    peer = await connector.dial()
    await connector.control(peer)
    return peer


def refused(connector, **changes):
    async def ask():
        peer = await fresh(connector)
        which, fields = await connector.ask_to_register(peer, 9, **changes)
        ended = await peer.ended()
        return which, fields, ended

    return connector.run(ask())


def test_a_registration_is_accepted(connector):
    async def ask():
        peer = await fresh(connector)
        which, fields = await connector.ask_to_register(peer, 3)
        await peer.control.updateLocalConfiguration(config=b'{"ingress":[]}' + b" " * 600_000)
        await connector.unregister(peer)
        return which, fields

    which, fields = connector.run(ask())
    assert which == "connectionDetails" and len(fields["uuid"]) == 16 and fields["uuid"] != bytes(16)
    assert fields["locationName"] and fields["tunnelIsRemotelyManaged"] is False


@pytest.mark.parametrize("what", ["secret", "empty secret", "account", "tunnel"])
def test_a_wrong_registration_is_refused_for_good_and_the_connection_closed(connector, what):
    good = connector.arguments()
    change = {
        "secret": {"auth": dict(good["auth"], tunnelSecret=bytes(32))},
        "empty secret": {"auth": dict(good["auth"], tunnelSecret=b"")},
        "account": {"auth": dict(good["auth"], accountTag="0" * 32)},
        "tunnel": {"tunnelId": uuid.uuid4().bytes},
    }[what]
    which, fields, ended = refused(connector, **change)
    assert which == "error" and fields["cause"].startswith("Unauthorized") and fields["shouldRetry"] is False
    assert ended is not None


def test_a_registration_that_makes_no_sense_is_refused(connector):
    for change in ({"tunnelId": bytes(15)}, {"tunnelId": b""}, {"options": {}}):
        async def ask(change=change):
            peer = await fresh(connector)
            return await connector.ask_to_register(peer, 9, **change)

        which, fields = connector.run(ask())
        assert which == "error" and fields["cause"] and fields["shouldRetry"] is False


def test_the_same_connection_twice_is_a_duplicate(connector):
    async def ask():
        first, second = await fresh(connector), await fresh(connector)
        one = await connector.ask_to_register(first, 5)
        two = await connector.ask_to_register(second, 5)
        await connector.unregister(first)
        return one[0], two

    one, (which, fields) = connector.run(ask())
    assert one == "connectionDetails"
    assert which == "error" and fields["cause"] == "EDUPCONN"


def test_a_connection_that_its_connector_says_is_lost_makes_room_for_the_next(connector):
    """Nobody tells the edge of a path that is dead: what stands there yet must not keep the connector away."""
    options = dict(connector.arguments()["options"], numPreviousAttempts=1)

    async def ask():
        first, second = await fresh(connector), await fresh(connector)
        one = await connector.ask_to_register(first, 7)
        two = await connector.ask_to_register(second, 7, options=options)
        ended = await first.ended()
        await connector.unregister(second)
        return one[0], two[0], ended is not None

    assert connector.run(ask()) == ("connectionDetails", "connectionDetails", True)


def test_unknown_methods_are_exceptions_and_the_stream_goes_on(connector):
    async def ask():
        peer = await fresh(connector)
        texts = []
        for call in (
            lambda: peer.rpc.bootstrap().cast_as(SCHEMA.SessionManager).unregisterUdpSession(sessionId=bytes(16), message="x"),
            lambda: peer.rpc.bootstrap().cast_as(SCHEMA.ConfigurationManager).updateConfiguration(version=1, config=b"{}"),
        ):
            try:
                await call()
            except capnp.KjException as e:
                texts.append(str(e))
        which, _ = await connector.ask_to_register(peer, 6)
        try:
            await connector.ask_to_register(peer, 7)
        except capnp.KjException as e:
            texts.append(str(e))
        await connector.unregister(peer)
        return which, texts

    which, texts = connector.run(ask())
    assert which == "connectionDetails" and len(texts) == 3
    assert "not implemented" in texts[0] and "not implemented" in texts[1] and "already" in texts[2]


def test_many_calls_at_once_are_all_answered(connector):
    async def ask():
        peer = await fresh(connector)
        calls = [peer.control.unregisterConnection() for _ in range(40)]
        for call in calls:
            await call

    connector.run(ask())


def test_a_head_in_several_segments_is_read(connector):
    peer = connector.run(connector.register(8))
    try:
        head, body = get(connector, "/", headers=[(f"X-{i}", "w" * i) for i in range(60)])
        assert head.status_code == 200 and body == b"ok" and header(head, "x-59") == "v" * 59
        sent = connector.requests[-1]
        assert [sent.header(f"X-{i}") for i in range(60)] == ["w" * i for i in range(60)]
    finally:
        connector.run(connector.unregister(peer))


# ---- messages written one by one ----

REGISTER = SCHEMA.RegistrationServer.schema.methods["registerConnection"]


def bootstrap(question):
    message = RPC.Message.new_message()
    message.init("bootstrap").questionId = question
    return message.to_bytes()


def call(question, method, params=None, imported=None, interface=SCHEMA.RegistrationServer.schema.node.id, **options):
    """A Call on an imported capability, or on the promised answer to question 0."""
    message = RPC.Message.new_message(**options)
    body = message.init("call")
    body.questionId, body.interfaceId, body.methodId = question, interface, method
    if imported is None:
        body.target.init("promisedAnswer").questionId = 0
    else:
        body.target.importedCap = imported
    if params is not None:
        content = body.params.content.as_struct(REGISTER.param_type)
        for name, value in params.items():
            setattr(content, name, value)
    return message.to_bytes()


def finish(question, releases=True):
    message = RPC.Message.new_message()
    body = message.init("finish")
    body.questionId, body.releaseResultCaps = question, releases
    return message.to_bytes()


async def next_message(stream):
    """A message of the edge, as plain values."""
    await stream.until(lambda: wire.take_frame(stream.data)[0])
    frame, stream.data = wire.take_frame(stream.data)
    with RPC.Message.from_bytes(frame) as message:
        kind = message.which()
        body = getattr(message, kind)
        seen = {"kind": kind}
        if kind == "return":
            seen.update(id=body.answerId, which=body.which(), releases=body.releaseParamCaps)
            if body.which() == "results":
                seen["caps"] = [(cap.which(), cap.senderHosted) for cap in body.results.capTable]
                if not seen["caps"] and body.answerId == 1:
                    seen["result"] = body.results.content.as_struct(REGISTER.result_type).to_dict()["result"]["result"]
            else:
                seen["text"] = body.exception.reason
        elif kind == "unimplemented":
            seen["echo"] = body.which()
        elif kind == "abort":
            seen["text"] = body.reason
        return seen


def exchange(connector, written, count, is_bytewise=False):
    """Writes messages on a new control stream and returns the first answers."""
    async def talk():
        peer = await connector.dial()
        stream = peer.open()
        if is_bytewise:
            await stream.write_bytewise(b"".join(written))
        else:
            stream.write(b"".join(written))
        return [await next_message(stream) for _ in range(count)]

    return connector.run(talk())


@pytest.mark.parametrize("way", ["whole", "bytewise", "in segments"])
def test_a_registration_that_is_pipelined_on_the_bootstrap(connector, way):
    options = {"num_first_segment_words": 1} if way == "in segments" else {}
    index = {"whole": 20, "bytewise": 21, "in segments": 22}[way]
    registration = call(1, 0, connector.arguments(index), **options)
    assert (struct.unpack_from("<I", registration)[0] > 0) == (way == "in segments")
    first, second = exchange(connector, [bootstrap(0), registration], 2, way == "bytewise")
    assert first == {"kind": "return", "id": 0, "which": "results", "releases": False, "caps": [("senderHosted", 0)]}
    assert (second["kind"], second["id"], second["which"], second["releases"]) == ("return", 1, "results", False)
    assert len(second["result"]["connectionDetails"]["uuid"]) == 16


@pytest.mark.parametrize("releases", [False, True], ids=["kept", "released"])
def test_an_imported_target_and_a_question_that_is_used_again(connector, releases):
    answers = exchange(connector, [bootstrap(0), call(2, 1, imported=0), finish(2), call(2, 1, imported=0), finish(2),
                                   finish(0, releases), call(0, 1, imported=0)], 4)
    assert [(a["kind"], a["id"]) for a in answers] == [("return", 0), ("return", 2), ("return", 2), ("return", 0)]
    # The Finish may give the capability back: then there is nothing to call any more.
    assert [a["which"] for a in answers] == ["results"] * 3 + ["exception" if releases else "results"]


def test_a_question_that_is_still_in_use_ends_the_conversation(connector):
    answers = exchange(connector, [bootstrap(0), call(2, 1), call(2, 1)], 3)
    assert [a["kind"] for a in answers] == ["return", "return", "abort"] and answers[2]["text"]


def test_a_target_that_was_never_exported(connector):
    answers = exchange(connector, [bootstrap(0), call(3, 0, imported=77), call(4, 1)], 3)
    assert answers[1]["text"] == "rpc: target not found"
    assert (answers[2]["id"], answers[2]["which"]) == (4, "results")


def test_an_unknown_interface_is_an_exception(connector):
    answers = exchange(connector, [bootstrap(0), call(3, 0, interface=0xdeadbeefdeadbeef), call(4, 77), call(5, 1)], 4)
    assert [a["which"] for a in answers] == ["results", "exception", "exception", "results"]


@pytest.mark.parametrize("kind", ["resolve", "provide", "join"])
def test_messages_above_our_level_come_back_unimplemented(connector, kind):
    message = RPC.Message.new_message()
    message.init(kind)
    answers = exchange(connector, [message.to_bytes(), bootstrap(0)], 2)
    assert answers[0] == {"kind": "unimplemented", "echo": kind} and answers[1]["which"] == "results"


def test_messages_that_mean_nothing_are_ignored(connector):
    null = bytes.fromhex("00000000010000000000000000000000")
    release, unimplemented = RPC.Message.new_message(), RPC.Message.new_message()
    release.init("release").id = 99
    unimplemented.init("unimplemented").init("bootstrap").questionId = 4
    answers = exchange(connector, [null, finish(1234), release.to_bytes(), unimplemented.to_bytes(), bootstrap(0)], 1)
    assert (answers[0]["kind"], answers[0]["id"]) == ("return", 0)


@pytest.mark.parametrize("garbage", [b"\xff" * 64, bytes.fromhex("00000000ffffffff") + bytes(64), bytes(64),
                                     bytes.fromhex("0000000002000000fdffff7f07ffffff") + bytes(8)],
                         ids=["ones", "a huge frame", "empty frames", "a pointer out of the frame"])
def test_garbage_on_the_control_stream_harms_nobody(connector, garbage):
    async def talk():
        peer = await connector.dial()
        peer.open().write(garbage + bootstrap(0))
        await peer.ping()

    connector.run(talk())
    assert exchange(connector, [bootstrap(0)], 1)[0]["which"] == "results"
