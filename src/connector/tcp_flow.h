#pragma once
/* The right side of an exchange that the edge opened as a plain TCP stream to an address (tunnel
 * type tcp, docs/protocol.md §8): bytes both ways, nothing in between. A direction that ends is
 * passed on as such; the flow is over when the origin has ended its own. Loop thread. */
#include "connector/serve.h"

/* Attaches it, or fails the exchange with a text for the edge. */
void tcp_flow_attach(struct serve *s, struct exchange *ex);
