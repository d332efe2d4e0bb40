"""Constant load by a client that counts every answer.

Each request has a connection of its own: what is counted is what the tunnel did, never what a kept connection hid. A websocket and an
event stream count as one request from their handshake to their orderly end. An answer is right or the request has failed; the kinds of
failure are counted apart. The longest gap of a method is the longest time in which none of its requests succeeded, from the beginning
of the load to its end."""
import base64
import collections
import hashlib
import itertools
import os
import socket
import struct
import threading
import time

KINDS = ("GET", "PUT", "POST", "WS", "SSE")
BODY_BYTES = 4000


class Wrong(Exception):
    """An answer that is not the right one; the text is the kind of failure."""


class Visitor:
    """One connection to the edge and one request on it."""

    def __init__(self, addr, host, timeout):
        self.host = host
        self.sock = socket.create_connection(addr, timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.sock.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.sock.close()

    def ask(self, method, target, body=None, more=""):
        length = f"Content-Length: {len(body)}\r\n" if body is not None else ""
        head = f"{method} {target} HTTP/1.1\r\nHost: {self.host}\r\n{length}{more}\r\n"
        self.sock.sendall(head.encode() + (body or b""))

    def head(self, wanted=200):
        line = self.file.readline()
        if not line.endswith(b"\n"):
            raise Wrong("closed without an answer")
        fields = {}
        while (field := self.file.readline()) not in (b"\r\n", b""):
            name, _, value = field.decode("latin-1").partition(":")
            fields[name.strip().lower()] = value.strip()
        status = int(line.split()[1])
        if status != wanted:
            raise Wrong(f"status {status}")
        return fields

    def pieces(self, fields):
        if fields.get("transfer-encoding") == "chunked":
            while size := int(self.file.readline() or b"-1", 16):
                piece = self.file.read(size + 2) if size > 0 else b""
                if len(piece) < size + 2:
                    raise Wrong("body cut")
                yield piece[:-2]
            return
        left = int(fields["content-length"])
        while left:
            piece = self.file.read1(min(left, 65536))
            if not piece:
                raise Wrong("body cut")
            left -= len(piece)
            yield piece


def get(visitor, word):
    visitor.ask("GET", f"/get/{word}", more="Connection: close\r\n")
    if b"".join(visitor.pieces(visitor.head())) != word.encode():
        raise Wrong("wrong body")


def send(visitor, method, body):
    visitor.ask(method, "/sent", body, "Connection: close\r\n")
    if b"".join(visitor.pieces(visitor.head())) != f"{method} {hashlib.sha256(body).hexdigest()}".encode():
        raise Wrong("wrong body")


def stream_events(visitor, count=5):
    visitor.ask("GET", f"/events/{count}", more="Accept: text/event-stream\r\nConnection: close\r\n")
    if b"".join(visitor.pieces(visitor.head())) != b"".join(b"data: %d\n\n" % i for i in range(count)):
        raise Wrong("wrong body")


def websocket(visitor, messages=5, pause=0.02):
    key = base64.b64encode(os.urandom(16)).decode()
    visitor.ask("GET", "/socket", more=f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n")
    visitor.head(101)
    for i in range(messages + 1):
        kind = 1 if i < messages else 8
        data = b"message %d" % i if kind == 1 else struct.pack(">H", 1000)
        mask = os.urandom(4)
        visitor.sock.sendall(bytes([0x80 | kind, 0x80 | len(data)]) + mask + bytes(b ^ mask[j % 4] for j, b in enumerate(data)))
        head = visitor.file.read(2)
        echoed = visitor.file.read(head[1] & 127) if len(head) == 2 else b""
        if len(head) < 2 or len(echoed) < head[1] & 127:
            raise Wrong("websocket cut")
        if head[0] & 15 == 8 and kind == 1:
            raise Wrong("websocket closed")
        if echoed != data:
            raise Wrong("wrong message")
        if kind == 1:
            time.sleep(pause)  # the pace of the load, not a wait for something


def failure_kind(e):
    if isinstance(e, Wrong):
        return str(e)
    if isinstance(e, TimeoutError):
        return "timeout"
    if isinstance(e, ConnectionRefusedError):
        return "refused"
    if isinstance(e, ConnectionError):
        return "reset"
    return f"{type(e).__name__}: {e}"


class Tally:
    """What became of the requests of one method."""

    def __init__(self):
        self.requests = 0
        self.failures = collections.Counter()
        self.successes = []
        self.first_failures = []

    @property
    def failed(self):
        return sum(self.failures.values())

    def gap(self, begin, end):
        times = [begin, *sorted(self.successes), end]
        return max(b - a for a, b in zip(times, times[1:]))


class Load:
    def __init__(self, addr, host, kinds=None, timeout=15, pause=0.004):
        self.addr, self.host, self.timeout, self.pause = addr, host, timeout, pause
        self.kinds = kinds or {"GET": 2, "PUT": 1, "POST": 1, "WS": 1, "SSE": 1}
        self.tallies = {kind: Tally() for kind in self.kinds}
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.words = itertools.count()
        self.begin = self.end = None
        self.threads = [threading.Thread(target=self._go, args=(kind,), daemon=True) for kind, many in self.kinds.items() for _ in range(many)]

    def _one(self, kind):
        word = f"word-{next(self.words)}"
        with Visitor(self.addr, self.host, self.timeout) as visitor:
            if kind == "GET":
                get(visitor, word)
            elif kind == "WS":
                websocket(visitor)
            elif kind == "SSE":
                stream_events(visitor)
            else:
                send(visitor, kind, word.encode() * (BODY_BYTES // len(word)))

    def _go(self, kind):
        tally = self.tallies[kind]
        while not self.over.is_set():
            begin, failure = time.monotonic(), None
            try:
                self._one(kind)
            except (OSError, ValueError, Wrong) as e:
                failure = failure_kind(e)
            now = time.monotonic()
            with self.lock:
                tally.requests += 1
                if failure:
                    tally.failures[failure] += 1
                    tally.first_failures.append((round(begin - self.begin, 3), round(now - begin, 3), failure))
                    del tally.first_failures[20:]
                else:
                    tally.successes.append(now)
            self.over.wait(self.pause)

    def start(self):
        self.begin = time.monotonic()
        for thread in self.threads:
            thread.start()
        return self

    def counted(self, kind="GET"):
        with self.lock:
            return len(self.tallies[kind].successes)

    def stop(self):
        self.end = time.monotonic()
        self.over.set()
        for thread in self.threads:
            thread.join(2 * self.timeout)
        return self

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if not self.over.is_set():
            self.stop()

    @property
    def requests(self):
        return sum(t.requests for t in self.tallies.values())

    def failed(self, *kinds):
        return sum(t.failed for kind, t in self.tallies.items() if not kinds or kind in kinds)

    def gap(self, *kinds):
        """The longest of these methods, or of all."""
        return max(t.gap(self.begin, self.end) for kind, t in self.tallies.items() if not kinds or kind in kinds)

    def failures(self):
        """In words: "PUT: 2 status 502; WS: 1 websocket cut"."""
        return "; ".join(f"{kind}: " + ", ".join(f"{n} {why}" for why, n in t.failures.items()) for kind, t in self.tallies.items() if t.failures)
