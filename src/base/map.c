#include "base/map.h"

#include <stdlib.h>
#include <sys/random.h>

#include "base/err.h"

#define CAP_FIRST 16

static uint64_t rotl(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[0] = rotl(v[0], 32);
    v[2] += v[3];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[2] = rotl(v[2], 32);
}

/* SipHash with one round a word and three at the end (Aumasson and Bernstein, 2012). */
uint64_t map_hash(const uint64_t seed[2], struct slice key)
{
    uint64_t v[4] = { seed[0] ^ 0x736f6d6570736575U, seed[1] ^ 0x646f72616e646f6dU,
                      seed[0] ^ 0x6c7967656e657261U, seed[1] ^ 0x7465646279746573U };
    uint64_t word;
    size_t whole = key.n & ~(size_t)7;
    for (size_t i = 0; i < whole; i += 8) {
        memcpy(&word, key.p + i, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    word = 0;
    if (key.n > whole)
        memcpy(&word, key.p + whole, key.n - whole);
    word |= (uint64_t)key.n << 56;
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void map_init(struct map *m)
{
    *m = (struct map){ 0 };
    if (getrandom(m->seed, sizeof m->seed, 0) != sizeof m->seed)
        abort();
}

void map_done(struct map *m)
{
    free(m->buckets);
    m->buckets = NULL;
    m->cap = m->count = 0;
}

static struct map_node **place(const struct map *m, uint64_t hash)
{
    return &m->buckets[hash & (m->cap - 1)];
}

struct map_node *map_get(const struct map *m, struct slice key)
{
    if (m->count == 0)
        return NULL;
    uint64_t hash = map_hash(m->seed, key);
    struct map_node *node = *place(m, hash);
    while (node != NULL && (node->hash != hash || !slice_eq(node->key, key)))
        node = node->next;
    return node;
}

static int grow(struct map *m)
{
    size_t cap = m->cap > 0 ? m->cap * 2 : CAP_FIRST, old_cap = m->cap;
    struct map_node **old = m->buckets, **buckets = calloc(cap, sizeof(struct map_node *));
    if (buckets == NULL)
        return ERR_NOMEM;
    m->buckets = buckets;
    m->cap = cap;
    for (size_t i = 0; i < old_cap; i++)
        for (struct map_node *node = old[i], *next; node != NULL; node = next) {
            next = node->next;
            struct map_node **at = place(m, node->hash);
            node->next = *at;
            *at = node;
        }
    free(old);
    return 0;
}

int map_put(struct map *m, struct map_node *node)
{
    if (map_get(m, node->key) != NULL)
        return ERR_EXISTS;
    if (m->count >= m->cap && grow(m) < 0)
        return ERR_NOMEM;
    node->hash = map_hash(m->seed, node->key);
    struct map_node **at = place(m, node->hash);
    node->next = *at;
    *at = node;
    m->count++;
    return 0;
}

void map_remove(struct map *m, struct map_node *node)
{
    if (m->count == 0)
        return;
    for (struct map_node **at = place(m, node->hash); *at != NULL; at = &(*at)->next)
        if (*at == node) {
            *at = node->next;
            node->next = NULL;
            m->count--;
            return;
        }
}

struct map_node *map_next(const struct map *m, size_t *bucket, struct map_node **after)
{
    struct map_node *node = *after;
    while (node == NULL && *bucket < m->cap)
        node = m->buckets[(*bucket)++];
    *after = node != NULL ? node->next : NULL;
    return node;
}
