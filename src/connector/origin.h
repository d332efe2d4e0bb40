#pragma once
/* Connections to origins: dialled when needed, kept alive between exchanges, thrown away when
 * stale. One pool for each worker. Loop thread. */
#include "connector/origin_proxy.h"
#include "net/addr.h"
#include "net/stream.h"
#include "net/tls.h"

/* What to connect to, and how. Views and credentials belong to the ingress rule, which the exchange
 * keeps alive. */
struct origin_target {
    struct slice host; /* name or IP literal without brackets; or the path of a unix socket */
    uint16_t port;
    bool is_unix;
    struct tls_creds *tls;  /* NULL = no TLS */
    struct tls_creds *held; /* the reference to it, of whoever aimed (origin_target_done) */
    struct slice tls_name;  /* SNI and the name to verify */
    nsec connect_timeout;   /* name look-up and TCP together; 0 = for ever */
    nsec tls_timeout;       /* likewise */
    nsec tcp_keepalive;     /* 0 = off */
    bool no_happy_eyeballs;
    nsec idle_timeout; /* of a kept-alive connection; 0 = for ever */
    unsigned idle_max; /* kept-alive connections of `kept`; 0 = none is kept */
    /* Those that count together, whichever worker has them; NULL: this worker's to this target. */
    struct origin_kept *kept;
    /* What the connection begins with, before TLS. It speaks of one visitor: such a connection is
     * neither kept nor taken from the kept ones. */
    struct slice prelude;
    /* Dialled in the origin's place, and with TLS asked for a tunnel to it; or NULL. Borrowed from
     * whoever owns the pool. */
    const struct origin_proxy *proxy;
    bool refuses_h2; /* the origin demanded HTTP/1.1 of this exchange */
    bool offers_h2;  /* by its TLS: when the origin chooses it, the connection is shared */
};

/* How many connections one rule keeps, over all workers. Counted: what is kept holds it. Any
 * thread.
 */
struct origin_kept *origin_kept_new(void);
struct origin_kept *origin_kept_ref(struct origin_kept *k);
void origin_kept_unref(struct origin_kept *k); /* NULL is accepted */

struct origin_pool;
struct origin_pool *origin_pool_new(struct loop *loop);
/* How long a connection to a name may be kept, from the look-up on; NAME_LIFE_MS at first. */
void origin_pool_set_name_life(struct origin_pool *p, nsec life);
/* Closes what is idle. NULL is accepted. */
void origin_pool_free(struct origin_pool *p);

/* ---- one connection, from the wish for it to its end ---- */

struct origin_conn;

enum origin_stage {
    ORIGIN_RESOLVING,
    ORIGIN_CONNECTING,
    ORIGIN_TUNNELLING, /* through a proxy */
    ORIGIN_HANDSHAKE,
    ORIGIN_READY,
    ORIGIN_FAILED
};

/* A kept-alive connection when `fresh` is false and there is one, else a new one that starts to
 * connect. The owner is woken as it gets on. */
int origin_open(struct origin_pool *p, const struct origin_target *target, bool fresh,
                struct task *owner, struct origin_conn **ret) __attribute__((warn_unused_result));
/* Goes as far as it can. 0 when ready; ERR_AGAIN; ERR_RESOLVE, ERR_REFUSED, ERR_TIMEOUT, ERR_CERT,
 * … with origin_failure. */
int origin_run(struct origin_conn *c) __attribute__((warn_unused_result));
/* When ready. Borrowed. */
struct stream *origin_stream(struct origin_conn *c);
/* Came out of the pool: a failure before the first byte may only mean that the origin had closed
 * it. */
bool origin_was_reused(const struct origin_conn *c);
/* What failed, for a human ("dial tcp 127.0.0.1:8000: connection refused"). Valid until it is
 * closed or kept. */
const char *origin_failure(const struct origin_conn *c);
/* At which stage that was, and what TLS says of it. */
enum origin_stage origin_failed_at(const struct origin_conn *c);
enum tls_fault origin_tls_fault(const struct origin_conn *c);
/* When ready: the stream alone, now the caller's; the connection is closed. */
struct stream *origin_take_stream(struct origin_conn *c);
/* Gives it back for another exchange (closes it when there are enough). */
void origin_keep(struct origin_conn *c);
/* NULL is accepted. */
void origin_close(struct origin_conn *c);
