#pragma once
/* An intrusive hash table: entries embed a `struct map_node`, the table owns only its buckets. Keys
 * are byte strings that the entry keeps. SipHash-1-3 with a random key for each table: a peer
 * cannot choose collisions. One thread. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct map_node {
    struct map_node *next;
    uint64_t hash;
    struct slice key; /* borrowed from the entry; valid while it is in the map */
};

struct map {
    struct map_node **buckets;
    size_t cap, count;
    uint64_t seed[2];
};

void map_init(struct map *m);
/* Frees the buckets; the entries stay the caller's. */
void map_done(struct map *m);
struct map_node *map_get(const struct map *m, struct slice key);
/* Adds node with node->key set. 0, ERR_EXISTS, ERR_NOMEM. */
int map_put(struct map *m, struct map_node *node) __attribute__((warn_unused_result));
/* Removes that very node; does nothing when it is not in. */
void map_remove(struct map *m, struct map_node *node);
/* Iteration: *bucket starts at 0, *after at NULL; NULL at the end. The returned node may be removed
 * before the next call; nothing else. */
struct map_node *map_next(const struct map *m, size_t *bucket, struct map_node **after);
/* SipHash-1-3 of bytes; exported for load balancing. */
uint64_t map_hash(const uint64_t seed[2], struct slice key);
