#pragma once
/* One TCP connection to one of several addresses, by racing them (RFC 8305): the families take
 * turns, each attempt has a moment before the next one begins beside it, and the first that is
 * connected wins. It has no task of its own: whoever embeds it calls dial_run when its owner is
 * woken. Loop thread. */
#include "net/resolve.h"
#include "net/tcp.h"

struct dial_opts {
    nsec keepalive;  /* as in tcp.h */
    nsec stagger;    /* the moment; 0 = DIAL_STAGGER_MS */
    bool one_by_one; /* the next one only after the last has failed, in the order they came */
};

struct dial {
    struct loop *loop;
    struct task *owner;
    struct dial_opts opts;
    struct deadline next; /* another attempt begins then */
    struct addr addrs[RESOLVE_ADDRS_MAX];
    struct stream *tries[RESOLVE_ADDRS_MAX]; /* NULL: failed, or not begun */
    size_t count, begun;
    int err; /* of what failed */
};

/* `count`: at least one; those past RESOLVE_ADDRS_MAX are left out. The caller has a deadline of
 * its own, and calls dial_run once at the start. Must not be moved afterwards. */
void dial_init(struct dial *d, struct loop *loop, const struct addr *addrs, size_t count,
               const struct dial_opts *opts, struct task *owner);
/* 0: *ret is connected, the caller's, and the others are given up; ERR_AGAIN; or, when none is
 * left, what the address said that said most: a refusal before an address without a way to it. */
int dial_run(struct dial *d, struct stream **ret) __attribute__((warn_unused_result));
/* Gives up what is under way. Safe on a zeroed one. */
void dial_done(struct dial *d);
/* The order in which addresses are tried: the families in turn, the first one's first, each in its
 * order (RFC 8305 §4). In place. */
void dial_interleave(struct addr *addrs, size_t count);
