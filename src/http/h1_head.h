#pragma once
/* Heads of HTTP/1.1 messages between bytes and the structs of an exchange. Used by both codecs.
 * Loop thread. */
#include "codec/http1_framing.h"
#include "http/exchange.h"

/* ---- requests, received ---- */

struct h1_request_info {
    bool is_1_0;
    bool keeps_alive; /* the visitor is ready for another request */
};

struct h1_refusal {
    unsigned status;
    const char *text; /* static */
};

/* Takes one head off the front of *in and fills ex->request (hop-by-hop fields dropped). ERR_AGAIN:
 * more bytes are needed; any other error: answer *ret_refusal and close. `scan` starts zeroed and
 * is kept between calls for one message. `head_max`: bytes of a head, 0 = HEAD_BYTES_MAX. */
int h1_read_request(struct buf *in, size_t head_max, struct http1_scan *scan, struct exchange *ex,
                    struct h1_request_info *ret, struct h1_refusal *ret_refusal)
    __attribute__((warn_unused_result));

/* ---- responses, sent ---- */

struct h1_response_opts {
    bool is_1_0;
    bool keeps_alive;
};

/* Status line and fields; hop-by-hop fields of the response are dropped and ours written.
 * ERR_LIMIT, ERR_NOMEM. */
int h1_write_response(struct buf *out, const struct response *r,
                      const struct h1_response_opts *opts) __attribute__((warn_unused_result));
int h1_write_interim(struct buf *out, const struct response *r) __attribute__((warn_unused_result));

/* ---- requests, sent ---- */

struct h1_request_opts {
    bool no_chunked; /* originRequest.disableChunkedEncoding: a body of unknown length goes without
                        framing */
    /* To an HTTP proxy: "http://host:port" in front of the target (RFC 9112 §3.2.2), and the
     * proxy's own authorization in the place of what came. Or empty. */
    struct slice absolute, proxy_authorization;
    size_t head_max; /* bytes of a head of the response; 0 = HEAD_BYTES_MAX */
};

int h1_write_request(struct buf *out, const struct request *r, const struct h1_request_opts *opts)
    __attribute__((warn_unused_result));

/* ---- responses, received ---- */

struct h1_response_info {
    bool until_close; /* FRAMING_STREAM that ends with the connection */
    bool keeps_alive; /* the connection may serve another request */
};

/* Takes one head off the front of *in into a new response of the exchange's arena (fields as they
 * came but for Content-Length and Transfer-Encoding). ERR_AGAIN; ERR_PROTO with a static text. */
int h1_read_response(struct buf *in, size_t head_max, struct http1_scan *scan, struct exchange *ex,
                     struct response **ret, struct h1_response_info *ret_info,
                     const char **ret_text) __attribute__((warn_unused_result));
