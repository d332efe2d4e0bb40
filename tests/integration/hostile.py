"""Raw bytes at both ends of a tunnel: an origin that records every byte it gets and answers what it is told to, and a visitor
that sends what no client would."""
import collections
import re
import socket
import threading

from conftest import Edge, LOOPBACK, Program, SANITIZER, hostname_of, quick_command, until

Request = collections.namedtuple("Request", "method target fields body")
Response = collections.namedtuple("Response", "status fields body")
# Freed memory is soon used again, so that what is in use can be measured.
LEAN = {"ASAN_OPTIONS": SANITIZER["ASAN_OPTIONS"] + ":quarantine_size_mb=8"}
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def split_chunks(data):
    """(body, what follows), or None when the end is not there yet."""
    body = b""
    while b"\r\n" in data:
        line, _, data = data.partition(b"\r\n")
        size = int(line.split(b";")[0], 16)
        if size == 0:
            while b"\r\n" in data:
                line, _, data = data.partition(b"\r\n")
                if not line:
                    return body, data
            return None
        if len(data) < size + 2:
            return None
        body, data = body + data[:size], data[size + 2:]
    return None


def split_message(data):
    """(start line, fields, body, what follows), or None. For messages that Adit wrote, which are well formed."""
    head, end, data = data.partition(b"\r\n\r\n")
    if not end:
        return None
    start, *lines = head.split(b"\r\n")
    fields = [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    known = dict(fields)
    if known.get(b"transfer-encoding") == b"chunked":
        rest = split_chunks(data)
        return None if rest is None else (start, fields, *rest)
    size = int(known.get(b"content-length", b"0"))
    return None if len(data) < size else (start, fields, data[:size], data[size:])


def responses(data):
    """The responses that these bytes are; whoever left something over fails."""
    found = []
    while data:
        parts = split_message(data)
        assert parts is not None, f"not a whole response: {data[:500]!r}"
        start, fields, body, data = parts
        found.append(Response(int(start.split()[1]), dict(fields), body))
    return [r for r in found if r.status >= 200]


class Recorder:
    """An origin. `replies` gives the raw answer for a target: bytes, or a function of the socket; where it is not named, the
    answer is OK. An answer from `replies` ends the connection, unless it is in `stays`."""

    def __init__(self):
        self.lock = threading.Lock()
        self.bytes = []  # of each connection
        self.requests = []
        self.replies = {}
        self.stays = set()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        record, data = bytearray(), b""
        with self.lock:
            self.bytes.append(record)
        try:
            with s:
                while piece := s.recv(1 << 16):
                    with self.lock:
                        record += piece
                    data += piece
                    while data and (parts := split_message(data)) is not None:
                        start, fields, body, data = parts
                        if not self.answer(s, start, fields, body):
                            return
        except (OSError, ValueError):
            return

    def answer(self, s, start, fields, body):
        method, target, _ = start.split(b" ")
        with self.lock:
            self.requests.append(Request(method, target, fields, body))
            reply = self.replies.get(target, OK)
        if callable(reply):
            reply(s)
        else:
            s.sendall(reply)
        return reply is OK or target in self.stays

    def saw(self):
        with self.lock:
            return b"".join(bytes(record) for record in self.bytes)

    def forget(self):
        with self.lock:
            for record in self.bytes:
                record.clear()
            self.requests.clear()

    def stop(self):
        self.listener.close()


class Site:
    """An edge with a quick tunnel of adit to a recorder."""

    def __init__(self, where, *flags):
        self.origin = Recorder()
        self.edge = Edge(where, 1, [*LOOPBACK, *flags], env=LEAN)
        self.connector = Program(quick_command("adit", self.edge, self.origin.url), where / "connector.log", cwd=where,
                                 env=LEAN)
        self.connector.wait_for("Registered tunnel connection")
        self.host = until(lambda: hostname_of(self.connector), "a hostname").encode()
        self.port = self.edge.port("http")

    def stop(self):
        code, edge_code = self.connector.stop(), self.edge.stop()
        self.origin.stop()
        for program in (self.connector, self.edge):
            assert "runtime error" not in program.text() and "Sanitizer" not in program.text(), program.text()[-6000:]
        assert code == 0 and edge_code == 0

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def send(self, data, finish=False):
        """All that comes back for these bytes until the edge ends the connection; HOST stands for the site's name. An edge that takes no
        more connections may be as quick as to reset one while it is being made: nothing comes back then either."""
        try:
            s = self.connect()
        except ConnectionResetError:
            return b""
        with s:
            return talk(s, data.replace(b"HOST", self.host), finish)

    def get(self, target=b"/", host=None):
        return responses(self.send(b"GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % (target, host or self.host)))[0]


def talk(s, data, finish=False):
    """Sends while it receives: who answers early does not read the rest."""
    def push():
        try:
            s.sendall(data)
            if finish:
                s.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    sender = None
    if len(data) > 65536:
        sender = threading.Thread(target=push, daemon=True)
        sender.start()
    else:
        push()
    got = b""
    try:
        while piece := s.recv(1 << 16):
            got += piece
    except ConnectionError:
        pass
    if sender:
        sender.join(20)
    return got


def rss(program):
    """Bytes of memory in use."""
    with open(f"/proc/{program.process.pid}/status") as f:
        return int(re.search(r"VmRSS:\s+(\d+) kB", f.read()).group(1)) * 1024


def is_closed(s, seconds=30):
    """Whether the other side ends the connection, whatever else it says before."""
    s.settimeout(seconds)
    try:
        while s.recv(1 << 16):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


class within:
    """Holds programs to a bound: at no moment of the block may one use so much more memory than at its start."""

    def __init__(self, size, *programs):
        self.size, self.programs = size, programs

    def peak(self, program):
        with open(f"/proc/{program.process.pid}/status") as f:
            return int(re.search(r"VmHWM:\s+(\d+) kB", f.read()).group(1)) * 1024

    def __enter__(self):
        for program in self.programs:
            with open(f"/proc/{program.process.pid}/clear_refs", "w") as f:
                f.write("5")  # the peak counts from now on
        self.before = [rss(program) for program in self.programs]

    def __exit__(self, kind, *rest):
        if kind is None:
            for program, before in zip(self.programs, self.before):
                more = self.peak(program) - before
                assert more < self.size, f"{more >> 20} MiB more than before"
