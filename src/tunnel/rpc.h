#pragma once
/* Cap'n Proto RPC, the level-1 subset that tunnels use (docs/protocol.md §6): one peer of a
 * connection, with one exported object and one imported. No I/O: bytes in, events and bytes out;
 * both roles in one, because both ends of a control stream answer what they get. Bounded:
 * RPC_CALLS_MAX calls under way in each direction. One thread. */
#include "base/buf.h"
#include "codec/capnp.h"

#define RPC_CALLS_MAX  64
#define RPC_TEXT_BYTES 256

struct rpc;

struct rpc *rpc_new(void); /* NULL when memory is short */
void rpc_free(struct rpc *r);

enum rpc_event_kind {
    RPC_CALL,      /* the peer calls our object: answer with rpc_answer…, in any order */
    RPC_RETURN,    /* of a call of ours */
    RPC_EXCEPTION, /* likewise: it failed; `text` says why */
    RPC_OVER,      /* the peer ended the conversation, or broke it: close the stream once `out` is
                      written */
};

struct rpc_event {
    enum rpc_event_kind kind;
    uint32_t id; /* of the answer to give, or of our question */
    uint64_t interface;
    uint16_t method;
    struct capnp_struct value; /* params or results; valid until the next rpc_next */
    char text[RPC_TEXT_BYTES];
    int err; /* RPC_OVER: what broke it at our end (ERR_NOMEM, ERR_PARSE, …); 0 = it was ended */
};

/* Takes messages off the front of *in until one is worth an event. Writes what the protocol itself
 * answers to *out. 0; ERR_AGAIN: more bytes are needed. After RPC_OVER it gives RPC_OVER. */
int rpc_next(struct rpc *r, struct buf *in, struct buf *out, struct rpc_event *ret)
    __attribute__((warn_unused_result));

/* ---- calling ---- */

/* Asks for the peer's object. Once, before the first call. */
int rpc_bootstrap(struct rpc *r, struct buf *out) __attribute__((warn_unused_result));
/* Starts a call: fill the params, then rpc_send. *ret_id names the question. ERR_LIMIT when too
 * many are under way. */
int rpc_call(struct rpc *r, uint64_t interface, uint16_t method, uint16_t data_words,
             uint16_t pointers, struct capnp_builder *b, struct capnp_ref *ret_params,
             uint32_t *ret_id) __attribute__((warn_unused_result));
/* Ends what rpc_call or rpc_answer began. */
int rpc_send(struct capnp_builder *b, struct buf *out) __attribute__((warn_unused_result));
/* No longer waits for a call of ours. */
int rpc_cancel(struct rpc *r, uint32_t id, struct buf *out) __attribute__((warn_unused_result));

/* ---- answering ---- */

int rpc_answer(struct rpc *r, uint32_t id, uint16_t data_words, uint16_t pointers,
               struct capnp_builder *b, struct capnp_ref *ret_results)
    __attribute__((warn_unused_result));
int rpc_answer_exception(struct rpc *r, uint32_t id, const char *text, struct buf *out)
    __attribute__((warn_unused_result));

/* The answer to a method that there is not, in the reference's words. */
int rpc_answer_unimplemented(struct rpc *r, const struct rpc_event *call, struct buf *out)
    __attribute__((warn_unused_result));

/* Ends the conversation: the last message, with a reason for the peer's log. Needs no struct rpc.
 */
int rpc_abort(struct buf *out, const char *reason) __attribute__((warn_unused_result));
