#pragma once
/* HTTP/2 (RFC 9113) on nghttp2: a connection over any stream, as client or server, whose streams
 * are net/stream.h for their bodies. Used towards origins, by both ends of the tunnel (the edge is
 * the client on a connection that it accepted, the connector the server on one that it dialled),
 * and fit for visitors. Loop thread only.
 *
 * Nothing calls back: a connection wakes its owner when its state changes, when a peer opened a
 * stream and when there is room to open one; a stream wakes the owner of its body when a head,
 * bytes, an end, room or a failure came. Reading a body grants its stream credit; the connection's
 * credit is given back as bytes arrive, so that one slow reader does not stop the others: the
 * windows of the streams bound what is held.
 *
 * Heads are checked as RFC 9113 §8 demands (pseudo fields, lower case, connection-specific fields,
 * content-length against DATA): what is malformed resets its stream and is never seen here. A peer
 * that makes work for nothing (resets, pings, settings, empty frames, continuations without end)
 * has a budget; past it the connection ends with ENHANCE_YOUR_CALM. */
#include "base/arena.h"
#include "net/stream.h"

struct h2_conn;
struct h2_stream;

struct h2_conf {
    bool is_server;
    bool extended_connect;  /* server: CONNECT with :protocol is taken (RFC 8441) */
    uint32_t stream_window; /* bytes of one stream on their way to us; 0 = limits.h */
    uint32_t conn_window;   /* of all streams together; 0 = limits.h */
    uint32_t frame_bytes;   /* largest frame that we take; 0 = 16384 */
    uint32_t streams_max;   /* that the peer may have open; 0 = limits.h */
    uint32_t head_bytes;    /* one header list; 0 = HEAD_BYTES_MAX */
    uint32_t abuse_burst;   /* points of useless work that the peer may make; 0 = limits.h */
    uint32_t abuse_rate;    /* points that are forgiven in a second; 0 = limits.h */
    nsec settings;  /* until the peer's SETTINGS and its acknowledgement of ours; 0 = 10 s */
    nsec keepalive; /* silence after which a PING asks for life; 0 = never */
    nsec ask;       /* silence after something that we said: likewise; 0 = never */
    nsec pong;      /* from then to any sign of life; 0 = 10 s */
    nsec stall; /* a stream that its owner has let go moves nothing for so long: reset; 0 = limits.h
                 */
};

/* Takes `under` over on success. 0, ERR_NOMEM. */
int h2_open(struct loop *loop, const struct h2_conf *conf, struct stream *under, struct task *owner,
            struct h2_conn **ret) __attribute__((warn_unused_result));

enum h2_state {
    H2_OPENING,  /* the peer's SETTINGS have not come; a client may send requests */
    H2_OPEN,     /* both ways */
    H2_DRAINING, /* one side said GOAWAY: no new streams, those that are open end in their time */
    H2_CLOSED,   /* for whatever reason: h2_conn_why */
};
enum h2_state h2_conn_state(const struct h2_conn *c);

struct h2_why {
    int err;          /* ERR_CLOSED (in order), ERR_CUT, ERR_TIMEOUT, ERR_PROTO, ERR_LIMIT (calmed),
                         or what the stream below said */
    bool is_peers;    /* the code came from the peer */
    uint32_t code;    /* of GOAWAY (RFC 9113 §7) */
    const char *text; /* static, for a human */
};
void h2_conn_why(const struct h2_conn *c, struct h2_why *ret);

/* GOAWAY; what is open goes on, and the connection closes in order behind the last stream. */
void h2_conn_drain(struct h2_conn *c);
/* GOAWAY with a code (RFC 9113 §7) at once: every stream ends with ERR_CLOSED. */
void h2_conn_close(struct h2_conn *c, uint32_t code);
/* The owner lets go; an open connection is closed with NO_ERROR. Streams are released on their own.
 * NULL is accepted. */
void h2_conn_release(struct h2_conn *c);
/* As release, without waiting for the peer: for when the loop ends. */
void h2_conn_abort(struct h2_conn *c);
void h2_conn_set_owner(struct h2_conn *c, struct task *owner);
/* From now on the owner is also woken when a stream closes and no more than `count` are left. */
void h2_conn_tell_left(struct h2_conn *c, size_t count);
/* Asks the peer for a sign of life now; its answer is the next h2_stats.rtt. */
void h2_conn_ping(struct h2_conn *c);

struct h2_stats {
    nsec rtt;          /* of the last PING, at most twice the one before; 0 = none was answered */
    nsec heard_at;     /* when a byte last came */
    nsec silent_since; /* a PING is not answered, and this long nothing has come; 0 = none */
    nsec said_at;      /* the first of a message that was sent since heard_at; 0 = none */
    size_t streams, streams_max; /* open; what the peer lets us open at once */
    uint64_t bytes_in, bytes_out;
    uint64_t message_frames; /* of heads and bodies, that came */
};
void h2_conn_stats(const struct h2_conn *c, struct h2_stats *ret);

/* ---- heads ---- */

/* No name and no value may have more: the library reads no longer one, and it would not only refuse
 * the head but end the connection. */
#define H2_FIELD_BYTES_MAX 65536

struct h2_field {
    struct slice name, value;
    bool is_secret; /* to be sent: never indexed by a compressor (RFC 7541 §7.1.3) */
};

/* A received head or the trailers: everything is in its arena. Pseudo fields are apart; `authority`
 * may be empty when there was a Host, which then is among the fields. */
struct h2_head {
    struct arena arena;
    struct h2_head *next;
    unsigned status; /* of a response */
    struct slice method, scheme, authority, path, protocol;
    struct h2_field *fields;
    size_t count, cap;
    bool has_length;
    uint64_t length; /* of content-length */
    bool ends;       /* no body follows */
    bool is_trailers;
    size_t bytes; /* as SETTINGS_MAX_HEADER_LIST_SIZE counts them */
};

/* What is to be sent; views are copied before the call returns. Names are written in lower case. */
struct h2_send_head {
    unsigned status;                                        /* of a response */
    struct slice method, scheme, authority, path, protocol; /* of a request; empty = not sent */
    const struct h2_field *fields;
    size_t count;
};

/* ---- streams ---- */

/* Client: sends a request; with `ends` it has no body. ERR_AGAIN: as many are open as the peer
 * takes (the owner is woken); ERR_CLOSED: no new ones; ERR_LIMIT: the head, or one field of it, is
 * too large; ERR_NOMEM. */
int h2_conn_request(struct h2_conn *c, const struct h2_send_head *head, bool ends,
                    struct task *owner, struct h2_stream **ret) __attribute__((warn_unused_result));
/* Server: the next stream whose request head is there. 0, ERR_AGAIN, or the connection's error. */
int h2_conn_accept(struct h2_conn *c, struct task *owner, struct h2_stream **ret)
    __attribute__((warn_unused_result));

/* The body, both ways, with its five verbs. `finish` sends the trailers that were given, `release`
 * lets the whole stream go: a side that has not ended is reset. A server writes only after its
 * head.
 */
struct stream *h2_stream_body(struct h2_stream *s);
/* The next head: at a client interim ones, then the final one; at a server the request. Borrowed
 * until release. 0, ERR_AGAIN, ERR_EOF (all were taken), or why the stream is dead. */
int h2_stream_head(struct h2_stream *s, const struct h2_head **ret)
    __attribute__((warn_unused_result));
/* After read said ERR_EOF: what came behind the body, or NULL. */
const struct h2_head *h2_stream_trailers(const struct h2_stream *s);
/* Server: sends a head; interim ones (1xx) any number of times, the final one once. */
int h2_stream_respond(struct h2_stream *s, const struct h2_send_head *head, bool ends)
    __attribute__((warn_unused_result));
/* Trailers that finish will send. Once, before it. */
int h2_stream_set_trailers(struct h2_stream *s, const struct h2_field *fields, size_t count)
    __attribute__((warn_unused_result));
/* RST_STREAM with a code; both directions end. */
void h2_stream_reset(struct h2_stream *s, uint32_t code);
/* Whether the peer says that it did nothing with the request (REFUSED_STREAM, or a GOAWAY before
 * it): it may be sent again. */
bool h2_stream_was_refused(const struct h2_stream *s);
/* The peer's RST_STREAM code; 0 when there was none. */
uint32_t h2_stream_code(const struct h2_stream *s);
uint32_t h2_stream_id(const struct h2_stream *s);
/* Why nothing can be sent on it any more, or 0. It alone shows a reset that came behind the peer's
 * last byte while there is nothing to write. */
int h2_stream_send_err(const struct h2_stream *s);

enum h2_code { /* RFC 9113 §7 */
               H2_NO_ERROR = 0x0,
               H2_PROTOCOL_ERROR = 0x1,
               H2_INTERNAL_ERROR = 0x2,
               H2_FLOW_CONTROL_ERROR = 0x3,
               H2_SETTINGS_TIMEOUT = 0x4,
               H2_STREAM_CLOSED = 0x5,
               H2_REFUSED_STREAM = 0x7,
               H2_CANCEL = 0x8,
               H2_ENHANCE_YOUR_CALM = 0xb,
               H2_HTTP_1_1_REQUIRED = 0xd,
};
