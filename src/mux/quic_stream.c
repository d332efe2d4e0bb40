#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "mux/quic_int.h"

#define OUT_BYTES_MAX                                                                              \
    (4 * 1024 * 1024) /* unsent and unacknowledged bytes of one stream, however fast the path */
/* The peer acknowledges every tenth packet, or after a while. */
#define OUT_PACKETS_MIN 24
#define OUT_BYTES_MIN   (64 * 1024) /* of one that shares the path with many: a batch */

static const struct stream_ops QUIC_STREAM_OPS;

static struct quic_stream *stream_of(const struct stream *s)
{
    return (struct quic_stream *)(void *)((char *)(uintptr_t)s -
                                          offsetof(struct quic_stream, stream));
}

struct quic_stream *quic_stream_new(struct quic_conn *c, int64_t id)
{
    struct quic_stream *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->stream.ops = &QUIC_STREAM_OPS;
    s->conn = c;
    s->loop = c->e->loop;
    s->id = id;
    list_init(&s->sendable);
    list_init(&s->peer);
    /* Flow control bounds what arrives; the buffers' own bounds are the last resort. */
    buf_init(&s->in, loop_chunks(s->loop), c->conf.stream_window_max + QUIC_STREAM_WINDOW_BYTES);
    buf_init(&s->unsent, loop_chunks(s->loop), OUT_BYTES_MAX);
    buf_init(&s->unacked, loop_chunks(s->loop), SIZE_MAX / 2);
    list_push_back(&c->streams, &s->node);
    c->stream_count++;
    return s;
}

/* What the stream holds for its reader is counted where it is bounded. */
static void uncount(struct quic_stream *s, size_t n)
{
    if (s->conn == NULL)
        return;
    s->conn->unread -= n;
    s->conn->e->unread -= n;
}

static void drop_in(struct quic_stream *s)
{
    uncount(s, buf_len(&s->in));
    buf_drop(&s->in, buf_len(&s->in));
}

int quic_stream_take(struct quic_stream *s, struct slice data)
{
    int r = buf_put(&s->in, data);
    if (r == 0 && s->conn != NULL) {
        quic_note_traffic(s->conn);
        s->conn->unread += data.n;
        s->conn->e->unread += data.n;
    }
    return r;
}

static void reap(struct reaper *r)
{
    struct quic_stream *s = container_of(r, struct quic_stream, reaper);
    buf_done(&s->in);
    buf_done(&s->unsent);
    buf_done(&s->unacked);
    free(s);
}

void quic_stream_destroy(struct quic_stream *s)
{
    list_remove(&s->sendable);
    list_remove(&s->peer);
    if (s->conn != NULL) {
        uncount(s, buf_len(&s->in));
        list_remove(&s->node);
        s->conn->stream_count--;
        if (s->is_counted)
            s->conn->bulk_count--;
        if (s->conn->tells_left && s->conn->stream_count <= s->conn->left)
            task_wake(s->conn->owner);
        s->conn = NULL;
    }
    loop_reap(s->loop, &s->reaper, reap);
}

void quic_stream_orphan(struct quic_stream *s, int why)
{
    if (s->in_err == 0 && !s->is_fin_received)
        s->in_err = why;
    if (s->out_err == 0)
        s->out_err = why;
    buf_drop(&s->unsent, buf_len(&s->unsent));
    buf_drop(&s->unacked, buf_len(&s->unacked));
    quic_stream_count_bulk(s);
    list_remove(&s->sendable);
    list_remove(&s->node);
    uncount(s, buf_len(&s->in));
    if (s->conn != NULL)
        s->conn->stream_count--;
    s->conn = NULL;
    if (s->is_released || list_has_neighbours(&s->peer))
        quic_stream_destroy(s);
    else
        task_wake(s->stream.owner);
}

/* ngtcp2 let go of it: everything was acknowledged and received, or it was reset. */
void quic_stream_closed(struct quic_stream *s, bool is_error)
{
    s->is_closed = true;
    if (is_error && s->in_err == 0 && !s->is_fin_received)
        s->in_err = ERR_RESET;
    if (!s->is_fin_sent && s->out_err == 0)
        s->out_err = ERR_RESET;
    list_remove(&s->sendable);
    buf_drop(&s->unsent, buf_len(&s->unsent));
    buf_drop(&s->unacked, buf_len(&s->unacked));
    quic_stream_count_bulk(s);
    if (s->is_released)
        quic_stream_destroy(s);
    else
        task_wake(s->stream.owner);
}

bool quic_stream_has_output(const struct quic_stream *s)
{
    return s->out_err == 0 && !s->is_closed &&
           (!buf_is_empty(&s->unsent) || (s->is_fin_wanted && !s->is_fin_sent));
}

static void wants_to_send(struct quic_stream *s)
{
    if (!quic_stream_has_output(s) || s->conn == NULL)
        return;
    if (!list_has_neighbours(&s->sendable))
        list_push_back(&s->conn->sendable, &s->sendable);
    task_wake(&s->conn->send);
}

static size_t queued(const struct quic_stream *s)
{
    return buf_len(&s->unsent) + buf_len(&s->unacked);
}

void quic_stream_count_bulk(struct quic_stream *s)
{
    bool counts = s->is_bulk && queued(s) > 0;
    if (counts == s->is_counted || s->conn == NULL)
        return;
    s->is_counted = counts;
    if (counts)
        s->conn->bulk_count++;
    else
        s->conn->bulk_count--;
}

/* What may be queued: what the connection may, shared with the others that have much to send,
 * within bounds. */
static size_t out_max(const struct quic_stream *s)
{
    ngtcp2_conn_info info;
    if (!s->is_bulk)
        return STREAM_SEND_BYTES_MAX;
    ngtcp2_conn_get_conn_info(s->conn->ng, &info);
    uint64_t room = quic_rate_room(&s->conn->rate, info.cwnd);
    uint64_t least = OUT_PACKETS_MIN * ngtcp2_conn_get_max_tx_udp_payload_size(s->conn->ng);
    size_t sharers = s->conn->bulk_count + (s->is_counted ? 0 : 1);
    uint64_t want = (room > least ? room : least) / sharers;
    return want < OUT_BYTES_MIN   ? OUT_BYTES_MIN
           : want > OUT_BYTES_MAX ? OUT_BYTES_MAX
                                  : (size_t)want;
}

void quic_stream_acked(struct quic_stream *s, uint64_t n)
{
    ngtcp2_conn_info info;
    buf_drop(&s->unacked, n);
    if (s->conn != NULL) {
        ngtcp2_conn_get_conn_info(s->conn->ng, &info);
        quic_rate_acked(&s->conn->rate, n, loop_now(s->loop), info.latest_rtt, info.min_rtt);
    }
    quic_stream_count_bulk(s);
    if (!s->is_full || queued(s) > out_max(s) * 3 / 4)
        return;
    s->is_full = false;
    task_wake(s->stream.owner);
}

/* ---- the five verbs ---- */

static int quic_stream_read(struct stream *base, struct buf *to, size_t max)
{
    struct quic_stream *s = stream_of(base);
    if (s->in_err < 0)
        return s->in_err;
    if (max == 0)
        return ERR_AGAIN;
    size_t n = buf_move(to, &s->in, max);
    if (n > 0) {
        uncount(s, n);
        /* Reading is what grants the far side more. */
        if (s->conn != NULL && !s->is_closed && !s->is_fin_received) {
            (void)ngtcp2_conn_extend_max_stream_offset(s->conn->ng, s->id, n);
            quic_send_gather(s->conn, 0);
        }
        return 0;
    }
    if (s->is_fin_received && buf_is_empty(&s->in))
        return ERR_EOF;
    return buf_is_stuck(to, &s->in) ? ERR_NOMEM : ERR_AGAIN;
}

static int quic_stream_write(struct stream *base, struct buf *from)
{
    struct quic_stream *s = stream_of(base);
    if (s->out_err < 0)
        return s->out_err;
    if (s->is_fin_wanted || s->conn == NULL)
        return ERR_CLOSED;
    size_t now = queued(s);
    /* It comes with much while there is much; until it comes with little and the path is dry. */
    if (now + buf_len(from) > STREAM_SEND_BYTES_MAX)
        s->is_bulk = true;
    else if (now == 0 && buf_len(from) < OUT_BYTES_MIN)
        s->is_bulk = false;
    size_t max = out_max(s);
    if (now < max && buf_move(&s->unsent, from, max - now) > 0)
        wants_to_send(s);
    else if (now < max && buf_is_stuck(&s->unsent, from))
        return ERR_NOMEM;
    s->is_full = !buf_is_empty(from);
    quic_stream_count_bulk(s);
    return s->is_full ? ERR_AGAIN : 0;
}

static void quic_stream_finish(struct stream *base)
{
    struct quic_stream *s = stream_of(base);
    if (s->is_fin_wanted || s->out_err < 0)
        return;
    s->is_fin_wanted = true;
    wants_to_send(s);
}

static void quic_stream_abort(struct stream *base, int why)
{
    struct quic_stream *s = stream_of(base);
    if (s->conn != NULL && !s->is_closed && s->conn->state == QUIC_OPEN) {
        (void)quic_api_shutdown(s->conn->ng, s->id);
        task_wake(&s->conn->send);
    }
    if (s->in_err == 0)
        s->in_err = why < 0 ? why : ERR_CLOSED;
    if (s->out_err == 0)
        s->out_err = why < 0 ? why : ERR_CLOSED;
    list_remove(&s->sendable);
    drop_in(s);
    buf_drop(&s->unsent, buf_len(&s->unsent));
    quic_stream_count_bulk(s);
}

static void quic_stream_release(struct stream *base)
{
    struct quic_stream *s = stream_of(base);
    s->stream.owner = NULL;
    s->is_released = true;
    if (s->conn == NULL || s->is_closed) {
        quic_stream_destroy(s);
        return;
    }
    if (s->out_err == 0 && !s->is_fin_wanted) {
        quic_stream_abort(base, ERR_CLOSED);
    } else if (s->in_err == 0 && !s->is_fin_received && s->conn->state == QUIC_OPEN) {
        (void)quic_api_shutdown_read(s->conn->ng, s->id);
        task_wake(&s->conn->send);
    }
    drop_in(s);
}

static const struct stream_ops QUIC_STREAM_OPS = {
    .kind = "quic",
    .read = quic_stream_read,
    .write = quic_stream_write,
    .finish = quic_stream_finish,
    .abort = quic_stream_abort,
    .release = quic_stream_release,
};

bool quic_stream_reset_worst(struct quic_conn *c)
{
    struct quic_stream *worst = NULL;
    list_each(it, &c->streams)
    {
        struct quic_stream *s = container_of(it, struct quic_stream, node);
        if (worst == NULL || buf_len(&s->in) > buf_len(&worst->in))
            worst = s;
    }
    if (worst == NULL || buf_is_empty(&worst->in))
        return false;
    log_warn("quic: too much waits to be read; the stream with the most of it was reset",
             LU64("bytes", buf_len(&worst->in)), LU64("of", c->unread));
    quic_stream_abort(&worst->stream, ERR_LIMIT);
    task_wake(worst->stream.owner);
    return true;
}

uint64_t quic_stream_id(const struct stream *s)
{
    return (uint64_t)stream_of(s)->id;
}

/* ---- opening and accepting ---- */

int quic_conn_open(struct quic_conn *c, struct task *owner, struct stream **ret)
{
    int64_t id;
    if (c->state != QUIC_OPEN)
        return c->state == QUIC_CLOSED ? (c->why.err < 0 ? c->why.err : ERR_CLOSED) : ERR_AGAIN;
    int r = ngtcp2_conn_open_bidi_stream(c->ng, &id, NULL);
    if (r == NGTCP2_ERR_STREAM_ID_BLOCKED) {
        c->wants_stream_credit = true;
        return ERR_AGAIN;
    }
    if (r != 0)
        return ERR_NOMEM;
    struct quic_stream *s = quic_stream_new(c, id);
    if (s == NULL) {
        (void)quic_api_shutdown(c->ng, id);
        return ERR_NOMEM;
    }
    (void)ngtcp2_conn_set_stream_user_data(c->ng, id, s);
    s->stream.owner = owner;
    *ret = &s->stream;
    return 0;
}

int quic_conn_accept(struct quic_conn *c, struct task *owner, struct stream **ret)
{
    struct list *node = list_pop(&c->peers);
    if (node == NULL)
        return c->state == QUIC_CLOSED ? (c->why.err < 0 ? c->why.err : ERR_CLOSED) : ERR_AGAIN;
    struct quic_stream *s = container_of(node, struct quic_stream, peer);
    s->stream.owner = owner;
    *ret = &s->stream;
    return 0;
}
