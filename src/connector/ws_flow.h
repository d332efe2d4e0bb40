#pragma once
/* The right side of an exchange whose service is a stream of bytes over TCP (docs/protocol.md §12):
 * the connector is the websocket's server. Binary messages are bytes for the origin, in whatever
 * messages and fragments they come; what the origin sends goes out in binary messages. Held are at
 * most WS_UP_BYTES_MAX, one message of the origin, and the exchange's bodies. Loop thread. */
#include "connector/origin.h"
#include "connector/serve.h"

#define WS_MESSAGE_BYTES_MAX (16 * 1024) /* what the reference's senders keep to as well */
#define WS_UP_BYTES_MAX      (64 * 1024)
#define WS_PING_NSEC         (54 * NSEC_PER_SEC)

enum ws_kind {
    WS_DIRECT,       /* the target's bytes */
    WS_SOCKS_FIXED,  /* a SOCKS dialogue that leads to the target, whatever it asks for */
    WS_SOCKS_POLICY, /* a SOCKS dialogue that leads where the rules of `ip_rules` allow */
};

struct ws_flow_opts {
    enum ws_kind kind;
    struct ingress *rules;       /* what the other views belong to; held while it lives */
    struct origin_target target; /* its host is of the exchange's arena or of the ingress */
    struct upstreams *upstreams; /* of the ingress: in the place of target's host; or NULL */
    const struct yaml_node *ip_rules;
    nsec ping_every;
};

/* Attaches it, or fails the exchange. */
void ws_flow_attach(struct serve *s, struct exchange *ex, const struct ws_flow_opts *opts);
