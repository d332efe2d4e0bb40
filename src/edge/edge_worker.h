#pragma once
/* One worker of the edge: what runs on its thread when the edge starts, opens, drains and closes.
 * For edge.c. */
#include "edge/edge_int.h"

/* On the new thread, before anything is bound. */
int edge_worker_init(void *ctx, struct loop *loop);
/* On the thread, after its loop has stopped. */
void edge_worker_done(void *ctx);
/* Binds listeners and the QUIC endpoint, and puts the addresses in use into edge->addrs: worker 0
 * comes first and resolves ports of 0. */
int edge_worker_open(struct edge_worker *w, struct fault *fault);
/* The way to the worker of the edge before us. Returns 0. */
int edge_worker_meet(struct edge_worker *w, struct fault *fault);
/* Begins what was opened paused. */
int edge_worker_begin(struct edge_worker *w, struct fault *fault);
/* Counts the workers that are not through yet; whoever is last mails the answer. */
struct edge_drain;
struct edge_drain *edge_drain_new(unsigned workers, struct mailbox *reply, struct mail *drained);
void edge_drain_over(struct edge_drain *d);
/* Goes on for `patience` with what it has. */
void edge_worker_drain(struct edge_worker *w, struct edge_drain *d, nsec patience);
/* No longer than that. */
void edge_worker_hurry(struct edge_worker *w, nsec patience);
struct hand_over {
    const int *relays, *streams;
    nsec grace;
    struct edge_drain *drain;
};
/* By w->edge->hand_over. Returns 0. */
int edge_worker_hand_over(struct edge_worker *w, struct fault *fault);
/* Ends every visitor and every connector's connection. Returns 0. */
int edge_worker_close(struct edge_worker *w, struct fault *fault);
