"""Rules with `access`: whose token opens them, by tokens and keys that `cryptography` made, and an issuer on real HTTPS."""
import concurrent.futures
import json
import socket
import time

import pytest
from client import get
from conftest import start_tunnel, stop_tunnel, until
from hostile import Recorder
from issuer import Issuer, Key, b64

HEADER = "Cf-Access-Jwt-Assertion"
RSA, OTHER, STRANGER = Key("rsa"), Key("other"), Key("rsa")
CURVE, EDWARDS = Key("curve", "ES256"), Key("edwards", "EdDSA")
SMALL = Key("small", bits=1024)


@pytest.fixture(scope="module")
def origin():
    recorder = Recorder()
    yield recorder
    recorder.stop()


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    issuer = Issuer(tmp_path_factory.mktemp("issuer"))
    issuer.keys = [RSA, CURVE, EDWARDS, SMALL]
    yield issuer
    issuer.stop()


@pytest.fixture(scope="module")
def site(edge, issuer, origin, tmp_path_factory):
    """One that knows its issuer's keys."""
    where = tmp_path_factory.mktemp("access")
    site = start_tunnel("adit", edge, where, origin.url, {"access": issuer.rule("two")})
    yield site
    stop_tunnel(site)


@pytest.fixture
def fresh(edge, origin, tmp_path):
    """A connector with an issuer of its own, that has fetched nothing yet."""
    issuer = Issuer(tmp_path)
    issuer.keys = [RSA]
    site = start_tunnel("adit", edge, tmp_path / "site", origin.url, {"access": issuer.rule("two")})
    site.issuer = issuer
    yield site
    stop_tunnel(site)
    issuer.stop()


def ask(site, *tokens):
    head, body = get(site, "/", headers=[(HEADER, token) for token in tokens])
    return head.status_code, body


def failure(site, *tokens):
    """What the visitor reads when the token could not be verified."""
    status, body = ask(site, *tokens)
    assert status == 502
    words = "error while processing middleware handler AccessJWTValidator: "
    assert words.encode() in body, body
    return body.split(words.encode())[1].split(b"\n")[0].decode()


def test_without_a_token_nobody_enters_and_the_answer_is_empty(edge, kind, origin, tmp_path):
    """The same with both connectors; nothing needs to be fetched for it."""
    rule = {"access": {"required": True, "teamName": "nobody", "audTag": ["two"]}}
    site = start_tunnel(kind, edge, tmp_path / "site", origin.url, rule)
    origin.forget()
    assert ask(site) == (403, b"") and ask(site, "") == (403, b"")
    assert origin.saw() == b""
    stop_tunnel(site)


@pytest.mark.parametrize("key", [RSA, CURVE, EDWARDS], ids=lambda k: k.alg)
def test_a_token_for_the_audience_opens_and_is_passed_on(site, issuer, origin, key):
    token = key.token(issuer.claims())
    origin.forget()
    assert ask(site, token) == (200, b"ok")
    assert (HEADER.lower().encode(), token.encode()) in origin.requests[0].fields
    assert ask(site, key.token(issuer.claims(aud="two"), typ=None))[0] == 502  # a malformed header is not overlooked
    assert ask(site, key.token(issuer.claims(aud="two"))) == (200, b"ok")


@pytest.mark.parametrize("audience", ["one", ["one", "Two"], [], None, "two "])
def test_a_token_for_another_audience_is_refused(site, issuer, audience):
    assert ask(site, RSA.token(issuer.claims(aud=audience))) == (403, b"")


def test_an_empty_list_of_audiences_refuses_everybody(edge, issuer, origin, tmp_path):
    site = start_tunnel("adit", edge, tmp_path / "site", origin.url, {"access": issuer.rule()})
    assert ask(site, RSA.token(issuer.claims())) == (403, b"")
    stop_tunnel(site)


def test_times_and_issuer_are_checked(site, issuer):
    now = int(time.time())
    assert failure(site, RSA.token(issuer.claims(exp=now - 1))) == "oidc: token is expired"
    assert failure(site, RSA.token(issuer.claims(exp=None))) == "oidc: token has no expiry"
    assert "nbf" in failure(site, RSA.token(issuer.claims(nbf=now + 400)))
    assert ask(site, RSA.token(issuer.claims(nbf=now + 200)))[0] == 200  # a clock may be behind
    for other in (issuer.url + "/", issuer.url.upper(), "", None):
        assert "different provider" in failure(site, RSA.token(issuer.claims(iss=other)))


def test_a_signature_that_is_not_the_issuers_is_refused(site, issuer):
    good = RSA.token(issuer.claims())
    head, claims, signature = good.split(".")
    assert failure(site, STRANGER.token(issuer.claims())) == "failed to verify signature"
    forged = b64(json.dumps(issuer.claims(email="root@example.com")).encode())
    assert failure(site, f"{head}.{forged}.{signature}") == "failed to verify signature"
    assert failure(site, f"{head}.{claims}.{b64(bytes(256))}") == "failed to verify signature"
    assert failure(site, f"{head}.{claims}.{b64(b'x')}") == "failed to verify signature"


def test_the_algorithm_must_be_the_keys(site, issuer):
    """None, a hash of the public key as a password, and one key's name on another's signature."""
    claims = b64(json.dumps(issuer.claims()).encode())
    for name in ("none", "None", "HS256", "RS512", "PS256", "rs256", ""):
        head = b64(json.dumps({"alg": name, "kid": "rsa"}).encode())
        assert "unsupported algorithm" in failure(site, f"{head}.{claims}.{b64(bytes(32))}")
    assert "one of its parts is empty" in failure(site, f"{b64(b'{}')}.{claims}.")
    assert failure(site, CURVE.token(issuer.claims(), kid="rsa")) == "failed to verify signature"
    assert failure(site, CURVE.token(issuer.claims(), alg="RS256")) == "failed to verify signature"


def test_a_key_that_is_too_small_counts_as_none(site, issuer):
    assert "no key of the issuer" in failure(site, SMALL.token(issuer.claims()))


def test_two_tokens_are_refused_though_both_are_good(site, issuer):
    token = RSA.token(issuer.claims())
    assert failure(site, token, token) == "there are several tokens"


@pytest.mark.parametrize("token", ["x", "a.b", "a.b.c", "....", "e30.e30.e30", "e30=.e30.e30", "A" * 20000])
def test_what_is_no_token_is_refused(site, token):
    assert "token" in failure(site, token)


def test_many_requests_wait_for_one_fetch(fresh):
    issuer = fresh.issuer
    issuer.gate.clear()
    token = RSA.token(issuer.claims())
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(ask, fresh, token) for _ in range(20)]
        until(lambda: issuer.fetches == 1, "the keys are asked for")
        assert ask(fresh) == (403, b"")  # who has none does not wait for them
        issuer.gate.set()
        assert [one.result() for one in asked] == [(200, b"ok")] * 20
    assert issuer.fetches <= 2  # the connections of a connector may be on two workers


def test_a_visitor_who_does_not_wait_costs_nothing(fresh):
    issuer = fresh.issuer
    issuer.gate.clear()
    with socket.create_connection(("127.0.0.1", fresh.edge.port("http"))) as s:
        s.sendall(f"GET / HTTP/1.1\r\nHost: {fresh.host}\r\n{HEADER}: {RSA.token(issuer.claims())}\r\n\r\n".encode())
        until(lambda: issuer.fetches == 1, "the keys are asked for")
    issuer.gate.set()
    assert ask(fresh, RSA.token(issuer.claims())) == (200, b"ok")


def test_a_new_key_is_fetched_and_unknown_ones_do_not_make_us_hammer(fresh):
    issuer = fresh.issuer
    assert ask(fresh, RSA.token(issuer.claims())) == (200, b"ok")
    before = issuer.fetches
    for i in range(100):
        assert "no key of the issuer" in failure(fresh, RSA.token(issuer.claims(), kid=f"unknown-{i}"))
    assert issuer.fetches <= before + 1
    issuer.keys.append(OTHER)
    until(lambda: ask(fresh, OTHER.token(issuer.claims()))[0] == 200, "the new key is fetched once its time has come")
    assert issuer.fetches <= before + 3
    assert ask(fresh, RSA.token(issuer.claims())) == (200, b"ok")


@pytest.mark.parametrize("answer, why", [((500, b""), "the answer has status 500"), ((302, b""), "the answer has status 302"),
                                         ((200, b"not json"), "JSON"), ((200, b"{}"), "no list of keys"),
                                         ((200, b" " * 200_000), "too large"),
                                         ((200, json.dumps({"keys": [{}] * 33}).encode()), "too many keys")])
def test_an_issuer_that_fails_is_named_as_the_cause_and_asked_again(fresh, answer, why):
    issuer = fresh.issuer
    issuer.answer = lambda: answer
    told = failure(fresh, RSA.token(issuer.claims()))
    assert told.startswith("fetching keys: ") and why in told
    issuer.answer = issuer.key_set
    until(lambda: ask(fresh, RSA.token(issuer.claims()))[0] == 200, "the keys are fetched once it works")


def test_known_keys_count_on_while_the_issuer_is_away(fresh):
    issuer = fresh.issuer
    assert ask(fresh, RSA.token(issuer.claims())) == (200, b"ok")
    issuer.answer = lambda: (503, b"")
    until(lambda: "status 503" in failure(fresh, OTHER.token(issuer.claims())), "it was asked and failed")
    assert ask(fresh, RSA.token(issuer.claims())) == (200, b"ok")


def test_an_issuer_with_another_certificate_is_not_believed(edge, issuer, origin, tmp_path):
    site = start_tunnel("adit", edge, tmp_path / "site", origin.url, {"access": issuer.rule("two", caPool=None)})
    before = issuer.fetches
    assert "fetching keys" in failure(site, RSA.token(issuer.claims()))
    assert issuer.fetches == before
    stop_tunnel(site)


def test_a_body_that_comes_while_keys_are_fetched_arrives_whole(fresh, origin):
    issuer = fresh.issuer
    issuer.gate.clear()
    body = bytes(i * i % 251 for i in range(1_000_000))
    origin.forget()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        headers = [(HEADER, RSA.token(issuer.claims())), ("Content-Length", str(len(body)))]
        asked = pool.submit(get, fresh, "/", "POST", headers, body)
        until(lambda: issuer.fetches == 1, "the keys are asked for")
        issuer.gate.set()
        assert asked.result()[0].status_code == 200
    assert origin.requests[0].body == body
