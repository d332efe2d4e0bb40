#pragma once
/* HTTP in the heads of data streams (docs/protocol.md §8, §9): between struct request or
 * response of an exchange and bytes. Loop thread; what is read is copied into the exchange's arena.
 */
#include "http/exchange.h"
#include "tunnel/extension.h"
#include "tunnel/head.h"

/* The reference's words: edges and people look for them (§10.2). The cause follows. */
#define TUNNEL_UNREACHABLE                                                                         \
    "Unable to reach the origin service. The service may be down or it may not be responding to "  \
    "traffic from cloudflared: "

/* ---- the edge ---- */

/* `in_pieces`: the body comes with trailers (tunnel/pieces.h). ERR_LIMIT, ERR_NOMEM. */
int metadata_write_request(struct buf *out, struct exchange *ex, bool in_pieces)
    __attribute__((warn_unused_result));

struct metadata_answer {
    struct response *response; /* NULL when it is an error */
    const char *error;         /* the connector's text, in the arena */
    enum failure failure;      /* what it says of it, or what its text says */
    bool in_pieces;            /* the body comes with trailers */
};

/* Takes the head off the front of *in; of an interim response too, which is the caller's to refuse.
 * ERR_AGAIN; ERR_PROTO, ERR_PARSE, ERR_LIMIT: the connector broke the protocol. */
int metadata_read_response(struct buf *in, struct exchange *ex, struct metadata_answer *ret)
    __attribute__((warn_unused_result));

/* ---- the connector ---- */

struct metadata_asked {
    enum connect_type type;
    bool in_pieces;   /* the body comes with trailers */
    const char *text; /* of ERR_INVALID */
};

/* Fills ex->request from the head at the front of *in, and takes it off; `extensions`: what the
 * edge can. ERR_AGAIN; ERR_INVALID: answer ret->text as the error; others: reset the stream. */
int metadata_read_request(struct buf *in, struct exchange *ex, unsigned extensions,
                          struct metadata_asked *ret) __attribute__((warn_unused_result));
int metadata_write_response(struct buf *out, struct exchange *ex, const struct response *r,
                            bool in_pieces) __attribute__((warn_unused_result));
/* With FAILURE_FLOW_LIMIT the edge may tell the visitor to come later; `is_told`: the edge takes
 * the failure's word as well (EXTENSION_DIAG). */
int metadata_write_error(struct buf *out, const char *text, enum failure failure, bool is_told)
    __attribute__((warn_unused_result));

/* ---- both ---- */

/* Trailers as a head that has nothing but fields; NULL = there are none. */
int metadata_write_trailers(struct buf *out, struct arena *arena, const struct fields *trailers)
    __attribute__((warn_unused_result));
/* Takes them off the front of *in; *ret stays as it is when there are none. What a trailer may not
 * be is dropped, as from chunks. ERR_AGAIN; ERR_PROTO, ERR_PARSE, ERR_LIMIT (TRAILER_BYTES_MAX),
 * ERR_NOMEM. */
int metadata_read_trailers(struct buf *in, struct arena *arena, struct fields **ret)
    __attribute__((warn_unused_result));
