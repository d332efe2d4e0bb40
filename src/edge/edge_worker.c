#include "edge/edge_worker.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "edge/forward.h"
#include "edge/stand_in.h"

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
    stand_in_init(w);
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

/* Where sockets were handed over, the one of this worker. Of an edge that had fewer workers, TCP's
 * are shared; for UDP, whose packets must come to one worker, the others bind beside. */
static int handed_over(const struct edge_worker *w, enum edge_worker_socket which)
{
    const struct edge_conf *conf = &w->edge->conf;
    const int given[EDGE_WORKER_SOCKETS] = { conf->tunnel_udp_fd, conf->tunnel_fd, conf->http_fd,
                                             conf->https_fd };
    const struct edge_inheritance *from = conf->from;
    if (from == NULL || from->workers == 0)
        return which == EDGE_TUNNEL_UDP && w->index > 0 ? -1 : given[which];
    if (which == EDGE_TUNNEL_UDP)
        return w->index < from->workers ? from->fds[w->index][which] : -1;
    return from->fds[w->index % from->workers][which];
}

static int open_listener(struct edge_worker *w, const char *what, struct addr *addr,
                         enum edge_worker_socket which, struct tcp_listener **ret,
                         struct fault *fault)
{
    if (addr->size == 0)
        return 0;
    int fd = handed_over(w, which);
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
    w->fds[which] = tcp_listener_fd(*ret);
    return 0;
}

/* What the process before is told, and how. */
static void take_predecessor(struct edge_worker *w, struct quic_listen_opts *opts)
{
    const struct edge_inheritance *from = w->edge->conf.from;
    opts->metrics = w->metrics;
    opts->passed_on = EDGE_packets_passed;
    opts->passed_on_lost = EDGE_packets_passed_lost;
    if (from == NULL)
        return;
    opts->generation = from->generation;
    opts->predecessor = from->relays;
    opts->predecessor_workers = from->relay_count;
    opts->is_predecessor_gone = &from->is_gone;
}

static int open_quic(struct edge_worker *w, const struct addr *addr, struct fault *fault)
{
    struct edge *e = w->edge;
    int given = handed_over(w, EDGE_TUNNEL_UDP);
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
        .fd = copy_of(given),
        .is_paused = e->conf.is_paused,
    };
    if (given > 0 && opts.fd < 0)
        return fault_set(fault, ERR_LIMIT, "there are too few descriptors (ulimit -n)");
    take_predecessor(w, &opts);
    memcpy(opts.secret, e->conf.quic_secret, sizeof opts.secret);
    char text[ADDR_TEXT_BYTES];
    struct addr got;
    int r = quic_listen(w->loop, addr, &opts, &w->accept, &w->quic, &got);
    if (r == ERR_BUSY && given <= 0 && w->index > 0) {
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
    w->fds[EDGE_TUNNEL_UDP] = quic_endpoint_fd(w->quic);
    return 0;
}

/* One port for both transports. Where any will do, the one that TCP got may be taken on UDP. */
static int open_tunnel(struct edge_worker *w, struct fault *fault)
{
    struct edge *e = w->edge;
    bool is_any = addr_port(&e->addrs.tunnel) == 0;
    for (unsigned tries = 0;; tries++) {
        struct addr got = e->addrs.tunnel;
        int r = open_listener(w, "tunnel", &got, EDGE_TUNNEL, &w->tunnel, fault);
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
    w->is_paused = e->conf.is_paused;
    for (size_t i = 0; i < EDGE_WORKER_SOCKETS; i++)
        w->fds[i] = -1;
    w->certs = certs_new(&e->ca);
    if (w->certs == NULL)
        return fault_set(fault, ERR_NOMEM, "out of memory");
    int r = tls_creds_server(&opts, &w->tls, fault);
    if (r == 0)
        r = open_listener(w, "http", &e->addrs.http, EDGE_HTTP, &w->http, fault);
    if (r == 0)
        r = open_listener(w, "https", &e->addrs.https, EDGE_HTTPS, &w->https, fault);
    if (r == 0)
        r = open_tunnel(w, fault);
    if (r == 0 && e->conf.from != NULL && w->index < e->conf.from->relay_count)
        w->stand_in_fd = copy_of(e->conf.from->streams[w->index]);
    if (r == 0 && e->conf.opened != NULL)
        e->conf.opened();
    return r;
}

int edge_worker_meet(struct edge_worker *w, struct fault *fault)
{
    (void)fault;
    if (stand_in_open(w) < 0)
        log_warn("out of memory: connectors are awaited where the edge before could stand in",
                 LU64("worker", w->index));
    return 0;
}

int edge_worker_begin(struct edge_worker *w, struct fault *fault)
{
    (void)fault;
    w->is_paused = false;
    w->opened_at = loop_now(w->loop);
    if (w->quic != NULL)
        quic_endpoint_begin(w->quic);
    task_wake(&w->accept);
    return 0;
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
    if (w->is_paused)
        return;
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

struct edge_drain {
    _Atomic unsigned left;
    struct mailbox *reply;
    struct mail *drained;
};

struct edge_drain *edge_drain_new(unsigned workers, struct mailbox *reply, struct mail *drained)
{
    struct edge_drain *d = calloc(1, sizeof *d);
    if (d == NULL)
        abort();
    atomic_init(&d->left, workers);
    d->reply = mailbox_ref(reply);
    d->drained = drained;
    return d;
}

void edge_drain_over(struct edge_drain *d)
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
    deadline_set(&w->drain_step, &w->drain, loop_now(w->loop));
    size_t count = h1_group_part(&w->visitors, w->parting) + stand_in_part(w, w->parting);
    if (w->parting == PARTING_ORIGIN && count > 0) {
        metric_add(w->metrics, EDGE_parted, (int64_t)count);
        log_info("drain time is over: websockets and event streams are told", LU64("count", count));
    }
    deadline_set(&w->drain_end, &w->drain, loop_now(w->loop) + PART_NSEC);
    return count > 0;
}

/* Whether something here may still want a link: a request that has not come in whole, or one that
 * may go to another. */
static bool may_ask(const struct edge_worker *w)
{
    return !list_is_empty(&w->visitors.waiting) || w->handshake_count > 0 || dispatch_may_ask(w);
}

static bool is_through(const struct edge_worker *w)
{
    return w->visitors.count + w->handshake_count + stand_in_count(w) == 0 &&
           (!w->is_succeeded || list_is_empty(&w->sessions));
}

static void drain_run(struct task *t)
{
    struct edge_worker *w = container_of(t, struct edge_worker, drain);
    bool is_late = deadline_take(&w->drain_end);
    /* Also when this worker is through: others are not. */
    if (deadline_take(&w->drain_step)) {
        atomic_store_explicit(&w->may_ask, may_ask(w), memory_order_relaxed);
        sessions_send_away(w);
        deadline_set(&w->drain_step, &w->drain, loop_now(w->loop) + DRAIN_STEP_NSEC);
    }
    bool is_over = is_through(w);
    if (w->drained == NULL || (!is_over && !is_late))
        return;
    if (!is_over && part(w))
        return;
    if (!is_over)
        log_warn("drain time is over: closing what is left", LU64("visitors", w->visitors.count));
    deadline_clear(&w->drain_end);
    edge_drain_over(w->drained);
    w->drained = NULL;
}

static void close_listeners(struct edge_worker *w)
{
    tcp_listener_close(w->http);
    tcp_listener_close(w->https);
    tcp_listener_close(w->tunnel);
    w->http = w->https = w->tunnel = NULL;
}

void edge_worker_drain(struct edge_worker *w, struct edge_drain *d, nsec patience)
{
    w->is_draining = true;
    close_listeners(w);
    if (w->quic != NULL)
        quic_endpoint_stop(w->quic);
    h1_group_drain(&w->visitors);
    w->drained = d;
    deadline_set(&w->drain_end, &w->drain, loop_now(w->loop) + patience);
    deadline_set(&w->drain_step, &w->drain, loop_now(w->loop));
    task_wake(&w->drain);
}

void edge_worker_hurry(struct edge_worker *w, nsec patience)
{
    nsec end = loop_now(w->loop) + patience;
    if (w->drained != NULL && w->parting == PARTING_NONE && w->drain_end.at > end)
        deadline_set(&w->drain_end, &w->drain, end);
}

int edge_worker_hand_over(struct edge_worker *w, struct fault *fault)
{
    const struct hand_over *h = w->edge->hand_over;
    int in = h->relays[w->index];
    (void)fault;
    w->is_succeeded = true;
    w->succeeded_at = loop_now(w->loop);
    atomic_store_explicit(&w->may_ask, true, memory_order_relaxed);
    if (w->quic != NULL && in >= 0 && quic_endpoint_hand_over(w->quic, in) < 0) {
        log_warn("out of memory: connections over QUIC are lost", LU64("worker", w->index));
        (void)close(in);
    } else if (w->quic == NULL && in >= 0) {
        (void)close(in);
    }
    if (stand_in_serve(w, h->streams[w->index]) < 0)
        log_warn("out of memory: the next edge waits for connectors that are here",
                 LU64("worker", w->index));
    edge_worker_drain(w, h->drain, h->grace);
    return 0;
}

int edge_worker_close(struct edge_worker *w, struct fault *fault)
{
    (void)fault;
    w->is_draining = true;
    deadline_clear(&w->drain_end);
    deadline_clear(&w->drain_step);
    if (w->drained != NULL)
        edge_drain_over(w->drained);
    w->drained = NULL;
    close_listeners(w);
    visitors_abort(w);
    h1_group_abort(&w->visitors);
    tunnel_server_abort(&w->bridged);
    stand_in_close(w);
    config_pushes_abort(w);
    sessions_abort(w);
    w->edge->endpoints[w->index] = NULL; /* packets that others still pass on are dropped */
    quic_endpoint_free(w->quic);
    w->quic = NULL;
    return 0;
}
