"""Mutated messages, read by Adit, by the real nginx in Adit's place, and by h11: what both others refuse Adit refuses, and what it
accepts is read as whoever else accepts it reads it. HOSTILE_SEED and HOSTILE_COUNT choose other messages and more of them."""
import concurrent.futures
import json
import os
import random
import re
import shutil
import socket
import subprocess

import h11
import pytest

from conftest import until
from hostile import Site, responses, talk

SEED = int(os.environ.get("HOSTILE_SEED", "20260917"))
COUNT = int(os.environ.get("HOSTILE_COUNT", "2000"))
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"


# ---- who else reads ----

class Nginx:
    """As a proxy before an origin, with bodies and responses passed on as they come."""

    def __init__(self, where, origin):
        with socket.create_server(("127.0.0.1", 0)) as s:
            self.port = s.getsockname()[1]
        (where / "nginx.conf").write_text(f"""
daemon off; master_process off; pid {where}/nginx.pid; error_log {where}/error.log crit;
events {{ worker_connections 512; }}
http {{
    access_log off; client_body_temp_path {where}/body; proxy_temp_path {where}/proxy;
    fastcgi_temp_path {where}/fastcgi; uwsgi_temp_path {where}/uwsgi; scgi_temp_path {where}/scgi;
    client_max_body_size 0; large_client_header_buffers 16 32k; proxy_ignore_client_abort on; ignore_invalid_headers off;
    server {{
        listen 127.0.0.1:{self.port};
        location / {{ proxy_pass {origin}; proxy_http_version 1.1; proxy_set_header Host $http_host; proxy_request_buffering off; }}
    }}
}}
""")
        self.process = subprocess.Popen([NGINX, "-p", str(where), "-c", str(where / "nginx.conf"), "-e", str(where / "error.log")])
        until(self.is_up, "nginx listens")

    def is_up(self):
        assert self.process.poll() is None
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
            return True
        except ConnectionRefusedError:
            return False

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    if not os.access(NGINX, os.X_OK):
        pytest.skip("there is no nginx")
    where = tmp_path_factory.mktemp("differential")
    site = Site(where)
    nginx = Nginx(where, site.origin.url)
    yield site, nginx
    nginx.stop()
    site.stop()


# ---- requests ----

def reading_of(start, fields, body):
    """What an origin was told: method, target, host, fields of the client, body."""
    method, target, _ = start.split(b" ")
    mine = [[name.lower().decode("latin1"), value.decode("latin1")] for name, value in fields if name.lower().startswith(b"x-")]
    skip = ("x-forwarded-for", "x-forwarded-proto")
    return [method.decode("latin1"), target.decode("latin1"), [pair for pair in mine if pair[0] not in skip], body.decode("latin1")]


def echo(self, s, start, fields, body):
    """An origin that answers with how it was asked."""
    answer = json.dumps(reading_of(start, fields, body)).encode()
    s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer) + (b"" if start.startswith(b"HEAD ") else answer))
    return True


def through(port, data):
    """How each request of these bytes reached the origin, up to the first that was refused or never came to its end."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as s:
        got = talk(s, data, finish=True)
    found = []
    while got.startswith(b"HTTP/1."):  # nginx answers HTTP/0.9 without a head
        head, end, got = got.partition(b"\r\n\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])}
        status, size = int(head.split()[1]), int(fields.get(b"content-length", b"0"))
        if status == 100:
            continue
        if status != 200:
            break
        found.append(json.loads(got[:size]))
        got = got[size:]
    return found


def by_h11(data):
    """The requests, and whether what follows them is refused rather than left alone: h11 keeps no HTTP/1.0 connection alive."""
    conn, found = h11.Connection(h11.SERVER), []
    conn.receive_data(data)
    conn.receive_data(b"")
    try:
        while True:
            request, body = None, b""
            while not isinstance(event := conn.next_event(), h11.EndOfMessage):
                if event in (h11.NEED_DATA, h11.PAUSED) or isinstance(event, h11.ConnectionClosed):
                    return found, event is not h11.PAUSED
                if isinstance(event, h11.Request):
                    request = event
                else:
                    body += bytes(event.data)
            target = re.sub(rb"^https?://[^/]+", b"", request.target)  # h11 leaves the absolute form to its user
            start = request.method + b" " + target + b" HTTP/1.1"
            found.append(reading_of(start, [(k, v) for k, v in request.headers], body))
            conn.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
            conn.send(h11.EndOfMessage())
            if conn.our_state is not h11.DONE:
                return found, False
            conn.start_next_cycle()
    except h11.ProtocolError:
        return found, True


SOUND = [
    b"GET /a?b=c HTTP/1.1\r\nHost: HOST\r\nX-A: 1\r\n\r\n",
    b"POST /b HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nX-B: 2\r\n\r\nhello",
    b"POST /c HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;x=y\r\nabc\r\n0\r\n\r\n",
    b"PUT /d HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\nX-C: a\r\nX-C: b\r\n\r\n20\r\nGET /inner HTTP/1.1\r\nHost: b\r\n\r\n\r\n0\r\nX-T: u\r\n\r\n",
    b"DELETE /e HTTP/1.0\r\nHost: HOST\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
]
PIECES = [
    b"\r\n", b"\n", b"\r", b" ", b"\t", b"\x0b", b"\x00", b"\x7f", b"\x80", b":", b";", b",", b"0", b"5", b"+", b"-", b"0x", b"\"", b"chunked", b"identity",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: identity\r\n", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Content-Length: 6\r\n",
    b"Transfer-Encoding:\tchunked\r\n", b"Transfer-Encoding : chunked\r\n", b" folded\r\n", b"Host: other.localhost\r\n", b"Connection: close\r\n",
    b"Expect: 100-continue\r\n", b"\r\n\r\n", b"0\r\n\r\n", b"5\r\n", b"HTTP/1.1", b"HTTP/1.0", b"GET /x HTTP/1.1\r\nHost: HOST\r\n\r\n", b"http://HOST",
]


def mutated(rng, message):
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = rng.randrange(len(message) + 1)
        lines = [i + 2 for i in range(len(message)) if message[i:i + 2] == b"\r\n"]
        act = rng.randrange(6)
        if act == 0:
            message = message[:at] + rng.choice(PIECES) + message[at:]
        elif act == 1:
            message = message[:at] + message[at + rng.randrange(1, 4):]
        elif act == 2:
            message = message[:at] + bytes([rng.randrange(256)]) + message[at + 1:]
        elif act == 3:  # a line more
            at = rng.choice(lines)
            message = message[:at] + rng.choice(PIECES) + message[at:]
        elif act == 4:  # another end of a line
            at = rng.choice(lines)
            message = message[:at - 2] + rng.choice((b"\n", b"\r", b"\r\r\n", b"\n\r", b" \r\n", b"\r\n ", b"")) + message[at:]
        else:
            old, new = rng.choice(((b": ", b" : "), (b": ", b":"), (b": ", b":\t"), (b"chunked", b"Chunked"), (b"chunked", b"chunked, chunked"),
                                   (b"Length: ", b"Length: +"), (b"Length: ", b"Length: 0"), (b"HTTP/1.1", b"HTTP/1.0"), (b"HTTP/1.1", b"HTTP/1.2"),
                                   (b"5\r\n", b"05\r\n"), (b"5\r\n", b"5 \r\n"), (b"5\r\n", b"5;\r\n"), (b"5\r\n", b"5;a\r\n"), (b" /", b"  /")))
            message = message.replace(old, new, 1)
        if b"\r\n" not in message:
            return message
    return message


def in_parallel(work, items):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return list(pool.map(work, items))


def judge(ours, nginx, other):
    """The first way in which our reading is not tenable, or None."""
    h11s, is_refused = other
    count = max(len(nginx), len(h11s))
    # nginx refuses methods that are sound by the grammar: those with a small letter, a digit or a sign.
    if is_refused and len(ours) > count and re.fullmatch("[A-Z_-]+", ours[count][0]):
        return f"accepted what all others refuse: {ours}"
    for name, other in ("nginx", nginx), ("h11", h11s):
        for a, b in zip(ours, other):
            if a != b:
                return f"read as {a}, by {name} as {b}"
    return None


def test_no_request_is_read_differently_by_nginx_and_h11(world, monkeypatch):
    site, nginx = world
    monkeypatch.setattr(type(site.origin), "answer", echo)
    print(f"HOSTILE_SEED={SEED} HOSTILE_COUNT={COUNT}")
    rng = random.Random(SEED)
    tail = b"GET /last HTTP/1.1\r\nHost: HOST\r\n\r\n"
    messages = [(mutated(rng, rng.choice(SOUND)) + tail).replace(b"HOST", site.host) for _ in range(COUNT)]
    for sound in SOUND[:4]:
        data = (sound + tail).replace(b"HOST", site.host)
        assert through(site.port, data) == through(nginx.port, data) == by_h11(data)[0] and len(by_h11(data)[0]) == 2
    ours = in_parallel(lambda data: through(site.port, data), messages)
    theirs = in_parallel(lambda data: through(nginx.port, data), messages)
    found = [(data, said) for data, a, b in zip(messages, ours, theirs) if (said := judge(a, b, by_h11(data)))]
    assert not found, "\n".join(f"{data!r}\n    {said}" for data, said in found[:10]) + f"\n{len(found)} of {COUNT}, HOSTILE_SEED={SEED}"
    assert sum(map(bool, ours)) > COUNT // 10  # the mutations are not all of them hopeless


# ---- responses ----

ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: 1\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-B: 2\r\n\r\n5\r\nhello\r\n3;x=y\r\nabc\r\n0\r\n\r\n",
    b"HTTP/1.1 404 Not Found\r\nX-C: a\r\nX-C: b\r\nConnection: close\r\n\r\nuntil the end",
    b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nX-D: 3\r\n\r\n",
]


def answer_of(data):
    """Status, fields of the origin and body, as h11 reads them; None when they are no whole response."""
    conn, head, body = h11.Connection(h11.CLIENT), None, b""
    conn.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    conn.send(h11.EndOfMessage())
    conn.receive_data(data)
    conn.receive_data(b"")
    try:
        while not isinstance(event := conn.next_event(), h11.EndOfMessage):
            if event in (h11.NEED_DATA, h11.PAUSED) or isinstance(event, h11.ConnectionClosed):
                return None
            if isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
    except h11.ProtocolError:
        return None
    return head.status_code, sorted((k, v) for k, v in head.headers if k.startswith(b"x-")), body


def asked(port, host, target):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as s:
        got = answer_of(talk(s, b"GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % (target, host)))
    return None if got is None or got[0] in (502, 504) else got


def test_no_response_is_read_differently_by_nginx_and_h11(world):
    site, nginx = world
    print(f"HOSTILE_SEED={SEED} HOSTILE_COUNT={COUNT}")
    rng = random.Random(SEED + 1)
    # A tab is no space to nginx, which then passes over the whole field.
    answers = {b"/r%d" % i: mutated(rng, rng.choice(ANSWERS)).replace(b"HOST", b"a").replace(b"\t", b" ") for i in range(COUNT // 2)}
    answers.update({b"/sound%d" % i: answer for i, answer in enumerate(ANSWERS)})
    site.origin.replies = answers
    ours = in_parallel(lambda target: asked(site.port, site.host, target), answers)
    theirs = in_parallel(lambda target: asked(nginx.port, site.host, target), answers)
    found = []
    for data, our, nginxs in zip(answers.values(), ours, theirs):
        others = [one for one in (nginxs, answer_of(data)) if one is not None]
        if our is not None and (not others or any(one != our for one in others)):
            found.append(f"{data!r}\n    read as {our}, by others as {others}")
    assert not found, "\n".join(found[:10]) + f"\n{len(found)} of {COUNT // 2}, HOSTILE_SEED={SEED}"
    assert None not in ours[-len(ANSWERS):]
