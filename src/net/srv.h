#pragma once
/* Where a service is, by SRV records (RFC 2782), from the name servers of resolv.conf, on libuv's
 * pool. Loop thread only but for srv_order. */
#include <stdint.h>

#include "base/limits.h"
#include "base/rand.h"
#include "net/loop.h"

#define SRV_RECORDS_MAX 32

struct srv_record {
    uint16_t priority, weight, port;
    char target[HOSTNAME_BYTES_MAX + 1];
};

struct srv; /* one look-up under way */

/* Starts; the owner is woken when srv_result has it. ERR_RESOLVE (no name), ERR_NOMEM. */
int srv_start(struct loop *loop, struct slice name, struct task *owner, struct srv **ret)
    __attribute__((warn_unused_result));
/* ERR_AGAIN while under way; 0 with 1…SRV_RECORDS_MAX records in the order in which they are to be
 * tried, borrowed until srv_free; ERR_NOTFOUND (there is no such record, or its service is said
 * not to be there); ERR_PROTO (the answer is malformed); ERR_RESOLVE. */
int srv_result(const struct srv *s, const struct srv_record **ret, size_t *ret_count);
/* Lets go, also while under way. NULL is accepted. */
void srv_free(struct srv *s);

/* The order of RFC 2782: by priority; within one by chance, in proportion to the weights. */
void srv_order(struct srv_record *records, size_t count, struct rng *rng);
/* The records of an answer, in its order. As srv_result, without ERR_AGAIN. Pure. */
int srv_parse(struct slice answer, struct srv_record *records, size_t max, size_t *ret_count);
