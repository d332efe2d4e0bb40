"""The API under /client/v4: envelopes, errors, paging, filters, and what clients of the reference really send."""
import base64
import http.client
import json
import pathlib
import re
import socket
import threading

import cloudflare
import pytest

from conftest import LOOPBACK, Edge, until
from control import Api, parse_token

VECTORS = json.loads((pathlib.Path(__file__).parents[1] / "vectors/api_calls.json").read_text())["vectors"]
UNKNOWN = "11111111-2222-4333-8444-555555555555"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """One edge for all tests here; each uses names of its own."""
    where = tmp_path_factory.mktemp("api")
    edge = Edge(where, 1, [*LOOPBACK, "--domain", "example.com", "--domain", "sub.example.com", "--domain", "localhost"])
    api = Api(edge)
    api.edge = edge
    yield api
    assert edge.stop() == 0
    assert "runtime error" not in edge.text() and "Sanitizer" not in edge.text(), edge.text()[-6000:]


# ---- envelopes and errors ----

def test_every_answer_has_the_envelope(api):
    paths = [("GET", "/accounts"), ("GET", api.tunnels), ("GET", f"{api.tunnels}/{UNKNOWN}"), ("POST", api.tunnels), ("GET", "/nowhere"),
             ("GET", "/user/tokens/verify"), ("DELETE", "/zones"), ("GET", "/zones/zzz"), ("OPTIONS", api.tunnels), ("GET", "")]
    for method, path in paths:
        answer = api(method, path)
        assert answer.headers["content-type"] == "application/json", path  # exactly: cloudflared compares it
        assert {"success", "errors", "messages", "result"} <= set(answer.body), path
        assert answer.body["success"] is (answer.status == 200) and isinstance(answer.body["messages"], list)
        assert bool(answer.body["errors"]) is (answer.status != 200)
        assert all(isinstance(error["code"], int) and error["message"] for error in answer.body["errors"])


@pytest.mark.parametrize("headers, status, code", [
    ({}, 400, 9106),
    ({"Authorization": "Bearer"}, 400, 6003),
    ({"Authorization": "Bearer "}, 400, 6003),
    ({"Authorization": "Basic abc"}, 400, 6003),
    ({"Authorization": "Bearer wrong"}, 403, 10000),
    ({"Authorization": "Bearer " + "x" * 43}, 403, 10000),
    ({"Authorization": "Bearer wrong", "X-Auth-Email": "a@b.c", "X-Auth-Key": "TOKEN"}, 403, 10000),
    ({"X-Auth-Email": "a@b.c", "X-Auth-Key": "short"}, 400, 6003),
    ({"X-Auth-Key": "TOKEN"}, 400, 6003),
    ({"X-Auth-Email": "a@b.c", "X-Auth-Key": "x" * 43}, 403, 9103),
    ({"X-Auth-Email": "a@b.c", "X-Auth-Key": "TOKEN"}, 200, None),
    ({"Authorization": "bearer TOKEN"}, 200, None),
    ({"Authorization": "Bearer TOKEN", "X-Auth-Key": "short"}, 200, None),
])
def test_who_asks_is_known_or_told_what_is_wrong(api, headers, status, code):
    answer = api("GET", api.tunnels, headers={k: v.replace("TOKEN", api.token) for k, v in headers.items()})
    assert answer.status == status and (code is None or answer.code == code), answer.raw
    if code == 6003:
        assert answer.body["errors"][0]["error_chain"][0]["code"] in (6103, 6111)


def test_a_token_can_be_verified(api):
    for path in ("/user/tokens/verify", f"/accounts/{api.account}/tokens/verify"):
        answer = api("GET", path)
        assert answer.result["status"] == "active" and re.fullmatch("[0-9a-f]{32}", answer.result["id"])
        assert answer.body["messages"][0]["code"] == 10000
    answer = api("GET", "/user/tokens/verify", headers={"Authorization": "Bearer " + "x" * 43})
    assert (answer.status, answer.code) == (401, 1000)


@pytest.mark.parametrize("method, path, status, code", [
    ("GET", "/nowhere", 404, 7003), ("GET", "", 404, 7003), ("GET", "x/accounts", 404, 7003), ("GET", "/accounts/ACCOUNT/nothing", 404, 7003),
    ("GET", "/accounts/zz/cfd_tunnel", 404, 7003), ("GET", "/accounts/00000000000000000000000000000000/cfd_tunnel", 403, 9109),
    ("GET", "/accounts/00000000000000000000000000000000", 403, 9109), ("GET", "/zones/00000000000000000000000000000000", 403, 9109),
    ("GET", "/zones/verify", 404, 7003), ("GET", "/user/verify", 404, 7003), ("GET", "TUNNELS/not-a-uuid", 404, 7003),
    ("GET", f"TUNNELS/{UNKNOWN}", 404, 1003), ("DELETE", f"TUNNELS/{UNKNOWN}", 404, 1003), ("PATCH", f"TUNNELS/{UNKNOWN}", 404, 1003),
    ("GET", f"TUNNELS/{UNKNOWN}/token", 404, 1003), ("GET", f"TUNNELS/{UNKNOWN}/connections", 404, 1003),
    ("DELETE", f"TUNNELS/{UNKNOWN}/connections", 404, 1003), ("GET", f"TUNNELS/{UNKNOWN}/nothing", 404, 7003),
    ("PUT", "TUNNELS", 405, 10405), ("PUT", f"TUNNELS/{UNKNOWN}", 405, 10405), ("DELETE", f"TUNNELS/{UNKNOWN}/token", 405, 10405),
    ("POST", f"TUNNELS/{UNKNOWN}/connections", 405, 10405), ("POST", "/accounts", 405, 10405), ("DELETE", "/zones/ZONE", 405, 10405),
    ("GET", f"/zones/ZONE/tunnels/{UNKNOWN}/routes", 405, 10405), ("GET", "/zones/ZONE/tunnels/x/routes", 404, 7003),
    ("GET", "/zones/ZONE/dns_records/0123", 404, 81044), ("POST", f"TUNNELS/{UNKNOWN}/management/logs", 501, 1001),
    ("GET", "/accounts/ACCOUNT/teamnet/routes", 404, 7003), ("GET", "/" + "a/" * 50, 404, 7003), ("GET", "/%FF%00", 404, 7003),
])
def test_what_is_not_there_is_refused_as_the_reference_does(api, method, path, status, code):
    path = path.replace("ACCOUNT", api.account).replace("ZONE", api.zones["example.com"]).replace("TUNNELS", api.tunnels)
    answer = api(method, path, {} if method in ("PATCH", "PUT", "POST") else None)
    assert (answer.status, answer.code) == (status, code), answer.raw


def test_slashes_too_many_do_not_matter(api):
    assert api("GET", "//accounts/").result == api("GET", "/accounts").result


def test_head_and_options_answer_without_harm(api):
    assert api("HEAD", api.tunnels).status == 200 and api("HEAD", api.tunnels).raw == b""
    assert api("OPTIONS", "/anything").status < 500


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"null", b'{"name":"a","name":"b"}', b'{"name":"\xff"}', b'{"name":"a\\u0000b"}'])
def test_a_body_that_is_no_json_object_is_refused(api, body):
    answer = api("POST", api.tunnels, body)
    assert (answer.status, answer.code) == (400, 6007)


def test_a_body_that_is_too_large_is_refused_and_the_next_call_is_not_harmed(api):
    answer = api("POST", api.tunnels, b'{"name":"' + b"x" * (1 << 20) + b'"}')
    assert answer.status == 413 and answer.body["success"] is False
    assert api("GET", "/accounts").status == 200


def test_clients_beyond_the_limit_are_refused_and_leave_room_again(api):
    address = tuple(api.local.split(":"))
    clients = []
    try:
        while not refused(address, clients):
            assert len(clients) < 400
    finally:
        for client in clients:
            client.close()
    until(lambda: quietly(lambda: api("GET", "/accounts").status == 200), "there is room again")


def refused(address, clients):
    """Whether the edge closes one more connection instead of answering; it may be as quick as to do so while we connect."""
    try:
        client = socket.create_connection(address, timeout=10)
        clients.append(client)
        client.sendall(b"GET /healthcheck HTTP/1.1\r\nHost: x\r\n\r\n")
        return client.recv(1000) == b""
    except OSError:
        return True


def quietly(call):
    try:
        return call()
    except (OSError, http.client.HTTPException):
        return None


# ---- create ----

def test_a_created_tunnel_has_the_shape_of_the_reference(api):
    made = api.create("shape")
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", made["id"])
    assert (made["account_tag"], made["name"], made["status"], made["tun_type"]) == (api.account, "shape", "inactive", "cfd_tunnel")
    assert (made["config_src"], made["remote_config"], made["connections"], made["metadata"]) == ("local", False, [], {})
    assert TIME.fullmatch(made["created_at"]) and made["conns_inactive_at"] == made["created_at"]
    assert made["deleted_at"] is None and made["conns_active_at"] is None
    file, token = made["credentials_file"], parse_token(made["token"])
    assert file == {"AccountTag": api.account, "TunnelID": made["id"], "TunnelName": "shape", "TunnelSecret": token["s"]}
    assert (token["a"], token["t"]) == (api.account, made["id"]) and len(base64.b64decode(token["s"])) == 32
    shown = api("GET", f"{api.tunnels}/{made['id']}").result
    assert shown == {k: v for k, v in made.items() if k not in ("token", "credentials_file")}
    assert api("GET", f"{api.tunnels}?uuid={made['id']}").result == [shown]
    assert api("GET", f"{api.tunnels}/{made['id']}/token").result == made["token"]


def test_a_given_secret_is_kept_byte_for_byte(api):
    for size in (32, 33, 64, 256):
        secret = base64.b64encode(bytes(range(256))[:size]).decode()
        made = api.create(f"secret-{size}", tunnel_secret=secret, config_src="local")
        assert made["credentials_file"]["TunnelSecret"] == secret and parse_token(made["token"])["s"] == secret


@pytest.mark.parametrize("body", [
    {}, {"name": ""}, {"name": 7}, {"name": None}, {"name": UNKNOWN}, {"name": UNKNOWN.replace("-", "")}, {"name": "x" * 101}, {"name": "a\nb"},
    {"name": "n", "config_src": "elsewhere"}, {"name": "n", "tunnel_secret": "YQ=="}, {"name": "n", "tunnel_secret": "%%%%"},
    {"name": "n", "tunnel_secret": ""}, {"name": "n", "tunnel_secret": base64.b64encode(bytes(257)).decode()},
    {"name": "n", "tunnel_secret": "-" * 43 + "="},
])
def test_what_is_no_tunnel_is_refused(api, body):
    answer = api("POST", api.tunnels, body)
    assert answer.status == 400 and answer.code == 1002
    assert api("GET", f"{api.tunnels}?name=n").result == []


def test_a_name_is_taken_once_and_free_again_after_deletion(api):
    made = api.create("once")
    answer = api("POST", api.tunnels, {"name": "once"})
    assert (answer.status, answer.code) == (409, 1013) and answer.headers["x-should-retry"] == "false"
    assert answer.body["errors"][0]["message"].startswith("You already have a tunnel with this name.")
    assert api("DELETE", f"{api.tunnels}/{made['id']}").result["deleted_at"]
    assert api.create("once")["id"] != made["id"]


def test_calls_at_once_do_not_make_one_name_twice(api):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(api("POST", api.tunnels, {"name": "race"}).status)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200] + [409] * 7


# ---- edit and delete ----

def test_a_tunnel_can_be_renamed(api):
    made, other = api.create("before"), api.create("taken")
    assert api("PATCH", f"{api.tunnels}/{made['id']}", {"name": "after"}).result["name"] == "after"
    assert [t["id"] for t in api("GET", f"{api.tunnels}?name=after").result] == [made["id"]]
    answer = api("PATCH", f"{api.tunnels}/{made['id']}", {"name": "taken"})
    assert (answer.status, answer.code) == (409, 1013) and answer.headers["x-should-retry"] == "false"
    for body in ({}, {"name": ""}, {"tunnel_secret": "YQ=="}, {"name": UNKNOWN}):
        assert api("PATCH", f"{api.tunnels}/{made['id']}", body).status == 400
    assert api("GET", f"{api.tunnels}/{made['id']}/token").result == made["token"]
    assert api("GET", f"{api.tunnels}/{other['id']}").result["name"] == "taken"


def test_a_deleted_tunnel_is_shown_but_nothing_can_be_done_with_it(api):
    made = api.create("deleted")
    path, route = f"{api.tunnels}/{made['id']}", f"/zones/{api.zones['example.com']}/tunnels/{made['id']}/routes"
    api("PUT", route, {"type": "dns", "user_hostname": "deleted.example.com"}).result
    gone = api("DELETE", path, b"{}").result
    shown = api("GET", path).result
    assert TIME.fullmatch(shown["deleted_at"]) and "config_src" not in shown and shown["remote_config"] is False
    assert gone["deleted_at"] == shown["deleted_at"]
    assert api("DELETE", path).status == 404 and api("PATCH", path, {"name": "again"}).status == 404
    assert api("GET", f"{path}/token").status == 404 and api("GET", f"{path}/connections").status == 404
    assert api("PUT", route, {"type": "dns", "user_hostname": "deleted.example.com"}).status == 404
    ids = lambda query: [t["id"] for t in api("GET", f"{api.tunnels}?name=deleted{query}").result]  # noqa: E731
    assert ids("") == ids("&is_deleted=true") == [made["id"]] and ids("&is_deleted=false") == []


# ---- lists ----

@pytest.fixture(scope="module")
def many(api):
    return [api.create(f"page-{i:02}")["id"] for i in range(7)]


def test_pages_have_each_row_once_and_end_empty(api, many):
    seen = []
    for page in (1, 2, 3, 4):
        answer = api("GET", f"{api.tunnels}?name_prefix=page-&per_page=3&page={page}")
        seen += [t["id"] for t in answer.result]
        assert answer.body["result_info"] == {"page": page, "per_page": 3, "count": len(answer.result), "total_count": 7, "total_pages": 3}
    assert seen == many[::-1]
    assert api("GET", f"{api.tunnels}?include_prefix=page-&page=2.0&per_page=5.0").body["result_info"]["count"] == 2


@pytest.mark.parametrize("query", ["page=0", "page=-1", "page=x", "page=1.5", "page=", "per_page=0", "per_page=1001", "per_page=x", "page=99999999999999999999",
                                   "uuid=x", "is_deleted=maybe", "status=odd", "existed_at=yesterday", "was_active_at=2026-01-01T00:00:00Z"])
def test_a_query_that_makes_no_sense_is_refused(api, query):
    answer = api("GET", f"{api.tunnels}?{query}")
    assert (answer.status, answer.code) == (400, 1004)


def test_filters_narrow_a_list_together(api, many):
    names = lambda query: [t["name"] for t in api("GET", f"{api.tunnels}?{query}").result]  # noqa: E731
    assert names("name=page-03") == ["page-03"] and names("name=PAGE-03") == [] and names("name=%70age-03") == ["page-03"]
    assert names("name_prefix=page-&exclude_prefix=page-0") == [] and len(names("name_prefix=page-0")) == 7
    assert names(f"uuid={many[0]}") == ["page-00"] and names(f"uuid={many[0]}&name=page-01") == [] and names(f"uuid={UNKNOWN}") == []
    assert len(names("name_prefix=page-&status=inactive")) == 7 and names("name_prefix=page-&status=healthy") == []
    assert api("GET", f"{api.tunnels}?name_prefix=page-&status=inactive&per_page=2&page=4").body["result_info"]["total_count"] == 7
    assert len(names("name_prefix=page-&status=inactive&per_page=2&page=4")) == 1
    api.create("a b&c"), api.create("it's; DROP TABLE tunnels; --%_")
    assert names("name=a+b%26c") == names("name=a%20b%26c") == ["a b&c"]
    assert names("name=it%27s%3B%20DROP%20TABLE%20tunnels%3B%20--%25_") == ["it's; DROP TABLE tunnels; --%_"]
    assert names("name_prefix=%25") == [] and names("name_prefix=_") == []


def test_a_list_can_be_of_an_earlier_time(api):
    first, second = api.create("early"), api.create("later")
    names = lambda at: [t["name"] for t in api("GET", f"{api.tunnels}?existed_at={at}").result]  # noqa: E731
    at = first["created_at"]
    assert "early" in names(at) and "later" not in names(at)
    assert "early" in names(at.replace("Z", "+00:00")) and "early" in names(at.replace("Z", "%2B00:00"))
    api("DELETE", f"{api.tunnels}/{first['id']}").result
    assert {"early", "later"} <= set(names(second["created_at"]))
    assert "early" not in names("2999-01-01T00:00:00Z") and "later" in names("2999-01-01T00:00:00Z")


# ---- identity and hostnames ----

def test_accounts_and_zones_are_found_by_name(api):
    account = api("GET", f"/accounts/{api.account}").result
    assert api("GET", "/accounts").result == [account] and account["id"] == api.account
    assert list(api.zones) == ["example.com", "sub.example.com", "localhost"]
    assert [z["id"] for z in api("GET", "/zones?name=EXAMPLE.com").result] == [api.zones["example.com"]]
    assert api("GET", "/zones?name=absent.test").result == []
    assert [z["name"] for z in api("GET", "/zones?per_page=1&page=2").result] == ["sub.example.com"]
    zone = api("GET", f"/zones/{api.zones['localhost']}").result
    assert zone["name"] == "localhost" and zone["account"]["id"] == api.account and zone["status"] == "active"


@pytest.mark.parametrize("zone, given, name", [
    ("example.com", "app.example.com", "app.example.com"), ("example.com", "Upper.Example.COM", "upper.example.com"), ("example.com", "one", "one.example.com"),
    ("example.com", "a.other.org", "a.other.org.example.com"), ("example.com", "example.com", "example.com"), ("example.com", "notexample.com", "notexample.com.example.com"),
    ("example.com", "*.w.example.com", "*.w.example.com"), ("example.com", "dot.example.com.", "dot.example.com"),
    ("sub.example.com", "x", "x.sub.example.com"), ("localhost", "y.example.com", "y.example.com.localhost"), ("localhost", "a_b", "a_b.localhost"),
])
def test_a_hostname_is_of_the_zone_of_its_path(api, zone, given, name):
    tunnel = api.create(f"dns {zone} {given}")["id"]
    path = f"/zones/{api.zones[zone]}/tunnels/{tunnel}/routes"
    result = api("PUT", path, {"type": "dns", "user_hostname": given, "overwrite_existing": False}).result
    assert result["cname"] == "new" and result["name"] == name and re.fullmatch("[0-9a-f]{32}", result["dns_tag"])
    assert api("PUT", path, {"type": "dns", "user_hostname": given}).result == {**result, "cname": "unchanged"}
    record = api("GET", f"/zones/{api.zones[zone]}/dns_records?name={name}").result[0]
    assert (record["id"], record["type"], record["content"]) == (result["dns_tag"], "CNAME", f"{tunnel}.cfargotunnel.com")


@pytest.mark.parametrize("body, status, code", [
    ({"type": "dns"}, 400, 1002), ({"type": "dns", "user_hostname": ""}, 400, 1002), ({"type": "dns", "user_hostname": "a b"}, 400, 1002),
    ({"type": "dns", "user_hostname": "."}, 400, 1002), ({"type": "dns", "user_hostname": "a:80"}, 400, 1002), ({"type": "dns", "user_hostname": "a.*.example.com"}, 400, 1002),
    ({"type": "dns", "user_hostname": "x." * 124 + "example.com"}, 400, 1002), ({"type": "dns", "user_hostname": "x." * 121 + "y"}, 400, 1002),
    ({"type": "lb", "lb_name": "lb.example.com", "lb_pool": "p"}, 501, 1001), ({}, 501, 1001),
])
def test_what_is_no_route_is_refused(api, body, status, code):
    tunnel = api("GET", f"{api.tunnels}?per_page=1&is_deleted=false").result or [api.create("for routes")]
    answer = api("PUT", f"/zones/{api.zones['example.com']}/tunnels/{tunnel[0]['id']}/routes", body)
    assert (answer.status, answer.code) == (status, code), answer.raw


def test_a_route_moves_only_when_it_is_said_so(api):
    one, two = api.create("move one")["id"], api.create("move two")["id"]
    put = lambda tunnel, overwrites: api("PUT", f"/zones/{api.zones['example.com']}/tunnels/{tunnel}/routes",  # noqa: E731
                                         {"type": "dns", "user_hostname": "move", "overwrite_existing": overwrites})
    assert put(one, False).result["cname"] == "new"
    assert (put(two, False).status, put(two, False).code) == (400, 1003)
    assert put(two, True).result["cname"] == "updated" and put(two, True).result["cname"] == "unchanged"
    assert put(UNKNOWN, True).status == 404


# ---- what clients send ----

def shape(value):
    """Names and kinds, deep; of a list, what its first member has."""
    if isinstance(value, dict):
        return {k: shape(v) for k, v in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def has_shape(got, want, where="result"):
    if isinstance(want, dict):
        for key, inner in want.items():
            assert key in got, f"{where}.{key} is missing"
            has_shape(got[key], inner, f"{where}.{key}")
    elif isinstance(want, list):
        assert isinstance(got, list), where
        if got and want:
            has_shape(got[0], want[0], where + "[0]")
    else:
        assert got == want or "NoneType" in (got, want), f"{where}: {got}, not {want}"


SUPPORTED = re.compile(r"/cfd_tunnel(/[^/]+(/(token|connections))?)?$|/routes$|^/tunnel$")
SENT = [(v["name"], call) for v in VECTORS for call in v["calls"]
        if SUPPORTED.search(call["path"]) and "teamnet" not in call["path"] and call["response_status"] == 200 and '"lb"' not in (call.get("body") or "")
        and call["response_body"].get("success") and isinstance(call["response_body"].get("result"), (dict, list, str, type(None)))]


@pytest.mark.parametrize("name, call", SENT, ids=[f"{i}-{name}" for i, (name, _) in enumerate(SENT)])
def test_what_cloudflared_sends_is_answered_in_the_same_shape(api, name, call):
    made = api.create(f"vector {SENT.index((name, call))}")
    zone = api.zones["example.com"]
    swap = lambda text: (text or "").replace("0123456789abcdef0123456789abcdef", api.account).replace(  # noqa: E731
        "zone0123456789abcdef0123456789ab", zone).replace("f174e90a-fafe-4643-bbbc-4a0ed4fc8415", made["id"]).replace("my-tunnel", made["name"])
    headers = {k: swap(v).replace("api-token-value", api.token) for k, v in call["headers"] if k not in ("Content-Length", "Accept-Encoding")}
    body = swap(call.get("body")).replace("app.example.com", f"{name.replace('_', '-')}.example.com")
    if call["method"] == "POST" and call["path"].endswith("/cfd_tunnel"):
        body = body.replace(made["name"], f"sent {name}")
    path = swap(call["path"])
    answer = api(call["method"], path + ("?" + call["query"].replace("f174e90a-fafe-4643-bbbc-4a0ed4fc8415", made["id"]) if call["query"] else ""),
                 body or None, headers, base="")
    want = call["response_body"]["result"]
    if want not in (None, {"x": 1}):
        has_shape(shape(answer.result), shape(want))
    else:
        assert answer.status == 200
    assert answer.body["messages"] == []


def test_the_official_sdk_works_with_its_base_url_alone(api):
    client = cloudflare.Cloudflare(api_token=api.token, base_url=f"http://{api.local}/client/v4", max_retries=0)
    tunnels = client.zero_trust.tunnels.cloudflared
    made = tunnels.create(account_id=api.account, name="by sdk", config_src="local")
    assert made.status == "inactive" and made.created_at.tzinfo is not None
    for i in range(3):
        tunnels.create(account_id=api.account, name=f"sdk {i}")
    assert sorted(t.name for t in tunnels.list(account_id=api.account, include_prefix="sdk ", per_page=2)) == ["sdk 0", "sdk 1", "sdk 2"]
    assert [t.id for t in tunnels.list(account_id=api.account, name="by sdk", is_deleted=False)] == [made.id]
    assert tunnels.get(made.id, account_id=api.account).name == "by sdk"
    assert tunnels.edit(made.id, account_id=api.account, name="by the sdk").name == "by the sdk"
    assert parse_token(tunnels.token.get(made.id, account_id=api.account))["t"] == made.id
    assert list(tunnels.connections.get(made.id, account_id=api.account)) == []
    with pytest.raises(cloudflare.ConflictError) as e:
        tunnels.create(account_id=api.account, name="by the sdk")
    assert e.value.errors[0].code == 1013
    assert tunnels.delete(made.id, account_id=api.account).deleted_at is not None
    with pytest.raises(cloudflare.NotFoundError):
        tunnels.delete(made.id, account_id=api.account)
    with pytest.raises(cloudflare.PermissionDeniedError):
        client.with_options(api_token="x" * 43).zero_trust.tunnels.cloudflared.get(made.id, account_id=api.account)
    assert [zone.name for zone in client.zones.list(name="example.com")] == ["example.com"]
    assert [account.id for account in client.accounts.list()] == [api.account]
    assert client.user.tokens.verify().status == "active"
