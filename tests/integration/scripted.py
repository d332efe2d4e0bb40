"""An origin that is a function of its connection for each path, and a visitor of raw bytes."""
import errno
import re
import socket
import threading


class Talk:
    """One connection of the origin: exact reads, and what was read beyond a head is kept."""

    def __init__(self, s):
        self.s, self.data = s, b""

    def until(self, end):
        """All up to and with these bytes."""
        while end not in self.data:
            piece = self.s.recv(1 << 16)
            if not piece:
                raise EOFError(self.data)
            self.data += piece
        at = self.data.index(end) + len(end)
        taken, self.data = self.data[:at], self.data[at:]
        return taken

    def exactly(self, n):
        while len(self.data) < n:
            piece = self.s.recv(1 << 16)
            if not piece:
                raise EOFError(self.data)
            self.data += piece
        taken, self.data = self.data[:n], self.data[n:]
        return taken

    def rest(self):
        """All that comes up to the end; a reset is an end too."""
        try:
            while piece := self.s.recv(1 << 16):
                self.data += piece
        except ConnectionError:
            pass
        return self.data

    def chunks(self):
        """(body, trailer lines) of a chunked body."""
        body = b""
        while size := int(self.until(b"\r\n").split(b";")[0], 16):
            body += self.exactly(size)
            assert self.exactly(2) == b"\r\n"
        lines = []
        while (line := self.until(b"\r\n")) != b"\r\n":
            lines.append(line[:-2])
        return body, lines

    def say(self, data):
        self.s.sendall(data)


class Scripted:
    """`paths`: path → function(talk, head). The connection goes on after one that returns True."""

    def __init__(self, address="127.0.0.1"):
        self.paths, self.failures, self.heads = {}, [], []
        self.listener = socket.create_server((address, 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://{address}:{self.port}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        talk = Talk(s)
        with s:
            try:
                goes_on = True
                while goes_on:
                    head = talk.until(b"\r\n\r\n")
                    self.heads.append(head)
                    path = re.split(rb"[?#]", head.split(b" ")[1])[0].decode()
                    goes_on = self.paths[path](talk, head)
            except (EOFError, ConnectionError):
                pass
            except Exception as e:
                if getattr(e, "errno", None) != errno.ENOTCONN:  # a shutdown after the peer's reset
                    self.failures.append(e)

    def stop(self):
        self.listener.close()
        assert not self.failures, self.failures


def fields(head):
    """Of a head's bytes: lower-case names to lists of values."""
    found = {}
    for line in head.split(b"\r\n")[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            found.setdefault(name.strip().lower().decode(), []).append(value.strip().decode())
    return found
