#pragma once
/* A way through a SOCKS5 proxy (RFC 1928, RFC 1929) to an address, or to a name that the proxy
 * looks up: the client's side. Loop thread. */
#include "connector/origin_proxy.h"
#include "net/addr.h"
#include "net/stream.h"

#define SOCKS_ANSWER_BYTES_MAX 512

enum socks_ask_step { SOCKS_ASK_METHOD, SOCKS_ASK_PASSWORD, SOCKS_ASK_CONNECT };

struct socks_ask {
    enum socks_ask_step step;
    const struct origin_proxy *proxy;
    struct slice host; /* borrowed while it asks */
    uint16_t port;
    const char *text; /* of a refusal: what the proxy says */
};

/* Begins: writes the greeting. `host`: name or IP literal. 0, ERR_NOMEM, or what the stream says.
 */
int socks_ask_begin(struct socks_ask *a, struct stream *s, struct chunk_pool *chunks,
                    const struct origin_proxy *proxy, struct slice host, uint16_t port)
    __attribute__((warn_unused_result));
/* Reads into *in (bound: SOCKS_ANSWER_BYTES_MAX) and goes on: 0 when the way stands; ERR_AGAIN;
 * ERR_DENIED with a->text; ERR_PROTO; or what the stream says. */
int socks_ask_run(struct socks_ask *a, struct stream *s, struct chunk_pool *chunks, struct buf *in)
    __attribute__((warn_unused_result));
