#pragma once
/* Counted blocks of bytes in motion, from a pool that each worker owns. A chunk may be referenced,
 * and its last reference dropped, on any thread: it then finds its way back to the pool that made
 * it without a lock. Bytes that have been handed to a transport are never written again, so
 * references can be shared. */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHUNK_BYTES                                                                                \
    (16384 + 32) /* one large chunk, header included: its data holds the largest TLS record */
#define CHUNK_BYTES_SMALL                                                                          \
    2048 /* one small chunk, header included: a head or an idle remainder fits */

struct chunk_pool;

struct chunk {
    _Atomic uint32_t refs;
    uint32_t size; /* of data, bytes */
    struct chunk_pool *home;
    struct chunk *next; /* in a free list */
    _Alignas(16) uint8_t data[];
};

/* The pool of the calling thread's loop. Aborts when memory is short. */
struct chunk_pool *chunk_pool_new(void);

/* From now on each chunk is wiped when its last reference goes: secrets pass through the pool.
 * Before its first chunk. */
void chunk_pool_keep_secrets(struct chunk_pool *pool);
bool chunk_pool_has_secrets(const struct chunk_pool *pool);

/* The pool's owner lets go; the pool itself goes with its last chunk, so chunks may outlive their
 * worker. */
void chunk_pool_free(struct chunk_pool *pool);

/* Owner thread only. A chunk with one reference: small when `want` fits into one, else large (never
 * more than CHUNK_BYTES however much is wanted). NULL when memory is short. */
struct chunk *chunk_new(struct chunk_pool *pool, size_t want);

struct chunk *chunk_ref(struct chunk *c);

/* What is left of the large chunk that was filled last: a read that comes later goes on there, so
 * that many small reads do not hold a large chunk each. A new reference and where it begins; NULL
 * when too little is left. Owner thread; only one may be handed out at a time. */
struct chunk *chunk_rest(struct chunk_pool *pool, uint8_t **ret);
/* Nothing beyond `end` has been handed out of this large chunk, and nobody else will write there:
 * the pool keeps it, in place of the last one. */
void chunk_leave_rest(struct chunk_pool *pool, struct chunk *c, const uint8_t *end);

/* Any thread. NULL is accepted. */
void chunk_unref(struct chunk *c);

/* Chunks that are not in the pool's free lists; for metrics and tests. Owner thread. */
size_t chunk_pool_used(struct chunk_pool *pool);
