#!/usr/bin/env python3
"""The service behind the tunnels of the fault suite. Its first line tells its port, which may be given. Head and body of an answer are one write.

    GET  /get/WORD          WORD
    PUT, POST /…            method and SHA-256 of the body
    GET  /bytes/N           N bytes, whose content is known (see `content`)
    GET  /second/WORD       WORD, when it is asked for the second time; the first time gets no answer
    GET  /events/N          N numbered server-sent events, 20 ms apart
    GET  /socket            a websocket that echoes
"""
import asyncio
import base64
import hashlib
import struct
import sys

asked = set()
BLOCK = hashlib.sha512(b"known").digest() * 1024  # 64 KiB


def content(size):
    """The bytes of /bytes/N in pieces."""
    while size > 0:
        yield BLOCK[:min(size, len(BLOCK))]
        size -= len(BLOCK)


def answer(body, kind="text/plain"):
    return b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (kind.encode(), len(body), body)


async def read_body(reader, fields):
    if "chunked" in fields.get("transfer-encoding", ""):
        while True:
            size = int((await reader.readline()).split(b";")[0], 16)
            piece = await reader.readexactly(size + 2)
            if size == 0:
                return
            yield piece[:-2]
    left = int(fields.get("content-length", 0))
    while left:
        piece = await reader.read(min(left, 65536))
        if not piece:
            raise ConnectionError("the body broke off")
        left -= len(piece)
        yield piece


async def echo(reader, writer, fields):
    key = fields["sec-websocket-key"].encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(key).digest())
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n")
    while True:
        first, size = await reader.readexactly(2)
        size &= 127
        if size == 126:
            size = struct.unpack(">H", await reader.readexactly(2))[0]
        mask = await reader.readexactly(4)
        data = await reader.readexactly(size)
        data = bytes(b ^ mask[i % 4] for i, b in enumerate(data))
        head = bytes([first, size]) if size < 126 else struct.pack(">BBH", first, 126, size)
        writer.write(head + data)
        await writer.drain()
        if first & 15 == 8:
            return


async def events(writer, count):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for i in range(count):
        event = b"data: %d\n\n" % i
        writer.write(b"%x\r\n%s\r\n" % (len(event), event))
        await writer.drain()
        await asyncio.sleep(0.02)
    writer.write(b"0\r\n\r\n")


async def give(writer, size):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % size)
    for piece in content(size):
        writer.write(piece)
        await writer.drain()


async def serve_one(reader, writer):
    """One request; False: there is no other."""
    line = (await reader.readline()).split()
    if len(line) < 2:
        return False
    fields = {}
    while (field := await reader.readline()) not in (b"\r\n", b""):
        name, _, value = field.decode("latin-1").partition(":")
        fields[name.strip().lower()] = value.strip()
    method, target = line[0].decode(), line[1].decode()
    words = target.strip("/").split("/")
    if fields.get("upgrade", "").lower() == "websocket":
        await echo(reader, writer, fields)
        return False
    digest = hashlib.sha256()
    async for piece in read_body(reader, fields):
        digest.update(piece)
    if method in ("PUT", "POST"):
        writer.write(answer(f"{method} {digest.hexdigest()}".encode()))
    elif words[0] == "bytes":
        await give(writer, int(words[1]))
    elif words[0] == "second" and words[1] not in asked:
        asked.add(words[1])
        print("asked for", words[1], flush=True)
        await reader.read(1)  # until whoever asked has gone
        return False
    elif words[0] == "events":
        await events(writer, int(words[1]))
    else:
        writer.write(answer(words[-1].encode()))
    await writer.drain()
    return True


async def serve(reader, writer):
    try:
        while await serve_one(reader, writer):
            pass
    except (ConnectionError, asyncio.IncompleteReadError, ValueError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
