"""Tools that know nothing of Adit, against its real programs. The harness is that of tests/integration."""
import base64
import importlib.util
import json
import os
import pathlib
import shutil
import sys
import urllib.request

import pytest

HERE = pathlib.Path(__file__).resolve().parent
INTEGRATION = HERE.parent / "integration"


def _load_harness():
    """tests/integration/conftest.py under a name of its own: both folders' files are called conftest for pytest."""
    if "harness" in sys.modules:
        return sys.modules["harness"]
    for folder in (INTEGRATION, HERE):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    spec = importlib.util.spec_from_file_location("harness", INTEGRATION / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["harness"] = module
    spec.loader.exec_module(module)
    return module


# Tests of the other folder may find this file under the name "conftest", when both run together: it has all that theirs has.
globals().update({name: value for name, value in vars(_load_harness()).items() if not name.startswith("_")})

from harness import BUILD, KINDS, Edge, Program, cloudflared, need  # noqa: E402


def ask_quick_tunnel(edge):
    """A tunnel with a hostname, and what a connector needs to register for it."""
    request = urllib.request.Request(f"http://{edge.addresses['local']}/tunnel", data=b"", method="POST")
    return json.loads(urllib.request.urlopen(request, timeout=30).read())["result"]


def check_clean(program):
    text = program.text()
    assert "runtime error" not in text and "Sanitizer" not in text, text[-6000:]


def stop_clean(program):
    code = program.stop()
    check_clean(program)
    assert code == 0, program.text()[-3000:]


def token_of(tunnel):
    """What `tunnel run --token` takes, in the reference's form: no edges and no pin in it."""
    fields = {"a": tunnel["account_tag"], "t": tunnel["id"], "s": tunnel["secret"]}
    return base64.b64encode(json.dumps(fields).encode()).decode()


def connector_command(kind, config, cacert, edges, token, grace="1s", transport="quic"):
    flags = ["--config", config, "--cacert", cacert, "--metrics", "127.0.0.1:0", "--protocol", transport, "--grace-period", grace,
             "--no-autoupdate", "--no-prechecks"]
    for address in edges:
        flags += ["--edge", address]
    if kind == "adit":
        return [BUILD / "adit", "tunnel", "run", *flags, "--ha-connections", "2", "--token", token]
    return [cloudflared(), "tunnel", *flags, "run", "--token", token]


def start_tunnel(kind, edge, where, service, origin_request=None, transport="quic"):
    """A connector with one ingress rule, registered. It has what client.get wants: .edge and .host."""
    need(kind)
    where.mkdir(exist_ok=True)
    tunnel = ask_quick_tunnel(edge)
    rules = {"ingress": [{"service": str(service), "originRequest": origin_request or {}}]}
    (where / "config.yml").write_text(json.dumps(rules))  # JSON is YAML
    command = connector_command(kind, where / "config.yml", edge.dir / "ca.pem", [edge.addresses["tunnel"]] * 3, token_of(tunnel), transport=transport)
    connector = Program(command, where / "connector.log", cwd=where)
    connector.wait_for("Registered tunnel connection")
    connector.host = tunnel["hostname"]
    connector.edge = edge
    connector.kind = kind
    return connector


def stop_tunnel(connector):
    if connector.kind == "adit":
        stop_clean(connector)
    else:
        connector.stop()


@pytest.fixture(scope="session")
def edge(tmp_path_factory):
    """One edge for many tunnels."""
    edge = Edge(tmp_path_factory.mktemp("edge"), 2)
    yield edge
    stop_clean(edge)


@pytest.fixture(scope="session", params=KINDS)
def kind(request):
    need(request.param)
    return request.param


@pytest.fixture(scope="session")
def nginx(tmp_path_factory):
    """The real nginx with a page for each test; see nginx.py."""
    from nginx import Nginx

    program = os.environ.get("NGINX_PROGRAM") or shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if not program:
        pytest.skip("there is no nginx: apt-get install nginx-light")
    server = Nginx(program, tmp_path_factory.mktemp("nginx"))
    yield server
    server.stop()
