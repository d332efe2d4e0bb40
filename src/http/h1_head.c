#include "http/h1_head.h"

#include <stdlib.h>

#include "base/err.h"

/* ---- a head as contiguous bytes ---- */

typedef int parse_head(struct slice bytes, const struct http1_limits *limits,
                       struct http1_head *head);

/* A head is parsed in place when it lies in one chunk, as nearly all do; else in a copy. */
struct view {
    struct slice bytes;
    uint8_t *copy;
};

static void view_done(struct view *v)
{
    free(v->copy);
}

/* Whether a longer head can have become nothing but longer: no line has ended since the last look,
 * and no limit is near. Then it needs no copy, of which there is one for each line at most: a head
 * that comes byte by byte would else be copied for every byte. The start line has a limit of its
 * own, so its end is looked for with care from where a target would become too long. */
static bool has_nothing_new(const struct buf *in, size_t head_max, struct http1_scan *scan)
{
    uint8_t piece[512];
    size_t len = buf_len(in), n;
    if (len >= head_max || (scan->lines == 0 && len >= TARGET_BYTES_MAX))
        return false;
    for (size_t at = scan->at; (n = buf_copy(in, at, piece, sizeof piece)) > 0; at += n)
        if (memchr(piece, '\n', n) != NULL)
            return false;
    scan->at = len;
    return true;
}

static int view_parse(struct view *v, parse_head *parse, struct buf *in, size_t head_max,
                      struct http1_scan *scan, struct http1_head *head)
{
    struct http1_limits limits = HTTP1_LIMITS;
    if (head_max > 0)
        limits.head_bytes_max = head_max;
    head_max = limits.head_bytes_max;
    head->scan = *scan;
    v->bytes = buf_front(in);
    /* The scan goes on where it stopped, which may be behind the first piece. */
    int used = scan->at <= v->bytes.n ? parse(v->bytes, &limits, head) : ERR_AGAIN;
    if (used == ERR_AGAIN && v->bytes.n < buf_len(in) &&
        !has_nothing_new(in, head_max, &head->scan)) {
        size_t n = buf_len(in) <= head_max ? buf_len(in) : head_max + 1;
        v->copy = malloc(n);
        if (v->copy == NULL)
            return ERR_NOMEM;
        v->bytes = slice_of(v->copy, buf_copy(in, 0, v->copy, n));
        used = parse(v->bytes, &limits, head);
    }
    *scan = head->scan;
    return used;
}

/* The same view within a copy of the head that lives in the arena. */
static struct slice moved(struct slice s, const uint8_t *from, const uint8_t *to)
{
    return s.n == 0 ? slice_of(to, 0) : slice_of(to + (s.p - from), s.n);
}

/* ---- requests, received ---- */

static bool is_framing_field(const struct http1_field *f)
{
    return f->known == HTTP1_CONTENT_LENGTH || f->known == HTTP1_TRANSFER_ENCODING ||
           f->known == HTTP1_HOST;
}

static int take_fields(const struct http1_head *head, const struct http1_framing *framing,
                       const uint8_t *from, const uint8_t *to, struct fields *ret)
{
    for (size_t i = 0; i < head->fields_count; i++) {
        const struct http1_field *f = &head->fields[i];
        if (is_framing_field(f))
            continue;
        /* TE: trailers is the one hop-by-hop field that says something about the whole way (RFC
         * 9110 §10.1.4). */
        bool is_te_trailers = f->known == HTTP1_TE && slice_eq_nocase(f->value, SLICE("trailers"));
        if (framing != NULL && http1_field_is_hop(head, framing, f) && !is_te_trailers)
            continue;
        int r = fields_add(ret, moved(f->name, from, to), moved(f->value, from, to));
        if (r < 0)
            return r;
    }
    return 0;
}

static int fill_request(const struct http1_head *head, const struct http1_framing *framing,
                        struct slice bytes, struct exchange *ex)
{
    struct request *q = &ex->request;
    struct slice copy = arena_copy(&ex->arena, bytes);
    if (copy.p == NULL)
        return ERR_NOMEM;
    q->method = moved(head->method, bytes.p, copy.p);
    q->host = moved(framing->host, bytes.p, copy.p);
    bool is_within = head->path.p >= bytes.p && head->path.p < bytes.p + bytes.n;
    q->target =
        is_within ? moved(head->path, bytes.p, copy.p) : head->path; /* static: "/" or "*" */
    if (head->form == HTTP1_AUTHORITY)
        q->target = moved(head->authority, bytes.p, copy.p);
    q->expects_continue = framing->expects_continue;
    q->length = framing->length;
    q->framing = framing->body == HTTP1_BODY_CHUNKED                         ? FRAMING_STREAM
                 : framing->body == HTTP1_BODY_LENGTH && framing->length > 0 ? FRAMING_LENGTH
                                                                             : FRAMING_NONE;
    q->has_length = framing->has_length;
    if (head->form == HTTP1_AUTHORITY)
        q->upgrade = UPGRADE_CONNECT;
    else if (framing->upgrade == HTTP1_UPGRADE_WEBSOCKET)
        q->upgrade = UPGRADE_WEBSOCKET;
    return take_fields(head, framing, bytes.p, copy.p, &q->fields);
}

static int refuse(struct h1_refusal *ret, int err, unsigned status, const char *text)
{
    *ret = (struct h1_refusal){ .status = status, .text = text };
    return err;
}

int h1_read_request(struct buf *in, size_t head_max, struct http1_scan *scan, struct exchange *ex,
                    struct h1_request_info *ret, struct h1_refusal *ret_refusal)
{
    struct http1_field lines[HEAD_FIELDS_MAX];
    struct http1_head head;
    struct http1_framing framing;
    __attribute__((cleanup(view_done))) struct view view = { 0 };
    http1_head_init(&head, lines, HEAD_FIELDS_MAX);
    int used = view_parse(&view, http1_parse_request, in, head_max, scan, &head);
    if (used == ERR_AGAIN)
        return ERR_AGAIN;
    if (used == ERR_NOMEM)
        return refuse(ret_refusal, used, 503, "out of memory");
    int r = used < 0 ? used : http1_request_framing(&head, &framing);
    if (r < 0)
        return refuse(ret_refusal, r, http1_why_status(head.why), http1_why_text(head.why));
    r = fill_request(&head, &framing, slice_of(view.bytes.p, (size_t)used), ex);
    if (r < 0)
        return refuse(ret_refusal, r, 431, "the head is too large");
    *ret =
        (struct h1_request_info){ .is_1_0 = head.minor == 0, .keeps_alive = framing.is_persistent };
    buf_drop(in, (size_t)used);
    return 0;
}

/* ---- responses, received ---- */

static struct http1_asked asked_of(const struct request *q)
{
    return (struct http1_asked){
        .head = slice_eq(q->method, SLICE("HEAD")),
        .connect = q->upgrade == UPGRADE_CONNECT,
        .upgrade = q->upgrade == UPGRADE_WEBSOCKET,
    };
}

static int fill_response(const struct http1_head *head, const struct http1_framing *framing,
                         struct slice bytes, struct exchange *ex, struct response **ret)
{
    struct response *r = response_new(ex, head->status);
    struct slice copy = arena_copy(&ex->arena, bytes);
    if (r == NULL || copy.p == NULL)
        return ERR_NOMEM;
    r->has_length = framing->has_length;
    r->length = framing->length;
    r->framing = framing->body == HTTP1_BODY_LENGTH && framing->length > 0 ? FRAMING_LENGTH
                 : framing->body == HTTP1_BODY_CHUNKED || framing->body == HTTP1_BODY_CLOSE
                     ? FRAMING_STREAM
                     : FRAMING_NONE;
    int e = take_fields(head, NULL, bytes.p, copy.p, &r->fields);
    if (e == 0)
        *ret = r;
    return e;
}

int h1_read_response(struct buf *in, size_t head_max, struct http1_scan *scan, struct exchange *ex,
                     struct response **ret, struct h1_response_info *ret_info,
                     const char **ret_text)
{
    struct http1_field lines[HEAD_FIELDS_MAX];
    struct http1_head head;
    struct http1_framing framing;
    __attribute__((cleanup(view_done))) struct view view = { 0 };
    http1_head_init(&head, lines, HEAD_FIELDS_MAX);
    int used = view_parse(&view, http1_parse_response, in, head_max, scan, &head);
    if (used == ERR_AGAIN || used == ERR_NOMEM)
        return used;
    int r = used < 0 ? used : http1_response_framing(&head, asked_of(&ex->request), &framing);
    if (r < 0) {
        *ret_text = http1_why_text(head.why);
        return ERR_PROTO;
    }
    r = fill_response(&head, &framing, slice_of(view.bytes.p, (size_t)used), ex, ret);
    if (r < 0) {
        *ret_text = "the response's head is too large";
        return r;
    }
    *ret_info = (struct h1_response_info){
        .until_close = framing.body == HTTP1_BODY_CLOSE,
        .keeps_alive = framing.is_persistent && framing.body != HTTP1_BODY_CLOSE,
    };
    buf_drop(in, (size_t)used);
    return 0;
}
