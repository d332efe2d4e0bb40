#pragma once
/* A pair of streams in memory, on one loop: what is written to one end is read from the other.
 * Chunks move by reference, at once. What tests speak through: the other end does exactly what it
 * is told. */
#include "net/stream.h"

/* At most `window` bytes wait in each direction. Owners may be NULL and set later. */
int pipe_new(struct loop *loop, size_t window, struct stream **ret_a, struct stream **ret_b)
    __attribute__((warn_unused_result));
