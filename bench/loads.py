"""What a visitor does: requests, one after another and many at once, large bodies either way, websockets. Each call says what it
did or raises Failure: an answer that is wrong or short is never counted."""
import collections
import gc
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time

from programs import Failure

PIECE = 256 * 1024
# Where a visitor goes: a port of 127.0.0.1, over TLS or not, and the hostname that he asks for.
Target = collections.namedtuple("Target", "port tls host")

_anything = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_anything.check_hostname = False
_anything.verify_mode = ssl.CERT_NONE


def connect(target, seconds=60):
    sock = socket.create_connection(("127.0.0.1", target.port), seconds)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _anything.wrap_socket(sock, server_hostname=target.host) if target.tls else sock
    except BaseException:
        sock.close()
        raise


def head(target, method, path, *more):
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {target.host}", "User-Agent: bench", *more, "", ""]).encode()


def answer(sock):
    """Reads a response's head: its status, the length of its body, and what of the body came along."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            raise Failure(f"the connection ended after {len(data)} bytes of a head")
        data += more
    lines, _, rest = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", lines)
    return int(lines.split(b" ", 2)[1]), int(length[1]) if length else None, rest


def drain(sock, rest, length):
    """Reads the body to its end and gives its size."""
    took = len(rest)
    view = memoryview(bytearray(min(PIECE, max(0, length - took))))
    while took < length:
        n = sock.recv_into(view)
        if n == 0:
            raise Failure(f"the body ended at {took} of {length} bytes")
        took += n
    return took


def is_served(target, path="/", seconds=5):
    """Whether one request is answered with 200 and its whole body."""
    try:
        with connect(target, seconds) as sock:
            sock.sendall(head(target, "GET", path))
            status, length, rest = answer(sock)
            return status == 200 and length is not None and drain(sock, rest, length) == length
    except (OSError, Failure):
        return False


def latency(target, seconds):
    """One visitor, one connection, one request after another: microseconds at the median and at the 99th percentile."""
    request = head(target, "GET", "/")
    took = []
    with connect(target) as sock:
        gc.disable()
        try:
            end = time.monotonic() + seconds
            while time.monotonic() < end or len(took) < 100:
                start = time.perf_counter_ns()
                sock.sendall(request)
                status, length, rest = answer(sock)
                if status != 200 or length is None:
                    raise Failure(f"a request was answered with {status}")
                drain(sock, rest, length)
                took.append(time.perf_counter_ns() - start)
        finally:
            gc.enable()
    took.sort()
    return took[len(took) // 2] / 1000, took[len(took) * 99 // 100] / 1000


def generator():
    """The load tool that is there: wrk is preferred, hey serves as well."""
    for name in ("wrk", "hey"):
        if shutil.which(name):
            return name
    return None


def requests(target, seconds, connections=64, script=None):
    """Keep-alive connections that ask as fast as they are answered: how many requests, and how many a second."""
    url = f"{'https' if target.tls else 'http'}://127.0.0.1:{target.port}/"
    if generator() == "wrk":
        command = ["wrk", "-t", str(min(2, connections)), "-c", str(connections), "-d", f"{seconds}s", "--timeout", "10s", "-H", f"Host: {target.host}", *(["-s", script] if script else []), url]
    else:
        command = ["hey", "-z", f"{seconds}s", "-c", str(connections), "-host", target.host, url]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds + 60)
    text = done.stdout
    rate = re.search(r"Requests/sec:\s*([\d.]+)", text)
    if done.returncode or not rate:
        raise Failure(f"{command[0]}: {done.stderr.strip() or text.strip()}")
    if generator() == "wrk":
        bad = re.search(r"Non-2xx.*|Socket errors:.*", text)
        count = int(re.search(r"(\d+) requests in", text)[1])
    else:
        bad = re.search(r"\[[^2]\d\d\]\s+\d+ responses|Error distribution:\s+\S.*", text)
        count = sum(int(n) for n in re.findall(r"\[\d\d\d\]\s+(\d+) responses", text))
    if bad or count == 0:
        raise Failure(f"{command[0]}: {bad[0].strip() if bad else 'nothing was answered'}")
    return count, float(rate[1])


def download(target, path, size):
    with connect(target) as sock:
        sock.sendall(head(target, "GET", path))
        status, length, rest = answer(sock)
        if status != 200 or length != size:
            raise Failure(f"{path} was answered with {status}, {length} bytes")
        if drain(sock, rest, length) != size:
            raise Failure(f"{path} has another length than it says")


def downloads(target, path, size, count):
    """Some at once, each on a connection of its own: seconds until the last has ended."""
    faults = []

    def one():
        try:
            download(target, path, size)
        except (OSError, Failure) as fault:
            faults.append(fault)

    threads = [threading.Thread(target=one, daemon=True) for _ in range(count)]
    start = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - start
    if faults:
        raise Failure(f"{len(faults)} of {count} downloads: {faults[0]}")
    return took


def upload(target, path, size):
    """Seconds until the origin has said that it read all of it."""
    piece = memoryview(os.urandom(PIECE))
    start = time.monotonic()
    with connect(target) as sock:
        sock.sendall(head(target, "POST", path, f"Content-Length: {size}", "Content-Type: application/octet-stream"))
        left = size
        while left:
            n = min(left, PIECE)
            sock.sendall(piece[:n])
            left -= n
        status, length, rest = answer(sock)
        while len(rest) < (length or 0):
            more = sock.recv(4096)
            if not more:
                break
            rest += more
    if status != 200 or rest != b"%d" % size:
        raise Failure(f"an upload of {size} bytes was answered with {status}, {rest[:80]!r}")
    return time.monotonic() - start


class Websockets:
    """Open websockets, each of which has echoed a message once and is idle since."""

    def __init__(self, target, path, count):
        self.socks = []
        try:
            for _ in range(count):
                self.open(target, path)
        except BaseException:
            self.close()
            raise

    def open(self, target, path):
        sock = connect(target)
        self.socks.append(sock)
        sock.sendall(head(target, "GET", path, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
                          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="))
        status, _, rest = answer(sock)
        if status != 101:
            raise Failure(f"a websocket was answered with {status}")
        mask, text = b"mask", b"hello"
        sock.sendall(bytes([0x81, 0x80 | len(text)]) + mask + bytes(a ^ b for a, b in zip(text, (mask * 2)[:len(text)])))
        while len(rest) < 2 + len(text):
            more = sock.recv(4096)
            if not more:
                raise Failure("a websocket ended")
            rest += more
        if rest != bytes([0x81, len(text)]) + text:
            raise Failure(f"a websocket echoed {rest!r}")

    def close(self):
        for sock in self.socks:
            sock.close()
        self.socks = []
