#pragma once
/* RPC streams that the edge opens (docs/protocol.md §6): the connector is the server, for five
 * seconds at most. Configurations go to the connector's supervisor, and are answered when they are
 * in force at all workers. UDP sessions are not offered yet; the edge is told so in the form that
 * each call has for it. Loop thread. */
#include "connector/serve.h"
#include "tunnel/registration.h"

/* What updateConfiguration asks, on its way to the supervisor and back. From malloc: who has it
 * frees it with config_ask_free. */
struct config_ask {
    struct mail mail;
    struct serve *serve; /* of the worker that the stream is on */
    uint64_t stream;     /* the number of the stream there */
    bool is_h2;          /* it is a request (config_request.h) */
    uint32_t call;       /* to answer */
    nsec asked_at;
    int32_t version;
    struct slice json;
    int32_t applied; /* the answer: the version in force, and why not the one that was sent */
    char err[FAULT_TEXT_BYTES];
};
void config_ask_free(struct config_ask *ask);
/* `json` is copied. NULL when memory is short. */
struct config_ask *config_ask_new(struct slice json, int32_t version);
/* Configurations of one worker that may wait: each may be a mebibyte. */
#define CONFIG_ASKS_MAX 8

/* Takes a stream over whose signature was read; `early` is what came behind it, and is emptied. */
void edge_rpc_open(struct serve *s, struct stream *stream, struct buf *early);
/* Resets those that are open. Turn the loop once before freeing it. */
void edge_rpc_abort(struct serve *s);

/* The supervisor's answer has come: it goes out on the stream, if that is still there. Frees it. */
void edge_rpc_configured(struct serve *s, struct config_ask *ask);

/* Answers one call, and says whether by an exception; or gives *ret_ask, whose answer is to come.
 * Pure. ERR_NOMEM, ERR_LIMIT. */
int edge_rpc_answer(struct rpc *rpc, const struct rpc_event *call, struct buf *out,
                    struct config_ask **ret_ask, bool *ret_is_exception)
    __attribute__((warn_unused_result));
int edge_rpc_answer_configuration(struct rpc *rpc, const struct config_ask *ask, struct buf *out)
    __attribute__((warn_unused_result));
