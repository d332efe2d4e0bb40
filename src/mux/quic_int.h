#pragma once
/* What the files of QUIC share. Everything belongs to one loop's thread. */
#include "base/limits.h"
#include "base/map.h"
#include "mux/quic.h"
#include "mux/quic_api.h"
#include "mux/quic_rate.h"
#include "net/udp.h"

#define QUIC_CID_BYTES              16
#define QUIC_BATCH_BYTES            65000 /* one GSO send */
#define QUIC_PAYLOAD_BYTES          1452  /* largest datagram on a network */
#define QUIC_PAYLOAD_LOOPBACK_BYTES 15000 /* on loopback, whose MTU is 65536: four in a batch */
#define QUIC_DATAGRAMS_IN_MAX       256
#define QUIC_DATAGRAMS_OUT_MAX      64
#define QUIC_DATAGRAM_BYTES_MAX     1400

struct quic_creds {
    _Atomic unsigned refs;
    bool is_server;
    gnutls_certificate_credentials_t cert;
    gnutls_priority_t priority;
    bool has_pin;
    uint8_t pin[32]; /* SHA-256 of the CA's SubjectPublicKeyInfo */
};

struct quic_endpoint {
    struct loop *loop;
    struct udp *udp;
    struct task task; /* the socket's news */
    struct task *owner;
    bool is_server, is_stopped;
    struct quic_listen_opts opts;
    uint64_t cid_seed[2];
    struct addr local;
    struct map cids; /* every connection id that leads to a connection here */
    struct list conns;
    struct list acceptable; /* handshake complete, nobody's yet */
    size_t conn_count, handshake_count;
    uint64_t unread;     /* of all connections */
    uint8_t *batch;      /* the loop's: QUIC_BATCH_BYTES to write packets into */
    struct list blocked; /* connections whose last batch the kernel did not take */
    nsec reset_window;   /* stateless resets are rate limited */
    unsigned reset_count;
    struct reaper reaper;
};

struct quic_conn {
    struct list node, acceptable, blocked_node;
    struct quic_endpoint *e;
    bool owns_endpoint; /* a client's */
    ngtcp2_conn *ng;
    ngtcp2_crypto_conn_ref ref;
    gnutls_session_t tls;
    struct quic_creds *creds;
    char server_name[HOSTNAME_BYTES_MAX + 1];
    enum quic_state state;
    struct quic_why why;
    struct quic_conf conf;
    struct task *owner;
    struct task send;  /* late: one write pass a turn */
    unsigned gathered; /* packets that came since the last pass */
    struct deadline expiry;
    struct list cids;
    struct list streams;
    struct list sendable; /* streams with something to send, round robin */
    struct list peers;    /* streams that the peer opened, nobody's yet */
    struct list starved;  /* streams that wait for the connection's credit */
    bool wants_stream_credit;
    struct quic_rate rate;
    size_t bulk_count;                     /* streams that share what the path can hold */
    size_t stream_count, streams_to_grant; /* open; ended, and not yet given back to the peer */
    bool tells_left;
    size_t left;      /* of quic_conn_tell_left */
    uint8_t *blocked; /* a batch that the kernel did not take */
    size_t blocked_bytes, blocked_segment;
    struct addr blocked_to, blocked_from;
    uint8_t *close_packet; /* answered to whatever comes after our close */
    size_t close_bytes, close_answers;
    struct list datagrams_in, datagrams_out;
    size_t datagrams_in_count, datagrams_out_count;
    nsec unacked_since; /* see struct quic_stats */
    bool is_refused;    /* said by the peer's machine, since anything was heard */
    nsec keepalive;     /* in force */
    bool is_quiet;      /* it is the one for when no stream moves */
    nsec traffic_at;    /* a stream moved */
    bool is_released, is_handshake_done;
    uint64_t bytes_sent, bytes_received;
    uint64_t unread; /* bytes in its streams' `in` */
    struct reaper reaper;
};

struct quic_stream {
    struct stream stream;
    struct list node, sendable, peer;
    struct quic_conn *conn; /* NULL when the connection is gone */
    struct loop *loop;
    int64_t id;
    struct buf in;
    struct buf unsent, unacked;
    bool is_fin_wanted, is_fin_sent;
    bool is_fin_received;
    bool is_full;     /* write said ERR_AGAIN */
    bool is_bulk;     /* its source is faster than the path */
    bool is_counted;  /* in the connection's bulk_count: it has something queued, too */
    bool is_released; /* the owner let go */
    bool is_closed;   /* ngtcp2 let go */
    int in_err, out_err;
    struct reaper reaper;
};

struct quic_datagram {
    struct list node;
    size_t n;
    uint8_t data[];
};

struct quic_cid {
    struct map_node node;
    struct list in_conn;
    struct quic_conn *conn;
    size_t n;
    uint8_t bytes[NGTCP2_MAX_CIDLEN];
};

/* quic_endpoint.c */
int quic_endpoint_new(struct loop *loop, const struct addr *bind, const struct udp_opts *opts,
                      struct quic_endpoint **ret);
int quic_cid_add(struct quic_conn *c, const uint8_t *bytes, size_t n);
void quic_cid_remove(struct quic_conn *c, const uint8_t *bytes, size_t n);
void quic_cid_make(struct quic_endpoint *e, uint8_t *bytes, size_t n);

/* quic_conn.c */
struct quic_conn *quic_conn_new(struct quic_endpoint *e, const struct quic_conf *conf,
                                struct task *owner);
/* Frees at once; the connection must be nobody's. */
void quic_conn_destroy(struct quic_conn *c);
void quic_conn_read(struct quic_conn *c, const struct udp_packet *p);
/* The connection has ended; tells everybody. `ng_error` 0: the peer closed. */
void quic_conn_fail(struct quic_conn *c, int ng_error);
void quic_conn_ended(struct quic_conn *c, const struct quic_why *why);
int quic_conn_accept_new(struct quic_endpoint *e, const struct udp_packet *p);
void quic_callbacks(ngtcp2_callbacks *cb, bool is_server);
void quic_path(ngtcp2_path *path, const struct addr *local, const struct addr *remote);

/* quic_alive.c */
void quic_note_traffic(struct quic_conn *c);
void quic_note_heard(struct quic_conn *c);
void quic_note_sent(struct quic_conn *c);
void quic_note_refused(struct quic_conn *c);
nsec quic_gives_up_at(const struct quic_conn *c); /* or NSEC_NEVER */
bool quic_has_given_up(struct quic_conn *c, nsec now);

/* quic_send.c */
void quic_send_run(struct task *t);
void quic_send_blocked(struct quic_conn *c);
/* So many packets came, or credit was given: a write pass, soon. */
void quic_send_gather(struct quic_conn *c, unsigned packets);
void quic_arm(struct quic_conn *c);

/* quic_stream.c */
struct quic_stream *quic_stream_new(struct quic_conn *c, int64_t id);
void quic_stream_orphan(struct quic_stream *s, int why);
void quic_stream_destroy(struct quic_stream *s);
bool quic_stream_has_output(const struct quic_stream *s);
/* To be called when unsent or unacked became shorter or longer. */
void quic_stream_count_bulk(struct quic_stream *s);
void quic_stream_acked(struct quic_stream *s, uint64_t n);
/* Bytes that came. ERR_NOMEM, ERR_LIMIT. */
int quic_stream_take(struct quic_stream *s, struct slice data);
/* Resets the stream with the most unread bytes; false when none has any. */
bool quic_stream_reset_worst(struct quic_conn *c);
void quic_stream_closed(struct quic_stream *s, bool is_error);

/* quic_creds.c */
int quic_tls_new(struct quic_conn *c);
