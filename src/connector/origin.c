#include "connector/origin.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/map.h"
#include "connector/proxy_tunnel.h"
#include "net/dial.h"

#define KEY_BYTES_MAX 512
#define FAILURE_BYTES 256
#define IDLE_MAX      1024 /* of all targets together */
/* Beyond the number that is kept a connection stays for a moment: under load the next request takes
 * it, and need not connect. */
#define SURPLUS_NSEC     NSEC_PER_SEC
#define IDLE_SURPLUS_MAX 16384

struct origin_conn {
    struct list node; /* among the idle ones of its key */
    struct task task; /* while idle: the origin closed it, or its time is over */
    struct deadline deadline;
    struct origin_pool *pool;
    struct origin_target target;
    struct idle_set *set;
    struct origin_kept *kept; /* among which it counts while it is idle; or NULL */
    enum origin_stage stage, failed_at;
    enum tls_fault fault; /* of a handshake that failed */
    struct task *owner;
    struct resolve *resolve;
    struct dial dial;
    struct buf answer;     /* of a proxy */
    struct stream *tcp;    /* until TLS took it over */
    struct stream *stream; /* what the exchange uses; with TLS the outer one */
    bool was_reused;
    nsec name_until; /* the name's address counts; 0 = it has none */
    int err;
    char failure[FAILURE_BYTES];
    struct reaper reaper;
};

/* Idle connections to one target. */
struct idle_set {
    struct map_node node;
    struct list idle; /* the most recently used first */
    size_t count, users;
    uint8_t key[KEY_BYTES_MAX];
};

struct origin_pool {
    struct loop *loop;
    struct map sets;
    size_t idle_count;
    nsec name_life;
};

struct origin_kept {
    _Atomic unsigned refs, count;
};

static void idle_run(struct task *t);

/* ---- what one rule keeps ---- */

struct origin_kept *origin_kept_new(void)
{
    struct origin_kept *k = calloc(1, sizeof *k);
    if (k != NULL)
        atomic_init(&k->refs, 1);
    return k;
}

struct origin_kept *origin_kept_ref(struct origin_kept *k)
{
    atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed);
    return k;
}

void origin_kept_unref(struct origin_kept *k)
{
    if (k != NULL && atomic_fetch_sub_explicit(&k->refs, 1, memory_order_acq_rel) == 1)
        free(k);
}

/* One more, when there is room for it. */
static bool kept_take(struct origin_kept *k, unsigned max)
{
    unsigned count = atomic_load_explicit(&k->count, memory_order_relaxed);
    while (count < max)
        if (atomic_compare_exchange_weak_explicit(&k->count, &count, count + 1,
                                                  memory_order_relaxed, memory_order_relaxed))
            return true;
    return false;
}

/* ---- the pool ---- */

struct origin_pool *origin_pool_new(struct loop *loop)
{
    struct origin_pool *p = calloc(1, sizeof *p);
    if (p == NULL)
        return NULL;
    p->loop = loop;
    p->name_life = NAME_LIFE_MS * NSEC_PER_MSEC;
    map_init(&p->sets);
    return p;
}

void origin_pool_set_name_life(struct origin_pool *p, nsec life)
{
    p->name_life = life;
}

void origin_pool_free(struct origin_pool *p)
{
    if (p == NULL)
        return;
    size_t bucket = 0;
    struct map_node *after = NULL;
    for (struct map_node *n = map_next(&p->sets, &bucket, &after); n != NULL;
         n = map_next(&p->sets, &bucket, &after)) {
        struct idle_set *set = container_of(n, struct idle_set, node);
        set->users++; /* it must not go with its last connection while it is walked */
        list_each(it, &set->idle)
        {
            origin_close(container_of(it, struct origin_conn, node));
        }
        map_remove(&p->sets, n);
        free(set);
    }
    map_done(&p->sets);
    free(p);
}

/* Two targets share connections when these agree. The credentials' address stands for what they
 * verify. */
static int key_of(const struct origin_target *t, uint8_t key[static KEY_BYTES_MAX], size_t *ret)
{
    struct slice tls = slice_of(&t->tls, sizeof t->tls);
    struct slice port = slice_of(&t->port, sizeof t->port);
    struct slice kind = t->is_unix ? SLICE("u") : SLICE("t");
    const struct slice parts[] = { kind, port, tls, t->host, slice_of("", 1), t->tls_name };
    size_t n = 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (parts[i].n > KEY_BYTES_MAX - n)
            return ERR_TOOLARGE;
        if (parts[i].n > 0)
            memcpy(key + n, parts[i].p, parts[i].n);
        n += parts[i].n;
    }
    *ret = n;
    return 0;
}

static struct idle_set *set_of(struct origin_pool *p, const struct origin_target *t)
{
    uint8_t key[KEY_BYTES_MAX];
    size_t n;
    if (key_of(t, key, &n) < 0)
        return NULL;
    struct map_node *node = map_get(&p->sets, slice_of(key, n));
    if (node != NULL)
        return container_of(node, struct idle_set, node);
    struct idle_set *set = calloc(1, sizeof *set);
    if (set == NULL)
        return NULL;
    memcpy(set->key, key, n);
    list_init(&set->idle);
    set->node.key = slice_of(set->key, n);
    if (map_put(&p->sets, &set->node) < 0) {
        free(set);
        return NULL;
    }
    return set;
}

static void set_let_go(struct origin_pool *p, struct idle_set *set)
{
    if (--set->users > 0 || set->count > 0)
        return;
    map_remove(&p->sets, &set->node);
    free(set);
}

static void take_from_idle(struct origin_conn *c)
{
    list_remove(&c->node);
    if (c->kept != NULL) {
        atomic_fetch_sub_explicit(&c->kept->count, 1, memory_order_relaxed);
        origin_kept_unref(c->kept);
    }
    c->kept = NULL;
    c->set->count--;
    c->pool->idle_count--;
    deadline_clear(&c->deadline);
    task_done(&c->task);
}

/* ---- dialling ---- */

/* `what` is what was tried, `how` the step that failed ("connect: "), in the reference's words. */
static int failed(struct origin_conn *c, int err, const char *what, const char *how)
{
    const struct origin_target *t = &c->target;
    bool is_proxys = t->proxy != NULL && c->stage < ORIGIN_HANDSHAKE;
    struct slice host = is_proxys ? t->proxy->host : t->host;
    uint16_t port = is_proxys ? t->proxy->port : t->port;
    bool is_ipv6 = slice_find(host, ':') < host.n;
    c->failed_at = c->stage;
    c->stage = ORIGIN_FAILED;
    c->err = err;
    deadline_clear(&c->deadline);
    if (t->is_unix)
        (void)snprintf(c->failure, sizeof c->failure, "%s %.*s: %s%s", what, SLICE_FMT(t->host),
                       how, err_text(err));
    else
        (void)snprintf(c->failure, sizeof c->failure, "%s%s %s%.*s%s:%u: %s%s",
                       is_proxys ? "proxyconnect tcp: " : "", what, is_ipv6 ? "[" : "",
                       SLICE_FMT(host), is_ipv6 ? "]" : "", port, how, err_text(err));
    return err;
}

static int failed_to_connect(struct origin_conn *c, int err)
{
    return failed(c, err, c->target.is_unix ? "dial unix" : "dial tcp", "connect: ");
}

static void dial(struct origin_conn *c, const struct addr *addrs, size_t count)
{
    struct dial_opts opts = { .keepalive = c->target.is_unix ? 0 : c->target.tcp_keepalive,
                              .one_by_one = c->target.no_happy_eyeballs };
    dial_init(&c->dial, c->pool->loop, addrs, count, &opts, c->owner);
    c->stage = ORIGIN_CONNECTING;
}

/* The time for the step that begins; 0 = as long as it takes. */
static void limit(struct origin_conn *c, nsec timeout)
{
    if (timeout > 0)
        deadline_set(&c->deadline, c->owner, loop_now(c->pool->loop) + timeout);
    else
        deadline_clear(&c->deadline);
}

static int start(struct origin_conn *c)
{
    const struct origin_target *t = &c->target;
    struct addr addr;
    c->stage = ORIGIN_CONNECTING;
    limit(c, t->connect_timeout);
    if (t->is_unix) {
        int r = addr_unix(t->host, &addr);
        if (r < 0)
            return failed(c, r, "dial unix", "");
        dial(c, &addr, 1);
        return 0;
    }
    struct slice host = t->proxy != NULL ? t->proxy->host : t->host;
    uint16_t port = t->proxy != NULL ? t->proxy->port : t->port;
    if (addr_parse_ip(host, port, &addr) == 0) {
        dial(c, &addr, 1);
        return 0;
    }
    c->stage = ORIGIN_RESOLVING;
    c->name_until = loop_now(c->pool->loop) + c->pool->name_life;
    int r = resolve_start(c->pool->loop, host, port, c->owner, &c->resolve);
    return r < 0 ? failed(c, r, "look up", "") : 0;
}

int origin_open(struct origin_pool *p, const struct origin_target *target, bool fresh,
                struct task *owner, struct origin_conn **ret)
{
    struct idle_set *set = set_of(p, target);
    if (set == NULL)
        return ERR_NOMEM;
    set->users++;
    if (!fresh && set->count > 0 && target->prelude.n == 0) {
        struct origin_conn *c = container_of(set->idle.next, struct origin_conn, node);
        take_from_idle(c);
        c->target = *target;
        c->was_reused = true;
        c->owner = owner;
        c->stream->owner = owner;
        *ret = c;
        return 0;
    }
    struct origin_conn *c = calloc(1, sizeof *c);
    if (c == NULL) {
        set_let_go(p, set);
        return ERR_NOMEM;
    }
    list_init(&c->node);
    c->pool = p;
    c->set = set;
    c->target = *target;
    c->owner = owner;
    (void)start(c); /* origin_run tells */
    *ret = c;
    return 0;
}

static int run_resolving(struct origin_conn *c)
{
    struct addr found[RESOLVE_ADDRS_MAX];
    size_t count = 0;
    int r = resolve_result(c->resolve, found, RESOLVE_ADDRS_MAX, &count);
    if (r == ERR_AGAIN)
        return r;
    resolve_free(c->resolve);
    c->resolve = NULL;
    if (r < 0)
        return failed(c, r, "look up", "");
    dial(c, found, count);
    return 0;
}

/* Nothing is read: reading nothing tells whether the stream lives. */
static int probe(struct origin_conn *c, struct stream *s)
{
    struct buf none;
    buf_init(&none, loop_chunks(c->pool->loop), 0);
    int r = stream_read(s, &none, 0);
    buf_done(&none);
    return r;
}

/* The first bytes of a connection always fit into its queue. */
static int say_prelude(struct origin_conn *c)
{
    struct buf out;
    struct slice prelude = c->target.prelude;
    if (prelude.n == 0)
        return 0;
    buf_init(&out, loop_chunks(c->pool->loop), prelude.n);
    int r = buf_put(&out, prelude);
    if (r == 0)
        r = stream_write(c->tcp, &out);
    bool is_whole = buf_is_empty(&out);
    buf_done(&out);
    return is_whole ? 0 : r < 0 ? r : ERR_LIMIT;
}

static int begin_tunnel(struct origin_conn *c)
{
    struct chunk_pool *chunks = loop_chunks(c->pool->loop);
    buf_init(&c->answer, chunks, PROXY_ANSWER_BYTES_MAX);
    int r = proxy_tunnel_ask(c->tcp, chunks, c->target.proxy, c->target.host, c->target.port);
    if (r < 0)
        return failed_to_connect(c, r);
    c->stage = ORIGIN_TUNNELLING;
    return 0;
}

static int begin_handshake(struct origin_conn *c)
{
    int r =
        tls_connect(c->pool->loop, c->target.tls, c->target.tls_name, c->tcp, c->owner, &c->stream);
    if (r < 0)
        return failed(c, r, "tls", "");
    c->tcp = NULL;
    c->stage = ORIGIN_HANDSHAKE;
    limit(c, c->target.tls_timeout);
    return 0;
}

static int run_connecting(struct origin_conn *c)
{
    int r = dial_run(&c->dial, &c->tcp);
    if (r == ERR_AGAIN)
        return r;
    if (r == 0)
        r = say_prelude(c);
    if (r < 0)
        return failed_to_connect(c, r);
    if (c->target.tls == NULL) {
        c->stream = c->tcp;
        c->tcp = NULL;
        c->stage = ORIGIN_READY;
        return 0;
    }
    return c->target.proxy != NULL ? begin_tunnel(c) : begin_handshake(c);
}

static int run_tunnelling(struct origin_conn *c)
{
    unsigned status = 0;
    int r = proxy_tunnel_answer(c->tcp, &c->answer, &status);
    if (r == ERR_AGAIN)
        return r;
    buf_done(&c->answer);
    if (r == 0)
        return begin_handshake(c);
    (void)failed(c, r, "CONNECT", "");
    if (r == ERR_DENIED)
        (void)snprintf(
            c->failure, sizeof c->failure, "the proxy %.*s answers CONNECT %.*s:%u with %u",
            SLICE_FMT(c->target.proxy->text), SLICE_FMT(c->target.host), c->target.port, status);
    return r;
}

static int run_handshake(struct origin_conn *c)
{
    if (tls_is_ready(c->stream)) {
        c->stage = ORIGIN_READY;
        return 0;
    }
    int r = probe(c, c->stream);
    if (r == 0 || r == ERR_AGAIN)
        return ERR_AGAIN;
    (void)failed(c, r, "tls", "");
    c->fault = tls_fault_of(c->stream);
    if (tls_failure(c->stream)[0] != 0)
        (void)snprintf(c->failure, sizeof c->failure, "tls %.*s:%u: %s", SLICE_FMT(c->target.host),
                       c->target.port, tls_failure(c->stream));
    return r;
}

int origin_run(struct origin_conn *c)
{
    if (c->stage != ORIGIN_READY && deadline_take(&c->deadline))
        return failed(c, ERR_TIMEOUT, c->stage == ORIGIN_HANDSHAKE ? "tls" : "dial tcp", "");
    for (;;) {
        enum origin_stage before = c->stage;
        int r = 0;
        if (before == ORIGIN_READY)
            deadline_clear(&c->deadline);
        if (before == ORIGIN_READY)
            return 0;
        if (before == ORIGIN_FAILED)
            return c->err;
        if (before == ORIGIN_RESOLVING)
            r = run_resolving(c);
        else if (before == ORIGIN_CONNECTING)
            r = run_connecting(c);
        else if (before == ORIGIN_TUNNELLING)
            r = run_tunnelling(c);
        else
            r = run_handshake(c);
        if (r < 0)
            return r;
    }
}

struct stream *origin_stream(struct origin_conn *c)
{
    return c->stream;
}

struct stream *origin_take_stream(struct origin_conn *c)
{
    struct stream *s = c->stream;
    c->stream = NULL;
    origin_close(c);
    return s;
}

bool origin_was_reused(const struct origin_conn *c)
{
    return c->was_reused;
}

enum origin_stage origin_failed_at(const struct origin_conn *c)
{
    return c->failed_at;
}

enum tls_fault origin_tls_fault(const struct origin_conn *c)
{
    return c->fault;
}

const char *origin_failure(const struct origin_conn *c)
{
    return c->failure;
}

/* ---- keeping and closing ---- */

static void reap(struct reaper *r)
{
    free(container_of(r, struct origin_conn, reaper));
}

void origin_close(struct origin_conn *c)
{
    if (c == NULL)
        return;
    if (list_has_neighbours(&c->node)) {
        take_from_idle(c);
        c->set->users++;
    }
    deadline_clear(&c->deadline);
    resolve_free(c->resolve);
    dial_done(&c->dial);
    buf_done(&c->answer);
    stream_release(c->tcp);
    stream_release(c->stream);
    set_let_go(c->pool, c->set);
    loop_reap(c->pool->loop, &c->reaper, reap);
}

/* An idle connection has nothing to say: whatever comes ends it. */
static void idle_run(struct task *t)
{
    struct origin_conn *c = container_of(t, struct origin_conn, task);
    if (deadline_take(&c->deadline) || probe(c, c->stream) != ERR_AGAIN)
        origin_close(c);
}

/* Whether it is one of those that the rule keeps. */
static bool count_as_kept(struct origin_conn *c)
{
    const struct origin_target *t = &c->target;
    if (c->pool->idle_count >= IDLE_MAX)
        return false;
    if (t->kept == NULL)
        return c->set->count < t->idle_max;
    if (!kept_take(t->kept, t->idle_max))
        return false;
    c->kept = origin_kept_ref(t->kept);
    return true;
}

void origin_keep(struct origin_conn *c)
{
    bool is_old = c->name_until > 0 && c->name_until <= loop_now(c->pool->loop);
    if (c->target.prelude.n > 0 || c->target.idle_max == 0 || is_old ||
        c->pool->idle_count >= IDLE_SURPLUS_MAX) {
        stream_finish(c->stream);
        origin_close(c);
        return;
    }
    bool is_surplus = !count_as_kept(c);
    task_init(&c->task, c->pool->loop, idle_run);
    c->stream->owner = &c->task;
    list_push_front(&c->set->idle, &c->node);
    c->set->count++;
    c->set->users--;
    c->pool->idle_count++;
    /* The target's views may end with the exchange: idle connections need none of them. */
    c->target.host = c->target.tls_name = (struct slice){ 0 };
    c->target.kept = NULL;
    nsec now = loop_now(c->pool->loop), timeout = c->target.idle_timeout;
    if (is_surplus && (timeout == 0 || timeout > SURPLUS_NSEC))
        timeout = SURPLUS_NSEC;
    nsec end = timeout > 0 ? now + timeout : 0;
    if (c->name_until > 0 && (end == 0 || c->name_until < end))
        end = c->name_until;
    if (end > 0)
        deadline_set(&c->deadline, &c->task, end);
    task_wake(&c->task);
}
