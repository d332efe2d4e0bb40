#pragma once
/* A TCP connection to the edge, straight or through the proxy that the environment names: http and
 * https by CONNECT (RFC 9110 §9.3.6), socks5. It has no task of its own: whoever embeds it calls
 * edge_dial_run when its task is woken. Loop thread. */
#include "connector/origin_proxy.h"
#include "connector/socks_ask.h"
#include "net/dial.h"
#include "net/tls.h"

enum edge_dial_step { DIAL_NAME, DIAL_TCP, DIAL_PROXY_TLS, DIAL_ASK };

struct edge_dial {
    struct loop *loop;
    struct task *task;
    enum edge_dial_step step;
    struct addr edge;
    const struct origin_proxy *proxy; /* or NULL */
    struct tls_creds *proxy_tls;      /* counted; of a proxy over TLS */
    struct resolve *resolve;
    struct dial dial;
    struct stream *under;
    bool has_asked;
    struct buf in; /* the proxy's answer */
    struct socks_ask socks;
    struct addr local; /* ours, once connected */
    char text[200];    /* of a failure */
};

/* `proxy_tls`: trusts what a proxy over TLS may be signed by; borrowed for the call. Must not be
 * moved afterwards. 0, ERR_NOMEM, or a failure with d->text. */
int edge_dial_start(struct edge_dial *d, struct loop *loop, const struct addr *edge,
                    const struct origin_proxy *proxy, struct tls_creds *proxy_tls,
                    struct task *task) __attribute__((warn_unused_result));
/* 0: *ret is connected to the edge and the caller's; ERR_AGAIN; or a failure with d->text. */
int edge_dial_run(struct edge_dial *d, struct stream **ret) __attribute__((warn_unused_result));
/* Gives up what is under way. Safe on a zeroed one. */
void edge_dial_done(struct edge_dial *d);
