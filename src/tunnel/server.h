#pragma once
/* The connector's end of a data stream (docs/protocol.md §8, §9): the left side of one exchange.
 * Frees itself when the exchange is over. Loop thread. */
#include "http/exchange.h"
#include "net/stream.h"
#include "tunnel/extension.h"
#include "tunnel/head.h"

struct tunnel_server_group {
    struct loop *loop;
    void *ctx;
    /* Gives an exchange its right side, or a response at once, or fails it with a text for the
     * edge. */
    void (*route)(void *ctx, struct exchange *ex, enum connect_type type);
    /* Told once for each exchange that was routed, when nothing of it will change any more. */
    void (*done)(void *ctx, const struct exchange *ex);
    /* Told of a head that was refused: no exchange came of it. May be NULL. */
    void (*refused)(void *ctx, enum failure failure, const char *text);
    /* Takes over an RPC stream: its signature has been read; `early` is what came with it (moved
     * out). NULL = RPC is refused. */
    void (*rpc)(void *ctx, struct stream *s, struct buf *early);
    struct task *owner; /* woken when a stream ends; may be NULL */
    nsec head;          /* time for a head; 0 = TUNNEL_HEAD_MS */
    /* A failure of the tunnel resets the stream instead of being told as an answer: whoever is at
     * its other end may try another way. */
    bool resets_on_loss;
    size_t head_bytes; /* of heads that are not whole, all together */
    int connection;    /* that the streams given from now on are of: exchange.connection */
    size_t count;      /* streams open */
    struct list open;
};

void tunnel_server_group_init(struct tunnel_server_group *g, struct loop *loop, void *ctx);
/* Takes over a stream that the edge opened; it says by its first bytes what it is. `extensions`:
 * what the edge of this connection can beyond the plain protocol. */
void tunnel_serve(struct tunnel_server_group *g, struct stream *s, unsigned extensions);
/* Ends in order what can on this connection (exchange_part). Returns how many were asked. */
size_t tunnel_server_part(struct tunnel_server_group *g, int connection, enum parting parting);
/* Aborts every stream. Turn the loop once before freeing it. */
void tunnel_server_abort(struct tunnel_server_group *g);
