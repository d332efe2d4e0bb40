#pragma once
/* The second of two edges on one data directory: asks the first for its sockets, says when it is
 * ready, and is told to go. Until then the first serves, whatever becomes of this one. The
 * program's thread. */
#include "base/fault.h"
#include "edge/edge.h"
#include "prog/takeover_wire.h"

struct takeover_heir {
    int fd;                         /* to the first; -1 = there is none */
    long process;                   /* of it */
    int lock_fd, next_fd, local_fd; /* -1 = none */
    unsigned given; /* kinds of sockets that were bound by whoever started the first, a bit each */
    struct edge_inheritance edge;
    struct task task;
    struct watch *watch; /* has fd, once it is followed */
    /* The routes are others, or, without a watch, the first has ended. */
    void (*changed)(struct takeover_heir *h);
};

void takeover_heir_init(struct takeover_heir *h);
/* Waits for its answers. ERR_NOTFOUND: nobody is there to take over from. `workers`: of this edge;
 * ERR_BUSY, ERR_DENIED and others: it is refused, and the fault says why. */
int takeover_ask(struct takeover_heir *h, const char *data_dir, struct fault *fault)
    __attribute__((warn_unused_result));
/* Of the sockets of this kind, the address; false when there are none. */
bool takeover_has(const struct takeover_heir *h, unsigned which, struct addr *ret);
/* They are not wanted. */
void takeover_leave(struct takeover_heir *h, unsigned which);
/* Everything is built: asks the first to stop, and waits until it has. A first that ended meanwhile
 * has stopped as well. */
int takeover_ready(struct takeover_heir *h, struct fault *fault)
    __attribute__((warn_unused_result));
/* Hears from it until it ends. */
int takeover_follow(struct takeover_heir *h, struct loop *loop) __attribute__((warn_unused_result));
/* The descriptors of listening sockets, once they were copied. */
void takeover_close_sockets(struct takeover_heir *h);
void takeover_heir_close(struct takeover_heir *h);
