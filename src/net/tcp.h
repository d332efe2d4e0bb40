#pragma once
/* TCP and unix sockets as streams, and listeners for both. Loop thread only. */
#include "net/addr.h"
#include "net/stream.h"

struct tcp_listener;

struct tcp_listen_opts {
    int backlog;     /* 0 = SOMAXCONN */
    bool reuse_port; /* one socket for each worker on one address (SO_REUSEPORT) */
    int fd; /* ≥ 0: an already bound and listening descriptor is taken over instead of `addr` */
};

/* Binds, listens; *ret_addr is the address in use (port 0 resolved). The owner is woken when
 * tcp_accept has something. ERR_BUSY when the port is taken, ERR_DENIED when it may not be bound. A
 * unix address replaces a dead socket file. */
int tcp_listen(struct loop *loop, const struct addr *addr, const struct tcp_listen_opts *opts,
               struct task *owner, struct tcp_listener **ret, struct addr *ret_addr)
    __attribute__((warn_unused_result));
/* Next connection: 0; ERR_AGAIN; ERR_LIMIT when descriptors or memory have run out (the listener
 * then pauses for 100 ms by itself and wakes its owner again). TCP_NODELAY is set. */
int tcp_accept(struct tcp_listener *l, struct task *stream_owner, struct stream **ret,
               struct addr *ret_peer) __attribute__((warn_unused_result));
int tcp_listener_fd(const struct tcp_listener *l); /* borrowed */
/* Stops accepting; connections that were accepted live on. NULL is accepted. */
void tcp_listener_close(struct tcp_listener *l);

struct tcp_dial_opts {
    nsec keepalive;          /* idle time before probes; 0 = off */
    const struct addr *bind; /* local address, or NULL */
};

/* Starts to connect. The stream exists at once: reads and writes give ERR_AGAIN until it is
 * connected, then the owner is woken; a failure shows as the error of read and write. The caller
 * sets a deadline of its own. */
int tcp_dial(struct loop *loop, const struct addr *to, const struct tcp_dial_opts *opts,
             struct task *owner, struct stream **ret) __attribute__((warn_unused_result));

/* Whether the handshake is over (also after a failure, which read then tells). */
bool tcp_is_connected(const struct stream *s);
void tcp_local_addr(const struct stream *s, struct addr *ret);
/* For a stream of this file only: whether unread bytes or an end are waiting, without reading them.
 * A pooled connection to an origin that is readable is stale. */
bool tcp_is_quiet(struct stream *s);
/* Wraps a connected descriptor (socketpair in tests, sockets that were handed over). Takes it over
 * on success. */
int tcp_from_fd(struct loop *loop, int fd, struct task *owner, struct stream **ret)
    __attribute__((warn_unused_result));
