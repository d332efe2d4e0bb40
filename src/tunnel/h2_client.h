#pragma once
/* The edge's end of requests over HTTP/2 (docs/protocol.md §10): the words that http/h2_client.h is
 * to use towards a connector. Loop thread. */
#include "http/h2_client.h"

extern const struct h2_client_dialect TUNNEL_H2_CLIENT;
