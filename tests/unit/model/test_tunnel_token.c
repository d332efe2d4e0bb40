#include <jansson.h>

#include "model/snapshot.h"
#include "model/tunnel_token.h"
#include "test.h"

static struct slice member(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? slice_str(text) : (struct slice){ 0 };
}

static void same(const char *name, const char *key, struct slice got, const json_t *want)
{
    if (!slice_eq(got, member(want, key)))
        fail_msg("%s: %s is %.*s", name, key, SLICE_FMT(got));
}

static void check_credential(const char *name, const struct credential *c, const json_t *want)
{
    char id[UUID_TEXT_BYTES], secret[256];
    same(name, "accountTag", c->account, want);
    same(name, "endpoint", c->endpoint, want);
    same(name, "secret_hex", slice_str(hex_encode(c->secret, secret)), want);
    same(name, "tunnelID", slice_str(uuid_text(&c->tunnel, id)), want);
}

static void check_cert(const char *name, const struct origin_cert *c, const json_t *want)
{
    same(name, "accountID", c->account, want);
    same(name, "apiToken", c->token, want);
    same(name, "endpoint", c->endpoint, want);
    same(name, "zoneID", c->zone, want);
}

/* What the reference writes is read, and written again the same. */
static void check_written(const char *name, struct slice bytes, struct arena *a)
{
    struct credential c;
    struct origin_cert cert;
    bool has_id;
    const char *again;
    if (strncmp(name, "token_encode", 12) == 0) {
        assert_int_equal(tunnel_token_read(bytes, a, &c, NULL), 0);
        again = tunnel_token_write(&c, a);
    } else if (strncmp(name, "credentials_json", 16) == 0) {
        assert_int_equal(credential_read(bytes, a, &c, &has_id, NULL), 0);
        assert_true(has_id);
        again = credential_write(&c, a);
    } else {
        assert_int_equal(strncmp(name, "cert_pem", 8), 0);
        assert_int_equal(origin_cert_read(bytes, a, &cert, NULL), 0);
        again = origin_cert_write(&cert, a);
    }
    if (again == NULL || !slice_eq(slice_str(again), bytes))
        fail_msg("%s: written again it is %s", name, again);
}

TEST(every_credential_vector_gets_its_verdict_and_values)
{
    json_error_t e;
    json_t *doc = json_load_file(VECTORS "/credentials.json", 0, &e), *one;
    size_t i, written = 0, accepted = 0;
    assert_non_null(doc);
    json_array_foreach(json_object_get(doc, "vectors"), i, one)
    {
        const char *name = json_string_value(json_object_get(one, "name"));
        const char *hex = json_string_value(json_object_get(one, "hex"));
        const char *outcome = json_string_value(json_object_get(one, "outcome"));
        const json_t *want = json_object_get(json_object_get(one, "fields"), "decoded");
        struct arena a;
        struct credential c;
        struct origin_cert cert;
        struct fault f = { 0 };
        int r;
        uint8_t *bytes = malloc(strlen(hex) / 2 + 1);
        CHECK_OK(hex_decode(slice_str(hex), bytes));
        struct slice text = slice_of(bytes, strlen(hex) / 2);
        arena_init(&a, 1 << 20);
        if (outcome == NULL) {
            check_written(name, text, &a);
            written++;
        } else {
            bool is_token = strncmp(name, "token", 5) == 0,
                 want_ok = strcmp(outcome, "accept") == 0;
            r = is_token ? tunnel_token_read(text, &a, &c, &f)
                         : origin_cert_read(text, &a, &cert, &f);
            if ((r == 0) != want_ok)
                fail_msg("%s: %s, want %s", name, r == 0 ? "accepted" : f.text, outcome);
            if (r == 0 && is_token)
                check_credential(name, &c, want);
            else if (r == 0)
                check_cert(name, &cert, want);
            accepted += r == 0;
        }
        arena_done(&a);
        free(bytes);
    }
    CHECK(i == 35 && written == 6 && accepted == 13);
    json_decref(doc);
}

TEST(a_token_comes_back_with_edges_and_pin)
{
    struct arena a;
    struct credential c = { .account = SLICE("acc"),
                            .secret = SLICE("0123456789abcdef0123456789abcdef"),
                            .edge_count = 2,
                            .has_pin = true },
                      d;
    arena_init(&a, 1 << 20);
    c.edges[0] = SLICE("edge.example:7844");
    c.edges[1] = SLICE("[::1]:7844");
    memset(c.pin, 7, sizeof c.pin);
    memset(c.tunnel.bytes, 9, sizeof c.tunnel.bytes);
    char *text = tunnel_token_write(&c, &a);
    CHECK(text != NULL);
    CHECK_OK(tunnel_token_read(slice_str(text), &a, &d, NULL));
    CHECK_SLICE(d.account, c.account);
    CHECK_SLICE(d.secret, c.secret);
    CHECK(uuid_eq(&d.tunnel, &c.tunnel) && d.edge_count == 2 && d.has_pin && d.pin[31] == 7);
    CHECK_SLICE(d.edges[1], c.edges[1]);
    struct origin_cert cert = { .zone = SLICE("z"), .account = SLICE("a"), .token = SLICE("t") },
                       back;
    CHECK_OK(origin_cert_read(slice_str(origin_cert_write(&cert, &a)), &a, &back, NULL));
    CHECK_SLICE(back.token, cert.token);
    arena_done(&a);
}

TEST(the_most_specific_route_wins)
{
    struct snapshot *s = snapshot_new();
    struct uuid one = { { 1 } }, two = { { 2 } }, three = { { 3 } }, got;
    CHECK_OK(snapshot_add(s, SLICE("a.b.example"), &one));
    CHECK_OK(snapshot_add(s, SLICE("*.b.example"), &two));
    CHECK_OK(snapshot_add(s, SLICE("*.example"), &three));
    CHECK_ERR(ERR_EXISTS, snapshot_add(s, SLICE("*.example"), &one));
    CHECK(snapshot_route(s, SLICE("a.b.example"), &got) && uuid_eq(&got, &one));
    CHECK(snapshot_route(s, SLICE("x.b.example"), &got) && uuid_eq(&got, &two));
    CHECK(snapshot_route(s, SLICE("x.y.b.example"), &got) && uuid_eq(&got, &two));
    CHECK(snapshot_route(s, SLICE("b.example"), &got) && uuid_eq(&got, &three));
    CHECK(!snapshot_route(s, SLICE("example"), &got));
    CHECK(!snapshot_route(s, SLICE(""), &got));
    snapshot_unref(s);
}

TESTS(RUN(every_credential_vector_gets_its_verdict_and_values),
      RUN(a_token_comes_back_with_edges_and_pin), RUN(the_most_specific_route_wins))
