"""A visitor: h11 over a socket, so that what is seen is what was sent."""
import socket

import h11
import websockets.exceptions


class Visitor:
    def __init__(self, port, host):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.host = host
        self.conn = h11.Connection(h11.CLIENT)

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.socket.close()

    def send(self, event):
        data = self.conn.send(event)
        if data:
            self.socket.sendall(data)

    def event(self):
        while True:
            event = self.conn.next_event()
            if event is not h11.NEED_DATA:
                return event
            self.conn.receive_data(self.socket.recv(1 << 16))

    def request(self, method, target, headers=(), body=b""):
        self.send(h11.Request(method=method, target=target, headers=[("Host", self.host), *headers]))
        if body:
            self.send(h11.Data(data=body))
        self.send(h11.EndOfMessage())

    def response(self):
        """(head, body); the connection is ready for the next request."""
        head, data = None, b""
        while True:
            event = self.event()
            if isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                data += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            elif isinstance(event, h11.ConnectionClosed):
                raise EOFError("closed")
        if self.conn.our_state is h11.DONE and self.conn.their_state is h11.DONE:
            self.conn.start_next_cycle()
        return head, data


def get(tunnel, target, method="GET", headers=(), body=b"", host=None):
    with Visitor(tunnel.edge.port("http"), host or tunnel.host) as visitor:
        visitor.request(method, target, headers, body)
        return visitor.response()


def header(head, name):
    values = [v for k, v in head.headers if k.lower() == name.lower().encode()]
    return values[0].decode() if values else None


def code_of(ws):
    """Why the other end ended a websocket; None when it did not say."""
    try:
        while True:
            ws.recv(timeout=60)
    except websockets.exceptions.ConnectionClosed as e:
        return e.rcvd.code if e.rcvd else None
