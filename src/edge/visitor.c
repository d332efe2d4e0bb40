/* A visitor's connection until its TLS handshake is over; from then on it is HTTP's. */
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "edge/edge_int.h"

struct handshake {
    struct list node;
    struct task task;
    struct deadline end;
    struct edge_worker *worker;
    struct stream *tls;
    struct addr peer;
    struct reaper reaper;
};

static void handshake_reap(struct reaper *r)
{
    free(container_of(r, struct handshake, reaper));
}

/* The stream has been given away or is released here. */
static void handshake_end(struct handshake *h)
{
    stream_release(h->tls);
    h->tls = NULL;
    list_remove(&h->node);
    h->worker->handshake_count--;
    deadline_clear(&h->end);
    task_done(&h->task);
    task_wake(&h->worker->accept);
    loop_reap(h->worker->loop, &h->reaper, handshake_reap);
}

/* What read says without reading anything: the state of the handshake. */
static int handshake_state(struct handshake *h)
{
    struct buf none;
    if (tls_is_ready(h->tls))
        return 0;
    buf_init(&none, loop_chunks(h->worker->loop), 0);
    int r = stream_read(h->tls, &none, 0);
    buf_done(&none);
    return r;
}

static void handshake_run(struct task *t)
{
    struct handshake *h = container_of(t, struct handshake, task);
    bool is_late = deadline_take(&h->end);
    int r = is_late ? ERR_TIMEOUT : handshake_state(h);
    if (r == ERR_AGAIN)
        return;
    metric_add(h->worker->metrics,
               r == 0    ? EDGE_handshakes_ok
               : is_late ? EDGE_handshakes_late
                         : EDGE_handshakes_failed,
               1);
    if (r == 0)
        r = h1_serve(&h->worker->visitors, h->tls, &h->peer, "https");
    if (r == 0)
        h->tls = NULL;
    else
        log_debug("visitor's TLS handshake failed", LERR(r), LSTR("why", tls_failure(h->tls)));
    handshake_end(h);
}

int visitor_open(struct edge_worker *w, struct stream *s, const struct addr *peer, bool is_tls)
{
    if (!is_tls)
        return h1_serve(&w->visitors, s, peer, "http");
    struct handshake *h = calloc(1, sizeof *h);
    if (h == NULL)
        return ERR_NOMEM;
    task_init(&h->task, w->loop, handshake_run);
    int r = tls_accept(w->loop, w->tls, s, &h->task, &h->tls);
    if (r < 0) {
        free(h);
        return r;
    }
    h->worker = w;
    h->peer = *peer;
    list_push_back(&w->handshakes, &h->node);
    w->handshake_count++;
    deadline_set(&h->end, &h->task, loop_now(w->loop) + w->handshake_patience);
    task_wake(&h->task);
    return 0;
}

bool visitors_evict(struct edge_worker *w)
{
    if (list_is_empty(&w->handshakes))
        return false;
    struct handshake *h = container_of(w->handshakes.next, struct handshake, node);
    metric_add(w->metrics, EDGE_handshakes_evicted, 1);
    stream_abort(h->tls, ERR_LIMIT);
    handshake_end(h);
    return true;
}

void visitors_abort(struct edge_worker *w)
{
    list_each(it, &w->handshakes)
    {
        struct handshake *h = container_of(it, struct handshake, node);
        stream_abort(h->tls, ERR_CLOSED);
        handshake_end(h);
    }
}
