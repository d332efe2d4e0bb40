#pragma once
/* Where an edge has taken over and a tunnel's connectors are still only at the one before it, that
 * one stands in for them: over a unix socket for each of its workers it speaks the tunnel's HTTP/2
 * as a connector does, and carries what is asked over its own links. docs/upgrades.md. Each
 * worker's own; loop thread. */
#include "edge/edge_int.h"

/* ---- the edge before ---- */

/* `fd` is taken over. */
int stand_in_serve(struct edge_worker *w, int fd) __attribute__((warn_unused_result));
/* Ends in order what can; how many were asked. */
size_t stand_in_part(struct edge_worker *w, enum parting parting);
/* Exchanges that are lent to the other edge. */
size_t stand_in_count(const struct edge_worker *w);
/* A connector of this tunnel is at the other edge now; and whether that was told. */
void stand_in_note_came_over(struct edge_worker *w, const struct uuid *tunnel);
bool stand_in_came_over(const struct edge_worker *w, const struct uuid *tunnel);

/* ---- the edge that took over ---- */

/* Connects this worker to its counterpart. */
int stand_in_open(struct edge_worker *w) __attribute__((warn_unused_result));
/* The edge before has connectors of this tunnel, or no more. */
void stand_in_set(struct edge_worker *w, const struct uuid *tunnel, bool is_there);
/* The session that it goes over has ended. */
void stand_in_lost(struct edge_worker *w);

/* ---- both ---- */

void stand_in_init(struct edge_worker *w);
void stand_in_close(struct edge_worker *w);
