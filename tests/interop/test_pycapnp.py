"""Cap'n Proto's own library as the judge of the vectors, which our codecs are tested with. test_pycapnp_live.py asks a live edge."""
import json
import pathlib

import pytest
import wire
from wire import RPC, SCHEMA

VECTORS = pathlib.Path(__file__).resolve().parents[1] / "vectors"
INTERFACES = {name: getattr(SCHEMA, name) for name in ("RegistrationServer", "SessionManager", "ConfigurationManager")}


def load(name):
    return json.loads((VECTORS / f"{name}.json").read_text())


def named(vectors):
    return pytest.mark.parametrize("vector", vectors, ids=lambda v: v.get("name") or v.get("struct"))


# ---- the schema of these tests, against the tables ----

def schema_of(name):
    words = name.replace(".", " ").split()
    if len(words) == 1:
        return getattr(SCHEMA, name).schema
    method = INTERFACES[words[0]].schema.methods[words[1]]
    return method.param_type if words[2] == "params" else method.result_type


def layouts():
    tables = load("layouts")
    ours = [t for t in tables["structs"] if hasattr(SCHEMA, t["struct"])]
    return ours + [t for t in tables["parameter_structs"] if t["struct"].split(".")[0] in INTERFACES]


@named(layouts())
def test_the_schema_lays_structs_out_as_the_tables_say(vector):
    node = schema_of(vector["struct"]).node
    assert (node.struct.dataWordCount, node.struct.pointerCount) == (vector["data_words"], vector["pointers"])
    if "id" in vector:
        assert node.id == int(vector["id"], 16)


def test_the_interfaces_have_the_ids_of_the_tables():
    tables = {t["interface"]: t for t in load("layouts")["interfaces"]}
    for name, interface in INTERFACES.items():
        assert interface.schema.node.id == int(tables[name]["id"], 16)
        assert [m["name"] for m in tables[name]["methods"]] == list(interface.schema.method_names)


# ---- heads of data streams ----

def heads():
    return [v for v in load("data_stream")["vectors"] if "dest" in v["fields"] or "error" in v["fields"]]


@named(heads())
def test_a_recorded_head_decodes_to_its_fields(vector):
    data, fields = bytes.fromhex(vector["hex"]), vector["fields"]
    is_request = "dest" in fields
    kind = SCHEMA.ConnectRequest if is_request else SCHEMA.ConnectResponse
    assert data[:8] == wire.PREAMBLE
    frame, rest = wire.take_frame(data[8:])
    assert rest == b""
    head = wire.decode(kind, frame)
    assert wire.pairs_of(head) == [(item["key"], item["val"]) for item in fields["metadata"]]
    if is_request:
        assert head.get("dest", "") == fields["dest"] and SCHEMA.ConnectionType.schema.enumerants[head["type"]] == fields["type"]
    else:
        assert head.get("error", "") == fields["error"]
    # And what we would write for it means the same.
    assert wire.decode(kind, kind.new_message(**head).to_bytes()) == head


# ---- recorded RPC ----

BYTES = {"tunnelSecret", "clientId", "originLocalIp", "tunnelId", "uuid", "sessionId", "dstIp", "spans"}


def same(expected, got, where=""):
    """Whether a decoded struct has what the vector says; what is null on the wire is empty there."""
    for key, value in expected.items():
        if key in ("structDataBytes", "structPointers"):
            continue
        key = {"retryAfterNs": "retryAfter"}.get(key, key)
        at = f"{where}.{key}"
        if isinstance(value, dict):
            same(value, got.get(key, {}), at)
        elif key in BYTES:
            assert got.get(key, b"") == bytes.fromhex(value), at
        elif key == "config":
            assert got.get(key, b"") == value.encode(), at
        else:
            assert got.get(key, type(value)()) == value, at


def check_target(expected, target):
    if "importedCap" in expected:
        assert target.which() == "importedCap" and target.importedCap == expected["importedCap"]
    else:
        assert target.which() == "promisedAnswer" and target.promisedAnswer.questionId == expected["promisedAnswer"]["questionId"]
        assert len(target.promisedAnswer.transform) == len(expected["promisedAnswer"]["transform"])


def check_results(fields, payload):
    method = fields["answersMethod"]
    assert len(payload.capTable) == len(fields["capTable"])
    if method == "bootstrap":
        assert payload.capTable[0].which() == "senderHosted"
        assert payload.capTable[0].senderHosted == fields["capTable"][0]["senderHosted"]
    elif method != "unknown":
        got = payload.content.as_struct(schema_of(f"{method} results")).to_dict()
        result = got.get("result", got)
        same(fields["results"], result.get("result", result) if isinstance(result, dict) else got)


def check_message(recorded):
    fields = recorded["fields"]
    with RPC.Message.from_bytes(bytes.fromhex(recorded["hex"])) as message:
        kind = message.which()
        assert kind == recorded["kind"]
        body = getattr(message, kind)
        if kind == "call":
            assert (body.questionId, body.interfaceId, body.methodId) == (fields["questionId"], int(fields["interfaceId"], 16),
                                                                       fields["methodId"])
            assert body.sendResultsTo.which() == fields["sendResultsTo"]
            check_target(fields["target"], body.target)
            interface = next((n for n, i in INTERFACES.items() if i.schema.node.id == body.interfaceId), None)
            if interface:
                same(fields["params"], body.params.content.as_struct(schema_of(f"{fields['method']} params")).to_dict())
        elif kind == "return":
            assert (body.answerId, body.which(), body.releaseParamCaps) == (fields["answerId"], fields["which"],
                                                                          fields["releaseParamCaps"])
            if body.which() == "results":
                check_results(fields, body.results)
            else:
                assert body.exception.reason == fields["exception"]["reason"]
        elif kind == "bootstrap":
            assert body.questionId == fields["questionId"]
        elif kind == "finish":
            assert (body.questionId, body.releaseResultCaps) == (fields["questionId"], fields["releaseResultCaps"])
        elif kind == "release":
            assert (body.id, body.referenceCount) == (fields["id"], fields["referenceCount"])
        else:
            assert kind == "abort" and body.reason == fields["exception"]["reason"]


@named(load("rpc_transcripts")["vectors"])
def test_a_recorded_conversation_decodes_to_its_fields(vector):
    checked = 0
    for recorded in vector["messages"]:
        if recorded["kind"] == "signature":
            assert bytes.fromhex(recorded["hex"]) == wire.RPC_SIGNATURE
        elif recorded["kind"] != "close":
            check_message(recorded)
            checked += 1
    assert checked >= 3
