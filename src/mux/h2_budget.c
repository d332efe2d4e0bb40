#include "mux/h2_int.h"

/* What a peer may do for nothing. The frames are counted as they come, before the library sees
 * them: it passes some over in silence (of kinds that it does not know, of streams that are no
 * more, the rest of a head that was given up), and those cost us as much as others. */

#define FRAME_HEAD_BYTES 9
#define PREFACE_BYTES    24
#define POINTS_RESET     10 /* each made us begin something (CVE-2023-44487) */
#define POINTS_EMPTY     10
#define POINTS_TINY      1

/* What a frame of ours makes the peer say, at most: a request has its heads, its end and its reset,
 * of DATA credit comes back twice, and a stream that we reset may have had its end, its reset and
 * credit on their way. */
#define DUE_HEADERS 8
#define DUE_DATA    2
#define DUE_RESET   4
#define DUE_MAX     1000000

void h2_abuse(struct h2_conn *c, unsigned points)
{
    nsec now = loop_now(c->loop);
    int64_t forgiven = (int64_t)((now - c->abuse_at) / NSEC_PER_MSEC * c->conf.abuse_rate / 1000);
    if (forgiven > 0) {
        c->abuse = c->abuse > forgiven ? c->abuse - forgiven : 0;
        c->abuse_at = now;
    }
    c->abuse += points;
    if (c->abuse > c->conf.abuse_burst)
        c->is_abusive = true;
}

void h2_watch_init(struct h2_conn *c)
{
    c->watch.skip = c->conf.is_server ? PREFACE_BYTES : 0;
}

void h2_note_due(struct h2_conn *c, uint8_t type)
{
    if (type == NGHTTP2_HEADERS)
        c->due += DUE_HEADERS;
    else if (type == NGHTTP2_DATA)
        c->due += DUE_DATA;
    else if (type == NGHTTP2_RST_STREAM)
        c->due += DUE_RESET;
    if (c->due > DUE_MAX)
        c->due = DUE_MAX;
}

/* A frame that costs the peer little and changes little, unless we gave cause for it. */
static void unasked(struct h2_conn *c)
{
    if (c->due > 0)
        c->due--;
    else
        h2_abuse(c, POINTS_TINY);
}

/* A list of fields is bounded once it is read; a few bytes of it can stand for many, and a list
 * that is not kept is read to its end all the same. */
static void see_block(struct h2_conn *c, size_t n)
{
    c->watch.block_bytes += n;
    if (c->watch.block_bytes / H2_HEAD_EXCESS > c->conf.head_bytes ||
        c->watch.continuations > H2_CONTINUATIONS_MAX)
        c->is_abusive = true;
}

static void see_headers(struct h2_conn *c, size_t n)
{
    c->watch.continuations = 0;
    c->watch.block_bytes = 0;
    see_block(c, n);
    if (!c->conf.is_server)
        unasked(c);
}

static void see_continuation(struct h2_conn *c, size_t n)
{
    c->watch.continuations++;
    see_block(c, n);
    if (n == 0)
        h2_abuse(c, POINTS_EMPTY);
}

static void see_frame(struct h2_conn *c, uint8_t type, uint8_t flags, size_t n)
{
    switch (type) {
    case NGHTTP2_DATA:
        if (n == 0 && (flags & NGHTTP2_FLAG_END_STREAM) == 0)
            h2_abuse(c, POINTS_EMPTY);
        else if (n == 0)
            unasked(c);
        break;
    case NGHTTP2_HEADERS:
        see_headers(c, n);
        break;
    case NGHTTP2_CONTINUATION:
        see_continuation(c, n);
        break;
    case NGHTTP2_RST_STREAM:
        /* Visitors make a connector reset its streams: it is not to pay for what we asked for. */
        if (c->conf.is_server)
            h2_abuse(c, POINTS_RESET);
        else
            unasked(c);
        break;
    case NGHTTP2_WINDOW_UPDATE:
        unasked(c);
        break;
    case NGHTTP2_SETTINGS: /* these three count where it is known what they say */
    case NGHTTP2_PING:
    case NGHTTP2_GOAWAY:
        break;
    default: /* PRIORITY, promises, and whatever else there may be */
        h2_abuse(c, POINTS_TINY);
    }
}

void h2_watch(struct h2_conn *c, struct slice part)
{
    struct h2_watch *w = &c->watch;
    while (part.n > 0 && !c->is_abusive) {
        size_t n = w->skip < part.n ? w->skip : part.n;
        w->skip -= n;
        part = slice_sub(part, n, SIZE_MAX);
        if (part.n == 0)
            return;
        w->head[w->filled++] = part.p[0];
        part = slice_sub(part, 1, SIZE_MAX);
        if (w->filled < FRAME_HEAD_BYTES)
            continue;
        w->filled = 0;
        w->skip = (size_t)w->head[0] << 16 | (size_t)w->head[1] << 8 | w->head[2];
        see_frame(c, w->head[3], w->head[4], w->skip);
    }
}
