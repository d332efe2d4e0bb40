"""A relay in front of an edge's tunnel: TCP and UDP on one port, each of which can be shut at any moment."""
import selectors
import socket
import threading


class Relay:
    """What comes to `address` goes to the edge and back. With udp or tcp False, it vanishes."""

    def __init__(self, edge, udp=True, tcp=True):
        host, _, port = edge.rpartition(":")
        self.edge = (host, int(port))
        self.udp, self.tcp = udp, tcp
        self.is_over = False
        self.selector = selectors.DefaultSelector()
        self.listener, self.front = self.bind()
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.backs = {}  # visitor of UDP -> our socket towards the edge
        self.selector.register(self.listener, selectors.EVENT_READ, self.accept)
        self.selector.register(self.front, selectors.EVENT_READ, self.up)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    @staticmethod
    def bind():
        while True:
            listener = socket.create_server(("127.0.0.1", 0))
            front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                front.bind(listener.getsockname())
            except OSError:
                listener.close()
                front.close()
                continue
            listener.setblocking(False)
            front.setblocking(False)
            return listener, front

    def run(self):
        while not self.is_over:
            for key, _ in self.selector.select(0.1):
                key.data(key.fileobj)

    def stop(self):
        self.is_over = True
        self.thread.join()
        for sock in (self.listener, self.front, *self.backs.values()):
            sock.close()

    # ---- UDP ----

    def up(self, front):
        for _ in range(64):
            try:
                data, visitor = front.recvfrom(65536)
            except BlockingIOError:
                return
            if not self.udp:
                continue
            if visitor not in self.backs:
                back = self.backs[visitor] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                back.connect(self.edge)
                back.setblocking(False)
                self.selector.register(back, selectors.EVENT_READ, lambda sock, to=visitor: self.down(sock, to))
            self.backs[visitor].send(data)

    def down(self, back, visitor):
        for _ in range(64):
            try:
                data = back.recv(65536)
            except (BlockingIOError, ConnectionRefusedError):
                return
            if self.udp:
                self.front.sendto(data, visitor)

    # ---- TCP ----

    def accept(self, listener):
        try:
            visitor, _ = listener.accept()
        except BlockingIOError:
            return
        if not self.tcp:
            visitor.close()
            return
        edge = socket.create_connection(self.edge, 5)
        for one, other in ((visitor, edge), (edge, visitor)):
            threading.Thread(target=self.pump, args=(one, other), daemon=True).start()

    @staticmethod
    def pump(one, other):
        try:
            while data := one.recv(65536):
                other.sendall(data)
        except OSError:
            pass
        for sock in (one, other):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
