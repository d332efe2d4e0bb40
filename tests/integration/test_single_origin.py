"""The flags of a single origin: what they make of originRequest, by flag, environment and file; alike with both programs, by /config."""
import json
import os
import re
import urllib.request

import pytest
from conftest import BUILD, KINDS, Program, cloudflared, need, until
from test_ingress_command import TOKEN

PRESET = {"connectTimeout": 30, "tlsTimeout": 10, "tcpKeepAlive": 30, "noHappyEyeballs": False, "keepAliveTimeout": 90,
          "keepAliveConnections": 100, "httpHostHeader": "", "originServerName": "", "matchSNItoHost": False, "caPool": "",
          "noTLSVerify": False, "disableChunkedEncoding": False, "bastionMode": False, "proxyAddress": "127.0.0.1", "proxyPort": 0,
          "proxyType": "", "ipRules": None, "http2Origin": False, "access": {"teamName": "", "audTag": None}}
# flag, environment (None: it has none), value, key, what it becomes
FLAGS = [
    ("proxy-connect-timeout", None, "1500ms", "connectTimeout", 1.5),
    ("proxy-tls-timeout", None, "2s", "tlsTimeout", 2),
    ("proxy-tcp-keepalive", None, "-1s", "tcpKeepAlive", -1),
    ("proxy-no-happy-eyeballs", None, "true", "noHappyEyeballs", True),
    ("proxy-keepalive-connections", None, "7", "keepAliveConnections", 7),
    ("proxy-keepalive-timeout", None, "1m1s", "keepAliveTimeout", 61),
    ("http-host-header", "TUNNEL_HTTP_HOST_HEADER", "h.example", "httpHostHeader", "h.example"),
    ("origin-server-name", "TUNNEL_ORIGIN_SERVER_NAME", "s.example", "originServerName", "s.example"),
    ("no-tls-verify", "NO_TLS_VERIFY", "true", "noTLSVerify", True),
    ("no-chunked-encoding", "TUNNEL_NO_CHUNKED_ENCODING", "true", "disableChunkedEncoding", True),
    ("http2-origin", "TUNNEL_ORIGIN_ENABLE_HTTP2", "true", "http2Origin", True),
    ("proxy-address", "TUNNEL_PROXY_ADDRESS", "127.0.0.2", "proxyAddress", "127.0.0.2"),
    ("proxy-port", "TUNNEL_PROXY_PORT", "9", "proxyPort", 9),
    ("socks5", "TUNNEL_SOCKS", "true", "proxyType", "socks"),
]


def config_of(kind, where, *flags, file=None, **env):
    """What the program shows of its configuration; no edge is there."""
    need(kind)
    name = "config.yml"
    (where / name).write_text(json.dumps(file or {}))
    common = ["--config", name, "--metrics", "127.0.0.1:0", "--edge", "127.0.0.1:9", "--protocol", "quic", "--grace-period", "0s",
              "--no-autoupdate", "--no-prechecks"]
    command = [BUILD / "adit" if kind == "adit" else cloudflared(), "tunnel", *common, "run", "--token", TOKEN, *flags]
    program = Program(command, where / f"{kind}.log", cwd=where, env=dict(HOME=str(where), **env))
    try:
        line = until(lambda: re.search(r"tarting metrics server.*127\.0\.0\.1:(\d+)", program.text()) or program.process.poll() is not None,
                     "the metrics address")
        assert line is not True, program.text()
        with urllib.request.urlopen(f"http://127.0.0.1:{line.group(1)}/config", timeout=30) as answer:
            return json.load(answer)["config"]
    finally:
        program.stop()


def rule(service="http://localhost:1", **request):
    return {"hostname": "", "path": None, "service": service, "Handlers": None, "originRequest": {**PRESET, **request}}


def whole(service="http://localhost:1", **request):
    return {"ingress": [rule(service, **request)], "warp-routing": {}, "originRequest": {**PRESET, **request}}


URL = ("--url", "http://localhost:1")
# What the reference does not have, and shows nothing of.
OURS = [("proxy-response-timeout", "ADIT_PROXY_RESPONSE_TIMEOUT", "3s", "responseTimeout", 3),
        ("proxy-idle-timeout", "ADIT_PROXY_IDLE_TIMEOUT", "1500ms", "idleTimeout", 1.5)]


def test_the_limits_that_are_ours_have_flags_and_variables(tmp_path):
    want = whole(**{key: value for *_, key, value in OURS})
    assert config_of("adit", tmp_path, *URL, *[f"--{flag}={value}" for flag, _, value, _, _ in OURS]) == want
    assert config_of("adit", tmp_path, *URL, **{name: value for _, name, value, _, _ in OURS}) == want


@pytest.mark.parametrize("kind", KINDS)
def test_without_flags_the_presets_are_in_force(kind, tmp_path):
    assert config_of(kind, tmp_path, *URL) == whole()


@pytest.mark.parametrize("kind", KINDS)
def test_each_flag_sets_its_key(kind, tmp_path):
    flags = [f"--{flag}={value}" for flag, _, value, _, _ in FLAGS]
    assert config_of(kind, tmp_path, *URL, *flags) == whole(**{key: want for *_, key, want in FLAGS})


@pytest.mark.parametrize("kind", KINDS)
def test_each_variable_of_the_environment_sets_its_key(kind, tmp_path):
    env = {name: value for _, name, value, _, _ in FLAGS if name}
    want = whole(**{key: want for _, name, _, key, want in FLAGS if name})
    assert config_of(kind, tmp_path, TUNNEL_URL="http://localhost:1", **env) == want


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_sets_the_keys_by_the_flags_names(kind, tmp_path):
    file = {flag: {"true": True, "7": 7, "9": 9}.get(value, value) for flag, _, value, _, _ in FLAGS}
    file["proxy-tcp-keepalive"] = "4s"  # the reference passes over a negative one here
    want = {**{key: want for *_, key, want in FLAGS}, "tcpKeepAlive": 4}
    assert config_of(kind, tmp_path, file={"url": "http://localhost:1", **file}) == whole(**want)


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_line_stands_above_the_environment_and_that_above_the_file(kind, tmp_path):
    file = {"url": "http://localhost:1", "http-host-header": "file", "origin-server-name": "file", "proxy-address": "file"}
    env = {"TUNNEL_HTTP_HOST_HEADER": "environment", "TUNNEL_ORIGIN_SERVER_NAME": "environment"}
    assert config_of(kind, tmp_path, "--http-host-header", "flag", file=file, **env) == whole(
        httpHostHeader="flag", originServerName="environment", proxyAddress="file")


@pytest.mark.parametrize("kind", KINDS)
def test_a_bastion_by_flag_has_its_key_set(kind, tmp_path):
    assert config_of(kind, tmp_path, "--bastion") == whole("bastion", bastionMode=True)
    assert config_of(kind, tmp_path, TUNNEL_BASTION="true") == whole("bastion", bastionMode=True)


@pytest.mark.parametrize("kind", KINDS)
def test_flags_do_not_reach_the_rules_of_a_file(kind, tmp_path):
    file = {"ingress": [{"service": "http://localhost:1"}], "originRequest": {"tlsTimeout": "3s"}}
    assert config_of(kind, tmp_path, "--http-host-header", "flag", "--proxy-tls-timeout", "4s", file=file) == whole(tlsTimeout=3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_rule_stands_above_what_is_global_with_empty_values_too(kind, tmp_path):
    """Every key: the global value, the rule's own, and the rule's own nothing."""
    own = {"connectTimeout": "1s", "tlsTimeout": "2s", "tcpKeepAlive": "3s", "noHappyEyeballs": True, "keepAliveConnections": 4,
           "keepAliveTimeout": "5s", "httpHostHeader": "h", "originServerName": "s", "matchSNItoHost": True,
           "noTLSVerify": True, "disableChunkedEncoding": True, "proxyAddress": "a", "proxyPort": 6, "proxyType": "socks",
           "http2Origin": True}
    nothing = {key: {str: "", bool: False, int: 0}[type(value)] for key, value in own.items()}
    for key in ("connectTimeout", "tlsTimeout", "tcpKeepAlive", "keepAliveTimeout"):
        nothing[key] = "0s"
    file = {"originRequest": own, "ingress": [{"hostname": "a", "service": "http://localhost:1", "originRequest": nothing},
                                              {"hostname": "b", "service": "http://localhost:1", "originRequest": {"tlsTimeout": "9s"}},
                                              {"service": "http://localhost:1", "originRequest": {key: None for key in own}}]}

    def shown(values):
        return {key: int(value[:-1]) if str(value)[-1:] == "s" and str(value)[:-1].isdigit() else value for key, value in values.items()}

    got = config_of(kind, tmp_path, file=file)
    assert got["originRequest"] == {**PRESET, **shown(own)}
    assert [r["originRequest"] for r in got["ingress"]] == [{**PRESET, **shown(nothing)}, {**PRESET, **shown(own), "tlsTimeout": 9},
                                                            {**PRESET, **shown(own)}]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("service", ["http://localhost:1", "https://localhost:1", "unix:/x"])
def test_an_authority_that_cannot_be_read_prevents_a_run(kind, service, tmp_path):
    for flags, file in ((("--url", service) if ":/x" not in service else ("--unix-socket", "/x"), {"origin-ca-pool": "/nowhere/ca.pem"}),
                        ((), {"ingress": [{"service": service, "originRequest": {"caPool": "/nowhere/ca.pem"}}]})):
        with pytest.raises(AssertionError) as caught:
            config_of(kind, tmp_path, *flags, file=file)
        assert "/nowhere/ca.pem" in str(caught.value) and "no such file or directory" in str(caught.value)


def test_an_authority_by_flag_is_read(tmp_path):
    bundle = "/etc/ssl/certs/ca-certificates.crt"
    if not os.path.exists(bundle):
        pytest.skip("there are no certificates of authorities: apt-get install ca-certificates")
    for kind in KINDS:
        assert config_of(kind, tmp_path, *URL, "--origin-ca-pool", bundle) == whole(caPool=bundle)
        assert config_of(kind, tmp_path, *URL, TUNNEL_ORIGIN_CA_POOL=bundle) == whole(caPool=bundle)


@pytest.mark.parametrize("kind", KINDS)
def test_a_configuration_of_many_rules_is_shown_whole(kind, tmp_path):
    hosts = [f"host-{i}.example.com" for i in range(1500)]
    file = {"ingress": [*({"hostname": host, "service": "http://localhost:1"} for host in hosts), {"service": "http_status:404"}]}
    assert [r["hostname"] for r in config_of(kind, tmp_path, file=file)["ingress"]] == [*hosts, ""]
