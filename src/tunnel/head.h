#pragma once
/* The heads of data streams (docs/protocol.md §3.2, §8): a preamble of eight bytes, then
 * ConnectRequest or ConnectResponse as one Cap'n Proto frame. Bytes in, values out; views into the
 * frame. Any thread. */
#include "base/buf.h"
#include "codec/capnp.h"

#define HEAD_PREAMBLE_BYTES 8 /* signature of six, version of two */
#define HEAD_RPC_BYTES      6 /* an RPC stream's signature */

enum head_kind { HEAD_DATA, HEAD_RPC };

/* What the first bytes of a stream say: 0, ERR_AGAIN, ERR_PROTO. The version's two bytes are not
 * looked at. */
int head_kind_of(struct slice bytes, enum head_kind *ret) __attribute__((warn_unused_result));
/* "RPC stream follows". */
extern const uint8_t HEAD_RPC_SIGNATURE[HEAD_RPC_BYTES];

enum connect_type { CONNECT_HTTP, CONNECT_WEBSOCKET, CONNECT_TCP };

struct metadata {
    struct slice key, value;
};

/* One head, either kind; `items` is the caller's array. */
struct connect_head {
    enum connect_type type; /* request */
    struct slice dest;      /* request */
    struct slice error;     /* response: not empty = it failed before there was any response */
    struct metadata *items;
    size_t count, max;
};

/* Bytes of preamble and frame at the front: 0; ERR_AGAIN; ERR_PROTO, ERR_LIMIT
 * (TUNNEL_HEAD_BYTES_MAX), ERR_PARSE. */
int head_size(struct slice bytes, size_t *ret) __attribute__((warn_unused_result));

/* `bytes` is preamble and frame, whole. ERR_PARSE; ERR_LIMIT (more items than `max`);
 * ERR_UNSUPPORTED (an unknown type). */
int head_decode_request(struct slice bytes, struct connect_head *ret)
    __attribute__((warn_unused_result));
int head_decode_response(struct slice bytes, struct connect_head *ret)
    __attribute__((warn_unused_result));

/* Appends preamble and frame in one piece (the reference misreads a preamble that is cut).
 * ERR_LIMIT, ERR_NOMEM. */
int head_encode_request(struct buf *out, const struct connect_head *head)
    __attribute__((warn_unused_result));
int head_encode_response(struct buf *out, const struct connect_head *head)
    __attribute__((warn_unused_result));
