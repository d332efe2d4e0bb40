#pragma once
/* What carries a connection to the edge: QUIC, or HTTP/2 over TLS, whose server is the connector
 * (docs/protocol.md §2, §10). Dials once; after a failure another one is made. Loop thread. */
#include "connector/serve.h"
#include "mux/quic.h"
#include "net/addr.h"

enum transport_kind { TRANSPORT_QUIC, TRANSPORT_H2 };
#define TRANSPORT_KINDS 2
static inline const char *transport_name(enum transport_kind kind)
{
    return kind == TRANSPORT_QUIC ? "quic" : "http2";
}

enum transport_state {
    TRANSPORT_DIALING,
    TRANSPORT_OPEN,   /* the control stream can be had */
    TRANSPORT_CLOSED, /* for whatever reason: transport_why */
};

struct transport;

struct transport_ops {
    enum transport_kind kind;
    /* Goes on with a dial that is under way. */
    enum transport_state (*state)(struct transport *);
    /* Whether anything has come from the edge. */
    bool (*has_heard)(const struct transport *);
    /* Why it closed: an error and a text that lives as long as the transport. */
    int (*why)(struct transport *, const char **ret_text);
    /* Once: the control stream. ERR_AGAIN where the edge gives no credit, ERR_NOMEM. */
    int (*control)(struct transport *, struct task *owner, struct stream **ret);
    /* Gives what the edge asks to `serve`. */
    void (*serve)(struct transport *, struct serve *serve, unsigned index, unsigned extensions);
    /* From now on the owner is told when nothing but the control stream is left. */
    void (*drain)(struct transport *);
    bool (*is_idle)(const struct transport *);
    void (*set_owner)(struct transport *, struct task *owner); /* of an open one */
    /* Our address on the way to the edge. */
    void (*local)(const struct transport *, struct addr *ret);
    /* Asks the edge of an open one for a sign of life, so that its absence is noticed soon. */
    void (*ping)(struct transport *);
    /* False where there is nothing to say. */
    bool (*stats)(const struct transport *, struct quic_stats *ret);
    void (*close)(struct transport *); /* and frees */
};

struct transport {
    const struct transport_ops *ops;
    struct loop *loop;
};

struct transport_dial {
    struct loop *loop;
    struct task *owner; /* woken by news */
    struct addr edge;
    const struct addr *bind; /* or NULL: any */
    uint64_t streams_max;
    struct quic_creds *quic;              /* borrowed for the call */
    struct tls_creds *tls;                /* likewise */
    const struct origin_proxies *proxies; /* for HTTP/2: the environment's, or NULL; borrowed */
    struct tls_creds *proxy_tls;          /* what a proxy over TLS is verified by; borrowed */
};

/* Starts to dial. */
int transport_dial_quic(const struct transport_dial *d, struct transport **ret)
    __attribute__((warn_unused_result));
int transport_dial_h2(const struct transport_dial *d, struct transport **ret)
    __attribute__((warn_unused_result));

static inline enum transport_state transport_state(struct transport *t)
{
    return t->ops->state(t);
}

/* NULL is accepted. */
static inline void transport_close(struct transport *t)
{
    if (t != NULL)
        t->ops->close(t);
}
