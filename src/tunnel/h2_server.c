#include "tunnel/h2_server.h"

#include "base/err.h"
#include "base/text.h"
#include "codec/h2_headers.h"
#include "codec/http1_names.h"
#include "http/h2_fields.h"
#include "tunnel/extension.h"

struct slice h2_head_field(const struct h2_head *h, struct slice name)
{
    for (size_t i = 0; i < h->count; i++)
        if (slice_eq(h->fields[i].name, name))
            return h->fields[i].value;
    return (struct slice){ 0 };
}

enum h2_kind h2_kind_of(const struct h2_head *h)
{
    struct slice upgrade = h2_head_field(h, SLICE(H2_UPGRADE_FIELD));
    if (slice_eq(upgrade, SLICE(H2_CONFIGURATION_VALUE)))
        return H2_CONFIGURATION;
    if (slice_eq(upgrade, SLICE(H2_WEBSOCKET_VALUE)))
        return H2_WEBSOCKET;
    if (h2_head_field(h, SLICE(H2_SOURCE_FIELD)).n > 0)
        return H2_TCP;
    return slice_eq(upgrade, SLICE(H2_CONTROL_VALUE)) ? H2_CONTROL : H2_HTTP;
}

/* ---- requests ---- */

static bool is_of_this_hop(struct slice name)
{
    return slice_eq(name, SLICE(H2_UPGRADE_FIELD)) || slice_eq(name, SLICE(H2_SOURCE_FIELD)) ||
           slice_eq(name, SLICE("cf-trace-id"));
}

/* Names get back the case that origins are used to; what is for this hop alone goes. */
static void clean(struct fields *f)
{
    size_t kept = 0;
    for (size_t i = 0; i < f->count; i++) {
        struct field line = f->lines[i];
        if (is_of_this_hop(line.name))
            continue;
        http1_name_canonicalise((uint8_t *)(uintptr_t)line.name.p, line.name.n); /* our copy */
        f->lines[kept++] = line;
    }
    f->count = kept;
}

static int take_request(struct exchange *ex, const struct h2_head *h)
{
    struct request *q = &ex->request;
    enum h2_kind kind = h2_kind_of(h);
    clean(&q->fields);
    q->upgrade = kind == H2_WEBSOCKET ? UPGRADE_WEBSOCKET
                 : kind == H2_TCP     ? UPGRADE_CONNECT
                                      : UPGRADE_NONE;
    if (kind == H2_TCP)
        q->target = q->host;          /* the authority says where to */
    if (q->upgrade != UPGRADE_NONE) { /* their bytes are no body */
        q->framing = FRAMING_NONE;
        q->has_length = q->expects_continue = false;
    }
    return q->target.n > 0 ? 0 : ERR_INVALID;
}

enum connect_type tunnel_h2_type(const struct exchange *ex)
{
    switch (ex->request.upgrade) {
    case UPGRADE_WEBSOCKET:
        return CONNECT_WEBSOCKET;
    case UPGRADE_CONNECT:
        return CONNECT_TCP;
    case UPGRADE_NONE:
        break;
    }
    return CONNECT_HTTP;
}

/* ---- responses ---- */

/* Names in the reference's case, as on the other transport. */
static int put_line(struct arena *arena, char *block, size_t max, size_t *n,
                    const struct field *line)
{
    uint8_t lower[64];
    struct slice name = arena_copy(arena, line->name);
    if (name.p == NULL)
        return ERR_NOMEM;
    size_t start = name.n < sizeof lower ? name.n : sizeof lower;
    for (size_t i = 0; i < start; i++)
        lower[i] = name.p[i] >= 'A' && name.p[i] <= 'Z' ? name.p[i] | 0x20 : name.p[i];
    if (h2_headers_is_control(slice_of(lower, start)))
        return 0;
    http1_name_canonicalise((uint8_t *)(uintptr_t)name.p, name.n);
    return h2_headers_put(block, max, n, name, line->value);
}

static int write_block(struct exchange *ex, const struct response *r, struct slice *ret)
{
    size_t max = 64, n = 0;
    char digits[U64_TEXT_BYTES];
    for (size_t i = 0; i < r->fields.count; i++)
        max += h2_headers_pair_bytes(r->fields.lines[i].name, r->fields.lines[i].value);
    char *block = arena_alloc(&ex->arena, max);
    if (block == NULL)
        return ERR_NOMEM;
    int e = 0;
    for (size_t i = 0; i < r->fields.count && e == 0; i++)
        e = put_line(&ex->arena, block, max, &n, &r->fields.lines[i]);
    if (e == 0 && r->has_length)
        e = h2_headers_put(block, max, &n, SLICE("Content-Length"),
                           slice_of(digits, u64_text(r->length, digits)));
    *ret = slice_of(block, n);
    return e;
}

static int put_response(struct exchange *ex, const struct response *r, struct h2_send_head *ret)
{
    bool is_interim = r->status < 200 && r->status != 101;
    if (is_interim && (ex->extensions & EXTENSION_TRAILERS) == 0)
        return ERR_UNSUPPORTED;
    struct slice block = { 0 };
    int e =
        ex->is_upgraded && ex->request.upgrade == UPGRADE_CONNECT ? 0 : write_block(ex, r, &block);
    /* Edges of others read one line, of any length. */
    size_t piece = ex->extensions != 0 ? H2_BLOCK_PIECE : SIZE_MAX;
    struct h2_field *fields = arena_alloc(&ex->arena, (block.n / piece + 3) * sizeof *fields);
    if (fields == NULL)
        return ERR_NOMEM;
    do {
        struct slice part = slice_sub(block, 0, piece);
        fields[ret->count++] = (struct h2_field){ SLICE(H2_BLOCK_FIELD), part, true };
        block = slice_sub(block, part.n, SIZE_MAX);
    } while (block.n > 0);
    fields[ret->count++] = (struct h2_field){ SLICE(H2_META_FIELD), SLICE(H2_META_ORIGIN), false };
    ret->fields = fields;
    if (e == 0 && r->has_length && !ex->is_upgraded && !is_interim && r->status != 204)
        e = h2_field_length(r->length, &ex->arena, &fields[ret->count++]);
    return e;
}

/* The reference says nothing of a failure but that it is one (docs/protocol.md §10.4). */
static int put_failure(struct exchange *ex, struct h2_send_head *ret)
{
    const struct verdict *v = &ex->verdict;
    struct slice text = slice_str(v->text != NULL ? v->text : err_text(v->err));
    struct h2_field *fields = arena_alloc(&ex->arena, 4 * sizeof *fields);
    char *coded = arena_alloc(&ex->arena, BASE64_BYTES(text.n));
    if (fields == NULL || coded == NULL)
        return ERR_NOMEM;
    ret->status = 502;
    ret->fields = fields;
    fields[ret->count++] = (struct h2_field){
        SLICE(H2_META_FIELD),
        v->failure == FAILURE_FLOW_LIMIT ? SLICE(H2_META_LIMITED) : SLICE(H2_META_CONNECTOR), false
    };
    fields[ret->count++] = (struct h2_field){ SLICE("content-length"), SLICE("0"), false };
    if ((ex->extensions & EXTENSION_DIAG) == 0)
        return 0;
    size_t n = base64_encode(text, BASE64_STD, false, coded);
    fields[ret->count++] =
        (struct h2_field){ SLICE(H2_FAILURE_FIELD), slice_str(failure_word(v->failure)), false };
    fields[ret->count++] = (struct h2_field){ SLICE(H2_TEXT_FIELD), slice_of(coded, n), true };
    return 0;
}

const struct h2_server_dialect TUNNEL_H2_SERVER = {
    .request = take_request,
    .response = put_response,
    .failure = put_failure,
};
