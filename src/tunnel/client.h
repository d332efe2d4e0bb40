#pragma once
/* The edge's end of a data stream (docs/protocol.md §8, §9): carries one exchange to a connector.
 * It has no task of its own: the right side that embeds it calls tunnel_client_run whenever it is
 * woken. Loop thread. */
#include "http/exchange.h"
#include "net/stream.h"
#include "tunnel/extension.h"
#include "tunnel/pieces.h"

enum tunnel_client_state {
    TC_HEAD, /* our head is not out yet */
    TC_WAIT, /* for the connector's head */
    TC_BODY,
    TC_OVER,
};

struct tunnel_client {
    struct exchange *ex;
    struct stream *stream;
    struct buf out; /* the head, until it is taken */
    struct buf in;  /* the connector's head, and what came with it */
    enum tunnel_client_state state;
    bool up_finished;                  /* our direction has its end */
    bool is_cut;                       /* the answer is whole, the request's body is not */
    bool body_taken;                   /* some of the request's body left with the stream */
    unsigned extensions;               /* of the connector */
    bool in_pieces_up, in_pieces_down; /* bodies with trailers */
    struct piece_writer up;
    struct piece_reader down;
    uint64_t down_left;   /* of a response with a length */
    const char *cause;    /* text of the connector's error, in the exchange's arena */
    enum failure failure; /* of that error */
};

/* Takes the stream over, also on failure. Its owner must be the embedding task. `extensions`: what
 * the connector can beyond the plain protocol. 0 or ERR_NOMEM, ERR_LIMIT. */
int tunnel_client_init(struct tunnel_client *c, struct exchange *ex, struct stream *s,
                       unsigned extensions) __attribute__((warn_unused_result));
/* Goes as far as it can: ERR_AGAIN; 0 when the exchange is complete both ways; an error.
 * ERR_ORIGIN: the connector answered with an error text (c->cause). Gives the response to the
 * exchange as it comes. */
int tunnel_client_run(struct tunnel_client *c) __attribute__((warn_unused_result));
/* Whether nothing of an answer has come; c->body_taken says whether some of the body is gone. */
bool tunnel_client_is_unanswered(const struct tunnel_client *c);
/* Releases the stream: an abort unless complete. Safe on a zeroed one. */
void tunnel_client_done(struct tunnel_client *c);
