"""Answers of a hand-made connector over HTTP/2, and what visitors of our edge get of them."""
import asyncio
import concurrent.futures
import contextlib
import json
import socket
import struct

import h11
import h2.errors
import pytest
import websockets.sync.client
from client import get, header
from conftest import Edge, LOOPBACK, ask_quick_tunnel, stop_clean, until
from h2_peer import BLOCK, CONNECTOR, META
from handmade_h2_connector import H2Connector, block, coded, response
from hostile import talk

LIMITED = '{"src":"cloudflared","flow_rate_limited":true}'
WORD, TEXT = "cf-cloudflared-adit-failure", "cf-cloudflared-adit-text"
ANSWERS = {}
JSON = [("Accept", "application/json")]


class Extended(H2Connector):
    features = [*H2Connector.features, "adit_diag", "adit_trailers"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    edge = Edge(tmp_path_factory.mktemp("edge"), 2, LOOPBACK)
    yield edge
    stop_clean(edge)


def connected(kind, server):
    connector = kind(server, ask_quick_tunnel(server), ANSWERS)
    connector.peer = connector.run(connector.register())
    return connector


@pytest.fixture(scope="module")
def plain(server):
    connector = connected(H2Connector, server)
    yield connector
    connector.stop()


@pytest.fixture(scope="module")
def extended(server):
    connector = connected(Extended, server)
    yield connector
    connector.stop()


def says(head, body=b"", trailers=None, ends=None):
    """What the next requests for /said get."""
    async def say(stream, request):
        nothing = not body and not trailers
        stream.respond(head, fin=nothing if ends is None else ends)
        if not nothing:
            stream.write(body, fin=True, trailers=trailers)
    ANSWERS["/said"] = say


EVERY_WORKER = range(4)  # visitors come to both workers: a link is on one, and its exchanges cross or not


def page(connector, path="/said"):
    """(status, code, text) of the page, the same for every visitor."""
    pages = []
    for _ in EVERY_WORKER:
        head, body = get(connector, path, headers=JSON)
        said = json.loads(body)
        assert said["status"] == head.status_code
        pages.append((head.status_code, said["code"], said["text"]))
    assert len(set(pages)) == 1, pages
    return pages[0]


def still_serves(connector):
    says(response(200, [("Content-Length", "2")], [("content-length", "2")]), b"ok")
    assert get(connector, "/said")[1] == b"ok" and connector.peer.why is None


# ---- requests ----

def test_a_request_comes_as_the_reference_would_get_it(plain):
    still_serves(plain)
    get(plain, "/said?x=1", headers=[("Cookie", "a=1"), ("X-Mixed", "Case")])
    fields = plain.requests[-1].fields
    assert fields[":method"] == "GET" and fields[":authority"].startswith(plain.host) and fields[":path"] == "/said?x=1"
    assert fields["cookie"] == "a=1" and fields["x-mixed"] == "Case" and fields["x-forwarded-proto"] == "http"
    assert "cf-cloudflared-proxy-connection-upgrade" not in fields and "cf-cloudflared-proxy-src" not in fields


def test_what_a_visitor_says_of_the_tunnel_stays_at_the_edge(plain):
    """Else he could make a request into a stream of bytes to any address, or change the configuration."""
    still_serves(plain)
    names = ["Cf-Cloudflared-Proxy-Connection-Upgrade", "Cf-Cloudflared-Proxy-Src", "cf-cloudflared-proxy-CONNECTION-upgrade"]
    for name in names:
        for value in ("update-configuration", "control-stream", "websocket", "127.0.0.1:1"):
            before = len(plain.requests)
            assert get(plain, "/said", headers=[(name, value)])[1] == b"ok"
            assert len(plain.requests) == before + 1
            assert not [n for n in plain.requests[-1].fields if n.startswith("cf-cloudflared-")]


def test_a_body_comes_whole_with_its_framing(plain):
    async def echo(stream, request):
        data = await stream.rest()
        stream.respond(response(200, [("X-Length", request.header("content-length") or "none")]))
        stream.write(data, fin=True)
    ANSWERS["/echo"] = echo
    body = bytes(range(256)) * 8192
    for chunked in (False, True):
        with socket.create_connection(("127.0.0.1", plain.edge.port("http")), timeout=30) as s:
            framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
            sent = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if chunked else body
            got = talk(s, f"POST /echo HTTP/1.1\r\nHost: {plain.host}\r\nConnection: close\r\n{framing}\r\n\r\n".encode() + sent)
        head, _, data = got.partition(b"\r\n\r\n")
        assert (b"X-Length: none" if chunked else b"X-Length: %d" % len(body)) in head
        assert len(data) >= len(body)


# ---- answers ----

def test_a_response_without_block_or_meta_is_taken_by_its_status(plain):
    says([(":status", "203")], b"bare")
    head, body = get(plain, "/said")
    assert head.status_code == 203 and body == b"bare"


def test_fields_beside_the_block_reach_no_visitor(plain):
    says(response(200, [("X-User", "yes"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")], [("x-library", "no"), ("date", "never")]), b"x")
    head, _ = get(plain, "/said")
    assert header(head, "X-User") == "yes" and header(head, "X-Library") is None and header(head, "Date") != "never"
    assert sum(name.lower() == b"set-cookie" for name, _ in head.headers) == 2


def test_trailers_come_through_where_the_visitor_asks_for_them(extended):
    says(response(200, [("Trailer", "X-Sum")]), b"body", trailers=[("x-sum", "7")])
    with socket.create_connection(("127.0.0.1", extended.edge.port("http")), timeout=30) as s:
        got = talk(s, f"GET /said HTTP/1.1\r\nHost: {extended.host}\r\nConnection: close\r\nTE: trailers\r\n\r\n".encode())
    assert got.lower().endswith(b"0\r\nx-sum: 7\r\n\r\n")


def test_an_upgrade_is_a_200_with_the_origins_consent(plain):
    async def upgraded(stream, request):
        assert request.header("cf-cloudflared-proxy-connection-upgrade") == "websocket"
        accept = websockets.utils.accept_key(request.header("sec-websocket-key"))
        stream.respond(response(200, [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-Websocket-Accept", accept)]))
        await stream.until(lambda: len(stream.data) >= 11)
        stream.write(b"\x81\x05hello")
        await stream.until(lambda: stream.ended or len(stream.data) >= 19)
        stream.write(b"\x88\x02\x03\xe8", fin=True)
    ANSWERS["/ws"] = upgraded
    for _ in EVERY_WORKER:
        sock = socket.create_connection(("127.0.0.1", plain.edge.port("http")), timeout=30)
        with websockets.sync.client.connect(f"ws://{plain.host}/ws", sock=sock, compression=None) as ws:
            ws.send("ABCDE")
            assert ws.recv(30) == "hello"


@pytest.mark.parametrize("status, pairs", [(200, []), (403, []), (200, [("Upgrade", "websocket")])])
def test_an_upgrade_without_consent_is_an_answer(plain, status, pairs):
    says(response(status, [*pairs, ("Content-Length", "2")]), b"no")
    sock = socket.create_connection(("127.0.0.1", plain.edge.port("http")), timeout=30)
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        websockets.sync.client.connect(f"ws://{plain.host}/said", sock=sock, compression=None)
    assert refused.value.response.status_code == status and refused.value.response.body == b"no"


# ---- failures that the connector tells ----

def test_the_reference_tells_only_that_there_was_a_failure(plain):
    says([(":status", "502"), (META, CONNECTOR), ("content-length", "0")])
    status, code, text = page(plain)
    assert (status, code) == (502, 1034) and "its log says why" in text


def test_a_flow_beyond_the_limit_is_429(plain):
    says([(":status", "502"), (META, LIMITED)])
    assert page(plain)[:2] == (429, 1015)


def test_our_connector_tells_what_failed_in_its_own_words(extended):
    why = "dial tcp 127.0.0.1:1: connect: connection refused"
    says([(":status", "502"), (META, CONNECTOR), (WORD, "origin_refused"), (TEXT, coded(why))])
    assert page(extended) == (502, 1040, why)
    says([(":status", "502"), (META, CONNECTOR), (WORD, "a_word_of_tomorrow"), (TEXT, coded(why))])
    assert page(extended)[:2] == (502, 1034)


@pytest.mark.parametrize("text", ["%%%", coded(b"\xff\xfe"), coded(b"\0"), "QQ=Q", coded("x" * 40000), ""])
def test_a_text_that_cannot_be_shown_is_left_out_or_cut(extended, text):
    says([(":status", "502"), (META, CONNECTOR), (WORD, "origin_refused"), (TEXT, text)])
    assert page(extended)[:2] == (502, 1040)


# ---- answers that are none ----

def pairs_in_place_of_a_head(block_text, more=()):
    return [(":status", "200"), (BLOCK, block_text), (META, '{"src":"origin"}'), *more]


BROKEN = {
    "no base64": pairs_in_place_of_a_head("!!!:!!!"),
    "a pair without its colon": pairs_in_place_of_a_head(coded("X-A")),
    "a pair with two": pairs_in_place_of_a_head("QQ:QQ:QQ"),
    "padding": pairs_in_place_of_a_head("QQ==:QQ=="),
    "the other alphabet": pairs_in_place_of_a_head("QQ:__--"),
    "a line break in a value": response(200, [("A", "b\r\nSet-Cookie: c=d")]),
    "a line break in a name": response(200, [("A\r\nB", "c")]),
    "a NUL in a value": response(200, [("A", "b\0c")]),
    "an empty name": response(200, [("", "c")]),
    "a name with a colon": response(200, [("A:", "c")]),
    "two lengths": response(200, [("Content-Length", "2"), ("Content-Length", "3")]),
    "a length that is none": response(200, [("Content-Length", "2x")]),
    "a negative length": response(200, [("Content-Length", "-2")]),
    "a length beyond counting": response(200, [("Content-Length", "1" * 30)]),
    "lines without number": response(200, [("X", "y")] * 600),
    "half a mebibyte of fields": [(":status", "200"), (META, '{"src":"origin"}')] + [(BLOCK, block([("X", "y" * 40000)]) + ";")] * 12,
    "a status of 99": response(99),
    "a status of 1000": response(1000),
    "a status that is none": response("two hundred"),
    "no status": response(200)[1:],
    "two statuses": [(":status", "200"), *response(200)],
    "a real 101": response(101),
    "names in upper case": [*response(200), ("X-Upper", "x")],
    "a connection's own field": [*response(200), ("connection", "close")],
    "another length than the block's": response(200, [("Content-Length", "2")], [("content-length", "3")]),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_cannot_be_a_response_is_a_page(plain, what):
    says(BROKEN[what], b"ok!", ends=False)
    for _ in EVERY_WORKER:
        head, body = get(plain, "/said", headers=JSON)
        assert head.status_code == 502 and json.loads(body)["code"] in (1035, 1038, 1059), body
        assert header(head, "Set-Cookie") is None and header(head, "A") is None and header(head, "X-Upper") is None
    still_serves(plain)


def test_interim_heads_of_who_may_not_send_them_are_a_breach(plain):
    async def early(stream, request):
        stream.respond([(":status", "103"), (BLOCK, block([("Link", "</a>")]))])
        stream.respond(response(200), fin=True)
    ANSWERS["/early"] = early
    assert page(plain, "/early")[0] == 502
    still_serves(plain)


def test_interim_heads_without_end_are_cut_off(extended):
    async def early(stream, request):
        with contextlib.suppress(Exception):
            for _ in range(2000):
                stream.respond([(":status", "103"), (BLOCK, "")])
    ANSWERS["/early"] = early
    for _ in EVERY_WORKER:
        assert get(extended, "/early")[0].status_code == 502
    still_serves(extended)


def raw_get(connector, path, more=""):
    with socket.create_connection(("127.0.0.1", connector.edge.port("http")), timeout=30) as s:
        return talk(s, f"GET {path} HTTP/1.1\r\nHost: {connector.host}\r\n{more}\r\n".encode()
                    + f"GET /after HTTP/1.1\r\nHost: {connector.host}\r\nConnection: close\r\n\r\n".encode())


@pytest.mark.parametrize("more", [[], [("content-length", "2")]], ids=["told in the block", "told beside it too"])
@pytest.mark.parametrize("body", [b"ok" + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", b"o", b""], ids=["more", "less", "none"])
def test_another_body_than_the_length_says_never_looks_whole(plain, body, more):
    """And what is beyond it is never read as the next response on the visitor's connection."""
    async def after(stream, request):
        stream.respond(response(200, [("Content-Length", "5")]))
        stream.write(b"after", fin=True)
    ANSWERS["/after"] = after
    says(response(200, [("Content-Length", "2")], more), body, ends=not body)
    for _ in EVERY_WORKER:
        got = raw_get(plain, "/said")
        assert b"evil" not in got, got
        first, _, rest = got.partition(b"\r\n\r\n")
        if not got or first.startswith(b"HTTP/1.1 502 "):
            continue
        assert first.startswith(b"HTTP/1.1 200 ") and b"Content-Length: 2" in first
        if len(body) > 2 and len(rest) >= 2:  # what was announced, then the next response, or the end
            assert rest[:2] == b"ok" and (rest[2:] == b"" or rest[2:].startswith(b"HTTP/1.1 200 "))
        else:  # cut
            assert body.startswith(rest), got
    still_serves(plain)


def test_a_block_in_several_lines_is_one(extended):
    lines = [("X-Large", "x" * 70000), ("Content-Length", "2")]
    text = block(lines)
    says([(":status", "200"), (BLOCK, text[:50001]), (META, '{"src":"origin"}'), (BLOCK, text[50001:])], b"ok")
    for _ in EVERY_WORKER:
        assert b"\r\nX-Large: " + b"x" * 70000 + b"\r\n" in raw_get(extended, "/said")


def test_a_field_that_http2_cannot_carry_is_refused_and_the_link_stays(plain):
    """The library would end the connection of everybody, for one visitor's cookie."""
    for _ in EVERY_WORKER:
        head, body = get(plain, "/said", headers=[*JSON, ("X-Large", "~" * 65537)])
        assert head.status_code == 431 and json.loads(body)["code"] == 1003
    still_serves(plain)


# ---- ends at each moment ----

async def resets_before_the_head(stream, request):
    stream.reset(h2.errors.ErrorCodes.INTERNAL_ERROR)


async def refuses(stream, request):
    stream.reset(h2.errors.ErrorCodes.REFUSED_STREAM)


async def answers_by_data(stream, request):
    stream.peer.raw(b"\x00\x00\x02\x00\x01" + stream.id.to_bytes(4, "big") + b"ok")


@pytest.mark.parametrize("how", [resets_before_the_head, refuses], ids=lambda f: f.__name__)
def test_a_reset_before_the_head_is_a_page(plain, how):
    ANSWERS["/reset"] = how
    for _ in EVERY_WORKER:
        head, body = get(plain, "/reset", headers=JSON)
        assert head.status_code == 502 and json.loads(body)["code"] in (1035, 1059)
    still_serves(plain)


def test_a_reset_within_the_body_cuts_the_visitor_off(plain):
    async def half(stream, request):
        stream.respond(response(200, []))
        stream.write(b"half")
        stream.reset(h2.errors.ErrorCodes.INTERNAL_ERROR)
    ANSWERS["/half"] = half
    for _ in EVERY_WORKER:
        with pytest.raises((ConnectionError, EOFError, h11.RemoteProtocolError)):
            head, body = get(plain, "/half")
            if head.status_code == 502:  # nothing had been written to the visitor yet
                raise EOFError
    still_serves(plain)


def test_an_early_answer_ends_an_upload(plain):
    async def refusing(stream, request):
        stream.respond(response(413, [("Content-Length", "2")]))
        stream.write(b"no", fin=True)
        stream.reset(h2.errors.ErrorCodes.NO_ERROR)
    ANSWERS["/upload"] = refusing
    for _ in EVERY_WORKER:
        with socket.create_connection(("127.0.0.1", plain.edge.port("http")), timeout=30) as s:
            got = talk(s, f"POST /upload HTTP/1.1\r\nHost: {plain.host}\r\nContent-Length: 10000000\r\n\r\n".encode() + bytes(100))
        assert got.startswith(b"HTTP/1.1 413 ") and got.endswith(b"no")
    still_serves(plain)


def test_a_visitor_who_leaves_resets_the_stream(plain):
    over = []

    async def never(stream, request):
        over.append(stream)
        await stream.over()
    ANSWERS["/never"] = never
    for n in range(1, 5):
        with socket.create_connection(("127.0.0.1", plain.edge.port("http")), timeout=30) as s:
            s.sendall(f"GET /never HTTP/1.1\r\nHost: {plain.host}\r\n\r\n".encode())
            until(lambda n=n: len(over) == n, "it is with the connector")
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        until(lambda: over[-1].reset_code is not None, "the stream is reset")
        assert over[-1].reset_code == h2.errors.ErrorCodes.CANCEL


def test_a_connection_that_breaks_gives_every_visitor_a_page(server):
    connector = connected(H2Connector, server)

    async def never(stream, request):
        stream.peer.hang_up()
    ANSWERS["/break"] = never
    assert get(connector, "/break")[0].status_code in (502, 504, 530)
    connector.stop()


def test_a_field_beyond_64_kib_costs_one_link_and_one_exchange(server):
    """The library reads none that is larger. Were the request repeated, its answer would end one link after the other; what else was under
    way on the link is repeated, since it had no part in it."""
    connector = H2Connector(server, ask_quick_tunnel(server), ANSWERS)
    connector.run(connector.register(0))
    waiting, asked, other_is_there = [], [], asyncio.Event()

    async def waits(stream, request):
        waiting.append(stream)
        if len(waiting) > 1:
            stream.respond(response(200, [("Content-Length", "2")]))
            stream.write(b"ok", fin=True)

    async def huge(stream, request):
        asked.append(stream)
        await other_is_there.wait()
        stream.respond(response(200, [("X-Huge", "x" * 70_000)]), fin=True)

    async def let_go():
        other_is_there.set()

    ANSWERS["/waits"], ANSWERS["/huge"] = waits, huge
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        neighbour = pool.submit(get, connector, "/waits")
        failing = pool.submit(get, connector, "/huge", headers=JSON)
        until(lambda: waiting and asked, "both requests are with the only link")
        connector.run(connector.register(1))
        connector.run(let_go())
        head, body = failing.result()
        assert head.status_code == 502 and json.loads(body)["code"] == 1038, body
        assert neighbour.result()[1] == b"ok"
    assert len(asked) == 1
    assert waiting[1].peer is not waiting[0].peer and waiting[0].peer.why is not None
    assert waiting[1].peer.why is None, "the other link lives"
    until(lambda: "one field is larger than 64 KiB" in server.text(), "a line that says why")
    connector.stop()
    ANSWERS.pop("/waits"), ANSWERS.pop("/huge")
