"""The configuration file is read again: what the edge is told of it, and when the edge's own word stands. adit against an edge made by hand."""
import json
import os
import signal

import pytest
import wire
from conftest import stop_clean, until
from handmade_edge import ACCEPT, HOST, HandmadeEdge, start_connector
from test_remote_config import Managed


def status_of(edge):
    return dict(wire.pairs_of(edge.ask(wire.http_request("GET", HOST, "/"))[0]))["HttpStatus"]


def replace(where, code):
    (where / "new.yml").write_text(json.dumps({"ingress": [{"service": f"http_status:{code}"}]}))
    os.rename(where / "new.yml", where / "config.yml")


@pytest.fixture
def edge(tmp_path):
    made = HandmadeEdge(tmp_path)
    yield made
    if not made.is_stopped:
        made.stop()


def test_the_edge_is_told_of_the_rules_that_were_read_again(edge, tmp_path):
    program = start_connector(edge, tmp_path, "http_status:201")
    until(lambda: edge.configurations, "the first report")
    for code in (202, 203):
        before = len(edge.configurations)
        replace(tmp_path, code)
        until(lambda: status_of(edge) == str(code), "the new rules")
        until(lambda: len(edge.configurations) > before, "the next report")
        assert f"http_status:{code}" in edge.configurations[-1].decode()
    stop_clean(program)


@pytest.mark.parametrize("how", ["registration", "update"])
def test_the_word_of_an_edge_that_manages_the_tunnel_stands(tmp_path, how):
    connector = Managed("adit", tmp_path, [{"service": "http_status:201"}])
    if how == "update":
        assert connector.next(json.dumps({"ingress": [{"service": "http_status:299"}]})) == (True, "")
    else:
        connector.edge.decide = lambda r: {"connectionDetails": {**ACCEPT["connectionDetails"], "tunnelIsRemotelyManaged": True}}
        lost = connector.edge.serving[0]
        connector.edge.run(close(lost))
        until(lambda: len(connector.edge.serving) == 3, "it is back")
    before = code_of(connector)
    connector.program.process.send_signal(signal.SIGHUP)
    connector.program.wait_for("not read again: the edge manages this tunnel")
    replace(tmp_path, 202)
    until(lambda: connector.program.text().count("not read again: the edge manages this tunnel") == 2, "the second line")
    assert code_of(connector) == before == ("299" if how == "update" else "201")
    connector.stop()


async def close(peer):
    peer.close(0, "")
    await peer.wait_closed()


def code_of(connector):
    return status_of(connector.edge)
