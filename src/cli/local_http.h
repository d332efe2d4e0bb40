#pragma once
/* The connector's local endpoints: /ready, /healthcheck, /metrics, /config, /quicktunnel, /diag/…
 * (docs/protocol.md §15). Loop thread. */
#include "cli/cli.h"
#include "connector/connector.h"
#include "http/h1_server.h"
#include "net/tcp.h"

struct local_http {
    struct loop *loop;
    struct task task;
    struct tcp_listener *listener;
    struct h1_group clients;
    struct cli *cli;
    const struct connectors *connectors; /* none until they are started; borrowed */
    const char *hostname;                /* of a quick tunnel, or NULL */
    char id[UUID_TEXT_BYTES];
};

/* At --metrics: host:port; "localhost:0", the default, tries 20241 to 20245 first. */
int local_http_open(struct local_http *h, struct loop *loop, struct cli *cli, const char *hostname,
                    const struct connectors *connectors, const struct uuid *connector)
    __attribute__((warn_unused_result));
void local_http_close(struct local_http *h);

/* diag.c: the answers of /diag/configuration, /diag/tunnel and /diag/system. */
void diag_configuration(struct cli *c, struct strb *to);
void diag_tunnel(const struct local_http *h, struct strb *to);
void diag_system(struct strb *to);
