#pragma once
/* What the files of edge/ share: one worker's state. Everything here belongs to that worker's
 * thread. */
#include "base/map.h"
#include "edge/carrier.h"
#include "edge/certs.h"
#include "edge/edge.h"
#include "edge/families.h"
#include "edge/hostnames.h"
#include "edge/link.h"
#include "http/h1_server.h"
#include "http/h2_server.h"
#include "mux/quic.h"
#include "net/cross.h"
#include "net/tcp.h"
#include "net/tls.h"
#include "net/worker.h"
#include "tunnel/server.h"

enum edge_metric {
#define METRIC(kind, field, ...) EDGE_##field,
#include "edge/metrics.def"
#undef METRIC
    EDGE_METRICS_COUNT
};

/* What is known of an exchange beside its own, for counters and logs: exchange.user. */
struct asked {
    const char *hostname; /* in lower case, without port */
    struct hostname_series *series;
    struct uuid tunnel, connector;
    bool is_routed, is_linked;
    unsigned index, links; /* of the connection that was tried last; how many were tried */
    const char *cookie;    /* that an answer of the connector brings along, or NULL */
};

struct edge_worker {
    struct edge *edge;
    unsigned index;
    struct worker *thread;
    struct mailbox *mailbox;
    struct loop *loop;
    struct task accept;                         /* listeners, endpoint, visitors that ended */
    struct tcp_listener *http, *https, *tunnel; /* tunnel: connectors over HTTP/2 */
    struct quic_endpoint *quic;
    struct tls_creds *tls;
    struct certs *certs; /* that visitors are shown */
    struct h1_group visitors;
    struct list handshakes; /* visitors whose TLS handshake is under way */
    nsec handshake_patience;
    size_t handshake_count;
    struct list sessions; /* connectors' connections */
    struct map sessions_by_id;
    struct list config_pushes;          /* configurations on their way to connectors */
    struct tunnel_server_group bridged; /* streams from other workers for links over HTTP/2 */
    struct lender *lender;              /* stand_in.c, of an edge that is succeeded; or NULL */
    struct h2_server_group lent;
    struct map came_over;      /* tunnels */
    int stand_in_fd;           /* of one that succeeds, until it begins */
    uint64_t stand_in;         /* the session to the edge before; 0 = none */
    struct map stand_in_links; /* tunnels */
    struct link_table *links;
    struct list waiting;       /* exchanges whose answer has not begun */
    struct list held;          /* exchanges that wait for a link */
    struct snapshot *snapshot; /* a reference of our own; NULL before the first */
    struct metric_set *metrics;
    struct line_ring *access_log; /* or NULL */
    struct hostname_view *hostnames;
    uint32_t serial; /* of the last session */
    nsec opened_at, succeeded_at;
    bool is_paused;       /* nothing is accepted yet */
    bool is_succeeded;    /* another edge has what is new */
    _Atomic bool may_ask; /* of one that is succeeded: something here may still want a link */
    int fds[EDGE_WORKER_SOCKETS]; /* in use, -1 = none; not changed once it is open */
    bool is_draining;
    struct task drain;
    struct deadline drain_end, drain_step;
    enum parting parting;       /* behind that */
    struct edge_drain *drained; /* who waits for the drain, or NULL */
};

struct edge {
    struct edge_conf conf;
    char *chain_pem, *key_pem;
    struct x509_pair ca;
    struct edge_addrs addrs;
    bool is_draining;                  /* of the program's thread */
    const struct hand_over *hand_over; /* while its workers are told */
    unsigned count;
    struct hostnames *hostnames;
    uint64_t affinity_secret[2]; /* the same after a restart: visitors keep their replicas */
    struct edge_worker *workers;
    struct mailbox **mailboxes; /* of each worker, for packets that land elsewhere */
    struct quic_endpoint *
        *endpoints; /* likewise; each written and read on its own worker's thread */
    struct quic_creds *quic_creds;
};

/* visitor.c */
enum entry { ENTRY_HTTP, ENTRY_HTTPS, ENTRY_TUNNEL };
/* `entry`: which listener it came by. At HTTPS too a connector is told by the name that it asks
 * for. */
int visitor_open(struct edge_worker *w, struct stream *s, const struct addr *peer,
                 enum entry entry);
void visitors_abort(struct edge_worker *w);
/* Makes room: aborts the oldest handshake that is not over. False when there is none. */
bool visitors_evict(struct edge_worker *w);

/* dispatch.c: the h1_route and h1_head of visitors */
void dispatch_route(void *ctx, struct exchange *ex, const struct h1_conn *conn);
void dispatch_head(void *ctx, struct exchange *ex);
/* The route of what the edge behind us asks for. */
void dispatch_lent(struct edge_worker *w, struct exchange *ex);
/* Whether an exchange of this edge's own visitors waits for a link or may go to another. */
bool dispatch_may_ask(const struct edge_worker *w);
/* The tunnel has a new link: what waits for one may go on. */
void dispatch_link_came(struct edge_worker *w, const struct uuid *tunnel);
/* The link became suspect, or answers again: what waits for its answers looks about. */
void dispatch_link_doubtful(struct edge_worker *w, const struct link *l);

/* account.c: the h1_done and h1_refused of visitors: counters, access log */
void account_done(void *ctx, const struct exchange *ex, const struct h1_conn *conn);
void account_refused(void *ctx, const struct h1_refused_head *head, const struct h1_conn *conn);

/* session.c */
struct session;
int session_open(struct edge_worker *w, struct quic_conn *conn);
/* Over a TLS stream whose handshake is over; taken over, also on failure. */
int session_open_h2(struct edge_worker *w, struct stream *tls, const struct addr *peer);
/* To the edge before us (stand_in.h), over a stream that is taken over, also on failure. */
int session_open_stand_in(struct edge_worker *w, struct stream *s, uint64_t *ret_id);
/* What carries one exchange more; ERR_CLOSED unless the session serves. Borrowed. */
int session_carrier(struct session *s, struct carrier **ret) __attribute__((warn_unused_result));
struct link *session_link(struct session *s); /* borrowed */
struct session *session_find(struct edge_worker *w, uint64_t id);
void session_close(struct session *s, const char *why);
/* The edge stops: closes connections on which nothing is under way, so that their connectors go
 * elsewhere; the last one of each connector stays, since requests may still come, until no worker
 * of an edge that is succeeded may ask. To be called again and again: one that is told to take no
 * more goes with the next call. */
void sessions_send_away(struct edge_worker *w);
void sessions_abort(struct edge_worker *w);

enum link_change { LINK_ADDED, LINK_SUSPECT, LINK_REMOVED };
/* In every worker's table; without memory some do not learn of it. */
void links_tell(struct edge_worker *w, struct link *l, enum link_change change);

/* config_push.c */
/* Takes p over. */
void config_push_start(struct edge_worker *w, struct config_push *p);
void config_pushes_abort(struct edge_worker *w);

/* local_report.c */
/* Tells the control plane what the connector behind a link serves by itself. 0: session_reported
 * follows while there is a session. ERR_NOMEM. */
int local_report_send(struct edge_worker *w, uint64_t link, struct slice json)
    __attribute__((warn_unused_result));
void session_reported(struct session *s); /* of session.c */

/* bridge.c: a stream from another worker, joined to a link of this one */
struct bridge_request;
struct bridge_request *bridge_request_new(struct edge_worker *where, uint64_t link);
void bridge_accept(void *ctx, struct loop *loop, struct stream *far_end);
void bridge_drop(void *ctx);
/* The route of bridged streams. */
void bridge_route(void *ctx, struct exchange *ex, enum connect_type type);
