#include "codec/jwt.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/text.h"

static int malformed(struct fault *f, const char *why)
{
    return fault_set(f, ERR_PARSE, "malformed token: %s", why);
}

/* ---- the three parts ---- */

/* Non-zero bits behind the last byte would let one token be written in several ways. */
static bool is_canonical(struct slice text, struct slice bytes)
{
    char again[8];
    struct slice last = slice_sub(bytes, bytes.n / 3 * 3, SIZE_MAX);
    size_t n = base64_encode(last, BASE64_URL, false, again);
    return slice_eq(slice_sub(text, text.n - n, n), slice_of(again, n));
}

static int decode_part(struct slice text, uint8_t **at, struct slice *ret)
{
    size_t n;
    if (base64_decode(text, BASE64_URL, false, false, *at, &n) < 0)
        return ERR_PARSE;
    *ret = slice_of(*at, n);
    *at += n;
    return is_canonical(text, *ret) ? 0 : ERR_PARSE;
}

static int parse_object(struct slice text, const char *what, json_t **ret, struct fault *f)
{
    struct fault inner = { 0 };
    int r = json_parse(text, ret, &inner);
    if (r == ERR_NOMEM)
        return fault_set(f, r, "out of memory");
    if (r < 0)
        return fault_set(f, ERR_PARSE, "malformed token: its %s: %s", what, inner.text);
    return json_is_object(*ret)
               ? 0
               : fault_set(f, ERR_PARSE, "malformed token: its %s is no object", what);
}

static int take_header(struct jwt *t, struct fault *f)
{
    const json_t *key_id = json_object_get(t->header, "kid"),
                 *type = json_object_get(t->header, "typ");
    struct slice alg = json_member_slice(t->header, "alg");
    /* What must be understood and is not (RFC 7515 §4.1.11). */
    if (json_object_get(t->header, "crit") != NULL || json_object_get(t->header, "b64") != NULL)
        return malformed(f, "its header has extensions");
    if (key_id != NULL && (!json_is_string(key_id) || json_string_length(key_id) > JWT_KEY_ID_MAX))
        return malformed(f, "kid is no text, or too long");
    if (type != NULL && !json_is_string(type))
        return malformed(f, "typ is no text");
    if (sign_alg_of(alg, &t->alg) < 0)
        return fault_set(f, ERR_UNSUPPORTED, "the token is signed with unsupported algorithm %.*s",
                         (int)(alg.n < 32 ? alg.n : 32), alg.n > 0 ? (const char *)alg.p : "");
    t->key_id = json_member_slice(t->header, "kid");
    return 0;
}

/* NumericDate: fractions are cut off; what no clock will show is refused. */
static int take_time(const json_t *claims, const char *name, bool *ret_has, int64_t *ret)
{
    const json_t *v = json_object_get(claims, name);
    double limit = 1e15;
    *ret_has = v != NULL;
    if (v == NULL)
        return 0;
    if (!json_is_number(v))
        return ERR_PARSE;
    double value = json_number_value(v);
    if (!(value > -limit && value < limit))
        return ERR_PARSE;
    *ret = json_is_integer(v) ? (int64_t)json_integer_value(v) : (int64_t)value;
    return 0;
}

static int check_audience(const json_t *audience)
{
    if (audience == NULL || json_is_string(audience))
        return 0;
    if (!json_is_array(audience) || json_array_size(audience) > JWT_AUDIENCES_MAX)
        return ERR_PARSE;
    for (size_t i = 0; i < json_array_size(audience); i++)
        if (!json_is_string(json_array_get(audience, i)))
            return ERR_PARSE;
    return 0;
}

static int take_claims(struct jwt *t, struct fault *f)
{
    bool ignored;
    const json_t *issuer = json_object_get(t->claims, "iss");
    if (issuer != NULL && !json_is_string(issuer))
        return malformed(f, "iss is no text");
    if (check_audience(json_object_get(t->claims, "aud")) < 0)
        return malformed(f, "aud is neither a text nor a list of some");
    if (take_time(t->claims, "exp", &t->has_expiry, &t->expires) < 0 ||
        take_time(t->claims, "nbf", &ignored, &t->not_before) < 0 ||
        take_time(t->claims, "iat", &ignored, &t->issued) < 0)
        return malformed(f, "one of its times is none");
    t->issuer = json_member_slice(t->claims, "iss");
    return 0;
}

static int parse_parts(struct slice text, struct jwt *t, struct fault *f)
{
    struct slice rest = text, parts[3], header, claims;
    size_t count = 0;
    while (count < 3 && slice_split(&rest, '.', &parts[count]))
        count++;
    if (count < 3 || rest.p != NULL)
        return malformed(f, "three parts are wanted");
    for (size_t i = 0; i < 3; i++)
        if (parts[i].n == 0)
            return malformed(f, "one of its parts is empty");
    uint8_t *at = t->bytes = malloc(text.n + 16);
    if (at == NULL)
        return fault_set(f, ERR_NOMEM, "out of memory");
    if (decode_part(parts[0], &at, &header) < 0 || decode_part(parts[1], &at, &claims) < 0 ||
        decode_part(parts[2], &at, &t->signature) < 0)
        return malformed(f, "one of its parts is no base64url");
    t->signed_text = slice_sub(text, 0, parts[0].n + 1 + parts[1].n);
    int r = parse_object(header, "header", &t->header, f);
    if (r == 0)
        r = take_header(t, f);
    if (r == 0)
        r = parse_object(claims, "payload", &t->claims, f);
    return r == 0 ? take_claims(t, f) : r;
}

int jwt_parse(struct slice text, struct jwt *ret, struct fault *fault)
{
    struct jwt t = { 0 };
    if (text.n > JWT_BYTES_MAX)
        return fault_set(fault, ERR_TOOLARGE, "malformed token: it is too long");
    int r = parse_parts(text, &t, fault);
    if (r < 0)
        jwt_done(&t);
    else
        *ret = t;
    return r;
}

bool jwt_has_audience(const struct jwt *t, struct slice audience)
{
    const json_t *a = json_object_get(t->claims, "aud");
    if (json_is_string(a))
        return slice_eq(slice_of(json_string_value(a), json_string_length(a)), audience);
    for (size_t i = 0; i < json_array_size(a); i++) {
        const json_t *one = json_array_get(a, i);
        if (slice_eq(slice_of(json_string_value(one), json_string_length(one)), audience))
            return true;
    }
    return false;
}

void jwt_done(struct jwt *t)
{
    json_decref(t->header);
    json_decref(t->claims);
    free(t->bytes);
    *t = (struct jwt){ 0 };
}
