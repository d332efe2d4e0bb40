#include "edge/edge.h"

#include <assert.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "crypto/hash.h"
#include "edge/edge_int.h"
#include "edge/edge_worker.h"
#include "edge/stand_in.h"

static const struct metric_desc METRICS[] = {
#define METRIC(k, field, n, l, h) { .name = n, .help = h, .kind = METRIC_##k, .labels = l },
#include "edge/metrics.def"
#undef METRIC
};

static const struct metric_family FAMILIES[] = {
#define FAMILY(id, t, n, labels, h) { .type = t, .name = n, .help = h },
#include "edge/families.def"
#undef FAMILY
};

const struct metric_family *edge_family(enum edge_family id)
{
    return &FAMILIES[id];
}

/* ---- calls that run on a worker's thread while the caller waits ---- */

struct call {
    struct mail mail;
    struct edge_worker *worker;
    int (*run)(struct edge_worker *, struct fault *);
    struct fault *fault;
    int result;
    sem_t over;
};

static void call_deliver(struct mail *m)
{
    struct call *c = container_of(m, struct call, mail);
    c->result = c->run(c->worker, c->fault);
    (void)sem_post(&c->over);
}

static void call_drop(struct mail *m)
{
    struct call *c = container_of(m, struct call, mail);
    c->result = ERR_CLOSED;
    (void)sem_post(&c->over);
}

/* Runs on the worker and waits for the result. Only where the edge begins or ends to
 * serve: a worker waits for nobody. */
static int call_worker(struct edge_worker *w, int (*run)(struct edge_worker *, struct fault *),
                       struct fault *fault)
{
    struct call c = {
        .mail = { .deliver = call_deliver, .drop = call_drop },
        .worker = w,
        .run = run,
        .fault = fault,
    };
    (void)sem_init(&c.over, 0, 0);
    mailbox_post(w->mailbox, &c.mail);
    while (sem_wait(&c.over) < 0)
        continue; /* interrupted by a signal */
    (void)sem_destroy(&c.over);
    return c.result;
}

/* ---- start and stop ---- */

static int start_threads(struct edge *e)
{
    for (unsigned i = 0; i < e->conf.workers; i++) {
        struct edge_worker *w = &e->workers[i];
        char name[16];
        w->edge = e;
        w->index = i;
        w->metrics = metric_set_new(METRICS, EDGE_METRICS_COUNT);
        w->hostnames = hostname_view_new(e->hostnames);
        if (e->conf.access_log.writer != NULL)
            w->access_log = line_writer_ring(e->conf.access_log.writer);
        (void)snprintf(name, sizeof name, "edge-%u", i);
        int r = worker_start(name, edge_worker_init, edge_worker_done, w, &w->thread);
        if (r < 0) {
            free(w->metrics);
            hostname_view_free(w->hostnames);
            return r;
        }
        w->mailbox = e->mailboxes[i] = worker_mailbox(w->thread);
        e->count++;
    }
    return 0;
}

static int open_all(struct edge *e, struct fault *fault)
{
    struct slice chain = slice_str(e->chain_pem), key = slice_str(e->key_pem);
    int r = quic_creds_server(chain, key, &e->quic_creds, fault);
    /* Worker 0 resolves ports of 0; the others bind what it got. */
    for (unsigned i = 0; i < e->count && r == 0; i++)
        r = call_worker(&e->workers[i], edge_worker_open, fault);
    return r;
}

/* Another than that of QUIC's tokens, from the same bytes. */
static void make_affinity_secret(struct edge *e)
{
    uint8_t hash[SHA256_BYTES];
    hmac_sha256(slice_of(e->conf.quic_secret, sizeof e->conf.quic_secret),
                SLICE("affinity of visitors"), hash);
    memcpy(e->affinity_secret, hash, sizeof e->affinity_secret);
    explicit_bzero(hash, sizeof hash);
}

int edge_start(const struct edge_conf *conf, struct edge **ret, struct edge_addrs *ret_addrs,
               struct fault *fault)
{
    struct edge *e = calloc(1, sizeof *e);
    if (e == NULL)
        return fault_set(fault, ERR_NOMEM, "out of memory");
    e->conf = *conf;
    make_affinity_secret(e);
    e->chain_pem = slice_dup(conf->chain_pem);
    e->key_pem = slice_dup(conf->key_pem);
    e->ca = (struct x509_pair){ slice_dup(conf->ca_pem), slice_dup(conf->ca_key_pem) };
    e->addrs = (struct edge_addrs){ conf->tunnel, conf->http, conf->https };
    e->hostnames = hostnames_new(conf->metrics_hostnames);
    e->workers = calloc(conf->workers, sizeof *e->workers);
    e->mailboxes = calloc(conf->workers, sizeof(struct mailbox *));
    e->endpoints = calloc(conf->workers, sizeof(struct quic_endpoint *));
    int r = ERR_NOMEM;
    if (e->workers != NULL && e->mailboxes != NULL && e->endpoints != NULL)
        r = start_threads(e);
    if (r < 0)
        (void)fault_set(fault, r, "the edge's threads could not be started: %s", err_text(r));
    else
        r = open_all(e, fault);
    if (r < 0) {
        edge_stop(e);
        return r;
    }
    *ret = e;
    *ret_addrs = e->addrs;
    return 0;
}

void edge_stop(struct edge *e)
{
    if (e == NULL)
        return;
    /* Every worker closes before any thread ends: crossings between them come to an orderly end. */
    for (unsigned i = 0; i < e->count; i++)
        (void)call_worker(&e->workers[i], edge_worker_close, NULL);
    for (unsigned i = 0; i < e->count; i++)
        worker_stop(e->workers[i].thread);
    for (unsigned i = 0; i < e->count; i++) {
        worker_join(e->workers[i].thread);
        free(e->workers[i].metrics);
        hostname_view_free(e->workers[i].hostnames);
    }
    hostnames_free(e->hostnames);
    quic_creds_unref(e->quic_creds);
    if (e->key_pem != NULL)
        explicit_bzero(e->key_pem, strlen(e->key_pem));
    free(e->chain_pem);
    free(e->key_pem);
    x509_pair_free(&e->ca);
    free(e->workers);
    free(e->mailboxes);
    free(e->endpoints);
    free(e);
}

/* ---- messages ---- */

struct publication {
    struct mail mail;
    struct edge_worker *worker;
    struct snapshot *snapshot;
};

static void publication_drop(struct mail *m)
{
    struct publication *p = container_of(m, struct publication, mail);
    snapshot_unref(p->snapshot);
    free(p);
}

static void publication_deliver(struct mail *m)
{
    struct publication *p = container_of(m, struct publication, mail);
    struct snapshot *old = p->worker->snapshot;
    p->worker->snapshot = p->snapshot;
    hostname_view_prune(p->worker->hostnames, p->snapshot);
    if (old == NULL)
        task_wake(&p->worker->accept); /* visitors are waiting */
    snapshot_unref(old);
    free(p);
}

void edge_publish(struct edge *e, struct snapshot *s)
{
    for (unsigned i = 0; i < e->count; i++) {
        struct publication *p = malloc(sizeof *p);
        if (p == NULL)
            abort();
        *p = (struct publication){
            .mail = { .deliver = publication_deliver, .drop = publication_drop },
            .worker = &e->workers[i],
            .snapshot = snapshot_ref(s),
        };
        mailbox_post(e->mailboxes[i], &p->mail);
    }
}

struct closing {
    struct mail mail;
    struct edge_worker *worker;
    uint64_t link;
};

static void closing_drop(struct mail *m)
{
    free(container_of(m, struct closing, mail));
}

static void closing_deliver(struct mail *m)
{
    struct closing *c = container_of(m, struct closing, mail);
    struct session *s = session_find(c->worker, c->link);
    if (s != NULL)
        session_close(s, "closed by the control plane");
    free(c);
}

void edge_close_link(struct edge *e, uint64_t link)
{
    unsigned worker = LINK_WORKER(link);
    struct closing *c = worker < e->count ? malloc(sizeof *c) : NULL;
    if (c == NULL)
        return;
    *c = (struct closing){
        .mail = { .deliver = closing_deliver, .drop = closing_drop },
        .worker = &e->workers[worker],
        .link = link,
    };
    mailbox_post(e->mailboxes[worker], &c->mail);
}

static void configuration_drop(struct mail *m)
{
    config_push_free(container_of(m, struct config_push, mail));
}

static void configuration_deliver(struct mail *m)
{
    struct config_push *p = container_of(m, struct config_push, mail);
    config_push_start(p->worker, p);
}

void edge_configure(struct edge *e, struct config_push *p)
{
    unsigned worker = LINK_WORKER(p->link);
    assert(worker < e->count);
    p->worker = &e->workers[worker];
    p->mail = (struct mail){ .deliver = configuration_deliver, .drop = configuration_drop };
    mailbox_post(e->mailboxes[worker], &p->mail);
}

/* ---- the end, and what comes behind ---- */

struct order {
    struct mail mail;
    struct edge_worker *worker;
    struct edge_drain *drain; /* or NULL: hurry */
    nsec patience;
};

static void order_deliver(struct mail *m)
{
    struct order *o = container_of(m, struct order, mail);
    if (o->drain != NULL)
        edge_worker_drain(o->worker, o->drain, o->patience);
    else
        edge_worker_hurry(o->worker, o->patience);
    free(o);
}

static void order_drop(struct mail *m)
{
    struct order *o = container_of(m, struct order, mail);
    if (o->drain != NULL)
        edge_drain_over(o->drain);
    free(o);
}

static void order_all(struct edge *e, struct edge_drain *drain, nsec patience)
{
    for (unsigned i = 0; i < e->count; i++) {
        struct order *o = malloc(sizeof *o);
        if (o == NULL)
            abort();
        *o = (struct order){ .mail = { .deliver = order_deliver, .drop = order_drop },
                             .worker = &e->workers[i],
                             .drain = drain,
                             .patience = patience };
        mailbox_post(e->mailboxes[i], &o->mail);
    }
}

void edge_drain(struct edge *e, struct mailbox *reply, struct mail *drained)
{
    e->is_draining = true;
    order_all(e, edge_drain_new(e->count, reply, drained), e->conf.drain);
}

void edge_hurry(struct edge *e, nsec grace)
{
    order_all(e, NULL, grace);
}

/* About one tunnel, of the edge before or behind us. */
struct word {
    struct mail mail;
    struct edge_worker *worker;
    struct uuid tunnel;
    bool is_there;
};

static void word_drop(struct mail *m)
{
    free(container_of(m, struct word, mail));
}

static void stand_in_deliver(struct mail *m)
{
    struct word *word = container_of(m, struct word, mail);
    stand_in_set(word->worker, &word->tunnel, word->is_there);
    free(word);
}

static void came_over_deliver(struct mail *m)
{
    struct word *word = container_of(m, struct word, mail);
    stand_in_note_came_over(word->worker, &word->tunnel);
    free(word);
}

static void post_word(struct edge *e, unsigned worker, const struct uuid *tunnel, bool is_there,
                      void (*deliver)(struct mail *))
{
    struct word *word = malloc(sizeof *word);
    if (word == NULL)
        abort();
    *word = (struct word){ .mail = { .deliver = deliver, .drop = word_drop },
                           .worker = &e->workers[worker],
                           .tunnel = *tunnel,
                           .is_there = is_there };
    mailbox_post(e->mailboxes[worker], &word->mail);
}

/* Tunnels are spread over the workers of both. */
void edge_stand_in(struct edge *e, const struct uuid *tunnel, bool is_there)
{
    unsigned streams = e->conf.from->relay_count;
    unsigned count = streams < e->count ? streams : e->count;
    post_word(e, tunnel->bytes[sizeof tunnel->bytes - 1] % count, tunnel, is_there,
              stand_in_deliver);
}

void edge_came_over(struct edge *e, const struct uuid *tunnel)
{
    for (unsigned i = 0; i < e->count; i++)
        post_word(e, i, tunnel, true, came_over_deliver);
}

void edge_meet(struct edge *e)
{
    for (unsigned i = 0; i < e->count; i++)
        (void)call_worker(&e->workers[i], edge_worker_meet, NULL);
}

static int nothing(struct edge_worker *w, struct fault *fault)
{
    (void)w;
    (void)fault;
    return 0;
}

void edge_begin(struct edge *e)
{
    /* What edge_stand_in has said is on its way to every worker behind this. */
    for (unsigned i = 0; i < e->count; i++)
        (void)call_worker(&e->workers[i], nothing, NULL);
    for (unsigned i = 0; i < e->count; i++)
        (void)call_worker(&e->workers[i], edge_worker_begin, NULL);
}

void edge_hand_over(struct edge *e, const int *relays, const int *streams, nsec grace,
                    struct mailbox *reply, struct mail *drained)
{
    const struct hand_over h = { .relays = relays,
                                 .streams = streams,
                                 .grace = grace,
                                 .drain = edge_drain_new(e->count, reply, drained) };
    e->is_draining = true;
    e->hand_over = &h;
    for (unsigned i = 0; i < e->count; i++)
        (void)call_worker(&e->workers[i], edge_worker_hand_over, NULL);
    e->hand_over = NULL;
}

unsigned edge_workers(const struct edge *e)
{
    return e->count;
}

int edge_socket_of(const struct edge *e, unsigned worker, enum edge_worker_socket which)
{
    return e->workers[worker].fds[which];
}

bool edge_is_draining(const struct edge *e)
{
    return e->is_draining;
}

void edge_metrics(struct edge *e, struct strb *to)
{
    struct metric_set **sets = calloc(e->count, sizeof(struct metric_set *));
    if (sets == NULL)
        return;
    for (unsigned i = 0; i < e->count; i++)
        sets[i] = e->workers[i].metrics;
    metric_page(to, sets, e->count);
    free(sets);
    hostnames_page(e->hostnames, to);
    access_log_metrics(e->conf.access_log.writer, to);
}
