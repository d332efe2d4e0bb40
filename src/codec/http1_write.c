#include "codec/http1_write.h"

#include <stdlib.h>

#include "base/err.h"
#include "codec/http1_chars.h"
#include "codec/http1_names.h"

#define HEAD_BYTES_USUAL 1500

static void writer_start(struct http1_writer *w, struct buf *to)
{
    *w = (struct http1_writer){ .to = to, .max = buf_room(to) };
    w->p = buf_reserve(to, HEAD_BYTES_USUAL, &w->cap);
    if (w->p == NULL)
        w->err = w->max > 0 ? ERR_NOMEM : ERR_LIMIT;
}

/* Goes on in memory of our own, which http1_write_end copies. */
static int writer_grow(struct http1_writer *w, size_t need)
{
    size_t cap = w->cap;
    if (need > w->max)
        return ERR_LIMIT;
    while (cap < need)
        cap = cap < HEAD_BYTES_USUAL ? HEAD_BYTES_USUAL * 2 : cap * 2;
    uint8_t *p = realloc(w->is_own ? w->p : NULL, cap);
    if (p == NULL)
        return ERR_NOMEM;
    if (!w->is_own) {
        memcpy(p, w->p, w->n);
        buf_commit(w->to, 0);
    }
    w->is_own = true;
    w->p = p;
    w->cap = cap;
    return 0;
}

static void fail(struct http1_writer *w, int err)
{
    if (w->err == 0)
        w->err = err;
}

/* Up to four pieces that belong together. */
static void add(struct http1_writer *w, const struct slice *pieces, size_t count)
{
    size_t total = w->n;
    for (size_t i = 0; i < count; i++)
        total += pieces[i].n;
    if (w->err == 0 && total > w->cap)
        w->err = writer_grow(w, total);
    if (w->err < 0)
        return;
    uint8_t *at = w->p + w->n;
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].n > 0)
            memcpy(at, pieces[i].p, pieces[i].n);
        at += pieces[i].n;
    }
    w->n = total;
}

#define ADD(w, ...)                                                                                \
    add((w), (const struct slice[]){ __VA_ARGS__ },                                                \
        sizeof((const struct slice[]){ __VA_ARGS__ }) / sizeof(struct slice))

void http1_write_request(struct http1_writer *w, struct buf *to, struct slice method,
                         struct slice target)
{
    writer_start(w, to);
    if (!http1_is_token(method) || target.n == 0)
        fail(w, ERR_INVALID);
    for (size_t i = 0; i < target.n; i++)
        if (!http1_char_is(target.p[i], CH_TARGET))
            fail(w, ERR_INVALID);
    ADD(w, method, SLICE(" "), target, SLICE(" HTTP/1.1\r\n"));
}

void http1_write_status(struct http1_writer *w, struct buf *to, unsigned status,
                        struct slice reason)
{
    writer_start(w, to);
    if (status < 100 || status > 999 || !http1_is_value(reason))
        fail(w, ERR_INVALID);
    uint8_t digits[3] = { (uint8_t)('0' + status / 100 % 10), (uint8_t)('0' + status / 10 % 10),
                          (uint8_t)('0' + status % 10) };
    ADD(w, SLICE("HTTP/1.1 "), slice_of(digits, 3), SLICE(" "), reason, SLICE("\r\n"));
}

void http1_write_last_chunk(struct http1_writer *w, struct buf *to)
{
    writer_start(w, to);
    ADD(w, SLICE("0\r\n"));
}

void http1_write_field(struct http1_writer *w, struct slice name, struct slice value)
{
    if (!http1_is_token(name) || !http1_is_value(value))
        fail(w, ERR_INVALID);
    ADD(w, name, SLICE(": "), value, SLICE("\r\n"));
}

void http1_write_field_u64(struct http1_writer *w, struct slice name, uint64_t value)
{
    uint8_t digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (uint8_t)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    http1_write_field(w, name, slice_of(digits + at, sizeof digits - at));
}

int http1_write_end(struct http1_writer *w)
{
    ADD(w, SLICE("\r\n"));
    if (w->is_own) {
        if (w->err == 0)
            w->err = buf_put(w->to, slice_of(w->p, w->n));
        free(w->p);
    } else if (w->p != NULL) {
        buf_commit(w->to, w->err == 0 ? w->n : 0);
    }
    w->p = NULL;
    return w->err;
}
