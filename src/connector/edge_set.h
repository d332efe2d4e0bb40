#pragma once
/* The edge's addresses and who uses them (docs/protocol.md §11): a connection keeps its address
 * over a loss, and takes another one when it cannot be dialled. Those that came of a name follow
 * it: the name is looked up again before each dial but the first. Spare ones are used only when the
 * others have just failed. One set for all connections of a connector; any thread. */
#include <pthread.h>
#include <stdbool.h>

#include "base/clock.h"
#include "base/limits.h"
#include "net/addr.h"

#define EDGE_ADDRS_MAX 64
#define EDGE_NAMES_MAX 16

struct edge_name {
    char host[HOSTNAME_BYTES_MAX + 1];
    uint16_t port;
    bool is_srv; /* host names SRV records, which have the ports */
};

/* What a name leads to, in the order in which it is to be tried. */
struct edge_found {
    struct addr addrs[EDGE_ADDRS_MAX];
    size_t count, preferred; /* those behind are for when none of these can be dialled */
};

struct edge_addr {
    struct addr addr; /* one may be there several times: it is used as often */
    unsigned name;    /* it came of, from 1; 0 = it was given as an address */
    bool is_spare;
    bool is_kept; /* it was good in an earlier run, and nothing leads to it now */
};

/* What a set begins with. */
struct edge_list {
    int family; /* AF_INET or AF_INET6: others are left out; AF_UNSPEC: all */
    struct edge_addr addrs[EDGE_ADDRS_MAX];
    size_t count; /* of addresses; one of size 0 is not known yet and has a name */
    struct edge_name names[EDGE_NAMES_MAX];
    unsigned name_count;
};

/* What a name leads to; those that do not fit are left out. NULL: it is not known yet and will be
 * looked up before the first dial. */
void edge_list_add(struct edge_list *l, const struct edge_name *name,
                   const struct edge_found *found);
/* An address that was given as one; those of a family that is not wanted are left out. */
void edge_list_add_addr(struct edge_list *l, const struct addr *addr);
/* Spare ones that were good in an earlier run, without those of `now`. */
void edge_list_add_kept(struct edge_list *l, const struct edge_found *kept,
                        const struct edge_found *now);
/* Each that is not spare is there as often as `count` connections need. */
void edge_list_fill(struct edge_list *l, size_t count);

struct edge_set {
    pthread_mutex_t lock;
    struct edge_list list;
    unsigned users[EDGE_ADDRS_MAX];
    nsec failed_at[EDGE_ADDRS_MAX]; /* when it could not be dialled last; 0 = never */
};

void edge_set_init(struct edge_set *s, const struct edge_list *list);
void edge_set_done(struct edge_set *s);

/* Takes an address that nobody uses, from `from` on, spare ones last; when there is none, shares
 * the one at `from`. Returns its place. */
size_t edge_set_take(struct edge_set *s, size_t from);
/* What is at `at` could not be dialled: gives it back and takes another address. Those that have
 * not failed in the last minute come first, spare ones after the others, and unused ones before
 * those that are shared. The same again when there is no other. */
size_t edge_set_rotate(struct edge_set *s, size_t at, nsec now);
/* The next dial, after a loss or a refusal: the same place, unless it is a spare one and another
 * has not failed in the last minute. */
size_t edge_set_stay(struct edge_set *s, size_t at, nsec now);
void edge_set_give(struct edge_set *s, size_t at);

struct addr edge_set_addr(struct edge_set *s, size_t at);
bool edge_set_is_kept(struct edge_set *s, size_t at);
/* The name that the address at `at` came of, or NULL. Stays. */
const struct edge_name *edge_set_name(struct edge_set *s, size_t at);
/* What the name of `at` leads to now, one at least: addresses that are still of it stay where they
 * are, the others are replaced, new ones are added while there is room. */
void edge_set_refresh(struct edge_set *s, size_t at, const struct edge_found *found);
