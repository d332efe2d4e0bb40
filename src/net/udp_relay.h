#pragma once
/* Packets that one process reads for another, over a SEQPACKET pair of unix sockets: a head of
 * fixed form that says where the packet came from, then the packet as it was. What does not fit
 * into the socket's buffer is lost, as on a network. Any thread. */
#include "net/udp.h"

/* For each of the two addresses: family (4, 6), two bytes of port, 16 of the IP, four of the scope;
 * then the ECN bits. All in network order. */
#define UDP_RELAY_HEAD_BYTES (2 * (1 + 2 + 16 + 4) + 1)

struct udp_relayed {
    struct addr from, to;
    uint8_t ecn;
};

void udp_relay_write(const struct udp_packet *p, uint8_t to[static UDP_RELAY_HEAD_BYTES]);
/* ERR_PARSE: this is no head. */
int udp_relay_read(struct slice message, struct udp_relayed *ret)
    __attribute__((warn_unused_result));

/* Makes the pair: *ret_in is for the reader, *ret_out for whoever passes packets on. */
int udp_relay_open(int *ret_in, int *ret_out) __attribute__((warn_unused_result));
/* ERR_AGAIN: the reader is behind, and the packet is lost. */
int udp_relay_send(int out, const struct udp_packet *p) __attribute__((warn_unused_result));
