#!/usr/bin/env python3
"""origin.py PORT: the part of the origin that nginx is not made for. POST /up reads its body and answers with the number of bytes;
GET /ws is a websocket that echoes; anything else is answered with 200. A thread for each connection, 127.0.0.1 alone."""
import base64
import contextlib
import hashlib
import re
import socket
import struct
import sys
import threading

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
PIECE = 256 * 1024


class Gone(Exception):
    pass


class Connection:
    def __init__(self, sock):
        self.sock = sock
        self.rest = b""

    def fill(self):
        data = self.sock.recv(65536)
        if not data:
            raise Gone
        self.rest += data

    def take(self, count):
        while len(self.rest) < count:
            self.fill()
        data, self.rest = self.rest[:count], self.rest[count:]
        return data

    def head(self):
        while b"\r\n\r\n" not in self.rest:
            self.fill()
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        return head

    def serve(self):
        while True:
            head = self.head()
            key = re.search(rb"(?i)\r\nsec-websocket-key: *(\S+)", head)
            if key:
                return self.websocket(key[1])
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            body = b"%d" % self.sink(int(length[1]) if length else 0)
            self.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    def sink(self, length):
        took = min(length, len(self.rest))
        self.rest = self.rest[took:]
        piece = bytearray(PIECE)
        view = memoryview(piece)
        while took < length:
            n = self.sock.recv_into(view[:min(PIECE, length - took)])
            if n == 0:
                raise Gone
            took += n
        return took

    def websocket(self, key):
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        self.sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          b"Sec-WebSocket-Accept: %s\r\n\r\n" % accept)
        while True:
            first, second = self.take(2)
            length = second & 127
            if length > 125:
                length = struct.unpack(">H" if length == 126 else ">Q", self.take(2 if length == 126 else 8))[0]
            mask = self.take(4) if second & 128 else bytes(4)
            data = bytes(byte ^ mask[i % 4] for i, byte in enumerate(self.take(length)))
            size = struct.pack(">B", length) if length < 126 else struct.pack(">BH", 126, length) if length < 65536 else struct.pack(">BQ", 127, length)
            opcode = first & 15
            self.sock.sendall(bytes([(first & 0xF0) | (10 if opcode == 9 else opcode)]) + size + data)
            if opcode == 8:
                return


def serve(sock):
    with sock, contextlib.suppress(OSError, Gone):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        Connection(sock).serve()


def main():
    threading.stack_size(256 * 1024)
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1024)
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=serve, args=(sock,), daemon=True).start()


if __name__ == "__main__":
    main()
