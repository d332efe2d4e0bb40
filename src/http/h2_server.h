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

/* How a hop with words of its own (the tunnel, tunnel/h2_server.h) has its heads; HTTP otherwise.
 */
struct h2_server_dialect {
    /* Corrects what HTTP made of a request's head. ERR_LIMIT, ERR_NOMEM, ERR_INVALID. */
    int (*request)(struct exchange *ex, const struct h2_head *h);
    /* A response's head, interim ones too; *ret has the status and nothing else. ERR_UNSUPPORTED:
     * this interim one is not for this hop. */
    int (*response)(struct exchange *ex, const struct response *r, struct h2_send_head *ret);
    /* The head that says, without a body, that an exchange failed before its response. */
    int (*failure)(struct exchange *ex, struct h2_send_head *ret);
};

/* What is known of a stream's other end. */
struct h2_hop {
    const char *scheme;  /* static; what requests say of theirs is not believed */
    unsigned extensions; /* exchange.extensions */
    int connection;      /* exchange.connection; -1 = none */
};

struct h2_server_group {
    struct loop *loop;
    struct task *owner; /* woken when a stream or a connection ends; may be NULL */
    /* Gives an exchange its right side, or a response at once, or fails it. The request is complete
     * but for its body. */
    void (*route)(void *ctx, struct exchange *ex);
    /* Before the final head is written: may change its fields. NULL = nobody. */
    void (*head_out)(void *ctx, struct exchange *ex);
    /* Told once for each exchange that was routed, when nothing of it will change any more. NULL =
     * nobody. */
    void (*done)(void *ctx, const struct exchange *ex);
    void *ctx;
    const struct h2_server_dialect *dialect; /* static; NULL = HTTP's own */
    nsec stall;    /* a body without progress; VISITOR_STALL_MS at first; 0 = for ever */
    uint64_t rate; /* bytes a second of a body that waits, over `stall`; 0 = any byte counts */
    size_t count;  /* streams open */
    struct list streams, conns;
};

void h2_server_group_init(struct h2_server_group *g, struct loop *loop, struct task *owner,
                          void (*route)(void *ctx, struct exchange *ex), void *ctx);
/* GOAWAY on every connection; what is open goes on. */
void h2_server_group_drain(struct h2_server_group *g);
/* Ends in order what can of the exchanges with this connection's number (exchange_part). Returns
 * how many were asked. */
size_t h2_server_group_part(struct h2_server_group *g, int connection, enum parting parting);
/* Resets every stream and closes every connection. Turn the loop once before freeing it. */
void h2_server_group_abort(struct h2_server_group *g);

/* Serves a connection; the stream below is taken over on success. `scheme`: as in struct h2_hop.
 * ERR_NOMEM. */
int h2_serve(struct h2_server_group *g, struct stream *under, const struct h2_conf *conf,
             const char *scheme) __attribute__((warn_unused_result));
/* Serves one accepted stream, whose head the caller took; it is taken over also when memory is
 * short. */
void h2_serve_stream(struct h2_server_group *g, struct h2_stream *s, const struct h2_head *head,
                     const struct h2_hop *hop);
