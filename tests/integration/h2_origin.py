"""An origin over HTTP/2 (hyper-h2) that does what the path asks of it; what comes with ALPN http/1.1 is answered by one line."""
import functools
import socket
import ssl
import threading

import h2.config
import h2.connection
import h2.errors
import h2.events

BIG = 1 << 20


class H2Origin:
    def __init__(self, certificate, key):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.context.set_alpn_protocols(["h2", "http/1.1"])
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.connections, self.seen, self.once, self.pings = 0, [], set(), 0
        self.open_door, self.answers = threading.Event(), threading.Event()
        self.open_door.set()
        self.turned_away = 0  # connections that are closed before they are served
        self.lock = threading.Lock()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def stop(self):
        self.listener.close()

    def first_time(self, what):
        with self.lock:
            is_first = what not in self.once
            self.once.add(what)
            return is_first

    def serve(self, s):
        try:
            self.open_door.wait(60)
            with self.lock:
                self.connections += 1
                is_unwanted = self.turned_away > 0
                self.turned_away -= is_unwanted
            if is_unwanted:
                s.close()
                return
            with self.context.wrap_socket(s, server_side=True) as tls:
                if tls.selected_alpn_protocol() == "h2":
                    Talk(self, tls).run()
                else:
                    self.serve_h1(tls)
        except (OSError, h2.exceptions.ProtocolError):
            pass

    @staticmethod
    def serve_h1(tls):
        head = b""
        while b"\r\n\r\n" not in head:
            data = tls.recv(1 << 16)
            if not data:
                return
            head += data
        tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\nHTTP/1.1")


class Talk:
    """One connection."""

    def __init__(self, origin, tls):
        self.origin, self.tls = origin, tls
        self.conn = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        # Huffman's code takes a second for 150 kB in Python, in which no PING is answered.
        self.conn.encoder.encode = functools.partial(self.conn.encoder.encode, huffman=False)
        self.requests, self.bodies, self.half, self.held = {}, {}, None, []

    def run(self):
        self.conn.initiate_connection()
        self.flush()
        while True:
            data = self.tls.recv(1 << 16)
            if not data:
                return
            for event in self.conn.receive_data(data):
                self.on(event)
            while self.held and self.origin.answers.is_set():
                self.send(self.held.pop(), b"held")
            if not self.flush():
                return

    def flush(self):
        data = self.conn.data_to_send()
        if data:
            self.tls.sendall(data)
        return self.conn.state_machine.state != h2.connection.ConnectionState.CLOSED

    def on(self, event):
        if isinstance(event, h2.events.RequestReceived):
            self.requests[event.stream_id] = event.headers
            self.bodies[event.stream_id] = b""
            self.origin.seen.append(dict(event.headers))
        elif isinstance(event, h2.events.DataReceived):
            self.bodies[event.stream_id] += event.data
            self.conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.PingReceived):
            self.origin.pings += 1
        elif isinstance(event, h2.events.StreamEnded):
            self.answer(event.stream_id, dict(self.requests[event.stream_id])[":path"].split("?")[0])

    def send(self, stream, body, headers=(), ends=True):
        self.conn.send_headers(stream, [(":status", "200"), *headers])
        self.conn.send_data(stream, body, end_stream=ends)

    def answer(self, stream, path):
        conn, code = self.conn, h2.errors.ErrorCodes
        if path == "/echo":
            self.send(stream, f"{len(self.bodies[stream])}".encode())
        elif path == "/held":
            self.held.append(stream)
        elif path == "/early":
            conn.send_headers(stream, [(":status", "103"), ("link", "</style.css>")])
            self.send(stream, b"late")
        elif path == "/trailers":
            self.send(stream, b"body", ends=False)
            conn.send_headers(stream, [("checksum", "abc")], end_stream=True)
        elif path == "/reset":
            conn.reset_stream(stream, code.INTERNAL_ERROR)
        elif path == "/cut":
            self.send(stream, b"half of", [("content-length", "100")], ends=False)
            self.half = stream
        elif path == "/now":
            conn.reset_stream(self.half, code.INTERNAL_ERROR)
            self.send(stream, b"done")
        elif path == "/refused" and self.origin.first_time(path):
            conn.reset_stream(stream, code.REFUSED_STREAM)
        elif path == "/goaway" and self.origin.first_time(path):
            conn.close_connection(last_stream_id=0)
        elif path == "/h1":
            conn.reset_stream(stream, code.HTTP_1_1_REQUIRED)
        elif path.startswith("/head/"):
            size = int(path.split("/")[2])
            self.send(stream, b"head", [("x-long", "~" * min(30000, size - at)) for at in range(0, size, 30000)])
        elif path == "/upper":
            self.send(stream, b"x", [("bad name", "x")])
        else:
            self.send(stream, b"again" if path in self.origin.once else b"fine")
