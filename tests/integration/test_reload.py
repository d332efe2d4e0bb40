"""The configuration file is read again while the connector serves."""
import os
import re
import signal
import threading

import h11
import pytest

from client import Visitor, get
from conftest import Program, quick_command, until
from ruled import Ruled

pytestmark = pytest.mark.threads
RULES = "ingress:\n  - hostname: HOST\n    service: {service}\n  - service: http_status:404\n"


@pytest.fixture
def ruled(tmp_path):
    started = []

    def start(service="http_status:201", **more):
        site = Ruled(tmp_path, RULES.format(service=service), **more)
        started.append(site)
        return site

    yield start
    for site in started:
        site.stop()


def rules(site, service):
    return RULES.format(service=service).replace("HOST", site.host)


def status(site):
    return get(site, "/")[0].status_code


def replace(site, text):
    """As editors and configuration management do it: another file takes the name."""
    (site.dir / "new.yml").write_text(text)
    os.rename(site.dir / "new.yml", site.dir / "config.yml")


def rewrite(site, text):
    (site.dir / "config.yml").write_text(text)


def reloads(site, result):
    return int(re.search(rf'adit_connector_config_reloads_total{{result="{result}"}} (\d+)', site.metrics()).group(1))


@pytest.mark.parametrize("change", [replace, rewrite])
def test_a_file_that_changes_is_served_by_all_workers(ruled, change):
    site = ruled(connections=4)
    assert status(site) == 201
    for code in (202, 203, 204):
        change(site, rules(site, f"http_status:{code}"))
        until(lambda: status(site) == code, "the new rules")
        assert [status(site) for _ in range(12)] == [code] * 12
    assert reloads(site, "applied") == 3 and reloads(site, "refused") == 0
    assert site.connector.text().count('the configuration file was read again') == 3


def test_a_directory_that_is_exchanged_behind_a_link_is_seen(ruled, tmp_path_factory):
    """As Kubernetes mounts a ConfigMap."""
    site = ruled()
    mount = site.dir / "mount"
    for name, code in (("first", 205), ("second", 206)):
        (mount / name).mkdir(parents=True)
        (mount / name / "config.yml").write_text(rules(site, f"http_status:{code}"))
    os.symlink("first", mount / "data")
    os.symlink("data/config.yml", mount / "config.yml")
    (site.dir / "config.yml").unlink()
    command = list(site.connector.process.args)
    assert site.connector.stop() == 0
    command[command.index(str(site.dir / "config.yml"))] = mount / "config.yml"
    site.connector = Program(command, site.dir / "again.log", cwd=site.dir)
    site.connector.wait_for("Registered tunnel connection")
    until(lambda: status(site) == 205, "the rules of the first")
    os.symlink("second", mount / "new")
    os.rename(mount / "new", mount / "data")
    until(lambda: status(site) == 206, "the rules of the second")


def test_a_signal_has_it_read_again_also_when_it_is_the_same(ruled):
    site = ruled()
    site.connector.process.send_signal(signal.SIGHUP)
    site.connector.wait_for("the configuration file was read again")
    assert "reason=SIGHUP" in site.connector.text()
    assert status(site) == 201 and reloads(site, "applied") == 1


def test_a_file_with_a_mistake_leaves_the_old_rules_and_says_where(ruled):
    site = ruled()
    replace(site, rules(site, "http_status:202") + "  - service: [\n")
    site.connector.wait_for("the configuration file is refused")
    assert re.search(r"refused.*config\.yml:\d+:\d+: ", site.connector.text()), site.connector.text()
    replace(site, rules(site, "nonsense"))
    until(lambda: reloads(site, "refused") == 2, "the second refusal")
    assert re.search(r"refused.*config\.yml:3:14: ", site.connector.text()), site.connector.text()
    replace(site, "tunnel: x\n")
    until(lambda: reloads(site, "refused") == 3, "the third refusal")
    (site.dir / "config.yml").unlink()
    site.connector.process.send_signal(signal.SIGHUP)
    until(lambda: reloads(site, "refused") == 4, "the fourth refusal")
    assert [status(site) for _ in range(5)] == [201] * 5 and reloads(site, "applied") == 0
    replace(site, rules(site, "http_status:202"))
    until(lambda: status(site) == 202, "the good rules")


def test_what_is_under_way_ends_under_the_old_rules(ruled, origin):
    site = ruled(origin.url)
    failures, stop = [], threading.Event()

    def ask():
        while not stop.is_set():
            try:
                code = status(site)
            except Exception as e:
                code = e
            if code not in (200, 203):
                failures.append(code)

    askers = [threading.Thread(target=ask) for _ in range(4)]
    with Visitor(site.edge.port("http"), site.host) as down, Visitor(site.edge.port("http"), site.host) as up:
        down.request("GET", "/stepwise")
        assert isinstance(down.event(), h11.Response) and down.event().data == b"piece 0\n"
        body = os.urandom(1 << 20)
        up.send(h11.Request(method="POST", target="/echo", headers=[("Host", site.host), ("Content-Length", str(len(body)))]))
        up.send(h11.Data(data=body[:1000]))
        for asker in askers:
            asker.start()
        for code in (203, 200, 203):
            replace(site, rules(site, origin.url if code == 200 else f"http_status:{code}"))
            until(lambda: status(site) == code, "the new rules")
        origin.step.release(3)
        head, rest = down.response()
        assert rest == b"piece 1\npiece 2\n"
        up.send(h11.Data(data=body[1000:]))
        up.send(h11.EndOfMessage())
        head, answer = up.response()
        assert head.status_code == 200 and b'"bytes": 1048576' in answer
        stop.set()
        for asker in askers:
            asker.join()
    while origin.step.acquire(blocking=False):
        pass
    assert failures == []


def test_rules_of_flags_are_not_read_again(edges, connectors, origin):
    connector = connectors(quick_command("adit", edges(), origin.url))
    connector.wait_for("Registered tunnel connection")
    connector.process.send_signal(signal.SIGHUP)
    connector.wait_for("there is nothing to read again")
