"""An edge made of aioquic and pycapnp against adit: registration, data streams good and bad, and the end of a connection.

cloudflared cannot be asked the same: its ClientHello has a key share for ML-KEM alone, and aioquic sends no HelloRetryRequest.
"""
import base64
import hashlib
import ipaddress
import json
import socket
import uuid

import pytest
import wire
from conftest import stop_clean, until
from handmade_edge import ACCEPT, HOST, HandmadeEdge, start_connector

@pytest.fixture(scope="module")
def edge(origin, tmp_path_factory):
    """With a connector of two connections, to the plain origin."""
    where = tmp_path_factory.mktemp("handmade-edge")
    edge = HandmadeEdge(where)
    edge.connector = start_connector(edge, where, origin.url)
    until(lambda: len(edge.serving) == 2, "two registrations")
    yield edge
    stop_clean(edge.connector)
    edge.stop()


@pytest.fixture
def lone(origin, tmp_path):
    """An edge without a connector yet, for tests of a connection's life."""
    edge = HandmadeEdge(tmp_path)
    yield edge
    edge.stop()


def echo(edge, method, headers=(), body=b"", **options):
    head, data = edge.ask(wire.http_request(method, HOST, "/echo?q=1", headers) + body, **options)
    assert not head.get("error"), head
    seen = json.loads(data)
    seen["fields"] = {k.lower(): v for k, v in seen["headers"]}
    return seen


def still_serves(edge):
    head, body = edge.ask(wire.http_request("GET", HOST, "/"))
    assert wire.pairs_of(head)[0] == ("HttpStatus", "200") and body == b"hello\n"


# ---- registration ----

def test_a_registration_says_who_connects(edge):
    registrations = edge.registrations[:2]
    tunnel = edge.connector.tunnel
    assert sorted(r["connIndex"] for r in registrations) == [0, 1]
    assert len({r["options"]["client"]["clientId"] for r in registrations}) == 1
    for r in registrations:
        client = r["options"]["client"]
        assert r["auth"] == {"accountTag": tunnel["account_tag"], "tunnelSecret": base64.b64decode(tunnel["secret"])}
        assert r["tunnelId"] == uuid.UUID(tunnel["id"]).bytes
        assert len(client["clientId"]) == 16 and client["version"] and client["arch"].startswith("linux_")
        assert {"serialized_headers", "support_quic_eof"} <= set(client["features"])
        assert len(r["options"]["originLocalIp"]) == 16
        assert r["options"]["replaceExisting"] is False and r["options"]["numPreviousAttempts"] == 0
    assert all(peer._quic.tls.alpn_negotiated == "argotunnel" for peer in edge.serving)
    assert "TST" in edge.connector.text()


def test_a_registration_has_the_local_address(edge):
    local = ipaddress.IPv6Address(edge.registrations[0]["options"]["originLocalIp"]).ipv4_mapped
    assert local == ipaddress.IPv4Address("127.0.0.1")


@pytest.mark.parametrize("refusal", [{"error": {"cause": "edge is overloaded", "retryAfter": 1, "shouldRetry": True}},
                                     {"error": {"cause": "Unauthorized: by hand", "shouldRetry": False}}, RuntimeError("no registrar")],
                         ids=["retryable", "permanent", "exception"])
def test_a_refused_connector_tells_and_comes_back(lone, tmp_path, refusal):
    lone.decide = lambda r: refusal if r["options"]["numPreviousAttempts"] == 0 else ACCEPT
    program = start_connector(lone, tmp_path, "http_status:204")
    assert [r["options"]["numPreviousAttempts"] for r in lone.registrations if r["connIndex"] == 0][:2] == [0, 1]
    text = refusal["error"]["cause"] if isinstance(refusal, dict) else "no registrar"
    assert text in program.text()
    stop_clean(program)


def test_an_edge_that_allows_no_stream_is_told_of(origin, tmp_path):
    edge = HandmadeEdge(tmp_path, streams=0)
    program = start_connector(edge, tmp_path, "http_status:204", is_awaited=False)
    program.wait_for("allows no stream")
    stop_clean(program)
    edge.stop()


# ---- requests ----

@pytest.mark.parametrize("is_bytewise", [False, True], ids=["whole", "bytewise"])
def test_a_get_reaches_the_origin(edge, is_bytewise):
    seen = echo(edge, "GET", [("x-lower", "1"), ("X-Twice", "a"), ("X-Twice", "b")], is_bytewise=is_bytewise)
    assert (seen["method"], seen["path"], seen["fields"]["host"]) == ("GET", "/echo?q=1", HOST)
    assert [["X-Lower", "1"], ["X-Twice", "a"], ["X-Twice", "b"]] == [h for h in seen["headers"] if h[0].startswith(("X-L", "X-T"))]


def test_a_head_in_several_segments_is_read(edge):
    pairs = [("HttpMethod", "GET"), ("HttpHost", HOST)] + [(f"HttpHeader:X-{i}", "v" * i) for i in range(60)]
    message = wire.SCHEMA.ConnectRequest.new_message(num_first_segment_words=1)
    message.dest = f"http://{HOST}/echo"
    message.metadata = wire.metadata(pairs)
    data = message.to_bytes()
    assert data[0] >= 2  # segments less one
    head, body = edge.ask(wire.PREAMBLE + data)
    fields = {k.lower(): v for k, v in json.loads(body)["headers"]}
    assert [fields[f"x-{i}"] for i in range(60)] == ["v" * i for i in range(60)]


def test_other_version_digits_are_read_over(edge):
    head, body = edge.ask(wire.DATA_SIGNATURE + b"99" + wire.http_request("GET", HOST, "/")[8:])
    assert wire.pairs_of(head)[0] == ("HttpStatus", "200") and body == b"hello\n"


@pytest.mark.parametrize("framing", ["Content-Length", "Transfer-Encoding", None])
def test_a_body_is_as_long_as_its_header_says(edge, framing):
    data = hashlib.shake_256(b"body").digest(600_000)
    headers = {"Content-Length": [("Content-Length", str(len(data)))], "Transfer-Encoding": [("Transfer-Encoding", "chunked")], None: []}
    seen = echo(edge, "POST", headers[framing], data)
    expected = data if framing else b""  # without a header there is no body on this transport
    assert (seen["bytes"], seen["sha256"]) == (len(expected), hashlib.sha256(expected).hexdigest())


def test_a_response_has_its_status_first_and_its_length(edge):
    head, body = edge.ask(wire.http_request("GET", HOST, "/bytes/3000000"))
    assert wire.pairs_of(head)[0] == ("HttpStatus", "200") and wire.header_of(head, "content-length") == "3000000"
    assert body == (bytes(range(256)) * 11719)[:3_000_000]
    head, body = edge.ask(wire.http_request("GET", HOST, "/chunks/100"))
    assert wire.header_of(head, "transfer-encoding") is None and body == b"".join(b"chunk %d\n" % i for i in range(100))
    head, body = edge.ask(wire.http_request("HEAD", HOST, "/bytes/77"))
    assert wire.header_of(head, "content-length") == "77" and body == b""


def test_an_origin_that_breaks_off_resets_the_stream(edge):
    async def talk():
        stream = await edge.open(wire.http_request("GET", HOST, "/cut"))
        await stream.over()
        return stream

    stream = edge.run(talk())
    if stream.ended:  # before the head: the error's text, nothing of the body
        head, body = edge.run(edge.answer(stream))
        assert head["error"] and body == b""
    else:
        assert stream.reset_code == 0
    still_serves(edge)


# ---- what no edge should send ----

GOOD = wire.http_request("GET", HOST, "/")
SILENT = {
    "another signature": b"\xde\xad\xbe\xef\x00\x00\x00\x00" + GOOD,
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "garbage behind the preamble": wire.PREAMBLE + b"\xff" * 100,
    "a frame of no words": wire.PREAMBLE + bytes(8),
    "a frame of four gigawords": wire.PREAMBLE + bytes.fromhex("00000000ffffffff") + GOOD[16:],
    "half a head": GOOD[:len(GOOD) // 2],
    "a root out of the message": wire.PREAMBLE + GOOD[8:16] + bytes.fromhex("fcff0f0001000200") + GOOD[24:],
}


@pytest.mark.parametrize("name", SILENT)
def test_what_cannot_be_read_is_reset_without_a_word(edge, name):
    async def talk():
        stream = await edge.open(SILENT[name])
        await stream.over()
        return stream.reset_code, stream.data

    assert edge.run(talk()) == (0, b"")
    still_serves(edge)


TOLD = {
    "a key with two colons": (wire.http_request("GET", HOST, "/", [("X:Y", "1")]), "malformed"),
    "a key without a name": (wire.request_head("/", pairs=[("HttpHeader", "1")]), "malformed"),
    "a value with CR LF": (wire.http_request("GET", HOST, "/", [("X-Bad", "1\r\nHost: other")]), "invalid header field value"),
    "a method with a space": (wire.http_request("GET /x", HOST, "/"), "invalid method"),
    "a target with CR LF": (wire.http_request("GET", HOST, "/ HTTP/1.1\r\nX: y"), ""),
    "a host with CR LF": (wire.http_request("GET", "h\r\nX: y", "/"), ""),
    "a length that is no number": (wire.http_request("POST", HOST, "/echo", [("Content-Length", "many")]), "content-length"),
}


@pytest.mark.parametrize("name", TOLD)
def test_what_makes_no_sense_is_answered_with_an_error(edge, name):
    data, text = TOLD[name]
    head, body = edge.ask(data)
    assert head["error"] and text in head["error"] and body == b""
    assert not any(key == "HttpStatus" for key, _ in wire.pairs_of(head))
    still_serves(edge)


@pytest.mark.parametrize("is_bound, word", [(True, "origin_refused"), (False, "origin_unreachable")])
def test_a_flow_of_bytes_to_nowhere_has_its_word(edge, is_bound, word):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # it never listens
        # An address of broadcast is no destination of TCP.
        to = f"127.0.0.1:{closed.getsockname()[1]}" if is_bound else "255.255.255.255:9"
        head, body = edge.ask(wire.request_head(to, "tcp"))
    assert f"unable to dial tcp to origin {to}" in head["error"] and body == b""
    until(lambda: any(f"failure={word} " in line and to in line for line in edge.connector.text().splitlines()), "the log has it")
    still_serves(edge)


def test_an_unknown_connection_type_is_answered_with_an_error(edge):
    data = bytearray(wire.request_head("http://h/", "tcp"))
    assert data[24:26] == b"\x02\x00"  # the type, behind preamble, frame header and root pointer
    data[24] = 9
    head, body = edge.ask(bytes(data))
    assert head["error"] and body == b""
    still_serves(edge)


def test_a_body_that_ends_early_is_not_an_answer(edge):
    async def talk():
        stream = await edge.open(wire.http_request("POST", HOST, "/echo", [("Content-Length", "100")]) + b"short")
        await stream.over()
        return stream

    stream = edge.run(talk())
    if stream.ended:
        head, body = edge.run(edge.answer(stream))
        assert head["error"] and body == b""
    still_serves(edge)


@pytest.mark.parametrize("how", ["reset", "stop"])
def test_streams_that_the_edge_gives_up_leave_no_trace(edge, how):
    async def talk():
        for _ in range(20):
            stream = await edge.open(wire.http_request("GET", HOST, "/bytes/5000000"), fin=False)
            await stream.read(1000)
            getattr(stream, how)(7)
            if how == "reset":
                stream.stop(7)
            await stream.over()

    edge.run(talk())
    still_serves(edge)
