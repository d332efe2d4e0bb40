#include <jansson.h>

#include "model/snapshot.h"
#include "model/tunnel_token.h"
#include "test.h"

TEST(every_credential_vector_gets_its_verdict)
{
    json_error_t e;
    json_t *doc = json_load_file(VECTORS "/credentials.json", 0, &e), *one;
    size_t i, checked = 0;
    assert_non_null(doc);
    json_array_foreach(json_object_get(doc, "vectors"), i, one)
    {
        const char *name = json_string_value(json_object_get(one, "name"));
        const char *hex = json_string_value(json_object_get(one, "hex"));
        const json_t *fields = json_object_get(one, "fields");
        const char *outcome = json_string_value(json_object_get(one, "outcome"));
        if (outcome == NULL)
            outcome = json_string_value(json_object_get(fields, "outcome"));
        const char *kind = json_string_value(json_object_get(fields, "kind"));
        struct arena a;
        struct credential c;
        struct origin_cert cert;
        struct fault f = { 0 };
        bool has_id;
        int r;
        if (hex == NULL || outcome == NULL)
            continue;
        uint8_t *bytes = malloc(strlen(hex) / 2 + 1);
        CHECK_OK(hex_decode(slice_str(hex), bytes));
        struct slice text = slice_of(bytes, strlen(hex) / 2);
        arena_init(&a, 1 << 20);
        if (strncmp(name, "token", 5) == 0)
            r = tunnel_token_read(text, &a, &c, &f);
        else if (strncmp(name, "cert", 4) == 0)
            r = origin_cert_read(text, &a, &cert, &f);
        else if (strncmp(name, "cred", 4) == 0)
            r = credential_read(text, &a, &c, &has_id, &f);
        else
            r = 1;
        bool want_ok = strncmp(outcome, "accept", 6) == 0 || strcmp(outcome, "ok") == 0;
        if (r != 1 && (r == 0) != want_ok)
            fail_msg("%s (%s): %s, want %s", name, kind != NULL ? kind : "",
                     r == 0 ? "accepted" : f.text, outcome);
        checked += r != 1;
        arena_done(&a);
        free(bytes);
    }
    (void)state_;
    printf("%zu vectors\n", checked);
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

TESTS(RUN(every_credential_vector_gets_its_verdict), RUN(a_token_comes_back_with_edges_and_pin),
      RUN(the_most_specific_route_wins))
