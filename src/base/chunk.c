#include "base/chunk.h"

#include <assert.h>
#include <stdlib.h>

#include "base/secret.h"

#define FREE_LARGE_MAX 64   /* 1 MiB a worker stays at hand; more goes back to malloc */
#define FREE_SMALL_MAX 512  /* 1 MiB */
#define REST_BYTES_MIN 4096 /* less is not worth a vector of its own */

struct chunk_pool {
    struct chunk *free_small, *free_large;
    uint32_t count_small, count_large;
    struct chunk *rest; /* a reference, or NULL */
    uint8_t *rest_at;
    size_t made;                      /* chunks alive, free ones included; owner thread */
    _Atomic(struct chunk *) returned; /* pushed by other threads, taken all at once by the owner */
    bool is_secret;
    _Atomic size_t holders; /* the owner, and every chunk that is not free */
};

/* Which pool belongs to the running thread: tells a local return from one that must cross threads.
 */
static _Thread_local struct chunk_pool *thread_pool;

static void pool_let_go(struct chunk_pool *pool)
{
    if (atomic_fetch_sub_explicit(&pool->holders, 1, memory_order_acq_rel) != 1)
        return;
    for (struct chunk *c = atomic_load(&pool->returned), *next; c != NULL; c = next) {
        next = c->next;
        free(c);
    }
    free(pool);
}

struct chunk_pool *chunk_pool_new(void)
{
    struct chunk_pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL)
        abort();
    atomic_init(&pool->holders, 1);
    thread_pool = pool;
    return pool;
}

void chunk_pool_keep_secrets(struct chunk_pool *pool)
{
    pool->is_secret = true;
}

bool chunk_pool_has_secrets(const struct chunk_pool *pool)
{
    return pool->is_secret;
}

static bool is_small(const struct chunk *c)
{
    return c->size < CHUNK_BYTES_SMALL;
}

/* Puts a chunk into the free lists; the caller settles `holders`. */
static void keep(struct chunk_pool *pool, struct chunk *c)
{
    struct chunk **head = is_small(c) ? &pool->free_small : &pool->free_large;
    uint32_t *count = is_small(c) ? &pool->count_small : &pool->count_large;
    if (*count >= (is_small(c) ? FREE_SMALL_MAX : FREE_LARGE_MAX)) {
        pool->made--;
        free(c);
        return;
    }
    c->next = *head;
    *head = c;
    (*count)++;
}

static void collect_returned(struct chunk_pool *pool)
{
    struct chunk *c = atomic_exchange_explicit(&pool->returned, NULL, memory_order_acquire);
    for (struct chunk *next; c != NULL; c = next) {
        next = c->next;
        keep(pool, c);
    }
}

static void free_all(struct chunk *c)
{
    for (struct chunk *next; c != NULL; c = next) {
        next = c->next;
        free(c);
    }
}

void chunk_pool_free(struct chunk_pool *pool)
{
    if (pool == NULL)
        return;
    chunk_unref(pool->rest);
    pool->rest = NULL;
    if (thread_pool == pool)
        thread_pool = NULL;
    free_all(pool->free_small);
    free_all(pool->free_large);
    pool->free_small = pool->free_large = NULL;
    pool_let_go(pool);
}

struct chunk *chunk_new(struct chunk_pool *pool, size_t want)
{
    bool small = want <= CHUNK_BYTES_SMALL - sizeof(struct chunk);
    struct chunk **head = small ? &pool->free_small : &pool->free_large;
    if (*head == NULL && atomic_load_explicit(&pool->returned, memory_order_relaxed) != NULL)
        collect_returned(pool);
    struct chunk *c = *head;
    if (c != NULL) {
        *head = c->next;
        *(small ? &pool->count_small : &pool->count_large) -= 1;
    } else {
        size_t size = small ? CHUNK_BYTES_SMALL : CHUNK_BYTES;
        c = malloc(size);
        if (c == NULL)
            return NULL;
        c->size = (uint32_t)(size - sizeof *c);
        c->home = pool;
        pool->made++;
    }
    atomic_init(&c->refs, 1);
    c->next = NULL;
    atomic_fetch_add_explicit(&pool->holders, 1, memory_order_relaxed);
    return c;
}

struct chunk *chunk_ref(struct chunk *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

struct chunk *chunk_rest(struct chunk_pool *pool, uint8_t **ret)
{
    if (pool->rest == NULL)
        return NULL;
    *ret = pool->rest_at;
    return chunk_ref(pool->rest);
}

void chunk_leave_rest(struct chunk_pool *pool, struct chunk *c, const uint8_t *end)
{
    bool is_enough = c->data + c->size - end >= REST_BYTES_MIN;
    if (c->home != pool || is_small(c))
        return;
    if (c != pool->rest) {
        if (!is_enough)
            return;
        chunk_unref(pool->rest);
        pool->rest = chunk_ref(c);
    } else if (!is_enough) {
        pool->rest = NULL;
        chunk_unref(c);
    }
    pool->rest_at = c->data + (end - c->data);
}

static void push_returned(struct chunk_pool *pool, struct chunk *c)
{
    struct chunk *first = atomic_load_explicit(&pool->returned, memory_order_relaxed);
    do {
        c->next = first;
    } while (!atomic_compare_exchange_weak_explicit(&pool->returned, &first, c,
                                                    memory_order_release, memory_order_relaxed));
}

void chunk_unref(struct chunk *c)
{
    if (c == NULL)
        return;
    uint32_t before = atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before != 1)
        return;
    struct chunk_pool *pool = c->home;
    if (pool->is_secret)
        secret_wipe(c->data, c->size);
    if (pool == thread_pool)
        keep(pool, c);
    else
        push_returned(pool, c);
    pool_let_go(pool);
}

size_t chunk_pool_used(struct chunk_pool *pool)
{
    collect_returned(pool);
    bool is_rest_idle = pool->rest != NULL && atomic_load(&pool->rest->refs) == 1;
    return pool->made - pool->count_small - pool->count_large - (is_rest_idle ? 1 : 0);
}
