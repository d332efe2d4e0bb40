#pragma once
/* The connector's local endpoints: /ready, /healthcheck, /metrics, /config, /quicktunnel
 * (docs/protocol.md §15). Loop thread. */
#include "base/fault.h"
#include "base/text.h"
#include "connector/connector.h"
#include "http/h1_server.h"
#include "net/tcp.h"

struct local_http {
    struct loop *loop;
    struct task task;
    struct tcp_listener *listener;
    struct h1_group clients;
    struct connector *connector; /* NULL until it is started */
    const char *hostname;        /* of a quick tunnel, or NULL */
    char id[UUID_TEXT_BYTES];
};

/* `address`: host:port; "localhost:0", the default, tries 20241 to 20245 first. */
int local_http_open(struct local_http *h, struct loop *loop, const char *address,
                    const char *hostname, const struct uuid *connector, struct fault *fault)
    __attribute__((warn_unused_result));
void local_http_close(struct local_http *h);
