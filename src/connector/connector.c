#include "connector/connector.h"

#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "connector/origin_proxy.h"
#include "net/worker.h"

struct connector_worker {
    struct connector *connector;
    unsigned index;
    struct worker *thread;
    struct loop *loop;
    struct serve serve;
    struct metric_set *metrics;
    struct connection *connections[TUNNEL_CONNECTIONS_MAX];
};

struct connector {
    struct loop *loop;
    struct task *owner;
    struct connector_conf conf;
    unsigned worker_count, count;
    struct connector_worker *workers;
    enum connection_state states[TUNNEL_CONNECTIONS_MAX]; /* as their last news said */
    struct edge_set edges;
    struct flow_limit flows;
    struct origin_proxies *proxies;
    bool are_others_started, is_draining;
};

/* ---- orders for a worker ---- */

enum order_kind { ORDER_START, ORDER_DRAIN, ORDER_CLOSE };

struct order {
    struct mail mail;
    struct connector_worker *worker;
    enum order_kind kind;
    unsigned index;
    sem_t *done; /* posted when it was carried out, or NULL */
};

static void news_deliver(struct mail *m);

static void start_connection(struct connector_worker *w, unsigned index)
{
    struct connector *c = w->connector;
    struct connection_conf conf = {
        .identity = &c->conf.identity,
        .index = index,
        .creds = c->conf.creds,
        .server_name = "quic.cftunnel.com",
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
    free(o);
}

static void order_deliver(struct mail *m)
{
    struct order *o = container_of(m, struct order, mail);
    struct connector_worker *w = o->worker;
    if (o->kind == ORDER_START)
        start_connection(w, o->index);
    for (unsigned i = 0; i < TUNNEL_CONNECTIONS_MAX && o->kind != ORDER_START; i++) {
        if (w->connections[i] == NULL)
            continue;
        if (o->kind == ORDER_DRAIN)
            connection_drain(w->connections[i]);
        else
            connection_free(w->connections[i]);
        if (o->kind == ORDER_CLOSE)
            w->connections[i] = NULL;
    }
    order_drop(m);
}

static void order(struct connector *c, unsigned worker, enum order_kind kind, unsigned index,
                  sem_t *done)
{
    struct order *o = calloc(1, sizeof *o);
    if (o == NULL)
        abort();
    *o = (struct order){
        .mail = { .deliver = order_deliver, .drop = order_drop },
        .worker = &c->workers[worker],
        .kind = kind,
        .index = index,
        .done = done,
    };
    mailbox_post(worker_mailbox(c->workers[worker].thread), &o->mail);
}

/* ---- news from connections ---- */

static void log_news(const struct connection_news *n)
{
    char edge[ADDR_TEXT_BYTES];
    (void)addr_text(&n->edge, edge);
    if (n->state == CONNECTION_SERVING)
        log_info("Registered tunnel connection", LU64("connIndex", n->index), LSTR("edge", edge),
                 LSTR("location", n->text), LSTR("protocol", "quic"));
    else if (n->state == CONNECTION_BACKOFF)
        log_warn("connection to the edge failed", LU64("connIndex", n->index), LSTR("edge", edge),
                 LSTR("why", n->text), LU64("retry_in_ms", n->retry_in / NSEC_PER_MSEC));
    else if (n->state == CONNECTION_DRAINING)
        log_info("unregistering", LU64("connIndex", n->index));
}

static void news_deliver(struct mail *m)
{
    struct connection_news *n = container_of(m, struct connection_news, mail);
    struct connector *c = n->ctx;
    c->states[n->index] = n->state;
    log_news(n);
    /* Once one connection is known to work the others follow. */
    if (n->state == CONNECTION_SERVING && !c->are_others_started && !c->is_draining) {
        c->are_others_started = true;
        for (unsigned i = 1; i < c->count; i++)
            order(c, i % c->worker_count, ORDER_START, i, NULL);
    }
    task_wake(c->owner);
    free(n);
}

/* ---- life ---- */

static int worker_init(void *ctx, struct loop *loop)
{
    struct connector_worker *w = ctx;
    struct connector_conf *conf = &w->connector->conf;
    w->loop = loop;
    struct serve_conf serve = {
        .ingress = conf->ingress,
        .metrics = w->metrics,
        .tags = conf->tags,
        .connector = &conf->identity.connector,
        .warp = &conf->warp,
        .flows = &w->connector->flows,
        .stream_head = conf->stream_head,
        .head_max = conf->head_max,
        .proxies = w->connector->proxies,
    };
    return serve_init(&w->serve, loop, &serve);
}

static void worker_done(void *ctx)
{
    struct connector_worker *w = ctx;
    serve_done(&w->serve);
}

int connector_start(struct loop *loop, const struct connector_conf *conf, struct task *owner,
                    struct connector **ret)
{
    struct connector *c = calloc(1, sizeof *c);
    if (c == NULL)
        return ERR_NOMEM;
    c->loop = loop;
    c->owner = owner;
    c->conf = *conf;
    c->flows.max = conf->warp.max_flows;
    c->edges.count = conf->edge_count;
    memcpy(c->edges.addrs, conf->edges, conf->edge_count * sizeof conf->edges[0]);
    c->count =
        conf->connections < conf->edge_count ? conf->connections : (unsigned)conf->edge_count;
    (void)quic_creds_ref(conf->creds);
    (void)ingress_ref(conf->ingress);
    unsigned workers = conf->workers > 0 ? conf->workers : 1;
    c->workers = calloc(workers, sizeof *c->workers);
    int r = c->workers != NULL ? origin_proxies_from_environment(&c->proxies) : ERR_NOMEM;
    for (unsigned i = 0; i < workers && r == 0; i++) {
        struct connector_worker *w = &c->workers[i];
        char name[16];
        w->connector = c;
        w->index = i;
        w->metrics = serve_metrics_new();
        (void)snprintf(name, sizeof name, "connector-%u", i & 0xfff);
        r = worker_start(name, worker_init, worker_done, w, &w->thread);
        if (r < 0)
            free(w->metrics);
        else
            c->worker_count++;
    }
    if (r < 0) {
        connector_stop(c);
        return r;
    }
    order(c, 0, ORDER_START, 0, NULL);
    *ret = c;
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

void connector_stop(struct connector *c)
{
    if (c == NULL)
        return;
    sem_t done;
    (void)sem_init(&done, 0, 0);
    for (unsigned i = 0; i < c->worker_count; i++) {
        order(c, i, ORDER_CLOSE, 0, &done);
        while (sem_wait(&done) < 0)
            continue; /* interrupted by a signal */
        worker_stop(c->workers[i].thread);
        worker_join(c->workers[i].thread);
        free(c->workers[i].metrics);
    }
    (void)sem_destroy(&done);
    loop_turn(c->loop, 0); /* the last news are taken while there is somebody to take them */
    quic_creds_unref(c->conf.creds);
    ingress_unref(c->conf.ingress);
    origin_proxies_free(c->proxies);
    free(c->workers);
    free(c);
}

unsigned connector_ready(const struct connector *c)
{
    unsigned n = 0;
    for (unsigned i = 0; i < c->count; i++)
        n += c->states[i] == CONNECTION_SERVING;
    return n;
}

void connector_metrics(struct connector *c, struct strb *to)
{
    struct metric_set **sets = calloc(c->worker_count, sizeof(struct metric_set *));
    if (sets == NULL)
        return;
    for (unsigned i = 0; i < c->worker_count; i++)
        sets[i] = c->workers[i].metrics;
    metric_page(to, sets, c->worker_count);
    free(sets);
}
