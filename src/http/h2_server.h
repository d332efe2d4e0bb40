#pragma once
/* HTTP/2 with whoever asks (the edge on the tunnel, a visitor): the left side of one exchange for
 * each stream. Loop thread.
 *
 * Streams belong to a group, which holds what they share. A stream frees itself when its exchange
 * is over, a connection when it is closed. A caller that must look at a request before it becomes
 * an exchange accepts streams itself and gives them to h2_serve_stream; h2_serve does it for all.
 */
#include "http/exchange.h"
#include "mux/h2.h"

struct h2_server_group {
    struct loop *loop;
    struct task *owner; /* woken when a stream or a connection ends; may be NULL */
    /* Gives an exchange its right side, or a response at once, or fails it. The request is complete
     * but for its body. */
    void (*route)(void *ctx, struct exchange *ex);
    /* Before the final head is written: may change its fields. NULL = nobody. */
    void (*head_out)(void *ctx, struct exchange *ex);
    /* Told once for each exchange, when nothing of it will change any more. NULL = nobody. */
    void (*done)(void *ctx, const struct exchange *ex);
    void *ctx;
    nsec stall;   /* a body without progress; 0 = VISITOR_STALL_MS */
    size_t count; /* streams open */
    struct list streams, conns;
};

void h2_server_group_init(struct h2_server_group *g, struct loop *loop, struct task *owner,
                          void (*route)(void *ctx, struct exchange *ex), void *ctx);
/* GOAWAY on every connection; what is open goes on. */
void h2_server_group_drain(struct h2_server_group *g);
/* Resets every stream and closes every connection. Turn the loop once before freeing it. */
void h2_server_group_abort(struct h2_server_group *g);

/* Serves a connection; the stream below is taken over on success. `scheme`: static; what requests
 * say of theirs is not believed. ERR_NOMEM. */
int h2_serve(struct h2_server_group *g, struct stream *under, const struct h2_conf *conf,
             const char *scheme) __attribute__((warn_unused_result));
/* Serves one accepted stream, which is taken over also when memory is short. */
void h2_serve_stream(struct h2_server_group *g, struct h2_stream *s, const char *scheme);
