#pragma once
/* The edge's addresses and who uses them (docs/protocol.md §11): a connection keeps its address
 * over a loss, and takes another one when it cannot be dialled. One set for all connections of a
 * connector; any thread. */
#include <stdatomic.h>

#include "net/addr.h"

#define EDGE_ADDRS_MAX 64

struct edge_set {
    struct addr addrs[EDGE_ADDRS_MAX]; /* one may be there several times: it is used as often */
    _Atomic unsigned users[EDGE_ADDRS_MAX];
    size_t count;
};

/* Takes an address that nobody uses, from `from` on; when there is none, shares the one at `from`.
 * Returns its place. */
size_t edge_set_take(struct edge_set *s, size_t from);
/* Gives back what is at `at` and takes another place: an unused one with another address first,
 * then any with another address, then the same again. */
size_t edge_set_rotate(struct edge_set *s, size_t at);
void edge_set_give(struct edge_set *s, size_t at);
