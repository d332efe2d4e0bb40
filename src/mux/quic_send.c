/* One write pass for each connection and turn: packets of all streams that have something, in
 * batches for GSO. */
#include <stdlib.h>

#include "base/err.h"
#include "mux/quic_int.h"

/* ngtcp2 keeps a frame of so many pieces in its own pool; a longer one it allocates, and before 1.6
 * loses when it is sent again in two parts. */
#define IOV_COUNT      3
#define BATCHES_A_TURN 4 /* then other connections have their turn */
/* What a received packet asks for (acknowledgement, credit) waits this long for data to travel
 * with, or for so many packets. ngtcp2 alone would answer each with a datagram of its own on a near
 * network: after an eighth of the round trip, and at once when the peer's last packet was a bare
 * acknowledgement. What we announce as max_ack_delay is 25 ms. */
#define GATHER_NSEC        NSEC_PER_MSEC
#define GATHER_PACKETS_MAX 8

struct batch {
    size_t n, segment;
    bool is_over; /* its last packet was shorter: GSO allows no more */
    bool is_last; /* and nothing is left to be sent */
    struct addr local, remote;
    bool has_path;
};

/* On the millisecond: connections that wait share one timer, which libuv's is fine enough for. */
static nsec gather_until(const struct quic_conn *c)
{
    nsec at = loop_now(c->e->loop) + GATHER_NSEC + NSEC_PER_MSEC - 1;
    return at - at % NSEC_PER_MSEC;
}

void quic_arm(struct quic_conn *c)
{
    ngtcp2_tstamp at = ngtcp2_conn_get_expiry(c->ng);
    nsec soon = gather_until(c), end = quic_gives_up_at(c);
    at = at < end ? at : end;
    /* With something to send the expiry may be the pacer's. */
    bool may_wait = c->is_handshake_done && list_is_empty(&c->sendable);
    if (at == UINT64_MAX)
        deadline_clear(&c->expiry);
    else
        deadline_set(&c->expiry, &c->send, may_wait && at < soon ? soon : at);
}

void quic_send_gather(struct quic_conn *c, unsigned packets)
{
    nsec at = gather_until(c);
    c->gathered += packets;
    if (!c->is_handshake_done || c->gathered >= GATHER_PACKETS_MAX || !list_is_empty(&c->sendable))
        task_wake(&c->send);
    else if (!deadline_is_set(&c->expiry) || c->expiry.at > at)
        deadline_set(&c->expiry, &c->send, at);
}

/* ---- the kernel's side ---- */

static int flush(struct quic_conn *c, struct batch *b)
{
    size_t sent;
    if (b->n == 0)
        return 0;
    struct slice data = slice_of(c->e->batch, b->n);
    int r = udp_send(c->e->udp, c->e->is_server ? &b->local : NULL, &b->remote, 0, data, b->segment,
                     &sent);
    c->bytes_sent += sent;
    if (r == ERR_AGAIN) {
        c->blocked = malloc(b->n - sent);
        if (c->blocked != NULL) { /* without memory the packets are lost, as packets may be */
            memcpy(c->blocked, data.p + sent, b->n - sent);
            c->blocked_bytes = b->n - sent;
            c->blocked_segment = b->segment;
            c->blocked_to = b->remote;
            c->blocked_from = b->local;
            list_push_back(&c->e->blocked, &c->blocked_node);
        }
    }
    *b = (struct batch){ 0 };
    return r == ERR_AGAIN ? ERR_AGAIN
                          : 0; /* other errors are losses: the loss recovery knows what to do */
}

void quic_send_blocked(struct quic_conn *c)
{
    size_t sent;
    struct slice data = slice_of(c->blocked, c->blocked_bytes);
    int r = udp_send(c->e->udp, c->e->is_server ? &c->blocked_from : NULL, &c->blocked_to, 0, data,
                     c->blocked_segment, &sent);
    if (r == ERR_AGAIN) {
        memmove(c->blocked, c->blocked + sent, c->blocked_bytes - sent);
        c->blocked_bytes -= sent;
        return;
    }
    free(c->blocked);
    c->blocked = NULL;
    list_remove(&c->blocked_node);
    task_wake(&c->send);
}

static void take_path(struct batch *b, const ngtcp2_path_storage *ps)
{
    if (b->has_path)
        return;
    b->has_path = true;
    memcpy(&b->local.sa, ps->path.local.addr, ps->path.local.addrlen);
    b->local.size = ps->path.local.addrlen;
    memcpy(&b->remote.sa, ps->path.remote.addr, ps->path.remote.addrlen);
    b->remote.size = ps->path.remote.addrlen;
}

static bool is_other_path(const struct batch *b, const ngtcp2_path_storage *ps)
{
    return b->has_path && (ps->path.remote.addrlen != b->remote.size ||
                           memcmp(ps->path.remote.addr, &b->remote.sa, b->remote.size) != 0);
}

/* ---- one packet ---- */

static struct quic_stream *next_sendable(struct quic_conn *c)
{
    while (!list_is_empty(&c->sendable)) {
        struct quic_stream *s = container_of(c->sendable.next, struct quic_stream, sendable);
        if (quic_stream_has_output(s))
            return s;
        list_remove(&s->sendable);
    }
    return NULL;
}

static size_t vectors_of(const struct quic_stream *s, ngtcp2_vec *vec)
{
    size_t count = s->unsent.count < IOV_COUNT ? s->unsent.count : IOV_COUNT;
    for (uint32_t i = 0; i < count; i++) {
        const struct seg *seg = buf_seg(&s->unsent, i);
        vec[i] = (ngtcp2_vec){ .base = seg->p, .len = seg->n };
    }
    return count;
}

/* What cannot be put among the unacknowledged would be sent once more, as something else. */
static int took(struct quic_stream *s, size_t n, bool had_fin)
{
    if (buf_move(&s->unacked, &s->unsent, n) < n)
        return NGTCP2_ERR_NOMEM;
    quic_note_traffic(s->conn);
    if (had_fin && buf_is_empty(&s->unsent))
        s->is_fin_sent = true;
    list_remove(&s->sendable);
    if (quic_stream_has_output(s))
        list_push_back(&s->conn->sendable, &s->sendable); /* the others' turn */
    return 0;
}

/* Whether more data may follow in the same packet: another stream's, or pieces of this one beyond
 * `count`. To let ngtcp2 wait for it when there is none would cost a second call for each packet.
 */
static bool may_follow(const struct quic_stream *s, size_t count)
{
    return s->conn->sendable.next != s->conn->sendable.prev || count < s->unsent.count;
}

/* Writes one packet at dest. > 0: its bytes; 0: nothing to send, or not now; < 0: an ngtcp2 error
 * that ends the connection. */
static ngtcp2_ssize write_packet(struct quic_conn *c, ngtcp2_path_storage *ps, uint8_t *dest,
                                 size_t size, nsec now)
{
    for (;;) {
        ngtcp2_pkt_info pi;
        ngtcp2_vec vec[IOV_COUNT];
        ngtcp2_ssize accepted = -1;
        struct quic_stream *s = c->is_handshake_done ? next_sendable(c) : NULL;
        size_t count = s != NULL ? vectors_of(s, vec) : 0;
        bool fin = s != NULL && s->is_fin_wanted && count == s->unsent.count;
        uint32_t flags = s != NULL && may_follow(s, count) ? NGTCP2_WRITE_STREAM_FLAG_MORE : 0;
        if (fin)
            flags |= NGTCP2_WRITE_STREAM_FLAG_FIN;
        ngtcp2_ssize n = ngtcp2_conn_writev_stream(c->ng, &ps->path, &pi, dest, size, &accepted,
                                                   flags, s != NULL ? s->id : -1, vec, count, now);
        if (s != NULL && accepted >= 0 && took(s, (size_t)accepted, fin) < 0)
            return NGTCP2_ERR_NOMEM;
        if (n >= 0)
            return n;
        switch (n) {
        case NGTCP2_ERR_WRITE_MORE:
            continue;
        case NGTCP2_ERR_STREAM_DATA_BLOCKED:
            list_remove(&s->sendable);
            /* A stream's credit is announced by a callback, the connection's is not: it is looked
             * for after each packet. */
            if (ngtcp2_conn_get_max_data_left(c->ng) == 0)
                list_push_back(&c->starved, &s->sendable);
            continue;
        case NGTCP2_ERR_STREAM_SHUT_WR:
        case NGTCP2_ERR_STREAM_NOT_FOUND:
            s->out_err = ERR_RESET; /* the peer wants no more */
            list_remove(&s->sendable);
            buf_drop(&s->unsent, buf_len(&s->unsent));
            quic_stream_count_bulk(s);
            task_wake(s->stream.owner);
            continue;
        default:
            return n;
        }
    }
}

/* ---- datagrams (RFC 9221) ---- */

/* Packs what waits into a packet of its own: 0 when there is none or no room in the window. */
static ngtcp2_ssize write_datagram(struct quic_conn *c, ngtcp2_path_storage *ps, uint8_t *dest,
                                   size_t size, nsec now)
{
    while (!list_is_empty(&c->datagrams_out)) {
        struct quic_datagram *d = container_of(c->datagrams_out.next, struct quic_datagram, node);
        ngtcp2_vec vec = { .base = d->data, .len = d->n };
        ngtcp2_pkt_info pi;
        int accepted = 0;
        ngtcp2_ssize n = ngtcp2_conn_writev_datagram(c->ng, &ps->path, &pi, dest, size, &accepted,
                                                     0, 0, &vec, 1, now);
        if (accepted != 0 || (n < 0 && n != NGTCP2_ERR_WRITE_MORE)) {
            list_remove(&d->node);
            c->datagrams_out_count--;
            free(d);
        }
        if (n > 0)
            return n;
        if (n < 0 && n != NGTCP2_ERR_WRITE_MORE && ngtcp2_err_is_fatal((int)n) != 0)
            return n;
        if (accepted == 0)
            return 0;
    }
    return 0;
}

/* ---- the pass ---- */

/* Whether a packet of `size` bytes took everything there was: it took the last of the streams'
 * data, before which acknowledgements, credit and what was lost go, and left half of its room.
 * Asking ngtcp2 for one more, which it has not, would cost a sixth of what writing the one did. */
static bool is_last(const struct quic_conn *c, bool had_data, size_t size, size_t payload)
{
    return had_data && c->is_handshake_done && size <= payload / 2 && list_is_empty(&c->sendable) &&
           list_is_empty(&c->datagrams_out);
}

/* Adds one packet to the batch; flushes when it cannot take it. 1 when one was written, 0 when
 * there is none, < 0. */
static ngtcp2_ssize add_packet(struct quic_conn *c, struct batch *b, nsec now, int *ret_udp)
{
    bool had_data = next_sendable(c) != NULL;
    ngtcp2_path_storage ps;
    /* What the peer takes is known once the handshake is over; until then the least that everybody
     * takes. */
    size_t payload = c->is_handshake_done ? ngtcp2_conn_get_max_tx_udp_payload_size(c->ng)
                                          : NGTCP2_MAX_UDP_PAYLOAD_SIZE;
    if (b->is_over || b->n + payload > QUIC_BATCH_BYTES) {
        *ret_udp = flush(c, b);
        if (*ret_udp < 0)
            return 0;
    }
    ngtcp2_path_storage_zero(&ps);
    uint8_t *dest = c->e->batch + b->n;
    ngtcp2_ssize n =
        list_is_empty(&c->datagrams_out) ? 0 : write_datagram(c, &ps, dest, payload, now);
    if (n == 0)
        n = write_packet(c, &ps, dest, payload, now);
    if (n <= 0)
        return n;
    size_t size = (size_t)n;
    if (b->n > 0 && (is_other_path(b, &ps) || size > b->segment)) {
        /* It cannot go out with the others: they first. */
        uint8_t odd[QUIC_PAYLOAD_LOOPBACK_BYTES];
        memcpy(odd, dest, size);
        *ret_udp = flush(c, b);
        memcpy(c->e->batch, odd, size);
    }
    take_path(b, &ps);
    if (b->n == 0)
        b->segment = size;
    b->is_over = size < b->segment;
    b->is_last = is_last(c, had_data, size, payload);
    b->n += size;
    return 1;
}

static void write_pass(struct quic_conn *c)
{
    struct batch b = { 0 };
    /* The time of the packets that were read in this turn, so that their acknowledgement is not
     * overdue already. */
    nsec now = loop_now(c->e->loop);
    int udp = 0;
    c->gathered = 0;
    size_t total = 0;
    for (;;) {
        ngtcp2_ssize n = add_packet(c, &b, now, &udp);
        if (n < 0) {
            (void)flush(c, &b);
            quic_conn_fail(c, (int)n);
            return;
        }
        if (n == 0 || udp < 0)
            break;
        total += b.segment;
        if (b.is_last)
            break;
        if (total >= (size_t)BATCHES_A_TURN * QUIC_BATCH_BYTES) {
            task_wake(&c->send);
            break;
        }
    }
    if (udp == 0)
        udp = flush(c, &b);
    if (total > 0)
        quic_note_sent(c);
    if (c->is_handshake_done)
        ngtcp2_conn_update_pkt_tx_time(c->ng, now);
    quic_arm(c);
}

void quic_send_run(struct task *t)
{
    struct quic_conn *c = container_of(t, struct quic_conn, send);
    bool passed = deadline_take(&c->expiry);
    if (c->state == QUIC_CLOSED) {
        if (passed && c->is_released)
            quic_conn_destroy(c); /* the time for answering late packets is over */
        return;
    }
    nsec now = loop_now(c->e->loop);
    if (quic_has_given_up(c, now)) {
        if (c->is_refused)
            c->why = (struct quic_why){ .err = ERR_REFUSED,
                                        .text = "nobody listens at this address any more" };
        quic_conn_fail(c, NGTCP2_ERR_IDLE_CLOSE);
        return;
    }
    if (ngtcp2_conn_get_expiry(c->ng) <= now) {
        int r = ngtcp2_conn_handle_expiry(c->ng, now);
        if (r != 0) {
            quic_conn_fail(c, r);
            return;
        }
    }
    if (c->blocked == NULL)
        write_pass(c);
}
