"""An origin below HTTP: it records the bytes of a request and answers with bytes that a test gives it. And an echo over TCP."""
import socket
import threading


class Plan:
    """What the next request is answered with, and what came of it."""

    def __init__(self, body_size=0, reply=b"", later_size=0, closes=False, reads_on=False, is_silent=False):
        self.body_size = body_size  # bytes to wait for behind the head before the reply
        self.later_size = later_size  # and as many more after it
        self.reply, self.closes = reply, closes
        self.reads_on = reads_on  # up to the end, after the reply
        self.is_silent = is_silent  # never replies: waits for the end
        self.saw = b""
        self.has_eof = False
        self.over = threading.Event()

    def has(self, size):
        """Whether the head and so many bytes behind it have come."""
        head = self.saw.find(b"\r\n\r\n")
        return head >= 0 and len(self.saw) >= head + 4 + size


class Listener:
    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection:
            try:
                self.serve(connection)
            except OSError:
                pass

    def stop(self):
        self.socket.close()


class RawOrigin(Listener):
    plan = None

    def serve(self, connection):
        while self.one(connection):
            pass

    def one(self, connection):
        """One request; whether another may follow."""
        data = connection.recv(65536)
        if not data:
            return False
        plan = self.plan
        plan.saw += data
        try:
            return self._answer(connection, plan)
        finally:
            plan.over.set()

    def _read(self, connection, plan):
        data = connection.recv(65536)
        plan.saw += data
        plan.has_eof |= not data
        return bool(data)

    def _answer(self, connection, plan):
        while (plan.is_silent or not plan.has(plan.body_size)) and self._read(connection, plan):
            pass
        if plan.has_eof:
            return False
        connection.sendall(plan.reply)
        while (plan.reads_on or not plan.has(plan.body_size + plan.later_size)) and self._read(connection, plan):
            pass
        return not (plan.closes or plan.reads_on)


class Echo(Listener):
    """Greets, then sends back what comes."""

    def serve(self, connection):
        connection.sendall(b"banner\n")
        while data := connection.recv(65536):
            connection.sendall(data)
