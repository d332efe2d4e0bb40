#pragma once
/* A UDP socket for QUIC: batched receive (recvmmsg with GRO), segmented send (GSO), ICMP errors by
 * IP_RECVERR, ECN bits. Loop thread only. The kernel's offloads are found out at run time; without
 * them it falls back to one datagram a call. */
#include "net/addr.h"
#include "net/loop.h"

struct udp;

#define UDP_PAYLOAD_MAX      65536
#define UDP_GSO_SEGMENTS_MAX 64

struct udp_opts {
    bool reuse_port;
    int fd;         /* ≥ 0: a bound descriptor is taken over */
    bool is_paused; /* reads nothing before udp_begin */
    size_t
        buffer_bytes; /* wish for SO_RCVBUF and SO_SNDBUF (RCVBUFFORCE is tried); 0 = the default */
};

/* One received datagram: a view, valid until the next udp_receive of any socket of the loop. */
struct udp_packet {
    struct slice data;
    const struct addr *from;
    const struct addr *to; /* our side (IP_PKTINFO), with the socket's port */
    uint8_t ecn;
};

int udp_open(struct loop *loop, const struct addr *bind, const struct udp_opts *opts,
             struct task *owner, struct udp **ret, struct addr *ret_addr)
    __attribute__((warn_unused_result));
void udp_begin(struct udp *u);
/* From now on another process reads the socket, by which this one only sends: packets for us come
 * over `in` (net/udp_relay.h), which is taken over on success. When that process is gone, this one
 * reads again. */
int udp_hand_over(struct udp *u, int in) __attribute__((warn_unused_result));
/* Borrowed, for another process. */
int udp_fd(const struct udp *u);
/* Fills up to max packets from the kernel's queue (GRO batches are split). 0 with *ret_count ≥ 1,
 * or ERR_AGAIN. */
int udp_receive(struct udp *u, struct udp_packet *packets, size_t max, size_t *ret_count)
    __attribute__((warn_unused_result));
/* Whether some of what came from the kernel was not handed out yet. All sockets of a loop receive
 * into the same memory: the owner goes on until there is none before its task returns. */
bool udp_has_more(const struct udp *u);
/* Sends `data` as datagrams of `segment` bytes (the last may be shorter; data.n ≤ segment ×
 * UDP_GSO_SEGMENTS_MAX) to `to`, from `from` when it is not NULL. 0; ERR_AGAIN (the owner is woken
 * when there is room); ERR_TOOLARGE (EMSGSIZE); others. *ret_sent, always set, is how many bytes
 * went out. */
int udp_send(struct udp *u, const struct addr *from, const struct addr *to, uint8_t ecn,
             struct slice data, size_t segment, size_t *ret_sent);
/* An address that answered "port unreachable" or the like since the last call: 0, or ERR_AGAIN when
 * there is none. */
int udp_take_error(struct udp *u, struct addr *ret_to, int *ret_errno);
/* Datagrams dropped by the kernel for want of room (SO_RXQ_OVFL), so far. */
uint64_t udp_dropped(const struct udp *u);
void udp_local_addr(const struct udp *u, struct addr *ret);
/* The address that the kernel would send from to `to`; nothing is sent. Any thread. */
int udp_source_addr(const struct addr *to, struct addr *ret) __attribute__((warn_unused_result));
void udp_close(struct udp *u); /* NULL is accepted */
