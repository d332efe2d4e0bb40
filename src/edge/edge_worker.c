#include "edge/edge_worker.h"

#include <fcntl.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "edge/forward.h"

#define TUNNEL_PORT_TRIES 16
#define DRAIN_STEP_NSEC   (100 * NSEC_PER_MSEC)
#define PART_NSEC         (NSEC_PER_SEC / 2) /* for what is told that it ends, each of two times */

static void accept_run(struct task *t);
static void drain_run(struct task *t);

/* What the configuration says about the patience with visitors, and how much they may say. */
static void take_limits(struct h1_group *g, const struct edge_conf *conf)
{
    if (conf->visitor_head > 0)
        g->head = conf->visitor_head;
    if (conf->visitor_idle > 0)
        g->idle = conf->visitor_idle;
    if (conf->visitor_stall > 0)
        g->stall = conf->visitor_stall;
    g->rate = conf->visitor_rate;
    if (conf->head_max > 0)
        g->head_max = conf->head_max;
}

int edge_worker_init(void *ctx, struct loop *loop)
{
    struct edge_worker *w = ctx;
    w->loop = loop;
    task_init(&w->accept, loop, accept_run);
    task_init(&w->drain, loop, drain_run);
    list_init(&w->handshakes);
    w->handshake_patience = w->edge->conf.visitor_handshake;
    if (w->handshake_patience == 0)
        w->handshake_patience = VISITOR_HANDSHAKE_MS * NSEC_PER_MSEC;
    list_init(&w->sessions);
    list_init(&w->config_pushes);
    list_init(&w->waiting);
    list_init(&w->held);
    map_init(&w->sessions_by_id);
    h1_group_init(&w->visitors, loop, &w->accept, dispatch_route, w);
    w->visitors.head_out = dispatch_head;
    w->visitors.done = account_done;
    w->visitors.refused = account_refused;
    w->visitors.ray = RAY_SUFFIX;
    take_limits(&w->visitors, &w->edge->conf);
    tunnel_server_group_init(&w->bridged, loop, w);
    w->bridged.route = bridge_route;
    w->bridged.resets_on_loss = true;
    w->links = link_table_new();
    return w->links != NULL ? 0 : ERR_NOMEM;
}

void edge_worker_done(void *ctx)
{
    struct edge_worker *w = ctx;
    link_table_free(w->links);
    map_done(&w->sessions_by_id);
    snapshot_unref(w->snapshot);
    tls_creds_unref(w->tls);
    certs_free(w->certs);
    task_done(&w->accept);
    task_done(&w->drain);
}

/* ---- opening ---- */

/* A descriptor of our own for a socket that is shared; -1 without one. */
static int copy_of(int fd)
{
    return fd > 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
}

static int open_listener(struct edge_worker *w, const char *what, struct addr *addr, int fd,
                         struct tcp_listener **ret, struct fault *fault)
{
    if (addr->size == 0)
        return 0;
    struct tcp_listen_opts opts = { .reuse_port = w->edge->conf.workers > 1, .fd = copy_of(fd) };
    if (fd > 0 && opts.fd < 0)
        return fault_set(fault, ERR_LIMIT, "there are too few descriptors (ulimit -n)");
    char text[ADDR_TEXT_BYTES];
    struct addr got;
    int r = tcp_listen(w->loop, addr, &opts, &w->accept, ret, &got);
    if (r == ERR_BUSY)
        return fault_set(fault, r,
                         "%s is in use by another program; choose another address with --%s",
                         addr_text(addr, text), what);
    if (r == ERR_DENIED)
        return fault_set(fault, r,
                         "%s may not be bound by this user; choose a port above 1023 with --%s",
                         addr_text(addr, text), what);
    if (r < 0)
        return fault_set(fault, r, "%s (--%s) could not be bound: %s", addr_text(addr, text), what,
                         err_text(r));
    *addr = got;
    return 0;
}

static int open_quic(struct edge_worker *w, const struct addr *addr, struct fault *fault)
{
    struct edge *e = w->edge;
    struct quic_listen_opts opts = {
        .conf = { .creds = e->quic_creds,
                  .alpn = "argotunnel",
                  .streams_bidi = TUNNEL_CONNECTOR_STREAMS_MAX,
                  .datagrams = true,
                  .pmtud = true },
        .worker = w->index,
        .workers = e->conf.workers,
        .peers = e->mailboxes,
        .endpoints = e->endpoints,
        .fd = w->index == 0 ? copy_of(e->conf.tunnel_udp_fd) : -1,
    };
    memcpy(opts.secret, e->conf.quic_secret, sizeof opts.secret);
    char text[ADDR_TEXT_BYTES];
    struct addr got;
    int r = quic_listen(w->loop, addr, &opts, &w->accept, &w->quic, &got);
    if (r == ERR_BUSY && e->conf.tunnel_udp_fd > 0 && w->index > 0) {
        /* Of another user, or not to be shared: worker 0 has all of QUIC then. */
        log_info("one worker serves QUIC: the socket that was handed over is not to be shared",
                 LU64("without", w->index));
        return 0;
    }
    if (r == ERR_BUSY)
        return fault_set(
            fault, r, "UDP %s is in use by another program; choose another address with --tunnel",
            addr_text(addr, text));
    if (r < 0)
        return fault_set(fault, r, "UDP %s (--tunnel) could not be bound: %s",
                         addr_text(addr, text), err_text(r));
    e->endpoints[w->index] = w->quic;
    return 0;
}

/* One port for both transports. Where any will do, the one that TCP got may be taken on UDP. */
static int open_tunnel(struct edge_worker *w, struct fault *fault)
{
    struct edge *e = w->edge;
    bool is_any = addr_port(&e->addrs.tunnel) == 0;
    for (unsigned tries = 0;; tries++) {
        struct addr got = e->addrs.tunnel;
        int r = open_listener(w, "tunnel", &got, e->conf.tunnel_fd, &w->tunnel, fault);
        if (r == 0)
            r = open_quic(w, &got, fault);
        if (r == 0)
            e->addrs.tunnel = got;
        if (r != ERR_BUSY || !is_any || tries == TUNNEL_PORT_TRIES)
            return r;
        tcp_listener_close(w->tunnel);
        w->tunnel = NULL;
    }
}

/* A hostname is ours below one of our domains, or when a tunnel serves it. */
static bool is_ours(const struct edge_worker *w, struct slice name)
{
    struct uuid tunnel;
    for (const char *const *d = w->edge->conf.domains; d != NULL && *d != NULL; d++) {
        struct slice domain = slice_str(*d);
        bool is_below =
            slice_ends(name, domain) && name.n > domain.n && name.p[name.n - domain.n - 1] == '.';
        if (is_below || slice_eq(name, domain))
            return true;
    }
    return w->snapshot != NULL && snapshot_route(w->snapshot, name, &tunnel);
}

static struct tls_cert *choose_cert(void *ctx, const char *name)
{
    struct edge_worker *w = ctx;
    return is_ours(w, slice_str(name)) ? certs_get(w->certs, name) : NULL;
}

int edge_worker_open(struct edge_worker *w, struct fault *fault)
{
    static const char *const ALPN[] = { "http/1.1", NULL };
    struct edge *e = w->edge;
    struct tls_server_opts opts = {
        .chain_pem = slice_str(e->chain_pem),
        .key_pem = slice_str(e->key_pem),
        .alpn = ALPN,
        .choose = choose_cert,
        .ctx = w,
    };
    w->opened_at = loop_now(w->loop);
    w->certs = certs_new(&e->ca);
    if (w->certs == NULL)
        return fault_set(fault, ERR_NOMEM, "out of memory");
    int r = tls_creds_server(&opts, &w->tls, fault);
    if (r == 0)
        r = open_listener(w, "http", &e->addrs.http, e->conf.http_fd, &w->http, fault);
    if (r == 0)
        r = open_listener(w, "https", &e->addrs.https, e->conf.https_fd, &w->https, fault);
    if (r == 0)
        r = open_tunnel(w, fault);
    if (r == 0 && e->conf.opened != NULL)
        e->conf.opened();
    return r;
}

/* ---- serving ---- */

/* Who asks for nothing gives way, or a flood of idle connections would shut everybody out for as
 * long as they may be idle; and of handshakes that are not over never more than half of the places
 * are held. False when everybody is being served. */
static bool make_room(struct edge_worker *w, size_t max)
{
    if (w->handshake_count > max / 2)
        return visitors_evict(w);
    return h1_group_evict(&w->visitors) || visitors_evict(w);
}

static void accept_visitors(struct edge_worker *w, struct tcp_listener *listener, enum entry entry)
{
    size_t max = w->edge->conf.visitors_max > 0 ? w->edge->conf.visitors_max : VISITORS_MAX;
    for (unsigned step = 0; listener != NULL && step < ACCEPT_STEP; step++) {
        struct stream *s;
        struct addr peer;
        if (tcp_accept(listener, NULL, &s, &peer) < 0)
            return;
        bool is_full = w->visitors.count + w->handshake_count >= max;
        if (is_full)
            metric_add(w->metrics, EDGE_visitors_refused, 1);
        if (is_full && !make_room(w, max)) {
            log_warn("visitor refused: too many connections", LU64("limit", max));
            stream_abort(s, ERR_LIMIT);
            stream_release(s);
            continue;
        }
        if (visitor_open(w, s, &peer, entry) < 0) {
            stream_abort(s, ERR_NOMEM);
            stream_release(s);
        }
    }
    if (listener != NULL)
        task_wake(&w->accept);
}

static void accept_run(struct task *t)
{
    struct edge_worker *w = container_of(t, struct edge_worker, accept);
    if (!w->is_draining && w->snapshot != NULL) { /* before that no hostname would be known */
        accept_visitors(w, w->http, ENTRY_HTTP);
        accept_visitors(w, w->https, ENTRY_HTTPS);
    }
    if (!w->is_draining)
        accept_visitors(w, w->tunnel, ENTRY_TUNNEL);
    struct quic_conn *conn;
    while (w->quic != NULL && (conn = quic_accept(w->quic, NULL)) != NULL)
        if (session_open(w, conn) < 0)
            quic_conn_release(conn);
    int64_t count = (int64_t)(w->visitors.count + w->handshake_count);
    atomic_store_explicit(&w->metrics->cells[EDGE_visitors], count, memory_order_relaxed);
    if (w->is_draining)
        task_wake(&w->drain);
}

/* ---- draining ---- */

/* Counts the workers that are not through yet; whoever is last mails the answer. */
struct edge_drain {
    _Atomic unsigned left;
    struct mailbox *reply;
    struct mail *drained;
};

struct drain_mail {
    struct mail mail;
    struct edge_worker *worker;
    struct edge_drain *drain;
};

static void drain_over(struct edge_drain *d)
{
    if (atomic_fetch_sub(&d->left, 1) != 1)
        return;
    mailbox_post(d->reply, d->drained);
    mailbox_unref(d->reply);
    free(d);
}

/* The time is over: what can end in order is told, the origins before the visitors, and gets a
 * moment for it. False when there is nothing (more) to wait for. */
static bool part(struct edge_worker *w)
{
    if (w->parting == PARTING_BOTH)
        return false;
    w->parting++;
    size_t count = h1_group_part(&w->visitors, w->parting);
    if (w->parting == PARTING_ORIGIN && count > 0) {
        metric_add(w->metrics, EDGE_parted, (int64_t)count);
        log_info("drain time is over: websockets and event streams are told", LU64("count", count));
    }
    deadline_set(&w->drain_end, &w->drain, loop_now(w->loop) + PART_NSEC);
    return count > 0;
}

static void drain_run(struct task *t)
{
    struct edge_worker *w = container_of(t, struct edge_worker, drain);
    bool is_late = deadline_take(&w->drain_end);
    /* Also when this worker is through: others are not. */
    if (deadline_take(&w->drain_step)) {
        sessions_send_away(w);
        deadline_set(&w->drain_step, &w->drain, loop_now(w->loop) + DRAIN_STEP_NSEC);
    }
    bool is_through = w->visitors.count + w->handshake_count == 0;
    if (w->drained == NULL || (!is_through && !is_late))
        return;
    if (!is_through && part(w))
        return;
    if (!is_through)
        log_warn("drain time is over: closing what is left", LU64("visitors", w->visitors.count));
    deadline_clear(&w->drain_end);
    drain_over(w->drained);
    w->drained = NULL;
}

static void close_listeners(struct edge_worker *w)
{
    tcp_listener_close(w->http);
    tcp_listener_close(w->https);
    tcp_listener_close(w->tunnel);
    w->http = w->https = w->tunnel = NULL;
}

static void drain_deliver(struct mail *m)
{
    struct drain_mail *d = container_of(m, struct drain_mail, mail);
    struct edge_worker *w = d->worker;
    w->is_draining = true;
    close_listeners(w);
    if (w->quic != NULL)
        quic_endpoint_stop(w->quic);
    h1_group_drain(&w->visitors);
    w->drained = d->drain;
    deadline_set(&w->drain_end, &w->drain, loop_now(w->loop) + w->edge->conf.drain);
    deadline_set(&w->drain_step, &w->drain, loop_now(w->loop));
    task_wake(&w->drain);
    free(d);
}

static void drain_drop(struct mail *m)
{
    struct drain_mail *d = container_of(m, struct drain_mail, mail);
    drain_over(d->drain);
    free(d);
}

void edge_drain(struct edge *e, struct mailbox *reply, struct mail *drained)
{
    struct edge_drain *all = calloc(1, sizeof *all);
    if (all == NULL)
        abort();
    e->is_draining = true;
    atomic_init(&all->left, e->count);
    all->reply = mailbox_ref(reply);
    all->drained = drained;
    for (unsigned i = 0; i < e->count; i++) {
        struct drain_mail *d = calloc(1, sizeof *d);
        if (d == NULL)
            abort();
        d->mail = (struct mail){ .deliver = drain_deliver, .drop = drain_drop };
        d->worker = &e->workers[i];
        d->drain = all;
        mailbox_post(e->mailboxes[i], &d->mail);
    }
}

int edge_worker_close(struct edge_worker *w, struct fault *fault)
{
    (void)fault;
    w->is_draining = true;
    deadline_clear(&w->drain_end);
    deadline_clear(&w->drain_step);
    if (w->drained != NULL)
        drain_over(w->drained);
    w->drained = NULL;
    close_listeners(w);
    visitors_abort(w);
    h1_group_abort(&w->visitors);
    tunnel_server_abort(&w->bridged);
    config_pushes_abort(w);
    sessions_abort(w);
    w->edge->endpoints[w->index] = NULL; /* packets that others still pass on are dropped */
    quic_endpoint_free(w->quic);
    w->quic = NULL;
    return 0;
}
