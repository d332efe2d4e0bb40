"""Frames of HTTP/2 written by hand, past every library that would refuse them; and what the other side said of them."""
import asyncio
import struct

import hpack

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, CREDIT, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 0x1, 0x1, 0x4, 0x8
NO_ERROR, PROTOCOL_ERROR, FLOW_CONTROL, COMPRESSION, CALM = 0, 1, 3, 9, 11
PIECE = 1 << 16


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def block(fields):
    """Without the dynamic table, so that it may be sent at any time."""
    return hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(name, value) for name, value in fields], huffman=False)


def headers(stream, fields, flags=END_HEADERS):
    return frame(HEADERS, flags, stream, block(fields))


def reset(stream, code=8):
    return frame(RST, 0, stream, struct.pack(">I", code))


def credit(stream, size):
    return frame(CREDIT, 0, stream, struct.pack(">I", size))


def all_frames(data):
    """(kind, flags, stream, payload) of each whole frame."""
    at = 0
    while at + 9 <= len(data):
        size = int.from_bytes(data[at:at + 3], "big")
        yield data[at + 3], data[at + 4], int.from_bytes(data[at + 5:at + 9], "big") & 0x7fffffff, data[at + 9:at + 9 + size]
        at += 9 + size


def goaway_code(data):
    """Of the last GOAWAY, or None."""
    codes = [int.from_bytes(payload[4:8], "big") for kind, _, _, payload in all_frames(data) if kind == GOAWAY]
    return codes[-1] if codes else None


def heard_frames(peer):
    """What came, without the preface of a client."""
    data = bytes(peer.heard)
    return data[24:] if data.startswith(b"PRI") else data


async def flood(peer, unit, count, before=b""):
    """So many times, as fast as it goes and as long as the other side takes it. From now on nothing that comes is read by hyper-h2."""
    peer.is_mute = True
    if before:
        peer.raw(before)
    many = max(1, PIECE // len(unit))
    while count > 0 and peer.why is None and not peer.transport.is_closing():
        peer.transport.write(unit * min(many, count))
        count -= many
        while peer.transport.get_write_buffer_size() > PIECE and peer.why is None:
            await asyncio.sleep(0.001)


async def ends(peer, seconds=20):
    """Waits until the other side has closed; its last word."""
    await asyncio.wait_for(peer.over(), seconds)
    return goaway_code(heard_frames(peer))
