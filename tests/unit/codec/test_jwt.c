#include "codec/jwt.h"

#include "base/text.h"

#include "test.h"

#define HEADER "eyJhbGciOiJSUzI1NiJ9" /* {"alg":"RS256"} */

static json_t *vectors(void)
{
    json_error_t error;
    json_t *v = json_load_file(VECTORS "/jwt.json", JSON_REJECT_DUPLICATES, &error);
    if (v == NULL)
        fail_msg("jwt.json: %s", error.text);
    return v;
}

static struct jwks *keys_of(json_t *v)
{
    struct jwks *keys;
    struct fault f = { 0 };
    char *text = json_dumps(json_object_get(v, "keys"), 0);
    if (jwks_parse(slice_str(text), &keys, &f) < 0)
        fail_msg("%s", f.text);
    free(text);
    return keys;
}

static int verdict_of(const char *name)
{
    return strcmp(name, "ok") == 0 ? 0 : strcmp(name, "auth") == 0 ? ERR_AUTH : ERR_NOTFOUND;
}

TEST(signatures_are_checked_by_the_key_that_the_token_names)
{
    json_t *v = vectors(), *one;
    struct jwks *keys = keys_of(v);
    size_t i;
    json_array_foreach(json_object_get(v, "tokens"), i, one)
    {
        struct jwt t;
        struct fault f = { 0 };
        const char *name = json_string_value(json_object_get(one, "name"));
        struct slice text = json_member_slice(one, "token");
        if (jwt_parse(text, &t, &f) < 0)
            fail_msg("%s: %s", name, f.text);
        int r = jwks_check(keys, &t);
        if (r != verdict_of(json_string_value(json_object_get(one, "check"))))
            fail_msg("%s: %s", name, err_text(r));
        jwt_done(&t);
    }
    CHECK(i > 10);
    jwks_free(keys);
    json_decref(v);
}

TEST(keys_for_other_uses_and_malformed_ones_are_passed_over)
{
    json_t *v = vectors();
    struct jwks *keys = keys_of(v);
    CHECK(json_array_size(json_object_get(json_object_get(v, "keys"), "keys")) > 10);
    CHECK(jwks_count(keys) == 3);
    jwks_free(keys);
    json_decref(v);
}

TEST(claims_are_read)
{
    json_t *v = vectors();
    struct jwt t;
    struct slice text = json_member_slice(json_array_get(json_object_get(v, "tokens"), 0), "token");
    CHECK_OK(jwt_parse(text, &t, NULL));
    CHECK_SLICE(t.issuer, SLICE("https://team.cloudflareaccess.com"));
    CHECK_SLICE(t.key_id, SLICE("rsa"));
    CHECK(t.has_expiry && t.expires == 4102444800 && t.issued == 1700000000);
    CHECK(t.not_before == 1700000000); /* a fraction is cut off */
    CHECK(jwt_has_audience(&t, SLICE("a")) && jwt_has_audience(&t, SLICE("b")));
    CHECK(!jwt_has_audience(&t, SLICE("A")) && !jwt_has_audience(&t, SLICE("")));
    jwt_done(&t);
    json_decref(v);
}

TEST(every_prefix_of_a_token_is_refused_or_not_signed)
{
    json_t *v = vectors();
    struct jwks *keys = keys_of(v);
    struct slice text = json_member_slice(json_array_get(json_object_get(v, "tokens"), 1), "token");
    for (size_t n = 0; n < text.n; n++) {
        uint8_t *copy = malloc(n + 1);
        struct jwt t;
        struct fault f = { 0 };
        memcpy(copy, text.p, n);
        if (jwt_parse(slice_of(copy, n), &t, &f) == 0) {
            CHECK_ERR(ERR_AUTH, jwks_check(keys, &t));
            jwt_done(&t);
        } else {
            CHECK(f.code != 0 && f.text[0] != 0);
        }
        free(copy);
    }
    jwks_free(keys);
    json_decref(v);
}

/* A token of these objects with a signature of one byte. */
static int parse_made(const char *header, const char *claims, struct jwt *ret, struct fault *f,
                      char text[static 4096])
{
    char a[1024], b[1024];
    *f = (struct fault){ 0 };
    (void)base64_encode(slice_str(header), BASE64_URL, false, a);
    (void)base64_encode(slice_str(claims), BASE64_URL, false, b);
    (void)snprintf(text, 4096, "%s.%s.AA", a, b);
    return jwt_parse(slice_str(text), ret, f);
}

TEST(what_is_not_plainly_a_signed_token_is_refused)
{
    static const struct {
        const char *header, *claims;
        int want;
    } CASES[] = {
        { "{\"alg\":\"RS256\"}", "{}", 0 },
        { "{\"alg\":\"ES256\",\"typ\":\"JWT\",\"kid\":\"\",\"x\":1}", "{\"exp\":1.5}", 0 },
        { "{\"alg\":\"none\"}", "{}", ERR_UNSUPPORTED },
        { "{\"alg\":\"HS256\"}", "{}", ERR_UNSUPPORTED },
        { "{\"alg\":\"rs256\"}", "{}", ERR_UNSUPPORTED },
        { "{\"alg\":1}", "{}", ERR_UNSUPPORTED },
        { "{}", "{}", ERR_UNSUPPORTED },
        { "[]", "{}", ERR_PARSE },
        { "{\"alg\":\"RS256\"}", "[]", ERR_PARSE },
        { "{\"alg\":\"RS256\"}", "1", ERR_PARSE },
        { "{\"alg\":\"RS256\"}x", "{}", ERR_PARSE },
        { "{\"alg\":\"RS256\",\"alg\":\"RS256\"}", "{}", ERR_PARSE },
        { "{\"alg\":\"RS256\",\"crit\":[\"b64\"]}", "{}", ERR_PARSE },
        { "{\"alg\":\"RS256\",\"b64\":false}", "{}", ERR_PARSE },
        { "{\"alg\":\"RS256\",\"kid\":1}", "{}", ERR_PARSE },
        { "{\"alg\":\"RS256\",\"typ\":null}", "{}", ERR_PARSE },
        { "{\"alg\":\"RS256\"}", "{\"aud\":1}", ERR_PARSE },
        { "{\"alg\":\"RS256\"}", "{\"aud\":[\"a\",1]}", ERR_PARSE },
        { "{\"alg\":\"RS256\"}", "{\"iss\":1}", ERR_PARSE },
        { "{\"alg\":\"RS256\"}", "{\"exp\":\"1\"}", ERR_PARSE },
        { "{\"alg\":\"RS256\"}", "{\"exp\":1e300}", ERR_PARSE },
        { "{\"alg\":\"RS256\"}", "{\"nbf\":null}", ERR_PARSE },
        { "{\"alg\":\"RS256\"}", "{\"iat\":-1e16}", ERR_PARSE },
        { "{\"alg\":\"RS256\"}", "{\"a\":1,\"a\":1}", ERR_PARSE },
    };
    char text[4096];
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct jwt t = { 0 };
        struct fault f;
        int r = parse_made(CASES[i].header, CASES[i].claims, &t, &f, text);
        if (r != CASES[i].want || (r < 0 && f.text[0] == 0))
            fail_msg("%s %s: %s (%s)", CASES[i].header, CASES[i].claims, err_text(r), f.text);
        jwt_done(&t);
    }
    CHECK(true);
}

TEST(a_token_can_be_written_in_one_way_only)
{
    static const char *const BAD[] = {
        "",
        "...",
        HEADER,
        HEADER ".e30",
        HEADER ".e30.",
        HEADER "..AA",
        ".e30.AA",
        HEADER ".e30.AA.",
        HEADER ".e30.AA.AA",
        HEADER ".e30.AA==",
        HEADER ".e30.AB", /* bits behind the last byte */
        HEADER ".e31.AA", /* likewise: e30 is {} */
        HEADER ".e30.A",
        HEADER ".e30.A+A",
        HEADER ".e30.A/A",
        HEADER ".e3\n0.AA",
        " " HEADER ".e30.AA",
        HEADER ".e30.AA ",
    };
    struct jwt t;
    CHECK_OK(jwt_parse(SLICE(HEADER ".e30.AA"), &t, NULL));
    CHECK_SLICE(t.signed_text, SLICE(HEADER ".e30"));
    CHECK(t.signature.n == 1 && !t.has_expiry && t.issuer.n == 0);
    jwt_done(&t);
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++) {
        struct fault f = { 0 };
        int r = jwt_parse(slice_str(BAD[i]), &t, &f);
        if (r != ERR_PARSE)
            fail_msg("%s: %s", BAD[i], err_text(r));
    }
    static char long_one[JWT_BYTES_MAX + 1];
    memset(long_one, 'A', sizeof long_one);
    CHECK_ERR(ERR_TOOLARGE, jwt_parse(slice_of(long_one, sizeof long_one), &t, NULL));
}

TEST(key_sets_are_bounded)
{
    static char text[JWKS_BYTES_MAX + 1];
    struct jwks *keys;
    struct fault f = { 0 };
    memset(text, ' ', sizeof text);
    CHECK_ERR(ERR_TOOLARGE, jwks_parse(slice_of(text, sizeof text), &keys, &f));
    strcpy(text, "{\"keys\":[0");
    for (unsigned i = 1; i < JWKS_KEYS_MAX; i++)
        strcat(text, ",0");
    strcat(text, "]}");
    CHECK_OK(jwks_parse(slice_str(text), &keys, &f));
    CHECK(jwks_count(keys) == 0);
    jwks_free(keys);
    strcpy(text + strlen(text) - 2, ",0]}");
    CHECK_ERR(ERR_LIMIT, jwks_parse(slice_str(text), &keys, &f));
    CHECK_ERR(ERR_PARSE, jwks_parse(SLICE("{\"keys\":{}}"), &keys, &f));
    CHECK_ERR(ERR_PARSE, jwks_parse(SLICE("[]"), &keys, &f));
    CHECK_ERR(ERR_PARSE, jwks_parse(SLICE("{\"keys\":["), &keys, &f));
    jwks_free(NULL);
}

TESTS(RUN(signatures_are_checked_by_the_key_that_the_token_names),
      RUN(keys_for_other_uses_and_malformed_ones_are_passed_over), RUN(claims_are_read),
      RUN(every_prefix_of_a_token_is_refused_or_not_signed),
      RUN(what_is_not_plainly_a_signed_token_is_refused),
      RUN(a_token_can_be_written_in_one_way_only), RUN(key_sets_are_bounded))
