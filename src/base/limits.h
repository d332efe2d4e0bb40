#pragma once
/* Every maximum in one place, with the reason for its number. Options may lower or raise those that
 * say so. */

/* HTTP/1.1 (both codecs) */
#define HEAD_BYTES_MAX                                                                             \
    (100 * 1024) /* start line and fields together; large cookies and tokens fit; option */
#define HEAD_BYTES_TOP                                                                             \
    (192 * 1024)                 /* what the option may say: the heads of a tunnel hold no more */
#define HEAD_FIELDS_MAX      256 /* field lines: a flood of tiny fields costs more than their bytes */
#define TARGET_BYTES_MAX     (32 * 1024) /* request target: twice what browsers send */
#define CHUNK_LINE_BYTES_MAX 256         /* a chunk's size line with extensions: none needs more */
#define TRAILER_BYTES_MAX    (16 * 1024)
#define HOSTNAME_BYTES_MAX   253 /* RFC 1035 §2.3.4, in text form */
#define INTERIM_COUNT_MAX    16  /* 1xx responses before the final one */
#define PIPELINE_DRAIN_BYTES_MAX                                                                   \
    (256 * 1024) /* what still arrives is dropped up to this before a connection ends */

/* Exchange */
#define EXCHANGE_ARENA_BYTES_MAX                                                                   \
    (512 * 1024) /* both heads, parsed and serialised, and what belongs to them */
#define REPLAY_BYTES_MAX (64 * 1024)  /* of a body that is kept until the answer begins */
#define BODY_BYTES_MAX   (128 * 1024) /* held between left and right in each direction */

/* Streams and transports */
#define STREAM_SEND_BYTES_MAX                                                                      \
    (128 * 1024)                        /* queued in one transport before write says ERR_AGAIN     \
                                         */
#define CROSS_WINDOW_BYTES (256 * 1024) /* in flight between two workers in one direction */
#define READ_STEP_BYTES    (64 * 1024)  /* one stream's share of a turn: fairness */
#define ACCEPT_STEP        64           /* connections accepted in one turn */
#define RUN_STEP           1024         /* tasks run before the loop polls again */
#define MAILBOX_STEP       1024         /* messages taken in one turn */
#define DIAL_STAGGER_MS    250 /* an address has before the next is tried beside it (RFC 8305 §5) */
#define NAME_LIFE_MS                                                                               \
    30000 /* a kept connection to a name is not used past it: the system's resolver tells no time  \
             to live, and who moves a name wants to see it moved */

/* QUIC */
#define QUIC_STREAM_WINDOW_BYTES     (512 * 1024) /* first credit of a stream */
#define QUIC_STREAM_WINDOW_BYTES_MAX (6 * 1024 * 1024)
#define QUIC_CONN_WINDOW_BYTES       (4 * 1024 * 1024) /* first credit of a connection */
#define QUIC_CONN_WINDOW_BYTES_MAX   (32 * 1024 * 1024)
#define QUIC_UNREAD_BYTES_MAX                                                                      \
    (128 * 1024 * 1024) /* arrived on one connection and not read: 256 visitors who stand still */
#define QUIC_UNREAD_ALL_BYTES_MAX (1024 * 1024 * 1024) /* on all connections of one worker */
#define QUIC_CONNS_MAX            65536                /* for one endpoint */
#define QUIC_HANDSHAKES_MAX       4096 /* not yet complete: past it a Retry is demanded */
#define QUIC_IDLE_MS              120000 /* the reference's connectors announce five seconds, ours 100 */

/* HTTP/2 */
#define H2_STREAM_WINDOW_BYTES (256 * 1024) /* credit of a stream: what one slow reader holds */
#define H2_CONN_WINDOW_BYTES   (4 * 1024 * 1024) /* credit of a connection: given back at arrival */
#define H2_STREAMS_MAX         256               /* that a peer may have open */
#define H2_CONTINUATIONS_MAX   32   /* frames of one header block: 512 KiB of the smallest size */
#define H2_QUEUE_MAX           1000 /* control frames waiting to be sent: past it nothing is read */
#define ORIGIN_H2_KEPT_MAX     1024 /* connections to origins that stay without a stream */
#define ORIGIN_H2_WAITING_MAX  100  /* requests that wait for one that is being dialled */
#define H2_ABUSE_BURST         10000 /* points: a thousand resets, or five thousand pings */
#define H2_ABUSE_RATE          1000  /* points forgiven in a second */

/* Cap'n Proto (codec/capnp.h) */
#define CAPNP_MESSAGE_BYTES_MAX (1024 * 1024) /* one message; configurations are the largest */
#define CAPNP_SEGMENTS_MAX      513           /* what the reference takes */
#define CAPNP_DEPTH_MAX         64            /* likewise */

/* Tunnel */
#define TUNNEL_METADATA_MAX   512 /* entries of one head: each header line is one */
#define TUNNEL_HEAD_BYTES_MAX (256 * 1024)
#define TUNNEL_HEADS_BYTES_MAX                                                                     \
    (16 * 1024 * 1024) /* of heads that are not whole yet, all streams of a worker together: sixty \
                          of the largest */
#define TUNNEL_HEAD_MS                                                                             \
    30000 /* from a stream's first byte to the end of its head: it is sent in one piece; option */
#define TUNNEL_STREAMS_MAX                                                                         \
    65536 /* that an edge may have open on one connection: so many websockets; option */
#define TUNNEL_CONNECTOR_STREAMS_MAX                                                               \
    1024 /* that a connector may have open: one for control, and for ends of UDP sessions */
#define TUNNEL_H2_STREAM_WINDOW_BYTES (1024 * 1024) /* the reference's; both ends */
#define TUNNEL_H2_CONN_WINDOW_BYTES   (16 * 1024 * 1024)
#define TUNNEL_H2_HEAD_BYTES_MAX      (2 * TUNNEL_HEAD_BYTES_MAX) /* base64 takes a third more */
#define TUNNEL_H2_FRAME_BYTES         (1024 * 1024)               /* the reference's */
#define STAND_IN_STREAMS_MAX                                                                       \
    65536 /* requests by way of an edge that ends: of every visitor of a worker */
#define TUNNEL_H2_ABUSE_BURST  1000000 /* points: visitors who leave are resets here */
#define TUNNEL_CONNECTIONS_MAX 32      /* of one connector */
#define TUNNEL_LINKS_MAX       256     /* of one tunnel at one edge: 64 replicas of four */

/* Visitors */
#define VISITOR_CERTS_MAX                                                                          \
    1024 /* hostnames of one worker that have their certificate ready: 8 KiB each */
#define VISITORS_MAX    65536 /* open connections of one worker; option */
#define VISITOR_IDLE_MS 75000 /* kept-alive without a request; option */
#define VISITOR_HANDSHAKE_MS                                                                       \
    10000 /* of TLS: a slow one holds a session's memory for nothing; option */
#define VISITOR_HEAD_MS                                                                            \
    30000 /* from the first byte of a request to the end of its head; option                       \
           */
#define VISITOR_STALL_MS                                                                           \
    120000 /* without any progress of a body: neither a byte taken nor one sent; option */
#define VISITOR_RATE_BYTES                                                                         \
    100 /* that a waiting body must move in a second, measured over VISITOR_STALL_MS: far below    \
           any modem, and what a 1 GiB download may hold for months; option */
#define VISITOR_HALF_MS                                                                            \
    60000 /* without any byte for a visitor that has ended its direction: most are gone for good   \
           */

/* API */
#define API_BODY_BYTES_MAX (1024 * 1024)

/* Remote configuration */
#define REMOTE_CONFIG_BYTES_MAX                                                                    \
    (960 * 1024) /* one document: with what surrounds it still one Cap'n Proto message */
#define REMOTE_CONFIG_VERSIONS_MAX 64 /* of a tunnel that are kept: to see what it was before */
#define REMOTE_CONFIG_PUSHES_MAX   64 /* under way at once: each holds a document, or two */
#define LOCAL_REPORTS_BYTES_MAX                                                                    \
    (16 * 1024 * 1024) /* rules that connectors told of, of all tunnels; the oldest go first */

#define METRICS_BYTES_MAX (64 * 1024 * 1024) /* a page of 10,000 hostnames has a third of it */
#define API_CLIENTS_MAX   256    /* connections at once: each may hold a body of that size */
#define AUDIT_ROWS_MAX    100000 /* about ten megabytes; quick tunnels alone write without end */
