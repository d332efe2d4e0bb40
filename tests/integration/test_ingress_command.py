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


TWICE = """\
ingress:
  - hostname: a.example.com
    service: localhost:9000
    hostname: b.example.com
  - service: http_status:404
    service: http_status:405
originRequest:
  <<: {noTLSVerify: true}
  connectTimeout: 3
loglevel: info
loglevel: debug
"""
TWICE_WANTED = """\
adit: config.yml:4:5: this key is there twice: hostname
     4 |     hostname: b.example.com
       |     ^
  hint: line 2 has it already: keep one of them
adit: config.yml:3:14: localhost:9000 is an invalid address, please make sure it has a scheme and a hostname
     3 |     service: localhost:9000
       |              ^
  hint: did you mean http://localhost:9000?
adit: config.yml:6:5: this key is there twice: service
     6 |     service: http_status:405
       |     ^
  hint: line 5 has it already: keep one of them
adit: config.yml:8:3: merge keys (<<) are not supported: write them out
     8 |   <<: {noTLSVerify: true}
       |   ^
adit: config.yml:9:19: connectTimeout: a duration is wanted, such as 30s
     9 |   connectTimeout: 3
       |                   ^
  hint: write 3s
adit: config.yml:11:1: this key is there twice: loglevel
    11 | loglevel: debug
       | ^
  hint: line 10 has it already: keep one of them
adit: config.yml: 6 mistakes, 0 warnings
"""


@pytest.mark.parametrize("words", [("ingress", "validate"), ("run", "--token", TOKEN)], ids=["validate", "run"])
def test_every_key_that_is_there_twice_is_shown_with_all_other_mistakes(tmp_path, words):
    code, _, err = adit(tmp_path, *FILE, *words, text=TWICE)
    assert (code, err) == (1, TWICE_WANTED)


CUT = """\
ingress:
  - hostname: a.example.com
    service: localhost:9000
  - hostname: b.example.com
    service: http://localhost:1
    originRequest: {noTlsVerify: true}
  - hostname: *.example.com
    service: http://localhost:2
  - service: http_status:404
"""
CUT_WANTED = """\
adit: config.yml:7:16: did not find expected alphabetic or numeric character, while scanning an alias
     7 |   - hostname: *.example.com
       |                ^
  hint: a value that begins with * is put in quotes: '*.example.com'
adit: config.yml:3:14: localhost:9000 is an invalid address, please make sure it has a scheme and a hostname
     3 |     service: localhost:9000
       |              ^
  hint: did you mean http://localhost:9000?
adit: warning: config.yml:6:21: there is no key noTlsVerify here: it is ignored
     6 |     originRequest: {noTlsVerify: true}
       |                     ^
  hint: did you mean noTLSVerify?
adit: config.yml: 2 mistakes, 1 warning
"""


def test_what_stands_before_a_mistake_of_syntax_is_judged_too(tmp_path):
    code, _, err = adit(tmp_path, *FILE, "ingress", "validate", text=CUT)
    assert (code, err) == (1, CUT_WANTED)


@pytest.mark.parametrize("text, place, hint", [
    ("ingress:\n- service: a: b\n", "2:13", "is the line indented as its neighbours are?"),
    ("ingress:\n- service: \"http_status:404\n", "3:1", "the quote that is opened here, or before, is not closed"),
    ("ingress: [{service: http_status:404}\n", "2:1", "a bracket or a brace that was opened is not closed"),
    ("ingress:\n- service: @x\n", "2:12", "a value that begins with @"),
    ("ingress:\n- hostname: a\n   path: b\n", "3:8", "is the line indented as its neighbours are?"),
    ("ingress:\n- path: \"\\.png\"\n", "2:10", "write it in single quotes")])
def test_a_mistake_of_syntax_has_its_place_and_a_hint(tmp_path, text, place, hint):
    code, _, err = adit(tmp_path, *FILE, "ingress", "validate", text=text)
    assert code == 1 and err.startswith(f"adit: config.yml:{place}: ") and f"\n  hint: {hint}" in err, err
    assert "ingress_from" not in err and err.count("adit: ") == 1, err


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
