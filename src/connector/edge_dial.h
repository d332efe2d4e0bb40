#pragma once
/* A TCP connection to the edge, or to its API, straight or through the proxy that the environment
 * names: http and https by CONNECT (RFC 9110 §9.3.6), socks5. It has no task of its own: whoever
 * embeds it calls edge_dial_run when its task is woken. Loop thread. */
#include "connector/origin_proxy.h"
#include "connector/socks_ask.h"
#include "net/dial.h"
#include "net/tls.h"

enum edge_dial_step { DIAL_NAME, DIAL_TCP, DIAL_PROXY_TLS, DIAL_ASK };

/* Where to. */
struct edge_goal {
    struct slice host; /* name or IP literal without brackets; borrowed while it is dialled. A proxy
                          looks the name up itself */
    uint16_t port;
    struct addr address;              /* of the host, where it is known; size 0: it is looked up */
    const struct origin_proxy *proxy; /* or NULL */
    struct tls_creds *proxy_tls;      /* of a proxy over TLS: trusts what it may be signed by */
    bool is_forwarded; /* an HTTP proxy is not asked for a tunnel: it gets the request itself */
};

struct edge_dial {
    struct loop *loop;
    struct task *task;
    enum edge_dial_step step;
    struct edge_goal goal;
    struct tls_creds *proxy_tls; /* counted; until TLS has begun */
    struct resolve *resolve;
    struct dial dial;
    struct stream *under;
    bool has_asked;
    struct buf in; /* the proxy's answer */
    struct socks_ask socks;
    struct addr local; /* ours, once connected */
    char text[200];    /* of a failure */
};

/* Must not be moved afterwards. 0, ERR_NOMEM, or a failure with d->text. */
int edge_dial_start(struct edge_dial *d, struct loop *loop, const struct edge_goal *goal,
                    struct task *task) __attribute__((warn_unused_result));
/* 0: *ret is connected to the goal and the caller's; ERR_AGAIN; or a failure with d->text. */
int edge_dial_run(struct edge_dial *d, struct stream **ret) __attribute__((warn_unused_result));
/* Gives up what is under way. Safe on a zeroed one. */
void edge_dial_done(struct edge_dial *d);
