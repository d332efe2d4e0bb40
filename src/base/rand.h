#pragma once
/* Chance: a generator that comes from outside, so that the simulator can own it. Secrets use
 * crypto/random.h. One thread. */
#include <stdint.h>

struct rng {
    uint64_t state[4]; /* xoshiro256**: never all zero */
};

void rng_init(struct rng *r, uint64_t seed);
/* Seeds from the kernel. */
void rng_init_os(struct rng *r);
uint64_t rng_next(struct rng *r);
/* Uniform in [0, bound); bound > 0. */
uint64_t rng_below(struct rng *r, uint64_t bound);
