#include "connector/connector.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "connector/config_request.h"
#include "connector/connector_int.h"
#include "connector/edge_rpc.h"
#include "connector/effective_config.h"
#include "connector/origin_proxy.h"

/* ---- orders for a worker ---- */

enum order_kind {
    ORDER_OPEN,
    ORDER_START,
    ORDER_DRAIN,
    ORDER_CLOSE,
    ORDER_STATS,
    ORDER_TELL,
    ORDER_DOUBT
};

struct order {
    struct mail mail;
    struct connector_worker *worker;
    enum order_kind kind;
    unsigned index;
    sem_t *done;      /* posted when it was carried out, or NULL */
    char *told;       /* of ORDER_TELL, which is for connection 0 */
    struct addr edge; /* of ORDER_DOUBT */
};

static void configure(void *ctx, struct config_ask *ask);
static void open_worker(struct connector_worker *w);

static void news_deliver(struct mail *m);

static void start_connection(struct connector_worker *w, unsigned index)
{
    struct connector *c = w->connector;
    struct connection_conf conf = {
        .identity = &c->conf.identity,
        .index = index,
        .protocol = c->conf.protocol,
        .quic_retry = c->conf.quic_retry,
        .quic = c->conf.quic,
        .tls = c->conf.tls,
        .proxies = c->conf.proxies,
        .proxy_tls = c->conf.proxy_tls,
        .edges = &c->edges,
        .bind = c->conf.bind.size > 0 ? &c->conf.bind : NULL,
        .local_configuration = c->conf.local_configuration,
        .serve = &w->serve,
        .streams_max = c->conf.streams_max > 0 ? c->conf.streams_max : TUNNEL_STREAMS_MAX,
        .retries = c->conf.retries,
        .grace = c->conf.grace,
        .supervisor = loop_mailbox(c->loop),
        .news = news_deliver,
        .supervisor_ctx = c,
    };
    if (w->connections[index] == NULL && connection_new(w->loop, &conf, &w->connections[index]) < 0)
        log_error("a connection could not be started", LU64("connection", index), LERR(ERR_NOMEM));
}

static void order_drop(struct mail *m)
{
    struct order *o = container_of(m, struct order, mail);
    if (o->done != NULL)
        (void)sem_post(o->done);
    free(o->told);
    free(o);
}

static void order_deliver(struct mail *m)
{
    struct order *o = container_of(m, struct order, mail);
    struct connector_worker *w = o->worker;
    if (o->kind == ORDER_OPEN)
        open_worker(w);
    if (o->kind == ORDER_START)
        start_connection(w, o->index);
    if (o->kind == ORDER_TELL && w->connections[0] != NULL) {
        connection_tell_configuration(w->connections[0], o->told);
        o->told = NULL;
    }
    bool is_for_all = o->kind == ORDER_DRAIN || o->kind == ORDER_STATS || o->kind == ORDER_CLOSE ||
                      o->kind == ORDER_DOUBT;
    for (unsigned i = 0; i < TUNNEL_CONNECTIONS_MAX && is_for_all; i++) {
        if (w->connections[i] == NULL)
            continue;
        struct seen_connection *seen = &w->connector->seen.connections[i];
        if (o->kind == ORDER_DRAIN)
            connection_drain(w->connections[i]);
        else if (o->kind == ORDER_DOUBT)
            connection_doubt(w->connections[i], &o->edge);
        else if (o->kind == ORDER_STATS) /* whoever gave the order waits meanwhile */
            seen->is_open = connection_stats(w->connections[i], &seen->quic);
        else
            connection_free(w->connections[i]);
        if (o->kind == ORDER_CLOSE)
            w->connections[i] = NULL;
    }
    order_drop(m);
}

static void give_order(struct connector *c, unsigned worker, const struct order *order)
{
    struct order *o = malloc(sizeof *o);
    if (o == NULL)
        abort();
    *o = *order;
    o->mail = (struct mail){ .deliver = order_deliver, .drop = order_drop };
    o->worker = &c->workers[worker];
    mailbox_post(crew_mailbox(c->conf.crew, worker), &o->mail);
}

static void order(struct connector *c, unsigned worker, enum order_kind kind, unsigned index,
                  sem_t *done)
{
    give_order(c, worker, &(struct order){ .kind = kind, .index = index, .done = done });
}

/* Each worker carries it out before this returns. */
static void order_all(struct connector *c, enum order_kind kind)
{
    sem_t done;
    (void)sem_init(&done, 0, 0);
    for (unsigned i = 0; i < c->worker_count; i++) {
        order(c, i, kind, 0, &done);
        while (sem_wait(&done) < 0)
            continue; /* interrupted by a signal */
    }
    (void)sem_destroy(&done);
}

void connector_take_stats(struct connector *c)
{
    order_all(c, ORDER_STATS);
}

/* ---- news from connections ---- */

/* Said once, to whoever sets it up: nothing has ever worked. */
static void explain(struct connector *c, const struct connection_news *n, const char *edge)
{
    bool is_network = n->err == ERR_TIMEOUT || n->err == ERR_REFUSED || n->err == ERR_UNREACH ||
                      n->err == ERR_RESET || n->err == ERR_CUT || n->err == ERR_DENIED;
    if (c->are_others_started || c->is_explained || !is_network)
        return;
    c->is_explained = true;
    log_error("the edge cannot be reached; trying goes on", LSTR("edge", edge),
              LSTR("tried", n->text), LSTR("tunnel", c->tunnel),
              LSTR("next", "let UDP, or at least TCP, out to this address and port; where only 443 "
                           "is open, name the edge's HTTPS port with --edge HOST:443; where a "
                           "proxy leads out, name it with HTTPS_PROXY"));
}

static void log_news(struct connector *c, const struct connection_news *n)
{
    char edge[ADDR_TEXT_BYTES];
    edge[0] = 0; /* not known yet */
    if (n->edge.size > 0)
        (void)addr_text(&n->edge, edge);
    if (n->state == CONNECTION_SERVING)
        log_info("Registered tunnel connection", LU64("connIndex", n->index), LSTR("edge", edge),
                 LSTR("location", n->text), LSTR("protocol", transport_name(n->transport)),
                 LSTR("tunnel", c->tunnel));
    if (n->state == CONNECTION_SERVING && n->is_kept)
        log_warn(
            "an address of an earlier run serves: where the edge's name leads now nobody could "
            "be reached",
            LU64("connIndex", n->index), LSTR("edge", edge), LSTR("tunnel", c->tunnel));
    else if (n->state == CONNECTION_BACKOFF) {
        log_warn("connection to the edge failed", LU64("connIndex", n->index), LSTR("edge", edge),
                 LSTR("why", n->text), LU64("retry_in_ms", n->retry_in / NSEC_PER_MSEC),
                 LSTR("tunnel", c->tunnel));
        explain(c, n, edge);
    } else if (n->state == CONNECTION_DRAINING)
        log_info("unregistering", LU64("connIndex", n->index), LSTR("tunnel", c->tunnel));
}

/* One connection has lost its edge: the others at that address, which may be silent for most of a
 * minute, find out now whether they have. */
static void doubt(struct connector *c, const struct connection_news *n)
{
    for (unsigned i = 0; i < c->worker_count && !c->is_stopped; i++)
        give_order(c, i, &(struct order){ .kind = ORDER_DOUBT, .edge = n->edge });
}

static void news_deliver(struct mail *m)
{
    struct connection_news *n = container_of(m, struct connection_news, mail);
    struct connector *c = n->ctx;
    if (n->state == CONNECTION_BACKOFF && c->states[n->index] == CONNECTION_SERVING)
        doubt(c, n);
    c->states[n->index] = n->state;
    if (n->state == CONNECTION_SERVING)
        c->is_managed = n->is_remotely_managed;
    if (n->state == CONNECTION_SERVING && n->name != NULL && c->conf.memory != NULL)
        edge_memory_note(c->conf.memory, n->name, &n->edge);
    seen_take(&c->seen, n);
    log_news(c, n);
    /* Once one connection is known to work the others follow. */
    if (n->state == CONNECTION_SERVING && !c->are_others_started && !c->is_draining) {
        c->are_others_started = true;
        for (unsigned i = 1; i < c->count; i++)
            order(c, i % c->worker_count, ORDER_START, i, NULL);
    }
    task_wake(c->owner);
    free(n);
}

/* ---- configurations from the edge ----
 *
 * A worker mails what its edge asks for; it is read and judged here, away from the requests; every
 * worker gets the new rules by mail and sends the mail back; when the last one is back the asking
 * worker gets the answer. */

struct letter {
    struct mail mail;
    struct connector_worker *worker;
    struct publication *publication;
    struct ingress *ingress; /* counted */
    struct warp_routing warp;
};

struct publication {
    _Atomic unsigned refs; /* its letters */
    unsigned left;         /* workers that still have the old rules */
    struct config_ask *ask;
    struct letter letters[]; /* one for each worker */
};

static void publication_unref(struct publication *p)
{
    if (atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1)
        return;
    config_ask_free(p->ask);
    free(p);
}

static void letter_drop(struct mail *m)
{
    struct letter *l = container_of(m, struct letter, mail);
    ingress_unref(l->ingress);
    publication_unref(l->publication);
}

static void ask_drop(struct mail *m)
{
    config_ask_free(container_of(m, struct config_ask, mail));
}

static void answer_deliver(struct mail *m)
{
    struct config_ask *ask = container_of(m, struct config_ask, mail);
    if (ask->is_h2)
        config_request_configured(ask->serve, ask);
    else
        edge_rpc_configured(ask->serve, ask);
}

static void send_answer(struct config_ask *ask)
{
    struct connector_worker *w = container_of(ask->serve, struct connector_worker, serve);
    ask->mail = (struct mail){ .deliver = answer_deliver, .drop = ask_drop };
    mailbox_post(loop_mailbox(w->loop), &ask->mail);
}

/* Back from its worker. */
static void letter_returned(struct mail *m)
{
    struct letter *l = container_of(m, struct letter, mail);
    struct publication *p = l->publication;
    p->left--;
    if (p->left == 0 && p->ask != NULL && !l->worker->connector->is_stopped) {
        send_answer(p->ask);
        p->ask = NULL;
    }
    letter_drop(m);
}

/* On the worker's thread. */
static void letter_deliver(struct mail *m)
{
    struct letter *l = container_of(m, struct letter, mail);
    serve_configure(&l->worker->serve, l->ingress, &l->warp);
    l->mail.deliver = letter_returned;
    mailbox_post(loop_mailbox(l->worker->connector->loop), &l->mail);
}

/* The ask, if any, is the publication's from now on. */
static void publish(struct connector *c, struct publication *p, struct config_ask *ask)
{
    atomic_init(&p->refs, c->worker_count);
    p->left = c->worker_count;
    p->ask = ask;
    atomic_store_explicit(&c->flows.max, c->configuration.warp.max_flows, memory_order_relaxed);
    for (unsigned i = 0; i < c->worker_count; i++) {
        struct letter *l = &p->letters[i];
        *l = (struct letter){
            .mail = { .deliver = letter_deliver, .drop = letter_drop },
            .worker = &c->workers[i],
            .publication = p,
            .ingress = ingress_ref(c->configuration.ingress),
            .warp = c->configuration.warp,
        };
        mailbox_post(crew_mailbox(c->conf.crew, i), &l->mail);
    }
}

static void ask_deliver(struct mail *m)
{
    struct config_ask *ask = container_of(m, struct config_ask, mail);
    struct connector_worker *w = container_of(ask->serve, struct connector_worker, serve);
    struct connector *c = w->connector;
    struct fault f = { 0 };
    if (c->is_stopped) {
        config_ask_free(ask);
        return;
    }
    /* Laid by beforehand: what is in force must reach the workers. */
    struct publication *p = calloc(1, sizeof *p + c->worker_count * sizeof p->letters[0]);
    bool is_new = p != NULL && configuration_apply(&c->configuration, ask->version, ask->json, &f);
    if (p == NULL)
        (void)fault_set(&f, ERR_NOMEM, "out of memory");
    ask->applied = c->configuration.version;
    (void)snprintf(ask->err, sizeof ask->err, "%s", f.text);
    if (is_new) {
        log_info("Updated to new configuration", LI64("version", ask->version),
                 LU64("rules", ingress_count(c->configuration.ingress)), LSTR("tunnel", c->tunnel));
        publish(c, p, ask);
        return;
    }
    free(p);
    if (f.code != 0)
        log_error("the edge's configuration is refused", LI64("version", ask->version),
                  LI64("in_force", ask->applied), LSTR("why", f.text), LU64("line", f.line),
                  LU64("column", f.column), LSTR("tunnel", c->tunnel));
    send_answer(ask);
}

/* On a worker's thread. */
static void configure(void *ctx, struct config_ask *ask)
{
    struct connector *c = ctx;
    ask->mail = (struct mail){ .deliver = ask_deliver, .drop = ask_drop };
    mailbox_post(loop_mailbox(c->loop), &ask->mail);
}

bool connector_is_managed(const struct connector *c)
{
    return !c->conf.is_local_only && (c->is_managed || c->configuration.version >= 0);
}

int connector_configure(struct connector *c, struct ingress *ingress,
                        const struct warp_routing *warp, char *told)
{
    struct publication *p = calloc(1, sizeof *p + c->worker_count * sizeof p->letters[0]);
    if (p == NULL) {
        free(told);
        return ERR_NOMEM;
    }
    c->reloads++;
    configuration_replace(&c->configuration, ingress, warp);
    publish(c, p, NULL);
    if (told != NULL)
        give_order(c, 0, &(struct order){ .kind = ORDER_TELL, .told = told });
    return 0;
}

void connector_count_refused(struct connector *c)
{
    c->reloads_refused++;
}

void connector_configuration(const struct connector *c, struct strb *to)
{
    effective_config_write(to, c->configuration.version, c->configuration.ingress,
                           &c->configuration.warp);
}

/* ---- life ---- */

static void worker_done(struct crew_guest *guest)
{
    serve_done(&container_of(guest, struct connector_worker, guest)->serve);
}

static void open_worker(struct connector_worker *w)
{
    struct connector_conf *conf = &w->connector->conf;
    w->loop = crew_loop(conf->crew, (unsigned)(w - w->connector->workers));
    struct serve_conf serve = {
        .ingress = conf->ingress,
        .metrics = w->metrics,
        .tags = conf->tags,
        .connector = &conf->identity.connector,
        .tunnel = &conf->identity.tunnel,
        .warp = &conf->warp,
        .flows = &w->connector->flows,
        .stream_head = conf->stream_head,
        .head_max = conf->head_max,
        .access_log = conf->access_log,
        .access_ring = w->access_ring,
        .proxies = w->connector->proxies,
        .configure = configure,
        .configure_ctx = w->connector,
    };
    w->result = serve_init(&w->serve, w->loop, &serve);
    w->guest.done = worker_done;
    if (w->result == 0)
        crew_join(conf->crew, (unsigned)(w - w->connector->workers), &w->guest);
}

int connector_new(struct loop *loop, const struct connector_conf *conf, struct task *owner,
                  struct connector **ret)
{
    struct connector *c = calloc(1, sizeof *c);
    if (c == NULL)
        return ERR_NOMEM;
    c->loop = loop;
    c->owner = owner;
    c->conf = *conf;
    (void)uuid_text(&conf->identity.tunnel, c->tunnel);
    atomic_init(&c->flows.max, conf->warp.max_flows);
    edge_set_init(&c->edges, &conf->edges);
    c->count =
        conf->connections < conf->edges.count ? conf->connections : (unsigned)conf->edges.count;
    (void)quic_creds_ref(conf->quic);
    (void)tls_creds_ref(conf->tls);
    if (conf->proxy_tls != NULL)
        (void)tls_creds_ref(conf->proxy_tls);
    configuration_init(&c->configuration, conf->ingress, &conf->warp);
    c->configuration.max_flows = conf->max_flows;
    c->configuration.is_local_only = conf->is_local_only;
    c->worker_count = crew_count(conf->crew);
    c->workers = calloc(c->worker_count, sizeof *c->workers);
    int r = c->workers != NULL ? origin_proxies_from_environment(&c->proxies) : ERR_NOMEM;
    if (r < 0) {
        c->worker_count = 0;
        connector_free(c);
        return r;
    }
    for (unsigned i = 0; i < c->worker_count; i++) {
        struct connector_worker *w = &c->workers[i];
        w->connector = c;
        w->metrics = serve_metrics_new();
        if (conf->access_log.writer != NULL)
            w->access_ring = line_writer_ring(conf->access_log.writer);
    }
    *ret = c;
    return 0;
}

int connector_start(struct connector *c)
{
    order_all(c, ORDER_OPEN);
    for (unsigned i = 0; i < c->worker_count; i++)
        if (c->workers[i].result < 0)
            return c->workers[i].result;
    order(c, 0, ORDER_START, 0, NULL);
    return 0;
}

void connector_drain(struct connector *c)
{
    c->is_draining = true;
    for (unsigned i = 0; i < c->worker_count; i++)
        order(c, i, ORDER_DRAIN, 0, NULL);
}

bool connector_is_over(const struct connector *c)
{
    for (unsigned i = 0; i < (c->are_others_started ? c->count : 1); i++)
        if (c->states[i] != CONNECTION_OVER)
            return false;
    return true;
}

void connector_close(struct connector *c)
{
    if (c == NULL)
        return;
    c->is_stopped = true;
    order_all(c, ORDER_CLOSE);
}

void connector_free(struct connector *c)
{
    if (c == NULL)
        return;
    for (unsigned i = 0; i < c->worker_count; i++)
        free(c->workers[i].metrics);
    quic_creds_unref(c->conf.quic);
    tls_creds_unref(c->conf.tls);
    tls_creds_unref(c->conf.proxy_tls);
    configuration_done(&c->configuration);
    origin_proxies_free(c->proxies);
    edge_set_done(&c->edges);
    free(c->workers);
    free(c);
}

const char *connector_tunnel(const struct connector *c)
{
    return c->tunnel;
}

unsigned connector_ready(const struct connector *c)
{
    unsigned n = 0;
    for (unsigned i = 0; i < c->count; i++)
        n += c->states[i] == CONNECTION_SERVING;
    return n;
}

void connector_diagnose(const struct connector *c, struct strb *to)
{
    const char *comma = "";
    for (unsigned i = 0; i < c->count; i++) {
        char edge[ADDR_TEXT_BYTES];
        if (c->states[i] != CONNECTION_SERVING)
            continue;
        strb_fmt(to, "%s{\"isConnected\":true,\"protocol\":%d,\"edgeAddress\":\"%s\"", comma,
                 c->seen.connections[i].transport == TRANSPORT_QUIC,
                 addr_ip_text(&c->seen.connections[i].edge, edge));
        if (i > 0)
            strb_fmt(to, ",\"index\":%u", i);
        strb_str(to, "}");
        comma = ",";
    }
}
