#pragma once
/* How much a connection should have queued: enough that the path never runs dry, and no more, since
 * what is queued is memory. The congestion window alone would allow far too much where the round
 * trip is made of the queue itself (loopback, a crowded first hop): there the window grows with
 * what is in it. So what was acknowledged lately is held against the least round trip of late.
 * Pure; times in nanoseconds. */
#include "base/clock.h"

struct quic_rate {
    nsec began; /* of the span that is being measured; 0 = none */
    uint64_t acked;
    uint64_t bytes_a_second; /* 0 = not known yet */
    nsec rtt_least[2];       /* of this epoch and of the one before; 0 = none */
    nsec epoch;
    nsec rtt; /* what is taken for the path's own */
};

/* n bytes were acknowledged; `rtt` is the latest sample, `rtt_min` the least one ever. */
void quic_rate_acked(struct quic_rate *r, uint64_t n, nsec now, nsec rtt, nsec rtt_min);
/* Bytes that may be queued, sent or not: never more than twice the window. */
uint64_t quic_rate_room(const struct quic_rate *r, uint64_t cwnd);
