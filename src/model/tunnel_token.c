#include "model/tunnel_token.h"

#include "base/err.h"
#include "codec/json.h"

#define TEXT_BYTES_MAX 65536

/* ---- helpers for both directions ---- */

static struct slice decode_base64(struct slice text, bool breaks, struct arena *arena)
{
    size_t n;
    uint8_t *bytes = arena_alloc(arena, text.n / 4 * 3 + 4);
    if (bytes == NULL || base64_decode(text, BASE64_STD, true, breaks, bytes, &n) < 0)
        return (struct slice){ 0 };
    return slice_of(bytes, n);
}

static char *encode_base64(struct slice bytes, struct arena *arena)
{
    char *text = arena_alloc(arena, BASE64_BYTES(bytes.n));
    if (text != NULL)
        (void)base64_encode(bytes, BASE64_STD, true, text);
    return text;
}

/* A member whose name is matched as Go does, without case; the last one wins. */
static const json_t *member(const json_t *object, const char *name)
{
    const json_t *found = json_object_get(object, name), *value;
    const char *key;
    if (found != NULL)
        return found;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        if (slice_eq_nocase(slice_str(key), slice_str(name)))
            found = value;
    }
    return found;
}

/* A text, absent (or null) as empty; false when it is something else. */
static bool text_of(const json_t *object, const char *name, struct arena *arena, struct slice *ret)
{
    const json_t *value = member(object, name);
    *ret = (struct slice){ 0 };
    if (value == NULL || json_is_null(value))
        return true;
    if (!json_is_string(value))
        return false;
    *ret = arena_copy(arena, slice_of(json_string_value(value), json_string_length(value)));
    return ret->p != NULL;
}

static int parse_object(struct slice text, json_t **ret, struct fault *fault)
{
    json_t *value;
    json_error_t error;
    /* The reference takes the last of repeated keys. */
    value = json_loadb((const char *)text.p, text.n, 0, &error);
    if (value == NULL)
        return fault_set(fault, ERR_PARSE, "it is not JSON: %s", error.text);
    if (!json_is_object(value)) {
        json_decref(value);
        return fault_set(fault, ERR_PARSE, "it is not a JSON object");
    }
    *ret = value;
    return 0;
}

/* Where the edge is and whom to trust: extra keys, which the reference ignores. */
static void put_edges(json_t *object, const struct credential *c, struct arena *arena)
{
    if (object == NULL)
        return;
    json_t *edges = json_array();
    for (size_t i = 0; i < c->edge_count; i++)
        (void)json_array_append_new(edges,
                                    json_stringn((const char *)c->edges[i].p, c->edges[i].n));
    if (c->edge_count > 0)
        (void)json_object_set(object, "edges", edges);
    json_decref(edges);
    if (c->has_pin)
        (void)json_object_set_new(
            object, "ca", json_string(encode_base64(slice_of(c->pin, sizeof c->pin), arena)));
}

/* ---- tokens ---- */

static int take_secret(const json_t *object, const char *name, struct arena *arena,
                       struct slice *ret)
{
    struct slice text;
    if (!text_of(object, name, arena, &text))
        return ERR_PARSE;
    *ret = decode_base64(text, true, arena);
    return text.n > 0 && ret->p == NULL ? ERR_PARSE : 0;
}

static void take_edges(const json_t *object, struct arena *arena, struct credential *c)
{
    const json_t *edges = json_object_get(object, "edges");
    for (size_t i = 0; i < json_array_size(edges) && c->edge_count < TOKEN_EDGES_MAX; i++) {
        const json_t *edge = json_array_get(edges, i);
        if (!json_is_string(edge))
            continue;
        struct slice copy =
            arena_copy(arena, slice_of(json_string_value(edge), json_string_length(edge)));
        if (copy.p != NULL)
            c->edges[c->edge_count++] = copy;
    }
    struct slice pin = decode_base64(json_member_slice(object, "ca"), false, arena);
    c->has_pin = pin.n == sizeof c->pin;
    if (c->has_pin)
        memcpy(c->pin, pin.p, sizeof c->pin);
}

int tunnel_token_read(struct slice text, struct arena *arena, struct credential *ret,
                      struct fault *fault)
{
    struct credential c = { 0 };
    struct slice tunnel;
    json_t *object;
    if (text.n > TEXT_BYTES_MAX)
        return fault_set(fault, ERR_TOOLARGE, "the tunnel token is too long");
    struct slice json = decode_base64(text, true, arena);
    if (json.p == NULL || json.n == 0)
        return fault_set(fault, ERR_PARSE,
                         "the tunnel token is not valid: it is not base64; copy it again, whole");
    int r = parse_object(json, &object, fault);
    if (r < 0)
        return fault_set(fault, r,
                         "the tunnel token is not valid: its content is not a JSON object");
    bool is_ok = text_of(object, "a", arena, &c.account) && text_of(object, "t", arena, &tunnel) &&
                 text_of(object, "e", arena, &c.endpoint) &&
                 take_secret(object, "s", arena, &c.secret) == 0;
    if (is_ok)
        take_edges(object, arena, &c);
    json_decref(object);
    if (!is_ok || (tunnel.n > 0 && uuid_parse(tunnel, &c.tunnel) < 0))
        return fault_set(fault, ERR_PARSE,
                         "the tunnel token is not valid: a, s or t is not of the right kind");
    *ret = c;
    return 0;
}

/* Only when there is one, as the reference does. */
static void put_endpoint(json_t *object, const char *key, struct slice endpoint)
{
    if (object != NULL && endpoint.n > 0)
        (void)json_object_set_new(object, key, json_stringn((const char *)endpoint.p, endpoint.n));
}

char *tunnel_token_write(const struct credential *c, struct arena *arena)
{
    char id[UUID_TEXT_BYTES];
    char *secret = encode_base64(c->secret, arena);
    struct strb json;
    char *token = NULL;
    if (secret == NULL)
        return NULL;
    json_t *object = json_pack("{s:s%,s:s,s:s}", "a", c->account.p, c->account.n, "s", secret, "t",
                               uuid_text(&c->tunnel, id));
    put_endpoint(object, "e", c->endpoint);
    put_edges(object, c, arena);
    strb_init(&json, TEXT_BYTES_MAX);
    if (object != NULL)
        json_write(&json, object);
    if (object != NULL && json.err == 0)
        token = encode_base64(strb_slice(&json), arena);
    strb_done(&json);
    json_decref(object);
    return token;
}

/* ---- credentials files ---- */

int credential_read(struct slice json, struct arena *arena, struct credential *ret,
                    bool *ret_has_id, struct fault *fault)
{
    struct credential c = { 0 };
    struct slice tunnel;
    json_t *object;
    int r = parse_object(json, &object, fault);
    if (r < 0)
        return r;
    bool is_ok = text_of(object, "AccountTag", arena, &c.account) &&
                 text_of(object, "TunnelID", arena, &tunnel) &&
                 text_of(object, "TunnelName", arena, &c.name) &&
                 text_of(object, "Endpoint", arena, &c.endpoint) &&
                 take_secret(object, "TunnelSecret", arena, &c.secret) == 0;
    if (is_ok)
        take_edges(object, arena, &c);
    json_decref(object);
    if (!is_ok || (tunnel.n > 0 && uuid_parse(tunnel, &c.tunnel) < 0))
        return fault_set(fault, ERR_PARSE,
                         "AccountTag, TunnelSecret or TunnelID is not of the right kind");
    *ret_has_id = tunnel.n > 0;
    *ret = c;
    return 0;
}

char *credential_write(const struct credential *c, struct arena *arena)
{
    char id[UUID_TEXT_BYTES];
    struct strb json;
    char *secret = encode_base64(c->secret, arena), *text = NULL;
    if (secret == NULL)
        return NULL;
    json_t *object =
        json_pack("{s:s%,s:s,s:s,s:s%}", "AccountTag", c->account.p, c->account.n, "TunnelSecret",
                  secret, "TunnelID", uuid_text(&c->tunnel, id), "Endpoint",
                  c->endpoint.n > 0 ? (const char *)c->endpoint.p : "", c->endpoint.n);
    if (object == NULL)
        return NULL;
    put_edges(object, c, arena);
    strb_init(&json, TEXT_BYTES_MAX);
    json_write(&json, object);
    if (json.err == 0)
        text = arena_str(arena, strb_slice(&json));
    strb_done(&json);
    json_decref(object);
    return text;
}

/* ---- cert.pem ---- */

static const struct slice BEGIN = { (const uint8_t *)"-----BEGIN ", 11 };
static const struct slice END = { (const uint8_t *)"-----END ", 9 };

/* The next PEM block: its label and its base64 lines. 1, 0 at the end, ERR_PARSE. */
static int next_block(struct slice *rest, struct arena *arena, struct slice *ret_label,
                      struct slice *ret_body)
{
    struct slice line;
    uint8_t *body = NULL;
    size_t n = 0;
    while (slice_split(rest, '\n', &line)) {
        line = slice_trim(line);
        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        if (body == NULL && slice_starts(line, BEGIN) && slice_ends(line, SLICE("-----"))) {
            *ret_label = slice_sub(line, BEGIN.n, line.n - BEGIN.n - 5);
            body = arena_alloc(arena, rest->n + 1);
            if (body == NULL)
                return ERR_PARSE;
        } else if (body != NULL && slice_starts(line, END)) {
            *ret_body = slice_of(body, n);
            return 1;
        } else if (body != NULL) {
            memcpy(body + n, line.p, line.n);
            n += line.n;
        }
    }
    return body == NULL ? 0 : ERR_PARSE;
}

static int take_cert_json(struct slice json, struct arena *arena, struct origin_cert *ret,
                          struct fault *fault)
{
    json_t *object;
    struct origin_cert c;
    int r = parse_object(json, &object, fault);
    if (r < 0)
        return r;
    bool is_ok = text_of(object, "zoneID", arena, &c.zone) &&
                 text_of(object, "accountID", arena, &c.account) &&
                 text_of(object, "apiToken", arena, &c.token) &&
                 text_of(object, "endpoint", arena, &c.endpoint) &&
                 text_of(object, "apiURL", arena, &c.api);
    json_decref(object);
    if (!is_ok || c.zone.n == 0 || c.token.n == 0)
        return fault_set(fault, ERR_PARSE,
                         "the certificate has no zoneID or no apiToken: make a new one");
    uint8_t *endpoint = (uint8_t *)(uintptr_t)c.endpoint.p; /* of the arena: ours to change */
    for (size_t i = 0; i < c.endpoint.n; i++)
        if (endpoint[i] >= 'A' && endpoint[i] <= 'Z')
            endpoint[i] |= 0x20;
    *ret = c;
    return 0;
}

int origin_cert_read(struct slice pem, struct arena *arena, struct origin_cert *ret,
                     struct fault *fault)
{
    struct slice label, body, token = { 0 };
    int r;
    while ((r = next_block(&pem, arena, &label, &body)) == 1) {
        if (slice_eq(label, SLICE("PRIVATE KEY")) || slice_eq(label, SLICE("CERTIFICATE")))
            continue;
        if (!slice_eq(label, SLICE("ARGO TUNNEL TOKEN")))
            return fault_set(fault, ERR_PARSE, "a block of an unknown kind: %.*s",
                             SLICE_FMT(label));
        if (token.p != NULL)
            return fault_set(fault, ERR_PARSE, "more than one ARGO TUNNEL TOKEN");
        token = decode_base64(body, false, arena);
        if (token.p == NULL)
            return fault_set(fault, ERR_PARSE, "the ARGO TUNNEL TOKEN is not base64");
    }
    if (r < 0 || token.p == NULL)
        return fault_set(fault, ERR_PARSE, "there is no ARGO TUNNEL TOKEN in it");
    return take_cert_json(token, arena, ret, fault);
}

char *origin_cert_write(const struct origin_cert *c, struct arena *arena)
{
    struct strb text;
    char *out = NULL;
    json_t *object = json_pack("{s:s%,s:s%,s:s%}", "zoneID", c->zone.p, c->zone.n, "accountID",
                               c->account.p, c->account.n, "apiToken", c->token.p, c->token.n);
    if (object == NULL)
        return NULL;
    put_endpoint(object, "endpoint", c->endpoint);
    if (c->api.n > 0)
        (void)json_object_set_new(object, "apiURL", json_stringn((const char *)c->api.p, c->api.n));
    strb_init(&text, TEXT_BYTES_MAX);
    json_write(&text, object);
    char *body = text.err == 0 ? encode_base64(strb_slice(&text), arena) : NULL;
    json_decref(object);
    strb_done(&text);
    if (body == NULL)
        return NULL;
    strb_str(&text, "-----BEGIN ARGO TUNNEL TOKEN-----\n");
    for (struct slice rest = slice_str(body); rest.n > 0; rest = slice_sub(rest, 64, SIZE_MAX)) {
        strb_add(&text, slice_sub(rest, 0, 64));
        strb_char(&text, '\n');
    }
    strb_str(&text, "-----END ARGO TUNNEL TOKEN-----\n");
    if (text.err == 0)
        out = arena_str(arena, strb_slice(&text));
    strb_done(&text);
    return out;
}
