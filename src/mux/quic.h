#pragma once
/* QUIC v1 (RFC 9000, 9001, 9221) on ngtcp2 and GnuTLS: connections whose streams are net/stream.h.
 * Everything that depends on ngtcp2's version is in mux/quic_api.h. Loop thread only.
 *
 * Nothing calls back: a connection wakes its owner when its state changes, when a peer opened a
 * stream, and when a datagram or stream credit came. Connection ids that we issue carry the
 * worker's number and the process's generation, so that a packet that lands on another worker's
 * socket (after NAT rebinding), or in the process that has taken the sockets over, is passed on. */
#include "base/fault.h"
#include "base/metric.h"
#include "net/addr.h"
#include "net/stream.h"

struct quic_endpoint;
struct quic_conn;
struct quic_creds; /* TLS credentials for QUIC, counted and immutable, shared by all threads */

int quic_creds_server(struct slice chain_pem, struct slice key_pem, struct quic_creds **ret,
                      struct fault *fault) __attribute__((warn_unused_result));
/* `ca_pem` replaces the system's roots unless empty. */
int quic_creds_client(struct slice ca_pem, struct quic_creds **ret, struct fault *fault)
    __attribute__((warn_unused_result));
struct quic_creds *quic_creds_ref(struct quic_creds *c);
void quic_creds_unref(struct quic_creds *c); /* NULL is accepted */

struct quic_conf {
    struct quic_creds *creds;
    const char *alpn;     /* "argotunnel"; mandatory on both sides */
    nsec idle;            /* max_idle_timeout that we announce; 0 = QUIC_IDLE_MS */
    nsec keepalive;       /* PING after this long in which nothing was sent; 0 = never */
    nsec keepalive_quiet; /* likewise, when no stream has moved for ten seconds, the first time
                             after any part of it; 0 = no difference */
    nsec give_up;   /* the end, when nothing has come for so long since something was sent that asks
                       for an acknowledgement; 0 = the idle timeout alone */
    nsec handshake; /* bound of the whole handshake; 0 = 5 s */
    uint64_t stream_window, stream_window_max; /* bytes; 0 = limits.h. Auto-tuned between the two */
    uint64_t conn_window, conn_window_max;
    uint64_t unread_max;   /* bytes that arrived and nobody has read, of all streams; past it the
                              stream with the most is reset; 0 = QUIC_UNREAD_BYTES_MAX */
    uint64_t streams_bidi; /* streams that the peer may have open at once; 0 = 1 << 20 */
    bool datagrams;        /* announce max_datagram_frame_size 16383 */
    bool pmtud;
};

/* ---- server ---- */

struct quic_listen_opts {
    struct quic_conf conf;
    unsigned worker, workers; /* our number, and how many share the address */
    struct mailbox *const
        *peers; /* mailbox of each worker by number (borrowed while open), or NULL */
    struct quic_endpoint *const *endpoints; /* filled with every worker's endpoint before traffic;
                                               read on the peer's own thread */
    uint8_t secret[32]; /* for stateless resets, Retry tokens and connection ids: persisted, same
                           for all workers */
    int fd;             /* ≥ 0: socket to take over */
    bool is_paused;     /* reads nothing before quic_endpoint_begin */
    /* Processes that follow one another on the same sockets have other generations, which their
     * connection ids carry too. Packets for the last one are passed on to it, to the socket of the
     * worker that they name (net/udp_relay.h; borrowed while open), until it is gone. */
    uint8_t generation;
    const int *predecessor; /* or NULL */
    unsigned predecessor_workers;
    const _Atomic bool *is_predecessor_gone;
    struct metric_set *metrics; /* that count them, or NULL: these two cells */
    unsigned passed_on, passed_on_lost;
    size_t conns_max; /* 0 = limits.h */
};

/* Opens the UDP socket (SO_REUSEPORT when workers > 1). */
int quic_listen(struct loop *loop, const struct addr *bind, const struct quic_listen_opts *opts,
                struct task *owner, struct quic_endpoint **ret, struct addr *ret_addr)
    __attribute__((warn_unused_result));
/* Next connection whose handshake is complete, now the caller's; its owner becomes `owner`. NULL
 * when there is none. */
struct quic_conn *quic_accept(struct quic_endpoint *e, struct task *owner);
/* Refuses new connections from now on; those that are open live on. */
void quic_endpoint_stop(struct quic_endpoint *e);
void quic_endpoint_begin(struct quic_endpoint *e);
/* Another process reads the socket from now on and has what is new; packets of our connections come
 * over `in` (net/udp_relay.h), which is taken over on success. */
int quic_endpoint_hand_over(struct quic_endpoint *e, int in) __attribute__((warn_unused_result));
/* The socket, borrowed. */
int quic_endpoint_fd(const struct quic_endpoint *e);
/* Closes every connection that is left and the socket. NULL is accepted. */
void quic_endpoint_free(struct quic_endpoint *e);
size_t quic_endpoint_conns(const struct quic_endpoint *e);

/* ---- client ---- */

/* One socket for each connection; `bind` may name a local address and port (the same port for every
 * dial of one index), NULL = any. The chain and `server_name` are verified. */
int quic_dial(struct loop *loop, const struct quic_conf *conf, const struct addr *to,
              const struct addr *bind, const char *server_name, struct task *owner,
              struct quic_conn **ret) __attribute__((warn_unused_result));

/* ---- connections ---- */

enum quic_state {
    QUIC_HANDSHAKE,
    QUIC_OPEN,
    QUIC_CLOSED, /* for whatever reason: quic_conn_why */
};

enum quic_state quic_conn_state(const struct quic_conn *c);

struct quic_why {
    int err; /* ERR_CLOSED (peer closed), ERR_TIMEOUT (idle or handshake), ERR_CERT, ERR_TLS,
                ERR_REFUSED, ERR_RESET (stateless reset), ERR_PROTO; ERR_CLOSED also when we closed
              */
    bool is_application; /* the code is the application's */
    uint64_t code;       /* error code on the wire */
    char text[128];      /* for a human: the peer's reason or the library's */
};
void quic_conn_why(const struct quic_conn *c, struct quic_why *ret);

/* Next stream that the peer opened: 0, ERR_AGAIN, or the connection's error. Only bidirectional
 * streams are taken; others are refused by credit. */
int quic_conn_accept(struct quic_conn *c, struct task *owner, struct stream **ret)
    __attribute__((warn_unused_result));
/* Opens a bidirectional stream. ERR_AGAIN when the peer gives no credit (the connection's owner is
 * woken when it does). */
int quic_conn_open(struct quic_conn *c, struct task *owner, struct stream **ret)
    __attribute__((warn_unused_result));
/* Asks the peer for an acknowledgement, soon. */
void quic_conn_ping(struct quic_conn *c);
/* Sends CONNECTION_CLOSE with an application code; every stream ends with ERR_CLOSED. */
void quic_conn_close(struct quic_conn *c, uint64_t code, const char *reason);
/* The owner lets go (the streams must have been released or abort now). A connection that is open
 * is closed with code 0. NULL is accepted. */
void quic_conn_release(struct quic_conn *c);
/* From now on the owner is also woken when a stream closes and no more than `count` are left. A
 * stream that was released is closed when all that was written to it has arrived. */
void quic_conn_tell_left(struct quic_conn *c, size_t count);
size_t quic_conn_streams(const struct quic_conn *c);
/* Changes who is woken. */
void quic_conn_set_owner(struct quic_conn *c, struct task *owner);

void quic_conn_peer_addr(const struct quic_conn *c, struct addr *ret);
void quic_conn_local_addr(const struct quic_conn *c, struct addr *ret);

struct quic_stats {
    nsec rtt_smoothed, rtt_latest, rtt_min;
    uint64_t cwnd, bytes_in_flight, bytes_sent, bytes_received, packets_lost;
    size_t mtu;         /* datagram payload in use */
    size_t streams;     /* open now */
    nsec unacked_since; /* nothing has come since this was sent and asks for an acknowledgement; 0 =
                           nothing is owed */
    bool is_refused;    /* the peer's machine says that nobody listens there (ICMP), since then */
    nsec pto;           /* probe timeout (RFC 9002 §6.2.1), without its backing off */
};
void quic_conn_stats(const struct quic_conn *c, struct quic_stats *ret);

/* Stream id (RFC 9000 §2.1) of a stream made by this file. */
uint64_t quic_stream_id(const struct stream *s);

/* ---- datagrams (RFC 9221) ---- */

/* Queues one datagram (dropped silently when the queue of 64 is full). ERR_TOOLARGE,
 * ERR_UNSUPPORTED when the peer takes none. */
int quic_conn_send_datagram(struct quic_conn *c, struct slice payload)
    __attribute__((warn_unused_result));
/* Takes one that arrived: a copy into `to`. 0, ERR_AGAIN. At most 256 wait; then the newest is
 * dropped. */
int quic_conn_take_datagram(struct quic_conn *c, struct buf *to)
    __attribute__((warn_unused_result));

/* As quic_creds_client, but trusts the chain whose last certificate has this SHA-256 of its
 * SubjectPublicKeyInfo: what a tunnel token carries. */
int quic_creds_client_pin(const uint8_t pin[32], struct quic_creds **ret, struct fault *fault)
    __attribute__((warn_unused_result));
