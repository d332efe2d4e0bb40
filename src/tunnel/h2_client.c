#include "tunnel/h2_client.h"

#include "base/err.h"
#include "base/text.h"
#include "codec/h2_headers.h"
#include "codec/http1_names.h"
#include "http/h2_fields.h"
#include "tunnel/extension.h"
#include "tunnel/h2_words.h"

/* ---- requests ---- */

/* What tells the connector which kind of stream this is: a visitor must not have a say in it. Of
 * its word a request would become a stream of bytes to any address, or a configuration. */
static size_t drop_words(struct h2_field *fields, size_t first, size_t count)
{
    static const struct slice START = { (const uint8_t *)"cf-cloudflared-proxy-", 21 };
    size_t kept = first;
    for (size_t i = first; i < count; i++)
        if (!slice_eq_nocase(slice_sub(fields[i].name, 0, START.n), START))
            fields[kept++] = fields[i];
    return kept;
}

static int put_request(struct exchange *ex, struct h2_send_head *ret, bool *ret_ends)
{
    const struct request *q = &ex->request;
    struct h2_field *fields;
    size_t count, first = 1;
    int r = h2_fields_out(&q->fields, &ex->arena, 1, &fields, &count);
    if (r < 0)
        return r;
    count = drop_words(fields, first, count);
    bool is_upgrade = q->upgrade == UPGRADE_WEBSOCKET;
    if (is_upgrade) {
        first = 0;
        fields[0] = (struct h2_field){ SLICE(H2_UPGRADE_FIELD), SLICE(H2_WEBSOCKET_VALUE), false };
    } else if (q->framing != FRAMING_STREAM && q->has_length) {
        first = 0;
        r = h2_field_length(q->length, &ex->arena, &fields[0]);
    }
    bool has_body = q->framing == FRAMING_STREAM || (q->framing == FRAMING_LENGTH && q->length > 0);
    *ret_ends = !is_upgrade && !has_body;
    *ret = (struct h2_send_head){ .method = q->method,
                                  .scheme = q->scheme,
                                  .authority = q->host,
                                  .path = q->target,
                                  .fields = fields + first,
                                  .count = count - first };
    return r;
}

/* ---- responses ---- */

static int take_length(struct response *p, struct slice value)
{
    uint64_t length;
    if (slice_u64(slice_trim(value), INT64_MAX, &length) < 0 ||
        (p->has_length && p->length != length))
        return ERR_PROTO;
    p->has_length = true;
    p->length = length;
    return 0;
}

static int take_line(struct response *p, struct slice name, struct slice value)
{
    value = slice_trim(value);
    if (!field_name_is_valid(name) || !field_value_is_valid(value))
        return ERR_PROTO;
    switch ((int)http1_name_of(name)) {
    case HTTP1_CONTENT_LENGTH:
        return take_length(p, value);
    case HTTP1_TRANSFER_ENCODING: /* the stream's end is the body's */
        return 0;
    default:
        return fields_add(&p->fields, name, value);
    }
}

static struct slice join_block(struct arena *arena, const struct h2_head *h)
{
    size_t n = 0, at = 0;
    for (size_t i = 0; i < h->count; i++)
        n += slice_eq(h->fields[i].name, SLICE(H2_BLOCK_FIELD)) ? h->fields[i].value.n : 0;
    uint8_t *all = arena_alloc(arena, n + 1);
    for (size_t i = 0; i < h->count && all != NULL; i++) {
        struct slice piece = h->fields[i].value;
        if (!slice_eq(h->fields[i].name, SLICE(H2_BLOCK_FIELD)) || piece.n == 0)
            continue;
        memcpy(all + at, piece.p, piece.n);
        at += piece.n;
    }
    return slice_of(all, n);
}

static int read_block(struct exchange *ex, struct response *p, const struct h2_head *h)
{
    struct slice name, value, copy = join_block(&ex->arena, h);
    struct h2_headers_reader reader = {
        .rest = copy,
        .space = arena_alloc(&ex->arena, H2_HEADERS_SPACE(copy.n)),
    };
    if (reader.space == NULL || copy.p == NULL)
        return ERR_NOMEM;
    for (;;) {
        int r = h2_headers_next(&reader, &name, &value);
        if (r == ERR_EOF)
            return 0;
        if (r == 0)
            r = take_line(p, name, value);
        if (r < 0)
            return r == ERR_PARSE || r == ERR_LIMIT ? ERR_PROTO : r;
    }
}

static const char *text_of(struct exchange *ex, struct slice coded)
{
    size_t n;
    uint8_t *text = arena_alloc(&ex->arena, coded.n + 4);
    if (coded.n == 0 || text == NULL ||
        base64_decode(coded, BASE64_STD, false, false, text, &n) < 0 || n == 0 ||
        memchr(text, 0, n) != NULL || !slice_is_utf8(slice_of(text, n)))
        return "the connector could not ask the origin; its log says why";
    text[n] = 0;
    return (const char *)text;
}

static int take_failure(struct h2_client *c, const struct h2_head *h, struct slice meta)
{
    c->failure = failure_of_word(h2_head_field(h, SLICE(H2_FAILURE_FIELD)));
    if (c->failure == FAILURE_NONE)
        c->failure = slice_eq(meta, SLICE(H2_META_LIMITED)) ? FAILURE_FLOW_LIMIT : FAILURE_ORIGIN;
    c->text = text_of(c->ex, h2_head_field(h, SLICE(H2_TEXT_FIELD)));
    return ERR_ORIGIN;
}

/* 200 stands for 101 where the origin agreed to the upgrade. */
static bool is_agreed(const struct exchange *ex, const struct response *p)
{
    return ex->request.upgrade == UPGRADE_WEBSOCKET && p->status == 200 &&
           fields_get(&p->fields, SLICE("sec-websocket-accept")) != NULL;
}

/* ERR_PROTO: a body was announced, and none comes. */
static int frame(const struct exchange *ex, struct response *p, bool ends)
{
    bool has_none = p->status < 200 || p->status == 204 || p->status == 304 ||
                    slice_eq(ex->request.method, SLICE("HEAD"));
    if (ends && !has_none && p->has_length && p->length > 0)
        return ERR_PROTO;
    if (has_none || ends || (p->has_length && p->length == 0))
        p->framing = FRAMING_NONE;
    else
        p->framing = p->has_length ? FRAMING_LENGTH : FRAMING_STREAM;
    if (ends && !has_none)
        p->has_length = true; /* that is how long it is */
    return 0;
}

static int take_response(struct h2_client *c, const struct h2_head *h, struct response **ret)
{
    struct exchange *ex = c->ex;
    struct slice meta = h2_head_field(h, SLICE(H2_META_FIELD));
    if (slice_eq(meta, SLICE(H2_META_CONNECTOR)) || slice_eq(meta, SLICE(H2_META_LIMITED)))
        return take_failure(c, h, meta);
    if (h->status < 200 && (ex->extensions & EXTENSION_TRAILERS) == 0 && h->status != 100)
        return ERR_PROTO;
    struct response *p = response_new(ex, h->status);
    if (p == NULL)
        return ERR_NOMEM;
    int r = read_block(ex, p, h);
    if (r == 0 && h->has_length && p->has_length && p->length != h->length)
        return ERR_PROTO;
    if (r == 0 && h->has_length && h->status >= 200) {
        p->has_length = true;
        p->length = h->length;
    }
    if (is_agreed(ex, p))
        p->status = 101;
    *ret = p;
    return r < 0 ? r : frame(ex, p, h->ends);
}

const struct h2_client_dialect TUNNEL_H2_CLIENT = {
    .request = put_request,
    .response = take_response,
};
