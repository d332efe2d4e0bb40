"""keepAliveConnections counts what all workers of a connector keep of one rule together."""
import contextlib

import pytest
from client import Visitor, get
from conftest import until
from ruled import Ruled
from several import Service

KEPT, MANY = 3, 24
RULES = f"""
ingress:
  - hostname: HOST
    service: http://127.0.0.1:PORT
    originRequest: {{keepAliveConnections: {KEPT}}}
  - service: http_status:404
"""


@pytest.fixture
def site(tmp_path):
    service = Service("one")
    site = Ruled(tmp_path, RULES.replace("PORT", str(service.port)), connections=4, env={"ADIT_WORKERS": "2"})
    until(lambda: site.connector.text().count("Registered tunnel connection") == 4, "all connections are there")
    site.service = service
    yield site
    service.held.set()
    site.stop()
    service.stop()


def connect_many(site):
    """As many requests at once, each on a connection of its own."""
    service = site.service
    service.held.clear()
    before = len(service.asked)
    with contextlib.ExitStack() as stack:
        visitors = [stack.enter_context(Visitor(site.edge.port("http"), site.host)) for _ in range(MANY)]
        for visitor in visitors:
            visitor.request("GET", "/")
        until(lambda: len(service.asked) == before + MANY, "all are at the origin")
        assert len(service.open) == MANY
        service.held.set()
        assert {visitor.response()[1] for visitor in visitors} == {b"one"}


def test_what_two_workers_keep_is_counted_together(site):
    connect_many(site)
    until(lambda: len(site.service.open) == KEPT, "the others are closed")
    # What is taken out of what is kept makes room, and comes back into it.
    for _ in range(20):
        assert get(site, "/")[1] == b"one"
    connect_many(site)
    until(lambda: len(site.service.open) == KEPT, "the others are closed")
