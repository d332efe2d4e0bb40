#pragma once
/* The control plane on its own loop: it serves the API on the local address, answers the edge's
 * registrations, and publishes what changes. The control thread's. */
#include "control/api.h"
#include "edge/edge.h"
#include "http/h1_server.h"
#include "net/tcp.h"

struct edge_control {
    struct loop *loop;
    struct mailbox *mailbox;
    struct api api;
    struct edge *edge; /* NULL until it is started */
    struct task task;  /* accepts, sweeps */
    struct tcp_listener *local;
    struct h1_group clients;
    struct deadline sweep;
    bool is_paused; /* nobody is accepted before edge_control_begin */
    bool is_shared; /* another edge of this data directory has connectors too: nothing is swept */
    void (*changed)(void *ctx); /* told of each call that may have changed something; or NULL */
    /* A tunnel has its first connection, or its last one is gone or about to go; or NULL. */
    void (*tunnel_news)(void *ctx, const struct uuid *tunnel, bool is_there);
    void (*idle)(void *ctx); /* NULL, unless somebody waits for it */
    void *ctx;
    struct task rollout; /* tells connectors their configurations */
    struct deadline rollout_due;
};

/* Opens the local address; `fd` ≥ 0 is bound to it already and is copied. `api` has been
 * initialised. */
int edge_control_open(struct edge_control *c, struct loop *loop, struct addr *local, int fd,
                      struct fault *fault) __attribute__((warn_unused_result));
/* Accepts clients from now on, and publishes the routes as they are by now. */
void edge_control_begin(struct edge_control *c);
/* Another edge serves the API from now on and has the listening socket; clients end. */
void edge_control_hand_over(struct edge_control *c);
/* Behind that: tells `idle` when the last client has gone. */
void edge_control_when_idle(struct edge_control *c, void (*idle)(void *ctx));
/* edge_look.c: the database was changed by somebody else. Routes are published, configurations told
 * to whom they are not, connections of tunnels that are no more closed. */
void edge_control_look_again(struct edge_control *c);
/* The other edge of this directory has ended: its connectors are away only from now on. */
void edge_control_alone(struct edge_control *c);
void edge_control_close(struct edge_control *c);
/* What the edge calls. */
struct plane edge_control_plane(struct edge_control *c);
/* Publishes the routes as they are. */
void edge_control_publish(struct edge_control *c);
