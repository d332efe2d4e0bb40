"""adit tunnel ingress: what it says of a file, where it says it, and how it ends."""
import json
import os
import subprocess

import pytest
from conftest import BUILD, SANITIZER, cloudflared

BROKEN = """\
tunel: blog
ingress:
  - hostname: a.example.com
    service: localhost:9000
    originRequest:
      connectTimeout: 3
      noTlsVerify: true
  - hostname: a.example.com
    service: http://localhost:1
"""
WANTED = """\
adit: config.yml:6:23: connectTimeout: a duration is wanted, such as 30s
     6 |       connectTimeout: 3
       |                       ^
  hint: write 3s
adit: warning: config.yml:1:1: adit has no key or option tunel: it is ignored
     1 | tunel: blog
       | ^
  hint: did you mean tunnel?
adit: config.yml:4:14: localhost:9000 is an invalid address, please make sure it has a scheme and a hostname
     4 |     service: localhost:9000
       |              ^
  hint: did you mean http://localhost:9000?
adit: warning: config.yml:7:7: there is no key noTlsVerify here: it is ignored
     7 |       noTlsVerify: true
       |       ^
  hint: did you mean noTLSVerify?
adit: warning: config.yml:8:5: rule #2 can never match: rule #1 of line 3 has the same hostname and path
     8 |   - hostname: a.example.com
       |     ^
  hint: remove one of them, or let them differ in path, method or headers
adit: config.yml:8:15: The last ingress rule must match all URLs (i.e. it should not have a hostname or path filter)
     8 |   - hostname: a.example.com
       |               ^
  hint: add a rule behind it: - service: http_status:404
adit: config.yml: 3 mistakes, 3 warnings
"""
# Of a tunnel that there is nowhere: the file is read before anybody is dialled.
TOKEN = "eyJhIjoiMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYiLCJ0IjoiNmZmNDJhZTItNzY1ZC00YWRmLThlMTEtY2UwZmI5OTczNzBhIiwicyI6Ik1ERXlNelExTmpjNE9UQXhNak0wTlRZM09Ea3dNVEl6TkRVMk56ZzVNREV5TXpRMU5qYz0ifQ=="


def adit(where, *words, text=None, **env):
    if text is not None:
        (where / "config.yml").write_text(text)
    run = subprocess.run([BUILD / "adit", "tunnel", *words], capture_output=True, text=True, timeout=60, cwd=where,
                         env=dict(os.environ, HOME=str(where), **SANITIZER, **env))
    return run.returncode, run.stdout, run.stderr


FILE = ("--config", "config.yml")


def test_every_mistake_of_a_file_is_shown_with_its_line_and_a_hint(tmp_path):
    code, out, err = adit(tmp_path, *FILE, "ingress", "validate", text=BROKEN)
    assert (code, out) == (1, "Validating rules from config.yml\n")
    assert err == WANTED


def test_a_run_that_a_mistake_prevents_says_the_same(tmp_path):
    code, out, err = adit(tmp_path, *FILE, "run", "--token", TOKEN, text=BROKEN)
    assert (code, out, err) == (1, "", WANTED)


def test_a_tab_is_called_a_tab(tmp_path):
    code, _, err = adit(tmp_path, *FILE, "ingress", "validate", text="ingress:\n\t- service: http_status:404\n")
    assert code == 1 and "config.yml:2:1: there is a tab: YAML is indented with spaces alone\n     2 | " in err


def test_a_key_that_is_there_twice_is_shown(tmp_path):
    code, _, err = adit(tmp_path, *FILE, "ingress", "validate", text="ingress:\n- service: http_status:404\n  service: a\n")
    assert code == 1 and "config.yml:3:3: this key is there twice: service\n     3 |   service: a\n       |   ^\n" in err


# (file, words, status, whether OK is said): the same with both programs
VERDICTS = {
    "good": ("ingress:\n- service: http_status:404\n", (), 0, True),
    "unknown-in-a-rule": ("ingress:\n- service: http_status:404\n  nope: 1\n", (), 0, False),
    "unknown-at-the-top": ("nope: 1\ningress:\n- service: http_status:404\n", (), 0, True),
    "a-file-that-is-not-there": ("ingress:\n- service: https://localhost\n  originRequest: {caPool: /nowhere/x}\n", (), 0, True),
    "mistake": ("ingress:\n- service: localhost\n", (), 1, False),
    "no-rules": ("tunnel: x\n", (), 1, False),
    "url": ("ingress:\n- service: http_status:404\n", ("--url", "http://localhost:1"), 1, False),
}


def verdict(program, where, words):
    run = subprocess.run([program, "tunnel", *FILE, *words, "ingress", "validate"], capture_output=True, text=True, timeout=60,
                         cwd=where, env=dict(os.environ, HOME=str(where)))
    assert run.stdout.startswith("Validating rules from config.yml\n") or run.returncode == 1
    return run.returncode, "OK" in run.stdout.splitlines()


@pytest.mark.parametrize("name", VERDICTS)
def test_a_verdict_is_that_of_the_reference(name, tmp_path):
    text, words, code, is_ok = VERDICTS[name]
    (tmp_path / "config.yml").write_text(text)
    assert verdict(BUILD / "adit", tmp_path, words) == (code, is_ok)
    if cloudflared():
        assert verdict(cloudflared(), tmp_path, words) == (code, is_ok)


@pytest.mark.parametrize("json_text, code, says", [
    ('{"ingress":[{"service":"http_status:404","originRequest":{"connectTimeout":3}}]}', 0, ""),
    ('{"ingress":[{"service":"http_status:404","originRequest":{"connectTimeout":"3s"}}]}', 1,
     '--json:1:76: strconv.ParseInt: parsing "\\"3s\\"": invalid syntax'),
    ('{"ingress":[{"service":"x"}]}', 1, "x is an invalid address")])
@pytest.mark.parametrize("way", ["--json", "-j", "environment"])
def test_json_is_judged_as_an_edge_would_send_it(tmp_path, json_text, code, says, way):
    if way == "environment":
        got, out, err = adit(tmp_path, "ingress", "validate", TUNNEL_INGRESS_VALIDATE_JSON=json_text)
    else:
        got, out, err = adit(tmp_path, "ingress", "validate", way, json_text)
    assert got == code and says in err
    assert out == "Validating rules from cmdline flag --json\n" + ("OK\n" if code == 0 else "")


def test_a_rule_is_told_with_the_reason(tmp_path):
    text = """\
ingress:
- {hostname: shop.example.com, path: '\\.png$', service: 'http://localhost:1'}
- {hostname: other.example.com, service: 'http://localhost:2'}
- {hostname: '*.example.com', method: GET, service: 'http://localhost:3'}
- service: http_status:404
"""
    code, out, _ = adit(tmp_path, *FILE, "ingress", "rule", "https://shop.example.com/a/b?x=.png", text=text)
    assert code == 0 and out == """\
Using rules from config.yml
Matched rule #2
\thostname: *.example.com
\tservice: http://localhost:3
Because
\trule #0: path \\.png$ is not found in /a/b
\trule #1: hostname other.example.com does not take shop.example.com
\trule #2: any path, hostname *.example.com takes shop.example.com (its method and headers are not looked at)
"""


def test_rules_may_be_json(tmp_path):
    code, out, _ = adit(tmp_path, *FILE, "ingress", "validate", text=json.dumps({"ingress": [{"service": "http_status:404"}]}))
    assert code == 0 and out.endswith("OK\n")
