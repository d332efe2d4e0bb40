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
    /* Has it all stop; `relays` and `streams` as edge_hand_over has them. Then it is told
     * `everything` that is to be known there. */
    void (*hand_over)(void *, const int *relays, const int *streams);
    void (*everything)(void *);
    void (*changed)(void *);                              /* the routes are others */
    void (*came_over)(void *, const struct uuid *tunnel); /* one of its connectors */
    void *ctx;

    int next_fd; /* listens; -1 = none */
    struct loop *loop;
    struct task task;
    struct deadline patience;
    struct watch *listener, *peer; /* one at a time */
    long process;                  /* of the peer */
    unsigned next;                 /* to be sent: relays and sockets are numbered through */
    unsigned relay_count;
    struct takeover_queue out;
    /* Both ends of each; -1 = not there. */
    int relays[EDGE_WORKERS_MAX], far_relays[EDGE_WORKERS_MAX];
    int streams[EDGE_WORKERS_MAX], far_streams[EDGE_WORKERS_MAX];
    bool is_over; /* somebody has taken over */
};

/* Binds the socket, before confinement; or `fd` is it, from the edge before us. */
int takeover_bind(struct takeover_giver *g, const char *data_dir, int fd, struct fault *fault)
    __attribute__((warn_unused_result));
int takeover_serve(struct takeover_giver *g, struct loop *loop) __attribute__((warn_unused_result));
/* Whoever took over: TAKEOVER_CHANGED, or TAKEOVER_SERVES and _NOT of a tunnel. */
void takeover_giver_tell(struct takeover_giver *g, enum takeover_kind kind,
                         const struct uuid *tunnel);
/* Nobody is given anything any more. The file goes unless somebody took over. */
void takeover_giver_close(struct takeover_giver *g, const char *data_dir);
