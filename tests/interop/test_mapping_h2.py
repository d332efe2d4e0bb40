"""How requests of an edge are put to an origin over HTTP/2 and its answers to the edge: what cloudflared was seen to do
(tests/vectors/http_mapping_h2.json), done again by both connectors. cloudflared proves the harness; where adit does otherwise on
purpose, DIFFERENT says what and why."""
import asyncio
import base64
import contextlib
import json
import pathlib

import pytest
from conftest import KINDS, Program, connector_command, need, stop_clean
from h2_peer import BLOCK, CONNECTOR, META, ORIGIN
from handmade_edge import random_token
from handmade_h2_edge import HandmadeH2Edge
from raw_origin import Echo, Plan, RawOrigin
from test_mapping import GZIP, configuration, lines_of

VECTORS = pathlib.Path(__file__).resolve().parents[1] / "vectors"
CASES = {v["name"]: v for v in json.loads((VECTORS / "http_mapping_h2.json").read_text())["vectors"]}
CONFIGURATIONS = [name for name in CASES if name.startswith("config_")]
RECORDED_ORIGIN, RECORDED_ECHO = b"127.0.0.1:37135", b"127.0.0.1:35665"
GO = "Go-http-client/2.0"  # what the recorder's library calls itself
CLOSING = {"resp_short"}
INTERNAL_ERROR, NO_ERROR = 2, 0


class Lab:
    """A hand-made edge, one connector, an origin below HTTP and an echo."""

    def __init__(self, kind, where):
        need(kind)
        self.kind = kind
        self.edge, self.origin, self.echo = HandmadeH2Edge(where), RawOrigin(), Echo()
        (where / "config.yml").write_text(json.dumps(configuration(self.origin.address, self.echo.address)))
        command = connector_command(kind, where / "config.yml", self.edge.ca, [self.edge.address] * 2, random_token()[1],
                                    transport="http2")
        at = command.index("--config")
        self.connector = Program([*command[:at], "--tag", "site=lab", *command[at:]], where / "connector.log", cwd=where)
        self.connector.wait_for("Registered tunnel connection")

    def stop(self):
        if self.kind == "adit":
            stop_clean(self.connector)
        else:
            self.connector.stop()
        self.edge.stop()
        self.origin.stop()
        self.echo.stop()

    def here(self, data):
        """Recorded addresses become those of this run."""
        return data.replace(RECORDED_ORIGIN, self.origin.address.encode()).replace(RECORDED_ECHO, self.echo.address.encode())

    def play(self, case, plan):
        self.origin.plan = plan
        return self.edge.run(self._play(case))

    async def _play(self, case):
        body = self.here(bytes.fromhex(case["request_body_hex"]))
        headers = [(k, v) for k, v in case["request_headers"] if v]  # an empty one: the library was told to send none
        if not any(k == "User-Agent" for k, _ in case["request_headers"]):
            headers.append(("User-Agent", GO))
        ends = case["edge_ends_stream"]
        if body and ends:
            headers.append(("Content-Length", str(len(body))))
        stream = self.edge.open(case["method"], self.here(case["authority"].encode()).decode(), case["path"], headers, ends and not body)
        if body:
            stream.write(body, fin=ends)
        if is_open_at_the_end(case):
            with contextlib.suppress(EOFError):  # one that ends instead is looked at by the test
                await stream.until(lambda: stream.data.endswith(body_of(case)[-5:]) if body_of(case) else stream.head)
            stream.was_open = not stream.ended and stream.reset_code is None
            stream.reset()
        else:
            await stream.over()
        return stream


@pytest.fixture(scope="module", params=KINDS)
def lab(request, tmp_path_factory):
    lab = Lab(request.param, tmp_path_factory.mktemp(request.param))
    yield lab
    lab.stop()


# ---- what is expected ----

def is_open_at_the_end(case):
    return case["response"].get("transport_error", "").endswith("response body closed")


def body_of(case):
    return bytes.fromhex(case["response"]["body_hex"])


def expected_saw(case):
    saw = bytes.fromhex(case["origin_saw_hex"])
    if case["name"] == "websocket":  # what followed the upgrade was not recorded
        saw += bytes.fromhex(case["request_body_hex"])
    return saw


def plan_of(case):
    saw, reply = expected_saw(case), bytes.fromhex(case["origin_replied_hex"])
    body = len(saw) - saw.find(b"\r\n\r\n") - 4 if saw else 0
    if reply.startswith(b"HTTP/1.1 101"):
        return Plan(0, reply, later_size=body, closes=True)
    return Plan(body, reply, closes=case["name"] in CLOSING)


def check_origin(kind, case, plan):
    saw = expected_saw(case)
    if not saw:
        assert plan.saw == b""
        return
    assert plan.over.wait(30)
    first, lines, body = lines_of(saw)
    was_asked = any(k == "Accept-Encoding" for k, _ in case["request_headers"])
    if kind == "adit" and not was_asked and GZIP in lines:
        lines.remove(GZIP)  # as in test_mapping.py: adit asks for nothing of its own accord
    assert lines_of(plan.saw) == (first, lines, body)


def decoded(block):
    """The user's headers in a block: pairs of base64 without padding."""
    def plain(text):
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode()

    return sorted([plain(part) for part in pair.split(":")] for pair in block.split(";") if pair)


def own_fields(headers):
    """What a head says beside the block. The reference's library adds a date and a type of its guess."""
    return sorted((k.lower(), v) for k, v in headers
                  if k.lower() not in (":status", "date", "content-type", BLOCK))


def check_response(case, stream):
    response = case["response"]
    assert stream.head is not None and stream.status == response["status"]
    assert own_fields(stream.head) == own_fields(response["headers"])
    is_answer = any(k.lower() == BLOCK for k, _ in response["headers"])
    assert (stream.field(BLOCK) is not None) == is_answer
    if is_answer:
        assert decoded(stream.field(BLOCK)) == sorted(response["user_headers_decoded"])
    assert stream.data == body_of(case) and not stream.interim
    trailers = sorted((k.lower(), v) for k, values in response["trailers"].items() for v in values)
    assert sorted(stream.trailers or []) == trailers
    if is_open_at_the_end(case):
        assert stream.was_open
    else:
        assert stream.ended and stream.reset_code in (None, NO_ERROR)


# ---- where adit does otherwise, and why ----

def without_spans(case, plan, stream):
    """Traces are an offer that an edge may ignore; adit has none to give."""
    headers = [(k, v) for k, v in case["response"]["headers"] if k != "Cf-Int-Cloudflared-Tracing"]
    assert len(headers) == len(case["response"]["headers"]) - 1
    check_response(dict(case, response=dict(case["response"], headers=headers)), stream)
    check_origin("adit", case, plan)


def announces_trailers(case, plan, stream):
    """The trailers come on this transport, so what announces them comes too; the reference's library eats the field."""
    response = dict(case["response"], user_headers_decoded=[["Trailer", "X-Trail"]])
    check_response(dict(case, response=response), stream)
    check_origin("adit", case, plan)


DIFFERENT = {"get_trace": without_spans, "tcp_traced": without_spans, "resp_chunked_trailer": announces_trailers}


# ---- cases in which the recording has things of its own run ----

def recorded_spans(case, plan, stream):
    assert stream.field("cf-int-cloudflared-tracing")
    check_origin("cloudflared", case, plan)


RECORDED = {"get_trace": recorded_spans, "tcp_traced": recorded_spans}


# What the recording cannot hold literally, whichever connector answers.

def breaks_off(kind, case, plan, stream):
    """The head may be lost with the reset, or not; the end of the stream never looks like that of the body."""
    assert stream.reset_code == INTERNAL_ERROR and not stream.ended
    if stream.head is not None:
        assert stream.status == 200 and b"abc".startswith(stream.data)
    check_origin(kind, case, plan)


def frames(kind, case, plan, stream):
    """Greeting and echo may come in one frame or in two."""
    payload, data = b"", stream.data
    while data:
        assert data[0] == 0x82 and data[1] < 126
        payload, data = payload + data[2:2 + data[1]], data[2 + data[1]:]
    assert payload == b"banner\nhello" and stream.was_open
    check_response(dict(case, response=dict(case["response"], body_hex=stream.data.hex())), stream)


BOTH = {"resp_short": breaks_off, "websocket_to_tcp_service": frames}


@pytest.mark.parametrize("name", [name for name in CASES if name not in CONFIGURATIONS and name != "tcp_flow_limited"])
def test_a_request_of_an_edge_is_served_as_recorded(lab, name):
    case = CASES[name]
    plan = plan_of(case)
    stream = lab.play(case, plan)
    special = (DIFFERENT if lab.kind == "adit" else RECORDED).get(name)
    if special is not None:
        special(case, plan, stream)
    elif name in BOTH:
        BOTH[name](lab.kind, case, plan, stream)
    else:
        check_response(case, stream)
        check_origin(lab.kind, case, plan)


def test_there_are_as_many_cases_as_were_recorded():
    assert len(CASES) == 39 and set(DIFFERENT) | set(RECORDED) | set(BOTH) <= set(CASES)


# ---- configurations, and what follows from them ----

def check_configured(kind, case, stream):
    response = case["response"]
    if response["status"] != 200:
        check_response(case, stream)
        return
    assert stream.status == 200 and stream.ended and stream.field(META) is None
    assert stream.field("content-type") == dict(response["headers"])["Content-Type"]
    assert int(stream.field("content-length")) == len(stream.data)
    got, want = json.loads(stream.data), json.loads(body_of(case))
    if kind == "adit" and want["err"] is not None:
        # The reference's errors lose their text on this transport: an empty object, or the fields of an error of its JSON decoder. Ours is
        # the empty object always, and the text beside it.
        assert got.pop("text") and got["err"] == {}
        want["err"] = {}
    assert got == want


@pytest.mark.parametrize("kind", KINDS)
def test_configurations_are_answered_and_applied_as_recorded(kind, tmp_path):
    lab = Lab(kind, tmp_path)
    for name in CONFIGURATIONS[:5]:
        check_configured(kind, CASES[name], lab.play(CASES[name], Plan()))
    check_response(CASES["http_status"], lab.play(CASES["http_status"], Plan()))  # by the first of them
    check_configured(kind, CASES["config_flow_limit"], lab.play(CASES["config_flow_limit"], Plan()))

    async def occupy():
        stream = lab.edge.open("GET", lab.echo.address, "/", [("Cf-Cloudflared-Proxy-Src", "x")], fin=False)
        await stream.until(lambda: stream.data == b"banner\n")
        return stream

    flow = lab.edge.run(occupy())
    check_response(CASES["tcp_flow_limited"], lab.play(CASES["tcp_flow_limited"], Plan()))

    async def end():
        flow.write(b"", fin=True)
        await flow.over()
        for _ in range(1000):
            stream = await lab.edge.open("GET", lab.echo.address, "/", [("Cf-Cloudflared-Proxy-Src", "x")], fin=False).heads()
            stream.reset()
            if stream.status == 200:
                return
            await asyncio.sleep(0.01)
        raise AssertionError("the flow's place never came back")

    lab.edge.run(end())
    lab.stop()


def post_config(lab, body, size=None):
    async def post():
        headers = [("Cf-Cloudflared-Proxy-Connection-Upgrade", "update-configuration")]
        stream = lab.edge.open("PUT", "localhost", "/", headers, fin=False)
        stream.write(body, fin=size is None)
        if size is not None:
            sent = len(body)
            while sent < size and stream.reset_code is None and not stream.ended:
                stream.write(b" " * 65536)
                sent += 65536
                while stream.out and stream.reset_code is None and not stream.ended:
                    stream.news.clear()
                    with contextlib.suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(stream.news.wait(), 0.05)
        await stream.over()
        return stream

    return lab.edge.run(post())


@pytest.mark.parametrize("body", [b"", b"[]", b"7", b'"x"', b"{}", b'{"version":"1","config":{}}', b'{"version":4294967296,"config":{}}',
                                  b'{"version":1.5,"config":{}}', b'{"version":1}x', b"\xff", b'{"config":' + b"[" * 5000])
def test_what_is_no_configuration_is_refused_and_nothing_changes(body, tmp_path):
    lab = Lab("adit", tmp_path)
    stream = post_config(lab, body)
    assert stream.status == 502 and stream.field(META) == CONNECTOR and stream.ended
    check_response(CASES["http_status"], lab.play(CASES["http_status"], Plan()))
    lab.stop()


def test_a_configuration_without_end_is_cut_off(tmp_path):
    lab = Lab("adit", tmp_path)
    stream = post_config(lab, b'{"version":1,"config":{"x":"', size=16 << 20)
    assert stream.head is None and stream.reset_code is not None
    check_response(CASES["http_status"], lab.play(CASES["http_status"], Plan()))
    lab.stop()


# ---- beyond the recording ----

def test_an_upgrade_ends_each_way_by_itself(tmp_path):
    """The edge's end reaches the echo behind the last byte; its end comes back. The reference has no half-close."""
    lab = Lab("adit", tmp_path)

    async def talk():
        stream = lab.edge.open("GET", lab.echo.address, "/", [("Cf-Cloudflared-Proxy-Src", "x")], fin=False)
        stream.write(b"last words", fin=True)
        return await stream.rest(), stream

    data, stream = lab.edge.run(talk())
    assert data == b"banner\nlast words" and stream.field(META) == ORIGIN
    lab.stop()


def test_an_edge_that_wants_no_answer_any_more_ends_the_request_at_the_origin(lab):
    """Also one whose body was complete: nobody waits for what the origin would say."""
    plan = lab.origin.plan = Plan(is_silent=True)

    async def ask():
        stream = lab.edge.open("GET", "app.example.com", "/slow", fin=True)
        for _ in range(3000):
            if plan.has(0):
                break
            await asyncio.sleep(0.01)
        stream.reset()

    lab.edge.run(ask())
    assert plan.over.wait(10)  # its connection was closed, or reset


def test_a_large_body_goes_both_ways_within_the_windows(lab):
    size = 2 << 20
    payload = bytes(range(256)) * (size // 256)

    async def talk():
        stream = lab.edge.open("GET", lab.echo.address, "/", [("Cf-Cloudflared-Proxy-Src", "x")], fin=False)
        stream.write(payload)
        await stream.until(lambda: len(stream.data) >= size + 7)
        stream.reset()
        return stream.data

    assert lab.edge.run(talk()) == b"banner\n" + payload
