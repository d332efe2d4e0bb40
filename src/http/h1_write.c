/* Heads of HTTP/1.1 messages as bytes: measured first, then written into one piece of the buffer.
 */
#include <stdlib.h>

#include "base/err.h"
#include "base/text.h"
#include "http/h1_head.h"
#include "http/status.h"

#define SPACE_OF_OURS 256

struct writer {
    uint8_t *p;
    size_t n;
};

static void put(struct writer *w, struct slice s)
{
    if (s.n > 0)
        memcpy(w->p + w->n, s.p, s.n);
    w->n += s.n;
}

static void put_line(struct writer *w, struct slice name, struct slice value)
{
    put(w, name);
    put(w, SLICE(": "));
    put(w, value);
    put(w, SLICE("\r\n"));
}

static void put_number(struct writer *w, struct slice name, uint64_t value)
{
    char text[U64_TEXT_BYTES];
    size_t n = u64_text(value, text);
    put_line(w, name, slice_of(text, n));
}

static size_t fields_size(const struct fields *f)
{
    size_t n = 0;
    for (size_t i = 0; i < f->count; i++)
        n += f->lines[i].name.n + f->lines[i].value.n + 4;
    return n;
}

/* A piece of `size` bytes at the buffer's end, or a temporary one when a chunk is too small for it.
 */
static int piece_open(struct buf *out, size_t size, struct writer *ret, uint8_t **ret_heap)
{
    size_t room;
    if (size > buf_room(out))
        return ERR_LIMIT;
    uint8_t *p = buf_reserve(out, size, &room);
    *ret_heap = NULL;
    if (p != NULL && room < size) {
        buf_commit(out, 0);
        p = *ret_heap = malloc(size);
    }
    if (p == NULL)
        return ERR_NOMEM;
    *ret = (struct writer){ .p = p };
    return 0;
}

static int piece_close(struct buf *out, struct writer *w, uint8_t *heap)
{
    if (heap == NULL) {
        buf_commit(out, w->n);
        return 0;
    }
    int r = buf_put(out, slice_of(heap, w->n));
    free(heap);
    return r;
}

/* ---- responses ---- */

static bool is_for_this_hop(const struct fields *f, struct slice name)
{
    enum http1_name known = http1_name_of(name);
    unsigned marks = http1_name_marks(known);
    if ((marks & HTTP1_HOP) != 0)
        return known != HTTP1_PROXY_AUTHENTICATE;
    return (marks & HTTP1_END) == 0 && fields_has_token(f, SLICE("connection"), name);
}

static void put_response_fields(struct writer *w, const struct response *r)
{
    bool names_fields = fields_get(&r->fields, SLICE("connection")) != NULL;
    for (size_t i = 0; i < r->fields.count; i++) {
        const struct field *f = &r->fields.lines[i];
        enum http1_name known = http1_name_of(f->name);
        if (known == HTTP1_OTHER && !names_fields) {
            put_line(w, f->name, f->value);
            continue;
        }
        if (known != HTTP1_CONTENT_LENGTH && !is_for_this_hop(&r->fields, f->name))
            put_line(w, f->name, f->value);
    }
}

static void put_status(struct writer *w, unsigned status)
{
    char number[U64_TEXT_BYTES];
    size_t n = u64_text(status, number);
    put(w, SLICE("HTTP/1.1 "));
    put(w, slice_of(number, n));
    put(w, SLICE(" "));
    put(w, status_reason(status));
    put(w, SLICE("\r\n"));
}

static void put_response_framing(struct writer *w, const struct response *r,
                                 const struct h1_response_opts *opts)
{
    bool has_none = r->status < 200 || r->status == 204;
    if (r->has_length && !has_none)
        put_number(w, SLICE("Content-Length"), r->length);
    else if (r->framing == FRAMING_STREAM && !opts->is_1_0)
        put_line(w, SLICE("Transfer-Encoding"), SLICE("chunked"));
    if (r->status == 101) {
        put_line(w, SLICE("Connection"), SLICE("Upgrade"));
        put_line(w, SLICE("Upgrade"), SLICE("websocket"));
    } else if (!opts->keeps_alive) {
        put_line(w, SLICE("Connection"), SLICE("close"));
    } else if (opts->is_1_0) {
        put_line(w, SLICE("Connection"), SLICE("keep-alive"));
    }
}

int h1_write_response(struct buf *out, const struct response *r,
                      const struct h1_response_opts *opts)
{
    struct writer w;
    uint8_t *heap;
    int e = piece_open(out, fields_size(&r->fields) + SPACE_OF_OURS, &w, &heap);
    if (e < 0)
        return e;
    put_status(&w, r->status);
    put_response_fields(&w, r);
    put_response_framing(&w, r, opts);
    put(&w, SLICE("\r\n"));
    return piece_close(out, &w, heap);
}

int h1_write_interim(struct buf *out, const struct response *r)
{
    struct writer w;
    uint8_t *heap;
    int e = piece_open(out, fields_size(&r->fields) + SPACE_OF_OURS, &w, &heap);
    if (e < 0)
        return e;
    put_status(&w, r->status);
    put_response_fields(&w, r);
    put(&w, SLICE("\r\n"));
    return piece_close(out, &w, heap);
}

/* ---- requests ---- */

static void put_request_framing(struct writer *w, const struct request *q,
                                const struct h1_request_opts *opts)
{
    static const struct slice BODIED[] = { { (const uint8_t *)"POST", 4 },
                                           { (const uint8_t *)"PUT", 3 },
                                           { (const uint8_t *)"PATCH", 5 } };
    if (q->framing == FRAMING_LENGTH || q->has_length) {
        put_number(w, SLICE("Content-Length"), q->length);
        return;
    }
    if (q->framing == FRAMING_STREAM) {
        if (!opts->no_chunked)
            put_line(w, SLICE("Transfer-Encoding"), SLICE("chunked"));
        return;
    }
    for (size_t i = 0; i < sizeof BODIED / sizeof BODIED[0]; i++)
        if (slice_eq(q->method, BODIED[i]))
            put_line(w, SLICE("Content-Length"), SLICE("0"));
}

int h1_write_request(struct buf *out, const struct request *q, const struct h1_request_opts *opts)
{
    struct writer w;
    uint8_t *heap;
    size_t size = q->method.n + q->target.n + q->host.n + fields_size(&q->fields) + SPACE_OF_OURS +
                  opts->absolute.n + opts->proxy_authorization.n;
    int e = piece_open(out, size, &w, &heap);
    if (e < 0)
        return e;
    put(&w, q->method);
    put(&w, SLICE(" "));
    put(&w, opts->absolute);
    if (opts->absolute.n == 0 || !slice_eq(q->target, SLICE("*"))) /* RFC 9112 §3.2.4 */
        put(&w, q->target.n > 0 ? q->target : SLICE("/"));
    put(&w, SLICE(" HTTP/1.1\r\n"));
    put_line(&w, SLICE("Host"), q->host);
    put_request_framing(&w, q, opts);
    bool is_upgrade = q->upgrade == UPGRADE_WEBSOCKET;
    for (size_t i = 0; i < q->fields.count; i++) {
        enum http1_name known = http1_name_of(q->fields.lines[i].name);
        /* Ours are written here, whatever came: what frames the message must be said once. */
        if (known != HTTP1_CONNECTION && (known != HTTP1_UPGRADE || !is_upgrade) &&
            known != HTTP1_TRANSFER_ENCODING && known != HTTP1_CONTENT_LENGTH &&
            known != HTTP1_HOST &&
            (known != HTTP1_PROXY_AUTHORIZATION || opts->proxy_authorization.n == 0))
            put_line(&w, q->fields.lines[i].name, q->fields.lines[i].value);
    }
    if (opts->proxy_authorization.n > 0)
        put_line(&w, SLICE("Proxy-Authorization"), opts->proxy_authorization);
    if (is_upgrade) {
        put_line(&w, SLICE("Connection"), SLICE("Upgrade"));
        put_line(&w, SLICE("Upgrade"), SLICE("websocket"));
    } else {
        put_line(&w, SLICE("Connection"), SLICE("keep-alive"));
    }
    put(&w, SLICE("\r\n"));
    return piece_close(out, &w, heap);
}
