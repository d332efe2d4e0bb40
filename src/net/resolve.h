#pragma once
/* Names to addresses by the system's resolver, on libuv's pool. Loop thread only. */
#include <stdbool.h>

#include "net/addr.h"
#include "net/loop.h"

#define RESOLVE_ADDRS_MAX 16

struct resolve; /* one look-up under way */

/* Starts; the owner is woken when resolve_result has it. IP literals answer at once (in the next
 * turn). `name` may be up to HOSTNAME_BYTES_MAX long. */
int resolve_start(struct loop *loop, struct slice name, uint16_t port, struct task *owner,
                  struct resolve **ret) __attribute__((warn_unused_result));
/* ERR_AGAIN while under way; 0 with 1…max addresses in the resolver's order; ERR_RESOLVE;
 * ERR_NOTFOUND (the name does not exist). */
int resolve_result(const struct resolve *r, struct addr *addrs, size_t max, size_t *ret_count);
/* Look-ups that are started while this is on are over when resolve_start returns, and no pool is
 * started for them: for what comes before the program confines itself, which binds only the threads
 * that come later. Off at first. The program's only thread. */
void resolve_in_place(bool is_on);
/* Lets go, also while under way. NULL is accepted. */
void resolve_free(struct resolve *r);
