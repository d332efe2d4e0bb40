#pragma once
/* The first of two edges on one data directory: whoever asks by the socket in it, as the same user
 * or as root, is given the listening sockets; when it says that it is ready, this edge stops
 * reading and accepting, tells it to go, and only ends what it has. The program's thread. */
#include "base/fault.h"
#include "edge/edge.h"
#include "prog/takeover_wire.h"

struct takeover_giver {
    /* Of the program, set before takeover_serve. */
    struct edge *edge;
    int lock_fd, local_fd;  /* borrowed */
    unsigned given;         /* kinds of sockets that were bound by whoever started us */
    uint8_t generation;     /* of ours */
    long (*ending)(void *); /* the process of the edge before us while it still ends; else 0 */
    /* Has it all stop; `relays` as edge_hand_over has them. */
    void (*hand_over)(void *, const int *relays);
    void *ctx;

    int next_fd; /* listens; -1 = none */
    struct loop *loop;
    struct task task;
    struct deadline patience;
    struct watch *listener, *peer; /* one at a time */
    long process;                  /* of the peer */
    unsigned next;                 /* to be sent: relays and sockets are numbered through */
    unsigned relay_count;
    int relays[EDGE_WORKERS_MAX], others[EDGE_WORKERS_MAX]; /* both ends; -1 = not there */
    bool is_over;                                           /* somebody has taken over */
};

/* Binds the socket, before confinement; or `fd` is it, from the edge before us. */
int takeover_bind(struct takeover_giver *g, const char *data_dir, int fd, struct fault *fault)
    __attribute__((warn_unused_result));
int takeover_serve(struct takeover_giver *g, struct loop *loop) __attribute__((warn_unused_result));
/* Whoever took over is to look at the database again. */
void takeover_tell_changed(struct takeover_giver *g);
/* Nobody is given anything any more. The file goes unless somebody took over. */
void takeover_giver_close(struct takeover_giver *g, const char *data_dir);
