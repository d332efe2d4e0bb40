#pragma once
/* A tunnel through an HTTP proxy to a TLS origin (RFC 9110 §9.3.6): one CONNECT and its answer, on
 * a stream that then is the origin's. Loop thread. */
#include "connector/origin_proxy.h"
#include "net/stream.h"

#define PROXY_ANSWER_BYTES_MAX (8 * 1024)

/* Writes the request. 0, ERR_LIMIT, ERR_NOMEM, or what the stream says. */
int proxy_tunnel_ask(struct stream *s, struct chunk_pool *chunks, const struct origin_proxy *proxy,
                     struct slice host, uint16_t port) __attribute__((warn_unused_result));
/* Reads the answer into *in, which has a bound of PROXY_ANSWER_BYTES_MAX: 0 when the tunnel stands;
 * ERR_AGAIN; ERR_DENIED when the proxy says no, with *ret_status; ERR_PROTO when it says what is no
 * answer, or more than one; or what the stream says. */
int proxy_tunnel_answer(struct stream *s, struct buf *in, unsigned *ret_status)
    __attribute__((warn_unused_result));
