#pragma once
/* The edge's addresses and who uses them (docs/protocol.md §11): a connection keeps its address
 * over a loss, and takes another one when it cannot be dialled. Those that came of a name follow
 * it: the name is looked up again before each dial but the first. One set for all connections of a
 * connector; any thread. */
#include <pthread.h>
#include <stdbool.h>

#include "base/limits.h"
#include "net/addr.h"

#define EDGE_ADDRS_MAX 64
#define EDGE_NAMES_MAX 16

struct edge_name {
    char host[HOSTNAME_BYTES_MAX + 1];
    uint16_t port;
};

struct edge_addr {
    struct addr addr; /* one may be there several times: it is used as often */
    unsigned name;    /* it came of, from 1; 0 = it was given as an address */
};

/* What a set begins with. */
struct edge_list {
    int family; /* AF_INET or AF_INET6: others are left out; AF_UNSPEC: all */
    struct edge_addr addrs[EDGE_ADDRS_MAX];
    size_t count;
    struct edge_name names[EDGE_NAMES_MAX];
    unsigned name_count;
};

/* What a name leads to, or an address (name_count stays as it is then); those that do not fit are
 * left out. The families take turns, so that connections are spread over both. */
void edge_list_add(struct edge_list *l, struct slice host, uint16_t port, struct addr *found,
                   size_t count, bool is_name);

struct edge_set {
    pthread_mutex_t lock;
    struct edge_list list;
    unsigned users[EDGE_ADDRS_MAX];
};

void edge_set_init(struct edge_set *s, const struct edge_list *list);
void edge_set_done(struct edge_set *s);

/* Takes an address that nobody uses, from `from` on; when there is none, shares the one at `from`.
 * Returns its place. */
size_t edge_set_take(struct edge_set *s, size_t from);
/* Gives back what is at `at` and takes another place: an unused one with another address first,
 * then any with another address, then the same again. */
size_t edge_set_rotate(struct edge_set *s, size_t at);
void edge_set_give(struct edge_set *s, size_t at);

struct addr edge_set_addr(struct edge_set *s, size_t at);
/* The name that the address at `at` came of, or NULL. Stays. */
const struct edge_name *edge_set_name(struct edge_set *s, size_t at);
/* What the name of `at` leads to now, one at least: addresses that are still of it stay where they
 * are, the others are replaced, new ones are added while there is room. */
void edge_set_refresh(struct edge_set *s, size_t at, const struct addr *found, size_t count);
