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
    struct task rollout; /* tells connectors their configurations */
    struct deadline rollout_due;
};

/* Opens the local address; `fd` ≥ 0 is bound to it already and is copied. `api` has been
 * initialised. */
int edge_control_open(struct edge_control *c, struct loop *loop, struct addr *local, int fd,
                      struct fault *fault) __attribute__((warn_unused_result));
void edge_control_close(struct edge_control *c);
/* What the edge calls. */
struct plane edge_control_plane(struct edge_control *c);
/* Publishes the routes as they are. */
void edge_control_publish(struct edge_control *c);
