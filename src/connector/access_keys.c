#include "connector/access_keys.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "base/map.h"
#include "connector/origin_call.h"

#define CONNECT_NSEC     (5 * NSEC_PER_SEC)
#define SOURCE_BYTES_MAX (16 * 1024) /* its URL, in parts */
#define EXPONENT_MAX     6

/* A source is the left side of the exchange that fetches its keys. */
struct key_source {
    struct map_node node;
    struct list recent; /* among all: the one that was wanted last is first */
    struct task task;
    struct deadline deadline;
    struct access_keys *owner; /* NULL once it let go */
    unsigned refs;
    struct arena arena;
    struct slice url, host, authority, target;
    uint16_t port;
    struct tls_creds *tls;
    struct exchange *ex; /* the fetch that is under way, or NULL */
    struct jwks *keys;   /* or NULL */
    nsec fetched;        /* when they came */
    nsec next;           /* before which no fetch begins */
    unsigned failures;   /* in a row */
    char failure[KEYS_FAILURE_BYTES];
    struct list waits;
};

struct access_keys {
    struct serve *serve;
    struct map sources;
    struct list recent;
};

/* ---- sources ---- */

struct access_keys *access_keys_new(struct serve *s)
{
    struct access_keys *k = calloc(1, sizeof *k);
    if (k == NULL)
        return NULL;
    k->serve = s;
    map_init(&k->sources);
    list_init(&k->recent);
    return k;
}

void key_source_unref(struct key_source *s)
{
    if (s == NULL || --s->refs > 0)
        return;
    task_done(&s->task);
    jwks_free(s->keys);
    tls_creds_unref(s->tls);
    arena_done(&s->arena);
    free(s);
}

static void release_source(void *s)
{
    key_source_unref(s);
}

static void wake_waits(struct key_source *s)
{
    struct list *it;
    while ((it = list_pop(&s->waits)) != NULL)
        task_wake(container_of(it, struct key_wait, node)->task);
}

static void fetch_stop(struct key_source *s)
{
    struct exchange *ex = s->ex;
    deadline_clear(&s->deadline);
    s->ex = NULL;
    if (ex != NULL)
        exchange_leave(ex, EX_LEFT);
}

static void drop_source(struct access_keys *k, struct key_source *s)
{
    fetch_stop(s);
    wake_waits(s);
    map_remove(&k->sources, &s->node);
    list_remove(&s->recent);
    s->owner = NULL;
    key_source_unref(s);
}

void access_keys_abort(struct access_keys *k)
{
    if (k == NULL)
        return;
    list_each(it, &k->recent)
    {
        drop_source(k, container_of(it, struct key_source, recent));
    }
}

void access_keys_free(struct access_keys *k)
{
    if (k == NULL)
        return;
    access_keys_abort(k);
    map_done(&k->sources);
    free(k);
}

/* Makes room by the source that nobody has asked for the longest. */
static void make_room(struct access_keys *k)
{
    for (struct list *it = k->recent.prev; it != &k->recent && k->sources.count >= KEYS_SOURCES_MAX;
         it = k->recent.prev)
        drop_source(k, container_of(it, struct key_source, recent));
}

static void source_run(struct task *t);

static struct key_source *source_new(struct access_keys *k, const struct access_policy *p,
                                     struct slice key)
{
    struct key_source *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->refs = 1;
    s->owner = k;
    arena_init(&s->arena, SOURCE_BYTES_MAX);
    task_init(&s->task, k->serve->loop, source_run);
    list_init(&s->waits);
    list_init(&s->recent);
    s->url = arena_copy(&s->arena, p->keys_url);
    s->host = arena_copy(&s->arena, p->host);
    s->authority = arena_copy(&s->arena, p->authority);
    s->target = arena_copy(&s->arena, p->target);
    s->node.key = arena_copy(&s->arena, key);
    s->port = p->port;
    s->tls = tls_creds_ref(p->tls);
    if (s->url.p == NULL || s->host.p == NULL || s->authority.p == NULL || s->target.p == NULL ||
        s->node.key.p == NULL || map_put(&k->sources, &s->node) < 0) {
        key_source_unref(s);
        return NULL;
    }
    list_push_front(&k->recent, &s->recent);
    return s;
}

struct key_source *key_source_of(struct access_keys *k, const struct access_policy *p)
{
    /* The same URL with other roots is another source. */
    char key[4096];
    int n = snprintf(key, sizeof key, "%p %.*s", (void *)p->tls, SLICE_FMT(p->keys_url));
    if (n < 0 || (size_t)n >= sizeof key)
        return NULL;
    struct map_node *node = map_get(&k->sources, slice_of(key, (size_t)n));
    struct key_source *s = node != NULL ? container_of(node, struct key_source, node) : NULL;
    if (s == NULL) {
        make_room(k);
        s = source_new(k, p, slice_of(key, (size_t)n));
    }
    if (s == NULL)
        return NULL;
    list_remove(&s->recent);
    list_push_front(&k->recent, &s->recent);
    s->refs++;
    return s;
}

/* ---- fetching ---- */

static void fetch_failed(struct key_source *s, const char *why)
{
    nsec pause = KEYS_RETRY_NSEC << (s->failures < EXPONENT_MAX ? s->failures : EXPONENT_MAX);
    s->failures++;
    s->next = loop_now(s->task.loop) + (pause < KEYS_RETRY_NSEC_MAX ? pause : KEYS_RETRY_NSEC_MAX);
    (void)snprintf(s->failure, sizeof s->failure, "fetching keys: %s", why);
    log_warn("the keys that check tokens of Access could not be fetched", LSLICE("url", s->url),
             LSTR("why", why), LBOOL("has_old_keys", s->keys != NULL));
    fetch_stop(s);
    wake_waits(s);
}

static void fetch_done(struct key_source *s, struct jwks *keys)
{
    nsec now = loop_now(s->task.loop);
    jwks_free(s->keys);
    s->keys = keys;
    s->fetched = now;
    s->next = now + KEYS_PAUSE_NSEC;
    s->failures = 0;
    s->failure[0] = 0;
    log_info("fetched the keys that check tokens of Access", LSLICE("url", s->url),
             LU64("keys", jwks_count(keys)));
    fetch_stop(s);
    wake_waits(s);
}

static void take_answer(struct key_source *s)
{
    struct buf *body = &s->ex->down.held;
    size_t size = buf_len(body);
    struct fault fault = { 0 };
    struct jwks *keys;
    uint8_t *text = malloc(size + 1);
    if (text == NULL) {
        fetch_failed(s, "out of memory");
        return;
    }
    (void)buf_copy(body, 0, text, size);
    int r = jwks_parse(slice_of(text, size), &keys, &fault);
    free(text);
    if (r < 0)
        fetch_failed(s, fault.text);
    else
        fetch_done(s, keys);
}

static void source_run(struct task *t)
{
    struct key_source *s = container_of(t, struct key_source, task);
    char text[64];
    if (s->ex == NULL)
        return;
    const struct exchange *ex = s->ex;
    if (exchange_has_failed(ex)) {
        fetch_failed(s, ex->verdict.text != NULL ? ex->verdict.text : err_text(ex->verdict.err));
    } else if (deadline_take(&s->deadline)) {
        fetch_failed(s, "no whole answer came in time");
    } else if (ex->response != NULL && ex->response->status != 200) {
        (void)snprintf(text, sizeof text, "the answer has status %u", ex->response->status);
        fetch_failed(s, text);
    } else if (ex->down.total > JWKS_BYTES_MAX) {
        fetch_failed(s, "the answer is too large");
    } else if (ex->response != NULL && ex->down.ended) {
        take_answer(s);
    }
}

static int fill_request(struct key_source *s, struct exchange *ex)
{
    ex->request.method = SLICE("GET");
    ex->request.scheme = SLICE("https");
    ex->request.host = s->authority;
    ex->request.target = s->target;
    int r = fields_add(&ex->request.fields, SLICE("Accept"), SLICE("application/json"));
    if (r == 0)
        r = fields_add(&ex->request.fields, SLICE("Accept-Encoding"), SLICE("identity"));
    if (r == 0)
        r = fields_add(&ex->request.fields, SLICE("User-Agent"), SLICE("adit/" ADIT_VERSION));
    return r;
}

/* The issuer is asked as the service of a rule without anything special would be. */
static const struct rule PLAIN = { 0 };

static void fetch_start(struct key_source *s)
{
    struct serve *serve = s->owner->serve;
    struct exchange *ex = exchange_new(serve->loop, &s->task);
    struct origin_call_opts opts = {
        .target = {
            .host = s->host,
            .port = s->port,
            .tls = s->tls,
            .tls_name = s->host,
            .connect_timeout = CONNECT_NSEC,
            .tls_timeout = CONNECT_NSEC,
        },
        .rule = &PLAIN,
        .host = s->authority,
        .keep = s,
        .release = release_source,
    };
    if (ex == NULL) {
        fetch_failed(s, "out of memory");
        return;
    }
    s->ex = ex;
    if (fill_request(s, ex) < 0) {
        fetch_failed(s, "out of memory");
        return;
    }
    body_end(&ex->up);
    deadline_set(&s->deadline, &s->task, loop_now(serve->loop) + KEYS_FETCH_NSEC);
    s->refs++;
    origin_call_attach(serve, ex, &opts);
}

/* ---- using them ---- */

const char *key_source_failure(const struct key_source *s)
{
    return s->failure;
}

int key_source_check(struct key_source *s, const struct jwt *t)
{
    nsec now = loop_now(s->task.loop);
    if (s->keys == NULL || now - s->fetched > KEYS_STALE_NSEC)
        return ERR_NOTFOUND;
    if (now - s->fetched > KEYS_FRESH_NSEC && s->ex == NULL && now >= s->next && s->owner != NULL)
        fetch_start(s);
    return jwks_check(s->keys, t);
}

bool key_source_want(struct key_source *s, struct key_wait *w)
{
    if (s->ex == NULL && s->owner != NULL && loop_now(s->task.loop) >= s->next)
        fetch_start(s);
    if (s->ex == NULL)
        return false;
    list_push_back(&s->waits, &w->node);
    return true;
}

void key_wait_end(struct key_wait *w)
{
    if (w->node.next != NULL)
        list_remove(&w->node);
}
