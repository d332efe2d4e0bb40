#include "model/tunnel_token.h"

#include "base/err.h"
#include "codec/json.h"

#define TEXT_BYTES_MAX 65536

/* ---- helpers for both directions ---- */

/* 0, ERR_PARSE, ERR_NOMEM. */
static int decode_base64(struct slice text, bool breaks, struct arena *arena, struct slice *ret)
{
    size_t n;
    uint8_t *bytes = arena_alloc(arena, text.n / 4 * 3 + 4);
    if (bytes == NULL)
        return ERR_NOMEM;
    int r = base64_decode(text, BASE64_STD, true, breaks, bytes, &n);
    if (r == 0)
        *ret = slice_of(bytes, n);
    return r;
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

/* A text, absent (or null) as empty. 0, ERR_PARSE when it is something else, ERR_NOMEM. */
static int text_of(const json_t *object, const char *name, struct arena *arena, struct slice *ret)
{
    const json_t *value = member(object, name);
    *ret = (struct slice){ 0 };
    if (value == NULL || json_is_null(value))
        return 0;
    if (!json_is_string(value))
        return ERR_PARSE;
    *ret = arena_copy(arena, slice_of(json_string_value(value), json_string_length(value)));
    return ret->p != NULL ? 0 : ERR_NOMEM;
}

/* For json_pack's "s%": it takes no NULL. */
static const char *chars(struct slice s)
{
    return s.n > 0 ? (const char *)s.p : "";
}

static int out_of_memory(struct fault *fault)
{
    return fault_set(fault, ERR_NOMEM, "out of memory");
}

static int parse_object(struct slice text, json_t **ret, struct fault *fault)
{
    json_t *value;
    struct fault inner = { 0 };
    int r = json_parse_last_wins(text, &value, &inner);
    if (r == ERR_NOMEM)
        return out_of_memory(fault);
    if (r < 0)
        return fault_set(fault, r, "it is not %s", inner.text); /* "JSON: …" */
    if (!json_is_object(value)) {
        json_decref(value);
        return fault_set(fault, ERR_PARSE, "it is not a JSON object");
    }
    *ret = value;
    return 0;
}

/* Where the edge is and whom to trust: extra keys, which the reference ignores. False when they
 * are not all in: a token that lost its pin would trust anybody. */
static bool put_edges(json_t *object, const struct credential *c, struct arena *arena)
{
    json_t *edges = c->edge_count > 0 ? json_array() : NULL;
    bool is_ok = c->edge_count == 0 || edges != NULL;
    for (size_t i = 0; i < c->edge_count && is_ok; i++)
        is_ok = json_array_append_new(edges, json_stringn(chars(c->edges[i]), c->edges[i].n)) == 0;
    if (c->edge_count > 0)
        is_ok = json_object_set_new(object, "edges", edges) == 0 && is_ok;
    if (c->has_pin) {
        const char *pin = encode_base64(slice_of(c->pin, sizeof c->pin), arena);
        is_ok = is_ok && json_object_set_new(object, "ca", json_string(pin)) == 0;
    }
    return is_ok;
}

/* ---- tokens ---- */

static int take_secret(const json_t *object, const char *name, struct arena *arena,
                       struct slice *ret)
{
    struct slice text;
    int r = text_of(object, name, arena, &text);
    return r < 0 || text.n == 0 ? r : decode_base64(text, true, arena, ret);
}

/* A pin that is there must be one: without it anybody would be trusted. */
static int take_pin(const json_t *object, struct arena *arena, struct credential *c)
{
    const json_t *ca = json_object_get(object, "ca");
    struct slice pin;
    if (ca == NULL || json_is_null(ca))
        return 0;
    int r = decode_base64(json_member_slice(object, "ca"), false, arena, &pin);
    if (r < 0 || pin.n != sizeof c->pin)
        return r < 0 ? r : ERR_PARSE;
    memcpy(c->pin, pin.p, sizeof c->pin);
    c->has_pin = true;
    return 0;
}

static int take_edges(const json_t *object, struct arena *arena, struct credential *c)
{
    const json_t *edges = json_object_get(object, "edges");
    for (size_t i = 0; i < json_array_size(edges) && c->edge_count < TOKEN_EDGES_MAX; i++) {
        const json_t *edge = json_array_get(edges, i);
        if (!json_is_string(edge))
            continue;
        struct slice copy =
            arena_copy(arena, slice_of(json_string_value(edge), json_string_length(edge)));
        if (copy.p == NULL)
            return ERR_NOMEM;
        c->edges[c->edge_count++] = copy;
    }
    return take_pin(object, arena, c);
}

int tunnel_token_read(struct slice text, struct arena *arena, struct credential *ret,
                      struct fault *fault)
{
    struct credential c = { 0 };
    struct slice tunnel;
    json_t *object;
    if (text.n > TEXT_BYTES_MAX)
        return fault_set(fault, ERR_TOOLARGE, "the tunnel token is too long");
    struct slice json = { 0 };
    int r = decode_base64(text, true, arena, &json);
    if (r == ERR_NOMEM)
        return out_of_memory(fault);
    if (r < 0 || json.n == 0)
        return fault_set(fault, ERR_PARSE,
                         "the tunnel token is not valid: it is not base64; copy it again, whole");
    r = parse_object(json, &object, fault);
    if (r == ERR_PARSE)
        return fault_set(fault, r,
                         "the tunnel token is not valid: its content is not a JSON object");
    if (r < 0)
        return r;
    r = text_of(object, "a", arena, &c.account);
    if (r == 0)
        r = text_of(object, "t", arena, &tunnel);
    if (r == 0)
        r = text_of(object, "e", arena, &c.endpoint);
    if (r == 0)
        r = take_secret(object, "s", arena, &c.secret);
    if (r == 0)
        r = take_edges(object, arena, &c);
    json_decref(object);
    if (r == ERR_NOMEM)
        return out_of_memory(fault);
    if (r < 0 || (tunnel.n > 0 && uuid_parse(tunnel, &c.tunnel) < 0))
        return fault_set(fault, ERR_PARSE,
                         "the tunnel token is not valid: a, s, t or ca is not of the right kind");
    *ret = c;
    return 0;
}

/* Only when there is one, as the reference does. */
static bool put_endpoint(json_t *object, const char *key, struct slice endpoint)
{
    return endpoint.n == 0 ||
           json_object_set_new(object, key, json_stringn(chars(endpoint), endpoint.n)) == 0;
}

char *tunnel_token_write(const struct credential *c, struct arena *arena)
{
    char id[UUID_TEXT_BYTES];
    char *secret = encode_base64(c->secret, arena);
    struct strb json;
    char *token = NULL;
    if (secret == NULL)
        return NULL;
    json_t *object = json_pack("{s:s%,s:s,s:s}", "a", chars(c->account), c->account.n, "s", secret,
                               "t", uuid_text(&c->tunnel, id));
    bool is_whole =
        object != NULL && put_endpoint(object, "e", c->endpoint) && put_edges(object, c, arena);
    strb_init(&json, TEXT_BYTES_MAX);
    if (is_whole)
        json_write(&json, object);
    if (is_whole && json.err == 0)
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
    r = text_of(object, "AccountTag", arena, &c.account);
    if (r == 0)
        r = text_of(object, "TunnelID", arena, &tunnel);
    if (r == 0)
        r = text_of(object, "TunnelName", arena, &c.name);
    if (r == 0)
        r = text_of(object, "Endpoint", arena, &c.endpoint);
    if (r == 0)
        r = take_secret(object, "TunnelSecret", arena, &c.secret);
    if (r == 0)
        r = take_edges(object, arena, &c);
    json_decref(object);
    if (r == ERR_NOMEM)
        return out_of_memory(fault);
    if (r < 0 || (tunnel.n > 0 && uuid_parse(tunnel, &c.tunnel) < 0))
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
    json_t *object = json_pack("{s:s%,s:s,s:s,s:s%}", "AccountTag", chars(c->account), c->account.n,
                               "TunnelSecret", secret, "TunnelID", uuid_text(&c->tunnel, id),
                               "Endpoint", chars(c->endpoint), c->endpoint.n);
    if (object == NULL)
        return NULL;
    bool is_whole = put_edges(object, c, arena);
    strb_init(&json, TEXT_BYTES_MAX);
    if (is_whole)
        json_write(&json, object);
    if (is_whole && json.err == 0)
        text = arena_str(arena, strb_slice(&json));
    strb_done(&json);
    json_decref(object);
    return text;
}

/* ---- cert.pem ---- */

static const struct slice BEGIN = { (const uint8_t *)"-----BEGIN ", 11 };
static const struct slice END = { (const uint8_t *)"-----END ", 9 };

/* The next PEM block: its label and its base64 lines. 1, 0 at the end, ERR_PARSE, ERR_NOMEM. */
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
                return ERR_NOMEM;
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
    r = text_of(object, "zoneID", arena, &c.zone);
    if (r == 0)
        r = text_of(object, "accountID", arena, &c.account);
    if (r == 0)
        r = text_of(object, "apiToken", arena, &c.token);
    if (r == 0)
        r = text_of(object, "endpoint", arena, &c.endpoint);
    if (r == 0)
        r = text_of(object, "apiURL", arena, &c.api);
    json_decref(object);
    if (r == ERR_NOMEM)
        return out_of_memory(fault);
    if (r < 0 || c.zone.n == 0 || c.token.n == 0)
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
        r = decode_base64(body, false, arena, &token);
        if (r == ERR_NOMEM)
            return out_of_memory(fault);
        if (r < 0)
            return fault_set(fault, ERR_PARSE, "the ARGO TUNNEL TOKEN is not base64");
    }
    if (r == ERR_NOMEM)
        return out_of_memory(fault);
    if (r < 0 || token.p == NULL)
        return fault_set(fault, ERR_PARSE, "there is no ARGO TUNNEL TOKEN in it");
    return take_cert_json(token, arena, ret, fault);
}

char *origin_cert_write(const struct origin_cert *c, struct arena *arena)
{
    struct strb text;
    char *out = NULL;
    json_t *object =
        json_pack("{s:s%,s:s%,s:s%}", "zoneID", chars(c->zone), c->zone.n, "accountID",
                  chars(c->account), c->account.n, "apiToken", chars(c->token), c->token.n);
    if (object == NULL)
        return NULL;
    bool is_whole =
        put_endpoint(object, "endpoint", c->endpoint) && put_endpoint(object, "apiURL", c->api);
    strb_init(&text, TEXT_BYTES_MAX);
    if (is_whole)
        json_write(&text, object);
    char *body = is_whole && text.err == 0 ? encode_base64(strb_slice(&text), arena) : NULL;
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
