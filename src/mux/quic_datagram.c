/* Datagrams (RFC 9221): two short queues; what does not fit is dropped, as datagrams may be. */
#include <stdlib.h>

#include "base/err.h"
#include "mux/quic_int.h"

int quic_conn_send_datagram(struct quic_conn *c, struct slice payload)
{
    if (c->state != QUIC_OPEN)
        return ERR_CLOSED;
    const ngtcp2_transport_params *peer = ngtcp2_conn_get_remote_transport_params(c->ng);
    if (peer == NULL || peer->max_datagram_frame_size == 0)
        return ERR_UNSUPPORTED;
    if (payload.n > QUIC_DATAGRAM_BYTES_MAX)
        return ERR_TOOLARGE;
    if (c->datagrams_out_count >= QUIC_DATAGRAMS_OUT_MAX)
        return 0;
    struct quic_datagram *d = malloc(sizeof *d + payload.n);
    if (d == NULL)
        return ERR_NOMEM;
    d->n = payload.n;
    memcpy(d->data, payload.p, payload.n);
    list_push_back(&c->datagrams_out, &d->node);
    c->datagrams_out_count++;
    task_wake(&c->send);
    return 0;
}

int quic_conn_take_datagram(struct quic_conn *c, struct buf *to)
{
    struct list *node = list_pop(&c->datagrams_in);
    if (node == NULL)
        return ERR_AGAIN;
    struct quic_datagram *d = container_of(node, struct quic_datagram, node);
    int r = buf_put(to, slice_of(d->data, d->n));
    c->datagrams_in_count--;
    free(d);
    return r;
}
