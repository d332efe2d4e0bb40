#pragma once
/* The connector's end of requests over HTTP/2 (docs/protocol.md §10): the words that
 * http/h2_server.h is to use. Loop thread. */
#include "http/h2_server.h"
#include "tunnel/h2_words.h"
#include "tunnel/head.h"

extern const struct h2_server_dialect TUNNEL_H2_SERVER;

/* Which kind of stream an exchange of this dialect stands for. */
enum connect_type tunnel_h2_type(const struct exchange *ex);
