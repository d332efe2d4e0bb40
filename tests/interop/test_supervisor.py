"""Which edge a connector dials, again and again: adit against edges made by hand."""
import json

import pytest
import wire
from conftest import Program, connector_command, stop_clean, until
from handmade_edge import ACCEPT, HOST, HandmadeEdge, random_token


@pytest.fixture
def edges(tmp_path):
    """Two of one CA: the second has the first's certificate."""
    first = HandmadeEdge(tmp_path)
    second = HandmadeEdge(tmp_path, reuses=True)
    yield first, second
    second.stop()
    if not first.is_stopped:
        first.stop()


def start(edges, where):
    (where / "config.yml").write_text(json.dumps({"ingress": [{"service": "http_status:204"}]}))
    command = connector_command("adit", where / "config.yml", edges[0].ca, [edge.address for edge in edges], random_token()[1])
    program = Program(command, where / "connector.log", cwd=where)
    program.wait_for("Registered tunnel connection")
    return program


def port_of(peer):
    return peer._quic._network_paths[0].addr[1]


async def close(peer):
    peer.close(0, "")
    await peer.wait_closed()


def test_each_edge_gets_one_connection_and_gets_it_back_after_a_loss(edges, tmp_path):
    program = start(edges, tmp_path)
    until(lambda: all(edge.serving for edge in edges), "a connection at each edge")
    assert sorted(edge.registrations[0]["connIndex"] for edge in edges) == [0, 1]
    for edge in edges:
        lost = edge.serving[0]
        edge.run(close(lost))
        until(lambda: len(edge.serving) == 2, "it is back")
        # From the same port, so that what stands between keeps its mapping.
        assert port_of(edge.serving[1]) == port_of(lost)
        assert edge.registrations[1]["connIndex"] == edge.registrations[0]["connIndex"]
    assert [len(edge.registrations) for edge in edges] == [2, 2]
    stop_clean(program)


def test_an_edge_that_refuses_is_asked_again_and_no_other(edges, tmp_path):
    refusal = {"error": {"cause": "EDUPCONN", "shouldRetry": False}}
    edges[0].decide = lambda r: ACCEPT if r["options"]["numPreviousAttempts"] == 2 else refusal
    program = start(edges, tmp_path)
    assert [r["options"]["numPreviousAttempts"] for r in edges[0].registrations] == [0, 1, 2]
    assert {r["connIndex"] for r in edges[0].registrations} == {0}
    stop_clean(program)


def test_an_edge_that_is_gone_is_left_for_another(edges, tmp_path):
    first, second = edges
    program = start(edges, tmp_path)
    until(lambda: all(edge.serving for edge in edges), "a connection at each edge")
    moved = first.registrations[0]["connIndex"]
    first.stop()
    until(lambda: moved in [r["connIndex"] for r in second.registrations], "the first edge's connection at the second", 60)
    head, _ = second.ask(wire.http_request("GET", HOST, "/"))
    assert ("HttpStatus", "204") in wire.pairs_of(head)
    stop_clean(program)
