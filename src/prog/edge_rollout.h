#pragma once
/* Tells connectors their remote configurations: takes from the API's rollout table who is to have
 * which version, gives it to the edge, and notes what came of it. The control thread's. */
#include "edge/edge.h"

struct edge_control;

void edge_rollout_open(struct edge_control *c);
void edge_rollout_close(struct edge_control *c);
/* Somebody may have to be told. */
void edge_rollout_wake(struct edge_control *c);

/* What the edge calls (edge/plane.h). */
void edge_rollout_configured(void *ctx, struct config_push *p);
void edge_rollout_reported(void *ctx, struct local_report *r);
