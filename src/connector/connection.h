#pragma once
/* One of a replica's connections to the edge: dials, registers, serves, drains, and comes back
 * after a loss. Lives on one worker's loop; tells its supervisor what happens by mail. */
#include "base/text.h"
#include "connector/edge_set.h"
#include "connector/race.h"

#define CONNECTION_STATES(X)                                                                       \
    X(IDLE) X(DIALING) X(REGISTERING) X(SERVING) X(DRAINING) X(BACKOFF) X(OVER)
enum connection_state {
#define X(name) CONNECTION_##name,
    CONNECTION_STATES(X)
#undef X
};
const char *connection_state_name(enum connection_state s);

/* What a process is to the edge; the same for all its connections. Outlives them. */
struct connection_identity {
    const char *account;
    struct uuid tunnel, connector;
    const uint8_t *secret;
    size_t secret_bytes;
    const char *const *features; /* NULL-terminated */
    const char *version, *arch;
};

struct connection_conf {
    const struct connection_identity *identity;
    unsigned index;
    enum protocol protocol;
    nsec quic_retry;                      /* after a fallback; 0 = 10 s */
    struct quic_creds *quic;              /* borrowed */
    struct tls_creds *tls;                /* borrowed */
    const struct origin_proxies *proxies; /* towards the edge; borrowed, or NULL */
    struct tls_creds *proxy_tls;          /* borrowed */
    struct edge_set *edges;               /* where to dial; borrowed */
    const char *local_configuration;      /* JSON for the edge, told by index 0; borrowed until
                                             connection_tell_configuration; or NULL */
    const struct addr *bind;              /* local address, or NULL */
    struct serve *serve;                  /* what answers the edge's streams, on the same loop */
    uint64_t streams_max;                 /* that the edge may have open */
    unsigned retries;                     /* cap of the back-off's exponent */
    nsec grace;                           /* drain after unregistering */
    struct mailbox *supervisor;           /* borrowed; gets connection_news */
    void (*news)(struct mail *);          /* deliver of that mail */
    void *supervisor_ctx;
};

/* Mailed at each change of state that the supervisor must know. From malloc: the receiver frees it.
 */
struct connection_news {
    struct mail mail;
    void *ctx;
    unsigned index;
    enum connection_state state;  /* SERVING: registered; BACKOFF: lost or failed; DRAINING; OVER */
    int err;                      /* of BACKOFF */
    char text[256];               /* location and connection id, or the reason */
    struct addr edge;             /* that was dialled; size 0 = none is known */
    const struct edge_name *name; /* that led there, or NULL; borrowed of the set of edges */
    bool is_kept;                 /* the address is one of an earlier run */
    enum transport_kind transport; /* of SERVING */
    bool is_remotely_managed;
    nsec retry_in; /* of BACKOFF */
};

struct connection;

/* Starts to dial at once. */
int connection_new(struct loop *loop, const struct connection_conf *conf, struct connection **ret)
    __attribute__((warn_unused_result));
/* An edge at this address may be gone: if it is this one's it is asked for a sign of life now. */
void connection_doubt(struct connection *c, const struct addr *edge);
/* Of its QUIC connection; false when there is none that is open. */
bool connection_stats(const struct connection *c, struct quic_stats *ret);
/* The local configuration is another one: JSON from malloc, taken over. The edge is told now, and
 * with each registration to come. */
void connection_tell_configuration(struct connection *c, char *json);
/* Unregisters, lets running exchanges end within the grace period, then closes: news OVER. */
void connection_drain(struct connection *c);
/* Closes at once and frees (deferred). NULL is accepted. */
void connection_free(struct connection *c);
