"""A replica that is stopped (SIGSTOP) while a request of a visitor stands there, acknowledged and unanswered."""
import signal

import pytest

from client import Visitor
from conftest import until
from scripted import Scripted
from test_replicas import HOST, sites  # noqa: F401


@pytest.mark.parametrize("transport", ["quic", "http2"])
def test_a_request_that_only_stands_at_a_stopped_replica_is_answered_by_the_other(sites, transport):  # noqa: F811
    site = sites()
    asked = []

    def origin(name):
        server = Scripted()

        def hold(talk, head):
            asked.append(name)
            if len(asked) > 1:
                talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother")
                return True
            talk.rest()  # the first one never answers
            return False

        def fast(talk, head):
            talk.say(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfast")
            return True

        server.paths = {"/hold": hold, "/": fast}
        return server

    origins = [origin(name) for name in ("a", "b")]
    for name, server in zip("ab", origins):
        site.start(name, transport=transport, url=server.url)
    with Visitor(site.edge.port("http"), HOST) as visitor:
        visitor.socket.settimeout(60)  # over HTTP/2 nothing else would be sent for 110 s
        visitor.request("GET", "/hold")
        until(lambda: asked, "the request is at an origin")
        site.ask(60)  # nothing is owed: whatever was sent is acknowledged, and answers came behind it
        stopped = site.replicas[asked[0]]
        stopped.process.send_signal(signal.SIGSTOP)
        try:
            head, body = visitor.response()
        finally:
            stopped.process.send_signal(signal.SIGCONT)
    assert (head.status_code, body) == (200, b"other")
    assert len(set(asked)) == 2 and "exchange moves to another link" in site.edge.text()
    for server in origins:
        server.stop()
