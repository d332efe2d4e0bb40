"""Websockets frame by frame over both connectors: what either end sends is what the other gets, with its extensions, fragments,
pings and codes. The frames are written and read here, so that no library puts them together on the way."""
import base64
import hashlib
import os
import struct
import threading
import zlib

import pytest

from conftest import need
from scripted import fields
from test_semantics import Site, head_of, status_of

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
SIZE = 16 << 20


@pytest.fixture(scope="module", params=["adit", "cloudflared"])
def site(request, tmp_path_factory):
    need(request.param)
    s = Site(request.param, tmp_path_factory.mktemp("frames"))
    yield s
    s.stop()


def frame(opcode, payload, final=True, rsv=0, mask=None):
    head = bytes([(0x80 if final else 0) | rsv << 4 | opcode])
    bit, n = (0x80 if mask else 0), len(payload)
    head += bytes([bit | n]) if n < 126 else struct.pack("!BH", bit | 126, n) if n < 65536 else struct.pack("!BQ", bit | 127, n)
    if mask:
        key = (mask * (n // 4 + 1))[:n]
        payload = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(n, "big")
    return head + (mask or b"") + payload


def read_frame(talk):
    """(final, rsv, opcode, mask, payload)"""
    first, second = talk.exactly(2)
    n = second & 0x7F
    if n > 125:
        n = int.from_bytes(talk.exactly(2 if n == 126 else 8), "big")
    mask = talk.exactly(4) if second & 0x80 else None
    payload = talk.exactly(n)
    if mask:
        payload = (int.from_bytes(payload, "big") ^ int.from_bytes((mask * (n // 4 + 1))[:n], "big")).to_bytes(n, "big")
    return bool(first & 0x80), first >> 4 & 7, first & 15, mask, payload


class Pair:
    """The two ends of one websocket."""

    def __init__(self, site, lines=(), answer=()):
        self.ready, self.over = threading.Event(), threading.Event()

        def accept(talk, head):
            self.asked = fields(head)
            key = self.asked["sec-websocket-key"][0] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
            talk.say("\r\n".join(["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {accept}",
                                  *answer, "", ""]).encode())
            self.origin = talk
            self.ready.set()
            assert self.over.wait(120)

        self.key = base64.b64encode(os.urandom(16)).decode()
        self.visitor = site.ask("/ws", accept, ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
                                                f"Sec-WebSocket-Key: {self.key}", *lines])
        self.head = head_of(self.visitor)
        assert status_of(self.head) == 101, self.head
        assert self.ready.wait(60)

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.over.set()
        self.visitor.s.close()

    def ways(self):
        """(sender, receiver, mask) for both."""
        return [(self.visitor, self.origin, b"\x12\x34\x56\x78"), (self.origin, self.visitor, None)]


def test_the_handshake_is_between_the_ends(site):
    with Pair(site, ["Sec-WebSocket-Protocol: chat, superchat", "Origin: https://a.example"], ["Sec-WebSocket-Protocol: superchat"]) as pair:
        assert pair.asked["sec-websocket-key"] == [pair.key] and pair.asked["sec-websocket-version"] == ["13"]
        assert pair.asked["sec-websocket-protocol"] == ["chat, superchat"] and pair.asked["origin"] == ["https://a.example"]
        told = fields(pair.head)
        assert told["sec-websocket-protocol"] == ["superchat"] and "sec-websocket-extensions" not in told
        expected = base64.b64encode(hashlib.sha1((pair.key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
        assert told["sec-websocket-accept"] == [expected]


def test_an_extension_that_the_ends_agree_on_is_theirs(site):
    """permessage-deflate: the bit and the packed bytes arrive as they were sent."""
    offer, taken = "permessage-deflate; client_max_window_bits", "permessage-deflate; server_no_context_takeover"
    with Pair(site, [f"Sec-WebSocket-Extensions: {offer}"], [f"Sec-WebSocket-Extensions: {taken}"]) as pair:
        assert pair.asked["sec-websocket-extensions"] == [offer]
        assert fields(pair.head)["sec-websocket-extensions"] == [taken]
        packer = zlib.compressobj(wbits=-15)
        packed = (packer.compress(b"text " * 1000) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
        for sender, receiver, mask in pair.ways():
            sender.say(frame(TEXT, packed, rsv=4, mask=mask))
            assert read_frame(receiver) == (True, 4, TEXT, mask, packed)
            assert zlib.decompressobj(wbits=-15).decompress(packed + b"\0\0\xff\xff") == b"text " * 1000


def test_fragments_stay_fragments_with_pings_between_them(site):
    parts = [(False, TEXT, b"one"), (True, PING, b"amid"), (False, 0, b""), (False, 0, b"two" * 30_000), (True, 0, b"three")]
    with Pair(site) as pair:
        for sender, receiver, mask in pair.ways():
            for final, opcode, payload in parts:
                sender.say(frame(opcode, payload, final, mask=mask))
            assert [read_frame(receiver) for _ in parts] == [(final, 0, opcode, mask, payload) for final, opcode, payload in parts]


def test_a_frame_of_sixteen_mebibytes_arrives_whole_both_ways(site):
    payload = os.urandom(1 << 16) * (SIZE >> 16)
    with Pair(site) as pair:
        for sender, receiver, mask in pair.ways():
            thread = threading.Thread(target=sender.say, args=(frame(BINARY, payload, mask=mask),))
            thread.start()
            assert read_frame(receiver) == (True, 0, BINARY, mask, payload)
            thread.join()


def test_pings_are_answered_by_the_far_end_alone(site):
    with Pair(site) as pair:
        for sender, receiver, mask in pair.ways():
            back = None if mask else b"\x01\x02\x03\x04"
            for payload in (b"", b"are you there", b"x" * 125):
                sender.say(frame(PING, payload, mask=mask))
                assert read_frame(receiver) == (True, 0, PING, mask, payload)
                receiver.say(frame(PONG, payload[::-1], mask=back))
                assert read_frame(sender) == (True, 0, PONG, back, payload[::-1])  # the first to come: nobody else has answered


@pytest.mark.parametrize("code, reason", [(1000, b"done"), (1001, b""), (1008, b"no"), (3000, b"registered"), (1011, b"\xe2\x82\xac"), (3456, b"x" * 123), (4999, b"ours"), (None, b"")])
@pytest.mark.parametrize("way", [0, 1], ids=["up", "down"])
def test_a_close_keeps_its_code_and_its_reason(site, way, code, reason):
    payload = b"" if code is None else struct.pack("!H", code) + reason
    with Pair(site) as pair:
        sender, receiver, mask = pair.ways()[way]
        back = None if mask else b"\x01\x02\x03\x04"
        sender.say(frame(CLOSE, payload, mask=mask))
        assert read_frame(receiver) == (True, 0, CLOSE, mask, payload)
        receiver.say(frame(CLOSE, payload[:2], mask=back))
        assert read_frame(sender) == (True, 0, CLOSE, back, payload[:2])
        pair.over.set()  # the origin closes first (RFC 6455 §7.1.1)
        assert pair.visitor.rest() == b""


def test_an_upgrade_that_the_origin_refuses_is_an_answer(site):
    def refuse(talk, head):
        talk.say(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        return True

    visitor = site.ask("/no", refuse, ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + "A" * 22 + "=="])
    head = head_of(visitor)
    assert status_of(head) == 403 and "upgrade" not in fields(head) and visitor.exactly(2) == b"no"
