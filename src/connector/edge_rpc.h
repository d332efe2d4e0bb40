#pragma once
/* RPC streams that the edge opens (docs/protocol.md §6): the connector is the server, for five
 * seconds at most. UDP sessions and remote configuration are not offered yet; the edge is told so
 * in the form that each call has for it. Loop thread. */
#include "connector/serve.h"
#include "tunnel/registration.h"

/* Takes a stream over whose signature was read; `early` is what came behind it, and is emptied. */
void edge_rpc_open(struct serve *s, struct stream *stream, struct buf *early);
/* Resets those that are open. Turn the loop once before freeing it. */
void edge_rpc_abort(struct serve *s);

/* Answers one call. Pure. ERR_NOMEM, ERR_LIMIT. */
int edge_rpc_answer(struct rpc *rpc, const struct rpc_event *call, struct buf *out)
    __attribute__((warn_unused_result));
