"""How requests of an edge are put to an origin and its answers to the edge: what cloudflared was seen to do
(tests/vectors/http_mapping_quic.json), done again by both connectors. cloudflared proves the harness; where adit does otherwise on
purpose, DIFFERENT says what and why."""
import contextlib
import json
import pathlib
import re

import pytest
import wire
from conftest import KINDS, Program, connector_command, need, stop_clean
from handmade_edge import HandmadeEdge, random_token
from raw_origin import Echo, Plan, RawOrigin

VECTORS = pathlib.Path(__file__).resolve().parents[1] / "vectors"
CASES = {v["name"]: v for v in json.loads((VECTORS / "http_mapping_quic.json").read_text())["vectors"]}
RECORDED_ECHO = b"127.0.0.1:33127"
UNREACHABLE = ("Unable to reach the origin service. The service may be down or it may not be responding to traffic from cloudflared: ")


def configuration(origin, echo, flows=0):
    """The rules of the recorded run."""
    def rule(name, service, **request):
        return {"hostname": name + ".example.com", "service": service, "originRequest": request}

    rules = [
        rule("app", f"http://{origin}"), rule("hosthdr", f"http://{origin}", httpHostHeader="internal.local"),
        rule("nochunk", f"http://{origin}", disableChunkedEncoding=True), rule("ws", f"ws://{origin}"),
        rule("tcp", f"tcp://{echo}"), rule("tcpsocks", f"tcp://{echo}", proxyType="socks"), rule("bastion", "bastion"),
        rule("socks", "socks-proxy", ipRules=[{"prefix": "127.0.0.0/8", "allow": True}]), rule("socksdeny", "socks-proxy"),
        rule("status", "http_status:418"), rule("down", "http://127.0.0.1:1"), rule("tcpdown", "tcp://127.0.0.1:1"),
        rule("access", f"http://{origin}", access={"required": True, "teamName": "team", "audTag": ["aud1"]}),
        rule("hello", "hello_world"), rule("noport", "other://127.0.0.1"), {"service": "http_status:404"}]
    return {"ingress": rules, "warp-routing": {"maxActiveFlows": flows}}


class Lab:
    """A hand-made edge, one connector, an origin below HTTP and an echo."""

    def __init__(self, kind, where, flows=0):
        need(kind)
        self.kind = kind
        self.edge, self.origin, self.echo = HandmadeEdge(where), RawOrigin(), Echo()
        (where / "config.yml").write_text(json.dumps(configuration(self.origin.address, self.echo.address, flows)))
        command = connector_command(kind, where / "config.yml", self.edge.ca, [self.edge.address] * 2, random_token()[1])
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

    def play(self, case, plan):
        """(stream, head): what the connector wrote for the recorded bytes of an edge."""
        self.origin.plan = plan
        data = bytes.fromhex(case["stream_from_edge_hex"])
        here = self.echo.address.encode()
        assert len(here) == len(RECORDED_ECHO)  # so that no length in the head changes
        data = data.replace(RECORDED_ECHO, here).replace(b"\x01\x7f\x00\x00\x01\x81\x67", b"\x01\x7f\x00\x00\x01" +
                                                         self.echo.port.to_bytes(2, "big"))
        return self.edge.run(self._play(case, data))

    async def _play(self, case, data):
        stream = await self.edge.open(data, fin=case["edge_sends_fin_after_body"])
        head = None
        if case["response"]["end"] == "still_open_when_test_stopped":
            with contextlib.suppress(EOFError):  # one that ends instead is looked at by the test
                await stream.until(lambda: len(body_so_far(stream)) >= len(expected_body(case)))
                stream.was_open = not stream.ended
                stream.reset()
                stream.stop()
        else:
            await stream.over()
        if stream.data:
            assert stream.data[:8] == wire.PREAMBLE
            frame, stream.data = wire.take_frame(stream.data[8:])
            head = wire.decode(wire.SCHEMA.ConnectResponse, frame)
        return stream, head


@pytest.fixture(scope="module", params=KINDS)
def lab(request, tmp_path_factory):
    lab = Lab(request.param, tmp_path_factory.mktemp(request.param))
    yield lab
    lab.stop()


# ---- what is expected ----

def body_so_far(stream):
    frame, body = wire.take_frame(stream.data[8:])
    return body if frame is not None else b""


def expected_body(case):
    stream = bytes.fromhex(case["stream_from_connector_hex"])
    return wire.take_frame(stream[8:])[1] if stream else b""


def body_of_edge(case):
    return wire.take_frame(bytes.fromhex(case["stream_from_edge_hex"])[8:])[1]


def expected_saw(case):
    """(bytes, whether the end came). Two things were not recorded: what followed an upgrade, and what came in reply to the first 100."""
    saw = bytes.fromhex(case["origin_saw_hex"])
    if saw.endswith(b"<EOF>"):
        return saw[:-5], True
    if case["type"] == "ws" and saw and case["response"]["metadata"][0][1] == "101":
        saw += body_of_edge(case)
    return saw, False


CLOSING = {"resp_until_close", "resp_body_cut_short", "resp_origin_closes", "resp_not_http", "sse"}


def plan_of(case):
    saw, has_eof = expected_saw(case)
    reply = bytes.fromhex(case["origin_replied_hex"])
    body = len(saw) - saw.find(b"\r\n\r\n") - 4 if saw else 0
    if case["name"] == "post_expect_continue":  # the recorder took the head for a whole request, and answered the body again
        reply = reply[:len(reply) // 2]
    if case["name"] == "websocket_half_close_from_edge":
        return Plan(0, reply, reads_on=True)
    if reply.startswith(b"HTTP/1.1 101"):
        return Plan(0, reply, later_size=body, closes=True)
    return Plan(body, reply, closes=case["name"] in CLOSING, is_silent=has_eof)


def lines_of(request):
    """The request line, the sorted header lines with the connector's id left out, and the bytes behind the head."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = re.sub(rb"(Cf-Warp-Tag-Id: )[0-9a-f-]{36}\b", rb"\1ID", head).split(b"\r\n")
    assert not lines or lines[0].startswith(b"Host: ")
    return first, sorted(lines), body


GZIP = b"Accept-Encoding: gzip"


def wanted_lines(kind, case):
    first, lines, body = lines_of(expected_saw(case)[0])
    was_asked = any(key.lower() == "httpheader:accept-encoding" for key, _ in case["metadata"])
    if kind == "adit" and not was_asked and GZIP in lines:
        # The reference asks for gzip of its own accord and unpacks the answer. An edge sees the same response when nobody asks: the
        # origin's own bytes, with their length and their ETag. So adit adds nothing and unpacks nothing.
        lines.remove(GZIP)
    return first, lines, body


def check_origin(kind, case, plan):
    saw, has_eof = expected_saw(case)
    if not saw:
        assert plan.saw == b""
        return
    assert plan.over.wait(30)
    assert lines_of(plan.saw) == wanted_lines(kind, case)
    assert plan.has_eof == has_eof


def check_response(case, stream, head):
    response = case["response"]
    assert head is not None
    assert head.get("error", "") == response["error"]
    pairs = wire.pairs_of(head)
    if not response["error"] and case["type"] != "tcp":
        assert pairs[0][0] == "HttpStatus"
    assert sorted(pairs) == sorted(tuple(pair) for pair in response["metadata"])
    assert stream.data == expected_body(case)
    assert stream.ended if response["end"] == "fin" else stream.was_open


# ---- where adit does otherwise, and why ----

def says(prefix):
    """The same beginning of the error's text; the cause behind it is told in words of our own."""
    def check(case, plan, stream, head):
        assert case["response"]["error"].startswith(prefix)
        assert head["error"].startswith(prefix) and len(head["error"]) > len(prefix)
        assert wire.pairs_of(head) == [] and stream.ended and stream.data == b""
        check_origin("adit", case, plan)
    return check


def breaks_off(case, plan, stream, head):
    assert stream.reset_code == 0
    if head is not None:  # it may be lost with the reset, or not
        assert not head.get("error") and wire.pairs_of(head)[0] == ("HttpStatus", "200")
    check_origin("adit", case, plan)


def refuses_early(case, plan, stream, head):
    """The length is known to be wrong before or while it is sent: the origin may see any beginning of the request, never all."""
    assert head["error"] == case["response"]["error"] and wire.pairs_of(head) == [] and stream.ended
    if plan.saw:
        assert plan.over.wait(30) and plan.has_eof
        body = plan.saw.partition(b"\r\n\r\n")[2]
        assert lines_of(expected_saw(case)[0])[2].startswith(body)


def without_spans(case, plan, stream, head):
    """Traces are an offer that an edge may ignore; adit has none to give."""
    spans = ("HttpHeader:Cf-Int-Cloudflared-Tracing", "Cf-Int-Cloudflared-Tracing")
    rest = [pair for pair in case["response"]["metadata"] if pair[0] not in spans]
    assert len(rest) == len(case["response"]["metadata"]) - 1
    if case["type"] == "tcp":
        check_half_close(dict(case, response=dict(case["response"], metadata=rest)), plan, stream, head)
        return
    check_response(dict(case, response=dict(case["response"], metadata=rest)), stream, head)
    check_origin("adit", case, plan)


def passes_gzip(case, plan, stream, head):
    """Nothing was asked for, so nothing is unpacked: what the origin says is what the edge gets."""
    assert wire.pairs_of(head)[0] == ("HttpStatus", "200") and stream.ended
    assert wire.header_of(head, "content-encoding") == "gzip" and wire.header_of(head, "content-length") == "3"
    assert stream.data == b"\x1f\x8b\x08"
    check_origin("adit", case, plan)


def check_half_close(case, plan, stream, head):
    """A defect of the reference (no half-close, answers lost) that adit does not have: all of the answer comes, then the end."""
    whole = {"websocket_half_close_from_edge": b"\x81\x05hello", "tcp_half_close": b"banner\nhello", "tcp_traced": b"banner\n"}
    assert not head.get("error") and stream.ended and stream.data == whole[case["name"]]
    assert sorted(wire.pairs_of(head)) == sorted(tuple(pair) for pair in case["response"]["metadata"])
    if case["type"] == "ws":
        assert plan.over.wait(30) and plan.has_eof
        assert lines_of(plan.saw) == wanted_lines("adit", case)


def is_a_page(case, plan, stream, head):
    """The page is ours, and has a length."""
    assert wire.pairs_of(head)[0] == ("HttpStatus", "200") and stream.ended
    assert wire.header_of(head, "content-type") == "text/html; charset=utf-8"
    assert int(wire.header_of(head, "content-length")) == len(stream.data) and b"Hello from Adit" in stream.data


DIFFERENT = {
    "resp_not_http": says(UNREACHABLE),
    "resp_origin_closes": says(UNREACHABLE),
    "access_bad_jwt": says("error while processing middleware handler AccessJWTValidator: "),
    "resp_body_cut_short": breaks_off,
    "post_content_length_extra_body": refuses_early,
    "post_content_length_short_body": refuses_early,
    "get_trace_header": without_spans,
    "tcp_traced": without_spans,
    "resp_gzip_no_accept_encoding": passes_gzip,
    "websocket_half_close_from_edge": check_half_close,
    "tcp_half_close": check_half_close,
    "hello_world": is_a_page,
}


# ---- cases in which the recording has things of its own run ----

def recorded_break(case, plan, stream, head):
    assert stream.reset_code == 0
    check_origin("cloudflared", case, plan)


def recorded_half_close(case, plan, stream, head):
    """How much of the answer is lost is a matter of luck."""
    whole = {"websocket_half_close_from_edge": b"\x81\x05hello", "tcp_half_close": b"banner\nhello", "tcp_traced": b"banner\n"}
    assert head is not None and not head.get("error") and whole[case["name"]].startswith(stream.data)


def recorded_spans(case, plan, stream, head):
    assert wire.header_of(head, "cf-int-cloudflared-tracing")
    check_origin("cloudflared", case, plan)


def recorded_page(case, plan, stream, head):
    assert wire.pairs_of(head)[0] == ("HttpStatus", "200") and stream.data
    assert wire.header_of(head, "content-type") == "text/html; charset=utf-8"


def recorded_frames(case, plan, stream, head):
    """Greeting and echo may come in one frame or in two."""
    payload, data = b"", stream.data
    while data:
        assert data[0] == 0x82 and data[1] < 126
        payload, data = payload + data[2:2 + data[1]], data[2 + data[1]:]
    assert payload == b"banner\nhello" and stream.was_open
    assert sorted(wire.pairs_of(head)) == sorted(tuple(pair) for pair in case["response"]["metadata"])


def recorded_greeting(case, plan, stream, head):
    """A plain request has no way up, so the flow ends at once: with the greeting or without."""
    assert wire.pairs_of(head) == [("HttpStatus", "101")] and stream.data in (b"", b"\x82\x07banner\n") and stream.ended


def recorded_socks(case, plan, stream, head):
    """The port in the second reply is that of the run."""
    want = expected_body(case)
    assert sorted(wire.pairs_of(head)) == sorted(tuple(pair) for pair in case["response"]["metadata"])
    assert stream.data[:14] == want[:14] and stream.data[16:] == want[16:]
    assert stream.ended if case["response"]["end"] == "fin" else stream.was_open


RECORDED = {
    "resp_body_cut_short": recorded_break,
    "resp_gzip_no_accept_encoding": recorded_break,
    "websocket_half_close_from_edge": recorded_half_close,
    "tcp_half_close": recorded_half_close,
    "tcp_traced": recorded_half_close,
    "get_trace_header": recorded_spans,
    "hello_world": recorded_page,
}

# What the recording cannot hold literally, whichever connector answers.
BOTH = {
    "http_to_tcp_service": recorded_greeting,
    "websocket_to_tcp_service": recorded_frames,
    "websocket_socks_allowed": recorded_socks,
    "websocket_socks_denied": recorded_socks,
    "websocket_tcp_proxytype_socks": recorded_socks,
}


@pytest.mark.parametrize("name", [name for name in CASES if name != "tcp_flow_limited"])
def test_a_request_of_an_edge_is_served_as_recorded(lab, name):
    case = CASES[name]
    plan = plan_of(case)
    stream, head = lab.play(case, plan)
    special = (DIFFERENT if lab.kind == "adit" else RECORDED).get(name) or BOTH.get(name)
    if special is not None:
        special(case, plan, stream, head)
        return
    check_response(case, stream, head)
    check_origin(lab.kind, case, plan)


def test_there_are_as_many_cases_as_were_recorded():
    assert len(CASES) == 80 and set(DIFFERENT) | set(RECORDED) | set(BOTH) <= set(CASES)


def test_the_body_of_a_plain_request_is_frames_too(lab):
    pairs = [("HttpMethod", "POST"), ("HttpHost", "tcp.example.com"), ("HttpHeader:Transfer-Encoding", "chunked")]

    async def ask():
        stream = await lab.edge.open(wire.request_head("https://tcp.example.com/", "http", pairs) + b"\x82\x85\x01\x02\x03\x04igohn",
                                     fin=False)
        await stream.until(lambda: stream.data.endswith(b"hello"))
        stream.reset()
        stream.stop()
        return stream.data[8:]

    frame, body = wire.take_frame(lab.edge.run(ask()))
    assert wire.pairs_of(wire.decode(wire.SCHEMA.ConnectResponse, frame)) == [("HttpStatus", "101")]
    assert body in (b"\x82\x0cbanner\nhello", b"\x82\x07banner\n\x82\x05hello")


@pytest.mark.parametrize("host, key, texts", [
    ("noport", "dGhlIHNhbXBsZSBub25jZQ==", {"adit": "dial tcp: address 127.0.0.1: missing port in address",
                                            "cloudflared": "dial tcp: address 127.0.0.1: missing port in address"}),
    ("tcp", "k" * 65, {"adit": "malformed Sec-Websocket-Key", "cloudflared": ""}),
    ("bastion", "dGhlIHNhbXBsZSBub25jZQ==", {"adit": "dial tcp: address host: ", "cloudflared": "dial tcp: address host: "}),
])
def test_what_cannot_be_dialled_or_accepted_is_told(lab, host, key, texts):
    """A key of RFC 6455 has 24 characters; the reference takes any."""
    pairs = [("HttpMethod", "GET"), ("HttpHost", f"{host}.example.com"), ("HttpHeader:Sec-Websocket-Key", key),
             ("HttpHeader:Cf-Access-Jump-Destination", "host")]

    async def ask():
        stream = await lab.edge.open(wire.request_head(f"https://{host}.example.com/", "websocket", pairs), fin=False)
        await stream.until(lambda: wire.take_frame(stream.data[8:])[0] is not None)
        stream.reset()
        stream.stop()
        return stream.data[8:]

    head = wire.decode(wire.SCHEMA.ConnectResponse, wire.take_frame(lab.edge.run(ask()))[0])
    text = texts[lab.kind]
    assert head.get("error", "").startswith(text) if text else wire.pairs_of(head)[0] == ("HttpStatus", "101")


@pytest.mark.parametrize("kind", KINDS)
def test_a_flow_beyond_the_limit_is_refused_until_one_ends(kind, tmp_path):
    case, first = CASES["tcp_flow_limited"], CASES["tcp"]
    lab = Lab(kind, tmp_path, flows=1)

    async def occupy():
        stream = await lab.edge.open(wire.request_head(lab.echo.address, "tcp"), fin=False)
        await stream.until(lambda: b"banner\n" in stream.data)
        return stream

    stream = lab.edge.run(occupy())
    check_response(case, *lab.play(case, Plan()))

    async def leave():
        stream.write(b"", True)
        await stream.over()

    lab.edge.run(leave())

    def again():
        _, head = lab.play(dict(first, edge_sends_fin_after_body=True, response=dict(first["response"], end="fin")), Plan())
        return not head.get("error")

    assert any(again() for _ in range(100))
    lab.stop()
