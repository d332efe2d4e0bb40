#pragma once
/* Which of the sockets that the edge before this one hands over are wanted, and by how many
 * workers. */
#include "prog/edge_sockets.h"
#include "prog/takeover_giver.h"
#include "prog/takeover_heir.h"

/* Keeps what is at an address that is wanted (any port is where the address has port 0), or was
 * bound by whoever started the first edge, and puts the address in its place. The rest is left, and
 * bound anew. */
void edge_upgrade_match(struct takeover_heir *h, struct edge_addrs *addrs, struct addr *local);
/* At least as many as the sockets that are taken over. */
unsigned edge_upgrade_workers(const struct takeover_heir *h, unsigned wanted);
/* The kinds that were bound by whoever started this process, a bit each. */
unsigned edge_upgrade_given(const struct edge_sockets *s);
