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
    struct takeover_queue out;
    /* The routes are others, or, without a watch, the first has ended. */
    void (*changed)(struct takeover_heir *h);
    /* The first stands in for this tunnel's connectors, or no more. */
    void (*stands_in)(struct takeover_heir *h, const struct uuid *tunnel, bool is_there);
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
/* Everything is built: asks the first to stop, and waits until it has, told by `stands_in` what it
 * has. A first that ended meanwhile has stopped as well. */
int takeover_ready(struct takeover_heir *h, struct fault *fault)
    __attribute__((warn_unused_result));
/* Hears from it until it ends. */
int takeover_follow(struct takeover_heir *h, struct loop *loop) __attribute__((warn_unused_result));
/* TAKEOVER_CHANGED, or TAKEOVER_SERVES of a tunnel. Nothing while it is not followed. */
void takeover_heir_tell(struct takeover_heir *h, enum takeover_kind kind,
                        const struct uuid *tunnel);
/* The descriptors of listening sockets and of streams, once they were copied. */
void takeover_close_sockets(struct takeover_heir *h);
void takeover_heir_close(struct takeover_heir *h);
