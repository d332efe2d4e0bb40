#include "tunnel/metadata.h"

#include "base/err.h"
#include "base/text.h"
#include "codec/http1_names.h"

static const struct slice METHOD = { (const uint8_t *)"HttpMethod", 10 };
static const struct slice HOST = { (const uint8_t *)"HttpHost", 8 };
static const struct slice STATUS = { (const uint8_t *)"HttpStatus", 10 };
static const struct slice RATE_LIMITED = { (const uint8_t *)"FlowConnectRateLimited", 22 };
static const struct slice FAILURE_KEY = { (const uint8_t *)"AditFailure", 11 };
static const struct slice BODY = { (const uint8_t *)"AditBody", 8 };
static const struct slice PIECES = { (const uint8_t *)"pieces", 6 };
static const struct slice HEADER = { (const uint8_t *)"HttpHeader", 10 };
static const struct slice HEADER_COLON = { (const uint8_t *)"HttpHeader:", 11 };

/* ---- writing ---- */

static int add(struct connect_head *head, struct slice key, struct slice value)
{
    if (head->count == head->max)
        return ERR_LIMIT;
    head->items[head->count++] = (struct metadata){ .key = key, .value = value };
    return 0;
}

/* "HttpHeader:" and the name, in the case that the reference gives it: edges and programs behind
 * them may compare with it. */
static int add_header(struct connect_head *head, struct arena *arena, struct slice name,
                      struct slice value)
{
    uint8_t *key = arena_alloc(arena, HEADER_COLON.n + name.n);
    if (key == NULL)
        return ERR_NOMEM;
    memcpy(key, HEADER_COLON.p, HEADER_COLON.n);
    memcpy(key + HEADER_COLON.n, name.p, name.n);
    http1_name_canonicalise(key + HEADER_COLON.n, name.n);
    return add(head, slice_of(key, HEADER_COLON.n + name.n), value);
}

static int add_length(struct connect_head *head, struct arena *arena, uint64_t length)
{
    char digits[U64_TEXT_BYTES];
    struct slice text = arena_copy(arena, slice_of(digits, u64_text(length, digits)));
    return text.p != NULL ? add_header(head, arena, SLICE("Content-Length"), text) : ERR_NOMEM;
}

static int head_open(struct connect_head *head, struct arena *arena, size_t fields)
{
    *head = (struct connect_head){ .max = fields + 5 };
    head->items = arena_alloc(arena, head->max * sizeof head->items[0]);
    return head->items != NULL ? 0 : ERR_NOMEM;
}

/* The reference re-adds what an upgrade needs; these would be doubled (docs/protocol.md §9.1). */
static bool is_of_upgrade(struct slice name)
{
    enum http1_name known = http1_name_of(name);
    return known == HTTP1_CONNECTION || known == HTTP1_UPGRADE;
}

/* Where trailers cannot go, their announcement must not (docs/protocol.md §9). */
static bool passes(enum framing framing, bool in_pieces, struct slice name)
{
    return in_pieces || framing != FRAMING_STREAM || http1_name_of(name) != HTTP1_TRAILER;
}

int metadata_write_request(struct buf *out, struct exchange *ex, bool in_pieces)
{
    const struct request *q = &ex->request;
    struct connect_head head;
    int r = head_open(&head, &ex->arena, q->fields.count);
    if (r < 0)
        return r;
    const char *dest = arena_join(
        &ex->arena, (const struct slice[]){ q->scheme, SLICE("://"), q->host, q->target }, 4);
    if (dest == NULL)
        return ERR_NOMEM;
    head.type = q->upgrade == UPGRADE_WEBSOCKET ? CONNECT_WEBSOCKET : CONNECT_HTTP;
    head.dest = slice_eq(q->target, SLICE("*")) ? q->target : slice_str(dest);
    r = add(&head, METHOD, q->method);
    if (r == 0)
        r = add(&head, HOST, q->host);
    if (r == 0 && in_pieces)
        r = add(&head, BODY, PIECES);
    for (size_t i = 0; i < q->fields.count && r == 0; i++)
        if (!(head.type == CONNECT_WEBSOCKET && is_of_upgrade(q->fields.lines[i].name)) &&
            passes(q->framing, in_pieces, q->fields.lines[i].name))
            r = add_header(&head, &ex->arena, q->fields.lines[i].name, q->fields.lines[i].value);
    if (r == 0 && q->framing == FRAMING_STREAM)
        r = add_header(&head, &ex->arena, SLICE("Transfer-Encoding"), SLICE("chunked"));
    else if (r == 0 && q->has_length)
        r = add_length(&head, &ex->arena, q->length);
    return r == 0 ? head_encode_request(out, &head) : r;
}

int metadata_write_response(struct buf *out, struct exchange *ex, const struct response *p,
                            bool in_pieces)
{
    struct connect_head head;
    /* The answer to a tcp stream says no more than that there is one. */
    if (ex->request.upgrade == UPGRADE_CONNECT)
        return head_encode_response(out, &(struct connect_head){ 0 });
    int r = head_open(&head, &ex->arena, p->fields.count);
    char digits[U64_TEXT_BYTES];
    struct slice status = arena_copy(&ex->arena, slice_of(digits, u64_text(p->status, digits)));
    if (r < 0 || status.p == NULL)
        return ERR_NOMEM;
    r = add(&head, STATUS, status);
    if (r == 0 && in_pieces)
        r = add(&head, BODY, PIECES);
    for (size_t i = 0; i < p->fields.count && r == 0; i++)
        if (passes(p->framing, in_pieces, p->fields.lines[i].name))
            r = add_header(&head, &ex->arena, p->fields.lines[i].name, p->fields.lines[i].value);
    if (r == 0 && p->has_length)
        r = add_length(&head, &ex->arena, p->length);
    return r == 0 ? head_encode_response(out, &head) : r;
}

int metadata_write_error(struct buf *out, const char *text, enum failure failure, bool is_told)
{
    struct metadata items[2];
    struct connect_head head = { .items = items, .max = 2, .error = slice_str(text) };
    if (failure == FAILURE_FLOW_LIMIT)
        items[head.count++] = (struct metadata){ .key = RATE_LIMITED, .value = SLICE("true") };
    if (is_told && failure != FAILURE_NONE)
        items[head.count++] =
            (struct metadata){ .key = FAILURE_KEY, .value = slice_str(failure_word(failure)) };
    return head_encode_response(out, &head);
}

/* ---- reading ---- */

/* Copies the head at the front of *in into the arena and decodes it there: the views then live as
 * long as the exchange. */
static int take_head(struct buf *in, struct arena *arena,
                     int (*decode)(struct slice, struct connect_head *), struct connect_head *ret)
{
    uint8_t start[HEAD_PREAMBLE_BYTES + 4 + 4 * CAPNP_SEGMENTS_MAX + 8];
    size_t size, have = buf_copy(in, 0, start, sizeof start);
    int r = head_size(slice_of(start, have), &size);
    if (r < 0)
        return r;
    if (buf_len(in) < size)
        return ERR_AGAIN;
    uint8_t *copy = arena_alloc(arena, size);
    /* Each item takes at least two pointers of the frame. */
    *ret = (struct connect_head){ .max = size / 16 < TUNNEL_METADATA_MAX ? size / 16
                                                                         : TUNNEL_METADATA_MAX };
    ret->items = arena_alloc(arena, ret->max * sizeof ret->items[0]);
    if (copy == NULL || ret->items == NULL)
        return ERR_LIMIT;
    (void)buf_copy(in, 0, copy, size);
    r = decode(slice_of(copy, size), ret);
    if (r == 0)
        buf_drop(in, size);
    return r;
}

static bool contains(struct slice s, struct slice part)
{
    return s.n >= part.n && memmem(s.p, s.n, part.p, part.n) != NULL;
}

/* The header's name of a key that has one: 1; 0 for another key; ERR_INVALID when it is not exactly
 * two parts. */
static int header_name(struct slice key, struct slice *ret)
{
    if (!slice_starts(key, HEADER) && !contains(key, HEADER))
        return 0;
    size_t colon = slice_find(key, ':');
    struct slice name = slice_sub(key, colon + 1, SIZE_MAX);
    if (colon == key.n || slice_find(name, ':') < name.n)
        return ERR_INVALID;
    *ret = name;
    return 1;
}

static int invalid(const char **ret_text, const char *text)
{
    *ret_text = text != NULL ? text : "malformed request";
    return ERR_INVALID;
}

/* Several lines must agree (RFC 9112 §6.3): the reference takes the first, and hides the rest. */
static int take_length(struct exchange *ex, struct slice value, const char **ret_text)
{
    struct request *q = &ex->request;
    uint64_t length;
    int r = slice_u64(value, INT64_MAX, &length);
    if (r < 0)
        return invalid(ret_text,
                       arena_fmt(&ex->arena,
                                 "Error setting content-length: strconv.ParseInt: "
                                 "parsing \"%.*s\": %s",
                                 SLICE_FMT(value),
                                 r == ERR_RANGE ? "value out of range" : "invalid syntax"));
    if (q->has_length && q->length != length)
        return invalid(ret_text, "Error setting content-length: two lengths that differ");
    q->length = length;
    q->has_length = true;
    return 0;
}

static int take_request_header(struct exchange *ex, struct slice name, struct slice value,
                               const char **ret_text)
{
    struct request *q = &ex->request;
    /* In place: the copy of the head is ours. */
    http1_name_canonicalise((uint8_t *)(uintptr_t)name.p, name.n);
    if (!field_name_is_valid(name))
        return invalid(ret_text,
                       arena_fmt(&ex->arena,
                                 TUNNEL_UNREACHABLE "net/http: invalid header field name \"%.*s\"",
                                 SLICE_FMT(name)));
    if (!field_value_is_valid(value))
        return invalid(ret_text, arena_fmt(&ex->arena,
                                           TUNNEL_UNREACHABLE
                                           "net/http: invalid header field value for \"%.*s\"",
                                           SLICE_FMT(name)));
    value = slice_trim(value);
    switch ((int)http1_name_of(name)) { /* the few that frame or belong to this hop */
    case HTTP1_CONTENT_LENGTH:
        return take_length(ex, value, ret_text);
    case HTTP1_TRANSFER_ENCODING:
        if (contains(value, SLICE("chunked")))
            q->framing = FRAMING_STREAM;
        return 0;
    case HTTP1_HOST:
    case HTTP1_CONNECTION:
        return 0;
    case HTTP1_UPGRADE:
        return q->upgrade == UPGRADE_WEBSOCKET ? 0 : fields_add(&q->fields, name, value);
    case HTTP1_EXPECT:
        q->expects_continue = slice_eq_nocase(value, SLICE("100-continue"));
        return fields_add(&q->fields, name, value);
    default:
        if (slice_eq_nocase(name, SLICE("cf-trace-id")) ||
            slice_eq_nocase(name, SLICE("cf-cloudflared-proxy-connection-upgrade")))
            return 0;
        return fields_add(&q->fields, name, value);
    }
}

/* Path and query of dest: a full URL, a bare path, nothing, or "*". */
static struct slice target_of(struct slice dest)
{
    const uint8_t *scheme = dest.n > 0 ? memmem(dest.p, dest.n, "://", 3) : NULL;
    if (dest.n > 0 && dest.p[0] != '/' && scheme != NULL) {
        struct slice rest = slice_sub(dest, (size_t)(scheme - dest.p) + 3, SIZE_MAX);
        size_t at = 0;
        while (at < rest.n && rest.p[at] != '/' && rest.p[at] != '?' && rest.p[at] != '#')
            at++;
        dest = slice_sub(rest, at, SIZE_MAX);
    }
    dest = slice_sub(dest, 0, slice_find(dest, '#'));
    return dest.n > 0 ? dest : SLICE("/");
}

/* The host of a full URL is not used, but it must be one: a bracket that is opened is closed. */
static bool dest_is_valid(struct slice dest)
{
    const uint8_t *scheme = dest.n > 0 ? memmem(dest.p, dest.n, "://", 3) : NULL;
    if (scheme == NULL || dest.p[0] == '/')
        return true;
    struct slice rest = slice_sub(dest, (size_t)(scheme - dest.p) + 3, SIZE_MAX);
    struct slice authority = slice_sub(rest, 0, slice_find(rest, '/'));
    return slice_find(authority, '[') == authority.n || slice_find(authority, ']') < authority.n;
}

static bool target_is_valid(struct slice target)
{
    for (size_t i = 0; i < target.n; i++)
        if (target.p[i] <= 0x20 || target.p[i] == 0x7f)
            return false;
    return target.p[0] == '/' || target.p[0] == '?' || slice_eq(target, SLICE("*"));
}

static bool is_in_pieces(const struct metadata *item)
{
    return slice_eq(item->key, BODY) && slice_eq(item->value, PIECES);
}

static int fill_request(struct exchange *ex, const struct connect_head *head, unsigned extensions,
                        struct metadata_asked *ret)
{
    struct request *q = &ex->request;
    const char **ret_text = &ret->text;
    q->scheme = SLICE("http");
    q->upgrade = head->type == CONNECT_WEBSOCKET ? UPGRADE_WEBSOCKET
                 : head->type == CONNECT_TCP     ? UPGRADE_CONNECT
                                                 : UPGRADE_NONE;
    for (size_t i = 0; i < head->count; i++) {
        struct slice key = head->items[i].key, value = head->items[i].value, name;
        int r = header_name(key, &name);
        if (r < 0)
            return invalid(ret_text,
                           arena_fmt(&ex->arena, "header Key: %.*s malformed", SLICE_FMT(key)));
        if (r > 0)
            r = take_request_header(ex, name, value, ret_text);
        if (r < 0)
            return r;
        if (slice_eq(key, METHOD))
            q->method = value;
        if (slice_eq(key, HOST))
            q->host = value;
        if ((extensions & EXTENSION_TRAILERS) != 0)
            ret->in_pieces |= is_in_pieces(&head->items[i]);
    }
    if (q->method.n == 0)
        q->method = SLICE("GET");
    if (!field_name_is_valid(q->method))
        return invalid(ret_text, arena_fmt(&ex->arena, "net/http: invalid method \"%.*s\"",
                                           SLICE_FMT(q->method)));
    if (!field_value_is_valid(q->host))
        return invalid(ret_text, "malformed Host");
    if (head->type != CONNECT_TCP && !dest_is_valid(head->dest))
        return invalid(ret_text, arena_fmt(&ex->arena, "parse \"%.*s\": missing ']' in host",
                                           SLICE_FMT(head->dest)));
    q->target = head->type == CONNECT_TCP ? head->dest : target_of(head->dest);
    if (head->type != CONNECT_TCP && !target_is_valid(q->target))
        return invalid(ret_text, "malformed request target");
    if (q->target.n > 0 && q->target.p[0] == '?') {
        const char *target = arena_fmt(&ex->arena, "/%.*s", SLICE_FMT(q->target));
        if (target == NULL)
            return ERR_NOMEM;
        q->target = slice_str(target);
    }
    /* Here, unlike on HTTP/1.1, "chunked" is a remark about the visitor's framing: the stream's
     * bytes carry no chunks, so a length beside it is the better word (§11.2). */
    if (q->has_length && q->length > 0)
        q->framing = FRAMING_LENGTH;
    else if (q->framing == FRAMING_STREAM)
        q->has_length = false;
    if (ret->in_pieces && q->framing != FRAMING_STREAM)
        return invalid(ret_text, "trailers behind a body of known length");
    if (!ret->in_pieces && q->framing == FRAMING_STREAM)
        (void)fields_remove(&q->fields, SLICE("Trailer"));
    return 0;
}

int metadata_read_request(struct buf *in, struct exchange *ex, unsigned extensions,
                          struct metadata_asked *ret)
{
    struct connect_head head;
    *ret = (struct metadata_asked){ 0 };
    int r = take_head(in, &ex->arena, head_decode_request, &head);
    if (r == ERR_UNSUPPORTED)
        return invalid(&ret->text, "unknown connection type");
    if (r < 0)
        return r;
    ret->type = head.type;
    return fill_request(ex, &head, extensions, ret);
}

/* A status decides whether a body follows (RFC 9110 §6.4.1). */
static void frame_response(struct exchange *ex, struct response *p)
{
    bool has_none = p->status < 200 || p->status == 204 || p->status == 304 ||
                    slice_eq(ex->request.method, SLICE("HEAD"));
    if (has_none || (p->has_length && p->length == 0))
        p->framing = FRAMING_NONE;
    else
        p->framing = p->has_length ? FRAMING_LENGTH : FRAMING_STREAM;
}

static int take_response_header(struct response *p, struct slice name, struct slice value)
{
    value = slice_trim(value);
    if (!field_name_is_valid(name) || !field_value_is_valid(value))
        return ERR_PROTO;
    enum http1_name known = http1_name_of(name);
    if (known == HTTP1_CONTENT_LENGTH) {
        if (p->has_length || slice_u64(value, INT64_MAX, &p->length) < 0)
            return ERR_PROTO;
        p->has_length = true;
        return 0;
    }
    if (known == HTTP1_TRANSFER_ENCODING)
        return 0; /* the stream's end is the body's */
    return fields_add(&p->fields, name, value);
}

int metadata_read_response(struct buf *in, struct exchange *ex, struct metadata_answer *ret)
{
    struct connect_head head;
    uint64_t status = 0;
    *ret = (struct metadata_answer){ 0 };
    int r = take_head(in, &ex->arena, head_decode_response, &head);
    if (r < 0)
        return r;
    struct response *p = response_new(ex, 0);
    if (p == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < head.count && r == 0; i++) {
        struct slice key = head.items[i].key, value = head.items[i].value, name;
        if (slice_eq(key, STATUS))
            r = slice_u64(value, 999, &status);
        else if (slice_eq(key, RATE_LIMITED) && slice_eq(value, SLICE("true")))
            ret->failure = FAILURE_FLOW_LIMIT;
        else if (slice_eq(key, FAILURE_KEY) && ret->failure == FAILURE_NONE)
            ret->failure = failure_of_word(value);
        else if (header_name(key, &name) == 1)
            r = take_response_header(p, name, value);
        else
            ret->in_pieces |= is_in_pieces(&head.items[i]);
    }
    if (head.error.n > 0) {
        ret->error = arena_str(&ex->arena,
                               slice_is_utf8(head.error) ? head.error : SLICE("unreadable error"));
        if (ret->failure == FAILURE_NONE)
            ret->failure = failure_of_text(head.error);
        return ret->error != NULL ? 0 : ERR_NOMEM;
    }
    if (r < 0 || status < 100)
        return r < 0 && r != ERR_PARSE && r != ERR_RANGE ? r : ERR_PROTO;
    p->status = (unsigned)status;
    frame_response(ex, p);
    ret->response = p;
    return 0;
}

/* ---- trailers ---- */

int metadata_write_trailers(struct buf *out, struct arena *arena, const struct fields *trailers)
{
    struct connect_head head;
    size_t count = trailers != NULL ? trailers->count : 0;
    int r = head_open(&head, arena, count);
    for (size_t i = 0; i < count && r == 0; i++)
        r = add_header(&head, arena, trailers->lines[i].name, trailers->lines[i].value);
    return r == 0 ? head_encode_response(out, &head) : r;
}

static int take_trailer(struct fields *f, struct slice name, struct slice value, size_t *bytes)
{
    value = slice_trim(value);
    if (!field_name_is_valid(name) || !field_value_is_valid(value))
        return ERR_PROTO;
    *bytes += name.n + value.n + 4;
    if (*bytes > TRAILER_BYTES_MAX)
        return ERR_LIMIT;
    if ((http1_name_marks(http1_name_of(name)) & HTTP1_NO_TRAILER) != 0)
        return 0;
    return fields_add(f, name, value);
}

int metadata_read_trailers(struct buf *in, struct arena *arena, struct fields **ret)
{
    struct connect_head head;
    size_t bytes = 0;
    int r = take_head(in, arena, head_decode_response, &head);
    if (r < 0)
        return r;
    struct fields *f = arena_alloc(arena, sizeof *f);
    if (f == NULL)
        return ERR_NOMEM;
    fields_init(f, arena);
    for (size_t i = 0; i < head.count && r == 0; i++) {
        struct slice name;
        if (header_name(head.items[i].key, &name) == 1)
            r = take_trailer(f, name, head.items[i].value, &bytes);
    }
    if (r == 0 && head.error.n > 0)
        r = ERR_PROTO;
    if (r == 0 && f->count > 0)
        *ret = f;
    return r;
}
