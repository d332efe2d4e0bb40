"""Origins that take their time to do harm: each is given up when the rule says so, and other visitors are served meanwhile."""
import concurrent.futures
import time

import h11
import pytest
from client import get
from conftest import start_tunnel, stop_tunnel
from hostile import Recorder


def drips(data, then):
    """Sends byte by byte for as long as somebody takes it, then nothing more."""
    def send(s):
        for at in range(len(data)):
            s.sendall(data[at:at + 1])
            time.sleep(0.01)
        s.settimeout(then)
        s.recv(1)
    return send


def says(data):
    """And nothing more, until the connector has had enough."""
    def send(s):
        s.sendall(data)
        s.settimeout(30)
        s.recv(1)
    return send


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n" + b"X-Long: " + b"x" * 2000 + b"\r\n\r\n"


@pytest.fixture(scope="module")
def site(edge, tmp_path_factory):
    origin = Recorder()
    rule = {"responseTimeout": "400ms", "idleTimeout": "400ms"}
    site = start_tunnel("adit", edge, tmp_path_factory.mktemp("slow"), origin.url, rule)
    site.origin = origin
    yield site
    stop_tunnel(site)
    origin.stop()


@pytest.mark.parametrize("reply", [drips(HEAD, 30), says(b""), says(HEAD[:40]), says(b"HTTP/1.1 100 Continue\r\n\r\n")],
                         ids=["drips", "nothing", "half a head", "an interim response"])
def test_a_head_that_does_not_come_in_time_is_a_504(site, reply):
    site.origin.replies[b"/slow"] = reply
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(get, site, "/slow") for _ in range(20)]
        assert get(site, "/")[1] == b"ok"
        assert {one.result()[0].status_code for one in asked} == {504}


def test_a_body_that_stops_is_cut_off(site):
    site.origin.replies[b"/stops"] = says(HEAD + b"some")
    with pytest.raises((ConnectionError, EOFError, h11.RemoteProtocolError)):
        get(site, "/stops")
    assert get(site, "/")[1] == b"ok"


def test_a_body_that_comes_slowly_but_steadily_arrives(site):
    def steady(s):
        s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        drips(b"x" * 100, 1)(s)

    site.origin.replies[b"/steady"] = steady
    assert get(site, "/steady")[1] == b"x" * 100
