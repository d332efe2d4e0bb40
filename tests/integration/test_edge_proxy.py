"""The way to the edge and to its API through real proxies (tinyproxy, Dante, microsocks, and stunnel for TLS), in a network of its own."""
import pytest

from conftest import until
from inside import (EDGE, PORTS, Commands, connect, dante, edge, inside, microsocks, needs, serves, start_edge, stunnel,  # noqa: F401
                    tinyproxy)

pytestmark = needs


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_an_http_proxy_leads_to_the_edge(inside, edge, name):
    proxy = tinyproxy(inside)
    connector = connect(inside, {name: f"http://127.0.0.1:{PORTS['proxy']}"})
    serves(inside, connector)
    assert proxy.text().count(f"CONNECT {EDGE}:{PORTS['tunnel']}") == 4


def test_an_http_proxy_may_want_a_password(inside, edge):
    tinyproxy(inside, "BasicAuth joe s3cret")
    refused = connect(inside, {"HTTPS_PROXY": f"http://127.0.0.1:{PORTS['proxy']}"}, "refused")
    refused.wait_for("407, which asks for credentials")
    connector = connect(inside, {"HTTPS_PROXY": f"http://joe:%733cret@127.0.0.1:{PORTS['proxy']}"})
    serves(inside, connector)
    assert "s3cret" not in connector.text()


def test_a_socks_proxy_leads_to_the_edge(inside, edge):
    proxy = dante(inside)
    connector = connect(inside, {"ALL_PROXY": f"socks5://127.0.0.1:{PORTS['socks']}"})
    serves(inside, connector)
    assert proxy.text().count(f"{EDGE}.{PORTS['tunnel']}") >= 4


def test_no_proxy_means_straight(inside, edge):
    connector = connect(inside, {"HTTPS_PROXY": "http://127.0.0.1:1", "NO_PROXY": "10.77.0.0/16"})
    serves(inside, connector)


def test_a_proxy_that_is_not_there_is_named(inside, edge):
    connector = connect(inside, {"HTTPS_PROXY": "http://127.0.0.1:1"})
    connector.wait_for("the proxy http://127.0.0.1:1: connection refused")
    other = connect(inside, {"HTTPS_PROXY": "ftp://127.0.0.1:1"}, "other")
    other.wait_for("http, https or socks5 with a host is wanted")


def test_a_proxy_over_tls_leads_to_the_edge(inside, edge):
    proxy = tinyproxy(inside)
    cert = stunnel(inside, "tls", f"127.0.0.1:{PORTS['tls_proxy']}", f"127.0.0.1:{PORTS['proxy']}")
    both = inside.where / "both.pem"
    both.write_text((inside.where / "edge/ca.pem").read_text() + cert.read_text())
    url = f"https://127.0.0.1:{PORTS['tls_proxy']}"
    stranger = connect(inside, {"HTTPS_PROXY": url}, "stranger")
    stranger.wait_for(f"the proxy {url}: ")
    until(lambda: "certificate" in stranger.text(), "what is wrong with it is told")
    assert f"CONNECT {EDGE}" not in proxy.text()
    serves(inside, connect(inside, {"HTTPS_PROXY": url}, "connector", "--cacert", both))
    assert proxy.text().count(f"CONNECT {EDGE}:{PORTS['tunnel']}") == 4


def test_a_socks_proxy_may_want_a_password(inside, edge):
    proxy = microsocks(inside, "joe", "s3cret")
    for name, login, why in (("nobody", "", "it wants another kind of credentials"), ("wrong", "joe:guess@", "it refuses the name or the password")):
        refused = connect(inside, {"ALL_PROXY": f"socks5://{login}127.0.0.1:{PORTS['socks']}"}, name)
        refused.wait_for(why)
    assert EDGE not in proxy.text()
    connector = connect(inside, {"ALL_PROXY": f"socks5://joe:%733cret@127.0.0.1:{PORTS['socks']}"})
    serves(inside, connector)
    assert proxy.text().count(f"connected to {EDGE}:{PORTS['tunnel']}") == 4
    assert "s3cret" not in connector.text()


# ---- calls of the API ----

@pytest.fixture
def api(inside):
    """Commands that call an edge's API by http, and by https through stunnel."""
    start_edge(inside, local=f"{EDGE}:{PORTS['local']}")
    commands = Commands(inside, f"http://{EDGE}:{PORTS['local']}")
    commands.ca = stunnel(inside, "api", f"{EDGE}:{PORTS['tls_api']}", f"{EDGE}:{PORTS['local']}")
    commands.https = f"https://{EDGE}:{PORTS['tls_api']}"
    return commands


@pytest.mark.parametrize("name", ["HTTP_PROXY", "ALL_PROXY"])
def test_the_api_is_called_through_an_http_proxy(inside, api, name):
    proxy = tinyproxy(inside, "BasicAuth joe s3cret")
    made = api({name: f"http://joe:s3cret@127.0.0.1:{PORTS['proxy']}"}, "create", "one")
    assert made.returncode == 0 and "Created tunnel one" in made.stdout, made.stderr
    assert f"POST http://{EDGE}:{PORTS['local']}/client/v4/accounts/" in proxy.text() and f"CONNECT {EDGE}" not in proxy.text()
    refused = api({name: f"http://127.0.0.1:{PORTS['proxy']}"}, "list")
    assert refused.returncode == 1 and "407" in refused.stderr


def test_the_api_is_called_over_tls_through_a_tunnel_of_a_proxy_over_tls(inside, api):
    proxy = tinyproxy(inside)
    cert = stunnel(inside, "tls", f"127.0.0.1:{PORTS['tls_proxy']}", f"127.0.0.1:{PORTS['proxy']}")
    both = inside.where / "both.pem"
    both.write_text(api.ca.read_text() + cert.read_text())
    api.url = api.https
    environment = {"HTTPS_PROXY": f"https://127.0.0.1:{PORTS['tls_proxy']}", "HTTP_PROXY": "http://127.0.0.1:1"}
    stranger = api(environment, "list", before=("--cacert", api.ca))
    assert stranger.returncode == 1 and "the proxy https://127.0.0.1" in stranger.stderr and "certificate" in stranger.stderr
    assert EDGE not in proxy.text()
    listed = api(environment, "list", before=("--cacert", both))
    assert listed.returncode == 0, listed.stderr
    assert f"CONNECT {EDGE}:{PORTS['tls_api']}" in proxy.text()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_api_is_called_through_a_socks_proxy_with_a_password(inside, api, scheme):
    proxy = microsocks(inside, "joe", "s3cret")
    api.url = api.https if scheme == "https" else api.url
    listed = api({"ALL_PROXY": f"socks5://joe:s3cret@127.0.0.1:{PORTS['socks']}"}, "list", before=("--cacert", api.ca))
    assert listed.returncode == 0, listed.stderr
    assert f"connected to {EDGE}:" in proxy.text()
    refused = api({"ALL_PROXY": f"socks5://joe:guess@127.0.0.1:{PORTS['socks']}"}, "list", before=("--cacert", api.ca))
    assert refused.returncode == 1 and "it refuses the name or the password" in refused.stderr and "guess" not in refused.stderr


def test_a_proxy_looks_up_the_name_of_the_api_itself(inside, api):
    """No name server answers inside: only the proxy, by its hosts file, could know the name, and it says that it does not."""
    proxy = microsocks(inside, "joe", "s3cret")
    api.url = f"http://api.test:{PORTS['local']}"
    asked = api({"ALL_PROXY": f"socks5://joe:s3cret@127.0.0.1:{PORTS['socks']}"}, "list")
    assert asked.returncode == 1 and "api.test" in asked.stderr and f"the proxy socks5://127.0.0.1:{PORTS['socks']}: it " in asked.stderr
    assert proxy is not None


def test_the_api_is_called_straight_where_no_proxy_says_so(inside, api):
    listed = api({"HTTP_PROXY": "http://127.0.0.1:1", "NO_PROXY": EDGE}, "list")
    assert listed.returncode == 0, listed.stderr
    missing = api({"HTTP_PROXY": "http://127.0.0.1:1"}, "list")
    assert missing.returncode == 1 and "the proxy http://127.0.0.1:1: connection refused" in missing.stderr


def test_a_quick_tunnel_is_asked_for_through_a_proxy(inside, api):
    proxy = tinyproxy(inside)
    proxies = {"HTTP_PROXY": f"http://127.0.0.1:{PORTS['proxy']}", "HTTPS_PROXY": f"http://127.0.0.1:{PORTS['proxy']}"}
    connector = connect(inside, proxies, "connector", "--quick-service", f"http://{EDGE}:{PORTS['local']}")
    until(lambda: connector.text().count("Registered tunnel connection") == 4, "four connections")
    assert f"POST http://{EDGE}:{PORTS['local']}/tunnel" in proxy.text()
    assert proxy.text().count(f"CONNECT {EDGE}:{PORTS['tunnel']}") == 4
