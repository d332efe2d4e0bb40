"""An origin for large bodies: it sends and takes them as fast as a socket does, and counts what it has sent."""
import contextlib
import re
import socket
import threading

PIECE = bytes(1 << 20)


class BulkOrigin:
    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = "http://127.0.0.1:%d" % self.listener.getsockname()[1]
        self.sent = {}  # target: bytes that the socket has taken so far
        self.failed = set()  # targets whose response could not be sent to its end
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn):
        with conn, contextlib.suppress(OSError):
            rest = b""
            while True:
                while b"\r\n\r\n" not in rest:
                    data = conn.recv(65536)
                    if not data:
                        return
                    rest += data
                head, _, rest = rest.partition(b"\r\n\r\n")
                target = head.split(b" ", 2)[1].decode()
                length = re.search(rb"content-length: *(\d+)", head, re.I)
                if length:
                    took = self._take(conn, int(length[1]), len(rest))
                    rest = b""
                    conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%d" % (len(b"%d" % took), took))
                elif not self._give(conn, target):
                    return

    @staticmethod
    def _take(conn, length, took):
        piece = bytearray(1 << 20)
        while took < length:
            n = conn.recv_into(piece, min(len(piece), length - took))
            if n == 0:
                break
            took += n
        return took

    def _give(self, conn, target):
        size = int(target.strip("/").split("/")[0])
        self.sent[target] = 0
        try:
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            while size:
                n = conn.send(PIECE[:min(size, len(PIECE))])
                self.sent[target] += n
                size -= n
        except OSError:
            self.failed.add(target)
            return False
        return True

    def stop(self):
        self.listener.close()
