#pragma once
/* Sockets that whoever started the program has bound already (systemd's socket activation:
 * LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES). They stay open while one edge ends and the next begins,
 * so that visitors and connectors wait for it in the kernel's queues and are not refused. One
 * thread. */
#include "base/fault.h"
#include "edge/edge.h"

enum edge_socket { SOCKET_TUNNEL_UDP, SOCKET_TUNNEL, SOCKET_HTTP, SOCKET_HTTPS, SOCKET_LOCAL };
#define EDGE_SOCKETS 5

struct edge_sockets {
    int fds[EDGE_SOCKETS]; /* -1 = none */
    struct addr addrs[EDGE_SOCKETS];
};

/* Takes what is meant for this process, by the names tunnel (of both kinds), http, https and local;
 * the variables are removed. ERR_INVALID: something else is among them. */
int edge_sockets_take(struct edge_sockets *ret, struct fault *fault)
    __attribute__((warn_unused_result));
bool edge_sockets_are_any(const struct edge_sockets *s);
static inline bool edge_sockets_has(const struct edge_sockets *s, enum edge_socket which)
{
    return s->fds[which] >= 0;
}
/* The copies that this process still holds; those that serve are others. */
void edge_sockets_close(struct edge_sockets *s);
