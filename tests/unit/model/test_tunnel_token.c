#include <jansson.h>

#include "base/strb.h"
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

/* The token of a JSON text. */
static int read_json(const char *json, struct arena *a, struct credential *ret, struct fault *f)
{
    char *text = arena_alloc(a, BASE64_BYTES(strlen(json)));
    (void)base64_encode(slice_str(json), BASE64_STD, true, text);
    return tunnel_token_read(slice_str(text), a, ret, f);
}

#define PIN "\"ca\":\"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\""

/* What cannot be checked must not be trusted: a pin that is there has to be one. */
TEST(a_token_with_a_broken_pin_is_refused)
{
    static const char *const BAD[] = { "\"ca\":\"\"",
                                       "\"ca\":\"BwcH\"",
                                       "\"ca\":7",
                                       "\"ca\":{}",
                                       "\"ca\":\"@@@@\"",
                                       "\"ca\":[\"BwcH\"]",
                                       "\"ca\":\"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc\"" };
    struct arena a;
    struct credential c;
    struct fault f = { 0 };
    char json[200];
    arena_init(&a, 1 << 20);
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        (void)snprintf(json, sizeof json, "{\"a\":\"x\",\"s\":\"AAAA\",%s}", BAD[i]);
        CHECK_ERR(ERR_PARSE, read_json(json, &a, &c, &f));
        (void)snprintf(json, sizeof json, "{\"AccountTag\":\"x\",%s}", BAD[i]);
        bool has_id;
        CHECK_ERR(ERR_PARSE, credential_read(slice_str(json), &a, &c, &has_id, &f));
    }
    CHECK_OK(read_json("{\"a\":\"x\",\"s\":\"AAAA\"," PIN "}", &a, &c, &f));
    CHECK(c.has_pin && c.pin[0] == 7 && c.pin[31] == 7);
    CHECK_OK(read_json("{\"a\":\"x\",\"s\":\"AAAA\",\"ca\":null}", &a, &c, &f));
    CHECK(!c.has_pin);
    arena_done(&a);
}

TEST(edges_are_bounded_and_only_texts_count)
{
    struct arena a;
    struct credential c;
    struct fault f = { 0 };
    arena_init(&a, 1 << 20);
    CHECK_OK(read_json("{\"s\":\"AAAA\",\"edges\":[1,null,\"e:1\",{},\"f:2\"]}", &a, &c, &f));
    CHECK(c.edge_count == 2);
    CHECK_SLICE(c.edges[1], SLICE("f:2"));
    CHECK_OK(read_json("{\"s\":\"AAAA\",\"edges\":\"e:1\"}", &a, &c, &f));
    CHECK(c.edge_count == 0);
    struct strb many;
    strb_init(&many, 10000);
    strb_str(&many, "{\"edges\":[\"x\"");
    for (int i = 0; i < 100; i++)
        strb_fmt(&many, ",\"e%d\"", i);
    strb_str(&many, "]}");
    CHECK_OK(read_json(many.p, &a, &c, &f));
    CHECK(c.edge_count == TOKEN_EDGES_MAX);
    strb_done(&many);
    arena_done(&a);
}

TEST(what_is_empty_can_be_written_too)
{
    struct arena a;
    struct credential empty = { 0 }, c;
    struct origin_cert nothing = { .zone = SLICE("z"), .token = SLICE("t") }, cert;
    bool has_id;
    arena_init(&a, 1 << 20);
    CHECK_OK(tunnel_token_read(slice_str(tunnel_token_write(&empty, &a)), &a, &c, NULL));
    CHECK(c.account.n == 0 && c.secret.n == 0 && !c.has_pin && c.edge_count == 0);
    CHECK_OK(credential_read(slice_str(credential_write(&empty, &a)), &a, &c, &has_id, NULL));
    CHECK(c.account.n == 0 && has_id);
    CHECK_OK(origin_cert_read(slice_str(origin_cert_write(&nothing, &a)), &a, &cert, NULL));
    CHECK(cert.account.n == 0);
    CHECK_SLICE(cert.zone, SLICE("z"));
    struct credential bad = { .account = SLICE("\xff") }; /* no text: it cannot be JSON */
    CHECK(tunnel_token_write(&bad, &a) == NULL && credential_write(&bad, &a) == NULL);
    bad = (struct credential){ .edge_count = 1, .edges = { SLICE("\xff") } };
    CHECK(tunnel_token_write(&bad, &a) == NULL); /* rather than one edge less */
    arena_done(&a);
}

TEST(every_prefix_is_refused)
{
    struct arena a;
    struct credential c = { .account = SLICE("acc"),
                            .secret = SLICE("secretsecret"),
                            .edge_count = 1 },
                      d;
    struct origin_cert cert = { .zone = SLICE("z"), .account = SLICE("a"), .token = SLICE("t") }, e;
    bool has_id;
    arena_init(&a, 16 << 20);
    c.edges[0] = SLICE("edge.example:7844");
    const char *token = tunnel_token_write(&c, &a), *file = credential_write(&c, &a),
               *pem = origin_cert_write(&cert, &a);
    for (size_t n = 0; n < strlen(token); n++)
        CHECK_ERR(ERR_PARSE, tunnel_token_read(slice_of(token, n), &a, &d, NULL));
    for (size_t n = 0; n < strlen(file); n++)
        CHECK_ERR(ERR_PARSE, credential_read(slice_of(file, n), &a, &d, &has_id, NULL));
    size_t last = (size_t)(strstr(pem, "-----END") - pem);
    for (size_t n = 0; n < last; n++)
        CHECK_ERR(ERR_PARSE, origin_cert_read(slice_of(pem, n), &a, &e, NULL));
    arena_done(&a);
}

TEST(a_file_that_is_not_json_says_so)
{
    struct arena a;
    struct credential c;
    struct fault f = { 0 };
    bool has_id;
    arena_init(&a, 1 << 20);
    CHECK_ERR(ERR_PARSE, credential_read(SLICE("{"), &a, &c, &has_id, &f));
    CHECK(strncmp(f.text, "it is not JSON: ", 16) == 0);
    CHECK_ERR(ERR_PARSE, credential_read(SLICE("[]"), &a, &c, &has_id, &f));
    CHECK(strcmp(f.text, "it is not a JSON object") == 0);
    arena_done(&a);
}

TEST(a_token_is_bounded)
{
    static char text[70000];
    struct arena a;
    struct credential c;
    struct fault f = { 0 };
    arena_init(&a, 16 << 20);
    memset(text, 'A', sizeof text);
    CHECK_ERR(ERR_TOOLARGE, tunnel_token_read(slice_of(text, 65537), &a, &c, &f));
    CHECK_ERR(ERR_PARSE, tunnel_token_read(slice_of(text, 65536), &a, &c, &f));
    CHECK(strstr(f.text, "not valid") != NULL);
    arena_done(&a);
}

TESTS(RUN(every_credential_vector_gets_its_verdict_and_values),
      RUN(a_token_comes_back_with_edges_and_pin), RUN(a_token_with_a_broken_pin_is_refused),
      RUN(edges_are_bounded_and_only_texts_count), RUN(what_is_empty_can_be_written_too),
      RUN(every_prefix_is_refused), RUN(a_file_that_is_not_json_says_so), RUN(a_token_is_bounded))
