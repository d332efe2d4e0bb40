"""Metrics, local endpoints, the access log and trace ids of both programs; the connector's side by side with the reference's."""
import json
import os
import re
import shlex
import signal
import socket
import stat
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from client import Visitor, get, header
from conftest import BUILD, hostname_of, need, quick_command, until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def ask(address, path, method="GET"):
    """(status, fields, body)"""
    request = urllib.request.Request(f"http://{address}{path}", method=method, data=b"x" if method == "POST" else None)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers, answer.read()


def families(address):
    status, fields, body = ask(address, "/metrics")
    assert status == 200 and fields["Content-Type"].startswith("text/plain; version=0.0.4; charset=utf-8")
    text = body.decode()
    named = re.findall(r"^# TYPE (\S+)", text, re.M)
    assert len(named) == len(set(named)), "a family is there twice"
    return {f.name: f for f in text_string_to_metric_families(text)}


def value(address, name, **labels):
    for family in families(address).values():
        for sample in family.samples:
            if sample.name == name and all(sample.labels.get(k) == v for k, v in labels.items()):
                return sample.value
    return None


class Observed:
    """An edge with a quick tunnel whose connector has a known metrics address."""

    def __init__(self, edges, connectors, kind, url, edge=(), connector=(), workers=1, on=None):
        self.edge = on or edges(*edge, workers=workers)
        self.local = self.edge.addresses["local"]
        self.connector = connectors([*quick_command(kind, self.edge, url), *connector])
        self.connector.wait_for("Registered tunnel connection")
        self.host = until(lambda: hostname_of(self.connector), "a hostname")
        self.metrics = until(self.find_metrics, "the metrics address")

    def find_metrics(self):
        found = re.search(r"Starting metrics server.*?(127\.0\.0\.1:\d+)", self.connector.text())
        return found and found.group(1)


@pytest.fixture
def observed(edges, connectors, origin):
    def start(kind="adit", **more):
        return Observed(edges, connectors, kind, origin.url, **more)

    return start


# ---- the connector's endpoints ----


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_the_connectors_endpoints_are_the_references(observed, kind, method):
    one = observed(kind)
    plain = "text/plain; charset=utf-8"
    texts = {"/healthcheck": r"OK\n", "/quicktunnel": rf'\{{"hostname":"{one.host}"\}}',
             "/ready": r'\{"status":200,"readyConnections":\d,"connectorId":"[0-9a-f-]{36}"\}', "/nothing": r"404 page not found\n",
             "/diag/nothing": r"404 page not found\n", "/ready/": r"404 page not found\n"}
    for path, text in texts.items():
        status, fields, body = ask(one.metrics, path, method)
        assert (path, status) == (path, 404 if "404" in text else 200) and fields["Content-Type"] == plain
        assert re.fullmatch(text if method != "HEAD" else "", body.decode()), (path, body)
        assert method != "HEAD" or int(fields["Content-Length"]) > 0
    for path, ends in (("/config", b"}"), ("/diag/configuration", b"}\n"), ("/diag/tunnel", b"}\n"), ("/diag/system", b"}\n")):
        status, fields, body = ask(one.metrics, path, method)
        assert status == 200 and fields["Content-Type"] == plain and (body == b"" if method == "HEAD" else body.endswith(ends)), path


def test_the_diagnoses_have_the_references_shape(observed, kind):
    one = observed(kind)
    tunnel = json.loads(ask(one.metrics, "/diag/tunnel")[2])
    assert list(tunnel) == ["tunnelID", "connectorID", "connections", "icmp_sources"]
    assert tunnel["connectorID"] == json.loads(ask(one.metrics, "/ready")[2])["connectorId"]
    assert {"isConnected": True, "protocol": 1, "edgeAddress": "127.0.0.1"} in tunnel["connections"]
    system = json.loads(ask(one.metrics, "/diag/system")[2])
    assert list(system) == ["info", "errors"]
    info = system["info"]
    assert list(info) == ["memoryMaximum", "memoryCurrent", "fileDescriptorMaximum", "fileDescriptorCurrent", "osSystem", "hostName", "osVersion",
                          "osRelease", "architecture", "cloudflaredVersion", "goVersion", "goArch", "disk"]
    assert info["osSystem"] == "Linux" and info["osVersion"] == os.uname().release and info["hostName"] == os.uname().nodename
    assert 0 < info["memoryCurrent"] < info["memoryMaximum"] and info["fileDescriptorCurrent"] > 0
    assert all(list(disk) == ["name", "sizeMaximum", "sizeCurrent"] and disk["sizeCurrent"] <= disk["sizeMaximum"] for disk in info["disk"])
    flags = json.loads(ask(one.metrics, "/diag/configuration")[2])
    assert flags["uid"] == str(os.getuid()) and flags["grace-period"] == "1s" and flags["url"].startswith("http://")
    assert all(isinstance(text, str) for text in flags.values())


def test_secrets_are_not_diagnosed(edges, connectors, tmp_path):
    edge = edges()
    token = json.loads(ask(edge.addresses["local"], "/tunnel", "POST")[2])["result"]["token"]
    one = connectors([BUILD / "adit", "tunnel", "--metrics", "127.0.0.1:0", "--grace-period", "1s", "run", "--token", token, "--hello-world"])
    one.wait_for("Registered tunnel connection")
    address = re.search(r"Starting metrics server.*?(127\.0\.0\.1:\d+)", one.text()).group(1)
    body = ask(address, "/diag/configuration")[2].decode()
    assert json.loads(body)["hello-world"] == "true" and "token" not in body


# ---- metrics ----


def label_names(family):
    return {name for sample in family.samples for name in sample.labels} - {"le"}


def bounds(family):
    """Of the buckets of a histogram, as they are written."""
    return {sample.labels["le"] for sample in family.samples if "le" in sample.labels}


def test_families_of_the_references_name_have_its_type_and_labels(edges, observed):
    need("cloudflared")
    seen = []
    edge = edges()
    for kind in ("adit", "cloudflared"):
        one = observed(kind, on=edge)
        for _ in range(3):
            with Visitor(one.edge.port("http"), one.host) as visitor:
                visitor.request("GET", "/")
                assert visitor.response()[0].status_code == 200
        until(lambda: value(one.metrics, "cloudflared_tunnel_response_by_code_total", status_code="200") == 3, "three responses are counted")
        seen.append(families(one.metrics))
    ours, theirs = seen
    shared = set(ours) & set(theirs)
    for name in shared:
        assert ours[name].type == theirs[name].type, name
        assert label_names(ours[name]) == label_names(theirs[name]), name
        assert bounds(ours[name]) == bounds(theirs[name]), name
    # What the reference has is there, but for what is not carried or is Go's own.
    other = re.compile(r"go_|promhttp_|process_network|process_virtual_memory_max|cloudflared_(udp|icmp)_|quic_client_(congestion_state|dropped_packets|max_udp|packet_too|"
                       r"received_frames|sent_frames|buffered|lost)")
    assert {name for name in theirs if not other.match(name)} <= shared
    assert not {name for name in ours if re.match(r"cloudflared_|quic_client_", name)} - set(theirs)


def test_the_connector_counts_what_it_serves(observed):
    one = observed()
    before = value(one.metrics, "quic_client_receive_bytes_total", conn_index="0")
    assert value(one.metrics, "cloudflared_tunnel_ha_connections") >= 1 and before > 0
    with Visitor(one.edge.port("http"), one.host) as visitor:
        for target, status in (("/", 200), ("/status/404", 404)):
            visitor.request("GET", target)
            assert visitor.response()[0].status_code == status
    until(lambda: value(one.metrics, "cloudflared_tunnel_response_by_code_total", status_code="404") == 1, "the 404 is counted")
    assert value(one.metrics, "cloudflared_tunnel_total_requests_total") == 2
    assert value(one.metrics, "adit_connector_origin_seconds_count", phase="first_byte") == 2
    assert value(one.metrics, "cloudflared_tunnel_server_locations", connection_id="0", edge_location="ADT") == 1
    # The requests may have come over another connection; this one is kept alive all the same.
    until(lambda: value(one.metrics, "quic_client_receive_bytes_total", conn_index="0") > before, "bytes on the first connection")
    assert value(one.metrics, "process_resident_memory_bytes") > 1_000_000
    assert value(one.metrics, "process_open_fds") > 5 and value(one.metrics, "build_info", version="0.1.0") == 1


def test_a_hostname_is_counted_by_its_route_and_what_a_visitor_invents_is_not(observed):
    one = observed(workers=2)
    name = "adit_edge_hostname_requests_total"
    for host, status in ((one.host, 200), (one.host.upper(), 200), ("invented.example", 404), ('x"}', 400)):
        with Visitor(one.edge.port("http"), host) as visitor:
            visitor.request("GET", "/")
            assert visitor.response()[0].status_code == status
    until(lambda: value(one.local, name, hostname=one.host, **{"class": "2xx"}) == 2, "both requests")
    until(lambda: value(one.local, name, hostname="other", **{"class": "4xx"}) == 1, "the unknown hostname is other")
    assert value(one.local, "adit_edge_hostname_latency_seconds_count", hostname=one.host) == 2
    assert value(one.local, "adit_edge_hostname_exchanges", hostname=one.host) == 0
    assert value(one.local, "adit_edge_hostname_bytes_total", hostname=one.host, direction="down") == 2 * len(b"hello\n")
    assert value(one.local, "adit_edge_phase_seconds_count", phase="first_byte") == 2
    hosts = {s.labels["hostname"] for f in families(one.local).values() for s in f.samples if "hostname" in s.labels}
    assert hosts == {one.host, "other"}


def test_hostnames_past_the_bound_are_other(observed):
    one = observed(edge=["--metrics-hostnames", "0"])
    with Visitor(one.edge.port("http"), one.host) as visitor:
        visitor.request("GET", "/")
        assert visitor.response()[0].status_code == 200
    until(lambda: value(one.local, "adit_edge_hostname_requests_total", hostname="other", **{"class": "2xx"}) == 1, "it is counted as other")
    assert one.host not in ask(one.local, "/metrics")[2].decode()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_edges_endpoints_say_how_it_is(edges, method):
    edge = edges()
    for path, status, kind, text in (("/healthcheck", 200, "text/plain; charset=utf-8", "OK\n"), ("/ready", 200, "application/json", '{"status":200}\n'),
                                     ("/metrics", 200, "text/plain; version=0.0.4; charset=utf-8", None), ("/nothing", 404, "text/plain; charset=utf-8", None)):
        got, fields, body = ask(edge.addresses["local"], path, method)
        assert (path, got) == (path, status) and int(fields["Content-Length"]) > 0
        assert path == "/nothing" or fields["Content-Type"] == kind
        assert body.decode() == text if method == "GET" and text else (method == "GET") == (body != b"")


# ---- the access log and trace ids ----


def lines(path):
    """Each line as a dict, from logfmt or JSON."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        if line.startswith("{"):
            found.append(json.loads(line))
        else:
            found.append(dict(word.split("=", 1) for word in shlex.split(line)))
    return found


@pytest.mark.parametrize("form", ["logfmt", "json"])
def test_one_request_has_one_id_in_both_logs_at_the_origin_and_in_the_answer(observed, tmp_path, form):
    logs = tmp_path / "edge-access", tmp_path / "connector-access"
    one = observed(edge=["--access-log", logs[0], "--access-log-format", form], connector=["--access-log", logs[1], "--access-log-format", form])
    parent = f"00-{TRACE}-00f067aa0ba902b7-01"
    secrets = [("Authorization", "Bearer hush"), ("Cookie", "a=hush")]
    with Visitor(one.edge.port("http"), one.host) as visitor:
        visitor.request("POST", "/echo?token=hush", [("Content-Length", "3"), ("traceparent", parent), ("tracestate", "v=1"), *secrets], b"abc")
        head, body = visitor.response()
    ray = header(head, "cf-ray")
    told = {k.lower(): v for k, v in json.loads(body)["headers"]}
    assert (told["cf-ray"], told["traceparent"], told["tracestate"]) == (ray, parent, "v=1")
    at_edge, at_connector = (until(lambda log=log: lines(log), f"a line in {log.name}")[0] for log in logs)
    for line in (at_edge, at_connector):
        assert line["request"] == ray[:16] and line["trace"] == TRACE
        assert str(line["status"]) == "200" and line["method"] == "POST" and line["target"] == "/echo"
        assert str(line["up"]) == "3" and str(line["down"]) == str(len(body))
        assert int(line["first_byte_us"]) <= int(line["done_us"])
        assert str(line["connection"]) in "0123" and "failure" not in line
    assert at_edge["visitor"].startswith("127.0.0.1:") and at_connector["visitor"] == "127.0.0.1" and at_edge["hostname"] == one.host
    assert at_edge["tunnel"] == at_connector["tunnel"] and at_edge["connector"] == at_connector["connector"]
    assert at_edge["connection"] == at_connector["connection"] and str(at_connector["rule"]) == "0"
    for log in logs:
        assert "hush" not in log.read_text()
        assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_what_fails_has_its_word_and_what_a_visitor_writes_is_escaped(observed, tmp_path):
    log = tmp_path / "access"
    one = observed(edge=["--access-log", log, "--access-log-query"])
    for host, target in (("nobody.localhost", "/?a=1"), (one.host, '/"x=y?status=200')):
        with Visitor(one.edge.port("http"), host) as visitor:
            visitor.socket.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            visitor.socket.recv(65536)
    found = until(lambda: lines(log)[1:] and lines(log), "two lines")
    assert (found[0]["failure"], found[0]["hop"], found[0]["status"], found[0]["target"]) == ("no_route", "edge", "404", "/?a=1")
    assert "tunnel" not in found[0] and "linked_us" not in found[0]
    assert found[1]["target"] == '/"x=y?status=200' and r'target="/\"x=y?status=200"' in log.read_text()


@pytest.mark.parametrize("form", ["logfmt", "json"])
def test_heads_that_never_became_a_request_have_a_line(observed, tmp_path, form):
    log = tmp_path / "access"
    one = observed(edge=["--access-log", log, "--access-log-format", form, "--head-timeout", "300ms", "--max-header-bytes", "2000"])
    heads = {b"GET / HTTP/1.1\r\nHost : x\r\n\r\n": ("400", "bad_request"), b"GET /\" status=200 HTTP/3\r\n\r\n": ("400", "bad_request"),
             b"GET /never HTTP/1.1\r\n": ("408", "visitor_slow"), b"GET / HTTP/1.1\r\nX: %s\r\n\r\n" % (b"x" * 9000): ("431", "head_too_large")}
    for count, (head, (status, word)) in enumerate(heads.items()):
        with socket.create_connection(("127.0.0.1", one.edge.port("http")), timeout=30) as s:
            visitor = "127.0.0.1:%d" % s.getsockname()[1]
            s.sendall(head)
            answer = b"".join(iter(lambda: s.recv(65536), b""))
        top, _, body = answer.partition(b"\r\n\r\n")
        line = until(lambda: lines(log)[count:], f"a line of {word}")[0]
        assert (str(line["status"]), line["failure"], line["hop"], line["visitor"]) == (status, word, "visitor", visitor)
        assert b"Cf-Ray: " + line["request"].encode() in top and int(line["down"]) == len(body) and line["why"].encode() in body
        assert not {"method", "hostname", "target", "done_us"} & set(line)


def test_a_rotated_access_log_is_opened_anew(observed, tmp_path):
    where = tmp_path / "logs"
    where.mkdir()
    logs = {"edge": where / "edge", "connector": where / "connector"}
    one = observed(edge=["--access-log", logs["edge"]], connector=["--access-log", logs["connector"]])

    def request():
        with Visitor(one.edge.port("http"), one.host) as visitor:
            visitor.request("GET", "/")
            assert visitor.response()[0].status_code == 200

    request()
    for log in logs.values():
        until(lambda log=log: len(lines(log)) == 1, "the first line")
        log.rename(log.with_suffix(".1"))
    one.edge.process.send_signal(signal.SIGUSR1)
    one.connector.process.send_signal(signal.SIGUSR1)
    for log in logs.values():
        until(log.exists, "the new file")
    request()
    for log in logs.values():
        until(lambda log=log: len(lines(log)) == 1, "the second line, in the new file")
        assert len(lines(log.with_suffix(".1"))) == 1


def test_an_access_log_that_nobody_reads_costs_lines_and_no_request(observed, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    one = observed(edge=["--access-log", pipe])
    target = "/?" + "x" * 900
    asked = 0
    with Visitor(one.edge.port("http"), "nobody.localhost") as visitor:
        while not value(one.local, "adit_access_log_dropped_total"):
            for _ in range(200):
                visitor.request("GET", target)
                assert visitor.response()[0].status_code == 404
                asked += 1
            assert asked < 20000
    assert value(one.local, "adit_access_log_lines_total") + value(one.local, "adit_access_log_dropped_total") == asked
    os.close(reader)


@pytest.mark.parametrize("fields", [[("traceparent", "00-0-0-01")], [("traceparent", f"00-{TRACE}-00f067aa0ba902b7-01")] * 2])
def test_an_invalid_traceparent_is_not_passed_on(observed, fields):
    one = observed()
    with Visitor(one.edge.port("http"), one.host) as visitor:
        visitor.request("GET", "/echo", [*fields, ("tracestate", "v=1")])
        told = {k.lower() for k, v in json.loads(visitor.response()[1])["headers"]}
    assert not told & {"traceparent", "tracestate"}


def test_a_request_without_a_trace_gets_none(observed):
    one = observed()
    with Visitor(one.edge.port("http"), one.host) as visitor:
        visitor.request("GET", "/echo")
        assert "traceparent" not in {k.lower() for k, v in json.loads(visitor.response()[1])["headers"]}


# ---- a flood of log lines ----


def test_repeats_in_the_log_are_held_back_and_counted(edges, connectors):
    with socket.socket() as dead:  # bound and not listened to: each request of it is a warning
        dead.bind(("127.0.0.1", 0))
        one = Observed(edges, connectors, "adit", f"http://127.0.0.1:{dead.getsockname()[1]}")
        asked = 0
        with Visitor(one.edge.port("http"), one.host) as visitor:
            while not value(one.metrics, "adit_log_suppressed_total"):
                for _ in range(100):
                    visitor.request("GET", "/")
                    assert visitor.response()[0].status_code == 502
                    asked += 1
                assert asked < 20000

        def logged():
            return sum(" request=" in line for line in one.connector.text().splitlines() if 'msg="request failed"' in line)

        def told():
            return sum(map(int, re.findall(r'msg="request failed".* repeats_held_back=(\d+)', one.connector.text())))

        assert 20 <= logged() < asked
        until(lambda: logged() + value(one.metrics, "adit_log_suppressed_total") == asked, "each failure is logged or counted")
        until(lambda: logged() + told() == asked, "the log tells how many it held back although nothing more fails")
        with Visitor(one.edge.port("http"), one.host) as visitor:
            for _ in range(60):
                visitor.request("GET", "/")
                visitor.response()
        one.connector.stop()
        assert logged() + told() == asked + 60, "what it held back at its end is told too"
