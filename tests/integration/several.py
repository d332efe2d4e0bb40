"""Services that can be stopped, held and started again, and what is asked of a site that has several of them."""
import contextlib
import socket
import threading

from client import get


class Service:
    """Says its name to whatever is asked, kept alive; can be stopped, with its connections, and started again on the same port."""

    def __init__(self, name):
        self.name, self.port, self.listener, self.open, self.held = name, 0, None, set(), threading.Event()
        self.held.set()
        self.asked = []
        self.place = self._bind()  # keeps the port while nothing listens on it
        self.port = self.place.getsockname()[1]
        self.start()

    def _bind(self):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", self.port))
        return s

    def start(self):
        self.listener = self._bind()
        self.listener.listen(64)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def stop(self, keep=False):
        """Who connects is refused; what is connected is cut, or kept."""
        self.listener.shutdown(socket.SHUT_RDWR)
        for conn in [] if keep else list(self.open):
            with contextlib.suppress(OSError):
                conn.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self, listener):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(listener.accept()[0],), daemon=True).start()

    def _serve(self, conn):
        self.open.add(conn)
        with conn, contextlib.suppress(OSError):
            data = b""
            while True:
                while b"\r\n\r\n" not in data:
                    more = conn.recv(65536)
                    if not more:
                        self.open.discard(conn)
                        return
                    data += more
                head, _, data = data.partition(b"\r\n\r\n")
                self.asked.append(head.split(b"\r\n", 1)[0].decode())
                for line in head.lower().split(b"\r\n"):
                    if line.startswith(b"content-length:"):
                        left = int(line.split(b":")[1])
                        while len(data) < left:
                            data += conn.recv(65536)
                        data = data[left:]
                self.held.wait(30)
                conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(self.name), self.name.encode()))
        self.open.discard(conn)


def ask(site, path, count=1, **more):
    answers = []
    for _ in range(count):
        head, body = get(site, path, **more)
        answers.append(body.decode() if head.status_code == 200 else head.status_code)
    return answers


def metric(site, name):
    return sum(int(line.split()[-1]) for line in site.metrics().splitlines() if line.startswith(name))
