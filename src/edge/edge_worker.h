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
/* Ends every visitor and every connector's connection. Returns 0. */
int edge_worker_close(struct edge_worker *w, struct fault *fault);
