/* A connection until its TLS handshake is over; from then on it is HTTP's, or a connector's. */
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
    enum entry entry;
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

/* Where only 443 leads out, connectors come by that: they ask for a name of their own. */
static bool is_connector(const struct handshake *h)
{
    return h->entry == ENTRY_TUNNEL ||
           slice_eq_nocase(slice_str(tls_sni(h->tls)), SLICE("h2.cftunnel.com"));
}

static int give_away(struct handshake *h)
{
    struct edge_worker *w = h->worker;
    if (!is_connector(h)) {
        int r = h1_serve(&w->visitors, h->tls, &h->peer, "https");
        if (r == 0)
            h->tls = NULL;
        return r;
    }
    struct stream *tls = h->tls;
    h->tls = NULL;
    return session_open_h2(w, tls, &h->peer);
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
    if (r < 0)
        log_debug("TLS handshake failed", LERR(r), LSTR("why", tls_failure(h->tls)));
    else if (give_away(h) < 0)
        log_debug("out of memory for a connection behind its TLS handshake");
    handshake_end(h);
}

int visitor_open(struct edge_worker *w, struct stream *s, const struct addr *peer, enum entry entry)
{
    if (entry == ENTRY_HTTP)
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
    h->entry = entry;
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
