"""A service of several that takes requests and does not answer them is skipped like one that is down, and is back when it answers."""
import contextlib

import pytest
from client import Visitor
from conftest import until
from ruled import Ruled
from several import Service, ask, metric

RULES = """
ingress:
  - hostname: HOST
    path: ^/late
    service: http://127.0.0.1:ONE
    services: ["http://127.0.0.1:TWO"]
    originRequest: {responseTimeout: 300ms}
  - hostname: HOST
    path: ^/turns
    service: http://127.0.0.1:ONE
    services: ["http://127.0.0.1:TWO"]
    balance: round-robin
    silentAfter: 500ms
  - hostname: HOST
    path: ^/first
    service: http://127.0.0.1:ONE
    services: ["http://127.0.0.1:TWO"]
    silentAfter: 500ms
  - service: http_status:404
"""


@pytest.fixture
def site(tmp_path):
    services = [Service(name) for name in ("one", "two")]
    site = Ruled(tmp_path, RULES.replace("ONE", str(services[0].port)).replace("TWO", str(services[1].port)))
    site.services = services
    yield site
    for service in services:
        service.held.set()
    site.stop()
    for service in services:
        with contextlib.suppress(OSError):
            service.stop()


def test_a_service_that_does_not_answer_in_its_time_is_skipped_until_it_does(site):
    one, _ = site.services
    one.held.clear()
    assert ask(site, "/late") == [504]  # it has the request: that one is lost
    assert ask(site, "/late", 5) == ["two"] * 5
    # Its connections stand, which says nothing: whoever tries it is one more who gets no answer.
    until(lambda: ask(site, "/late") == [504], "it is tried again")
    assert ask(site, "/late", 3) == ["two"] * 3
    log = site.connector.text()
    assert log.count("service is down") == 1 and "service is back" not in log and "timeout awaiting response headers" in log
    one.held.set()
    until(lambda: ask(site, "/late") == ["one"], "it is tried again")
    assert ask(site, "/late", 3) == ["one"] * 3
    assert metric(site, "adit_connector_services_down_total") == metric(site, "adit_connector_services_up_total") == 1


@pytest.mark.parametrize("path", ["/turns", "/first"])
def test_a_service_that_leaves_many_waiting_is_skipped_until_it_answers(site, path):
    one, two = site.services
    one.held.clear()
    with contextlib.ExitStack() as stack:
        stuck = []

        def another():
            """Where one more request gets to."""
            visitor, before = stack.enter_context(Visitor(site.edge.port("http"), site.host)), [len(s.asked) for s in site.services]
            visitor.request("GET", path)
            until(lambda: [len(s.asked) for s in site.services] != before, "it is asked")
            if len(one.asked) > before[0]:
                stuck.append(visitor)
                return "one"
            return visitor.response()[1].decode()

        until(lambda: [another() for _ in range(3)] == ["two"] * 3, "it is skipped")
        assert len(stuck) >= 4 and ask(site, path, 5) == ["two"] * 5
        log = site.connector.text()
        assert log.count("service is down") == 1 and "it takes requests and answers none" in log and "service is back" not in log
        one.held.set()
        assert {visitor.response()[1].decode() for visitor in stuck} == {"one"}
    until(lambda: "service is back" in site.connector.text(), "its answers bring it back")
    assert "one" in ask(site, path, 2)
    assert metric(site, "adit_connector_services_down_total") == metric(site, "adit_connector_services_up_total") == 1
