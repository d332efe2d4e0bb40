#include "mux/quic_rate.h"

/* Two programs that share a core are away from each other for about that long. */
#define SCHEDULER_NSEC  NSEC_PER_MSEC
#define SPAN_NSEC       (2 * NSEC_PER_MSEC) /* the least that is measured */
#define OTHER_PATH_NSEC (10 * NSEC_PER_MSEC)
/* Twice for slow start, which doubles in a round trip, and twice because the span that was measured
 * is one round trip old by then. */
#define ROUND_TRIPS 4
/* A span that took this many times its length had a pause in it and says nothing of the path. */
#define SPAN_SLACK 8
/* Two epochs are remembered: a path that became longer is believed after as many seconds. */
#define EPOCH_NSEC NSEC_PER_SEC

static nsec least(nsec a, nsec b)
{
    if (a == 0 || b == 0)
        return a + b;
    return a < b ? a : b;
}

static void take_rtt(struct quic_rate *r, nsec now, nsec rtt, nsec rtt_min)
{
    if (r->epoch == 0 || now - r->epoch >= EPOCH_NSEC) {
        r->rtt_least[1] = r->rtt_least[0];
        r->rtt_least[0] = 0;
        r->epoch = now;
    }
    r->rtt_least[0] = least(r->rtt_least[0], rtt);
    r->rtt = least(r->rtt_least[0], r->rtt_least[1]);
    /* A few milliseconds more than ever before are a queue or a busy machine, not another path. */
    if (r->rtt < OTHER_PATH_NSEC && r->rtt > rtt_min + SCHEDULER_NSEC)
        r->rtt = rtt_min + SCHEDULER_NSEC;
}

void quic_rate_acked(struct quic_rate *r, uint64_t n, nsec now, nsec rtt, nsec rtt_min)
{
    take_rtt(r, now, rtt, rtt_min);
    nsec span = r->rtt > SPAN_NSEC ? r->rtt : SPAN_NSEC;
    nsec took = now - r->began;
    if (r->began == 0 || took > SPAN_SLACK * span) {
        r->began = now;
        r->acked = 0;
        return;
    }
    r->acked += n;
    if (took < span)
        return;
    uint64_t rate = r->acked * (NSEC_PER_SEC / NSEC_PER_USEC) / (took / NSEC_PER_USEC);
    /* Up at once, down by a quarter: a span may fall between two of the far side's turns. */
    r->bytes_a_second =
        rate >= r->bytes_a_second ? rate : r->bytes_a_second - (r->bytes_a_second - rate) / 4;
    r->began = now;
    r->acked = 0;
}

uint64_t quic_rate_room(const struct quic_rate *r, uint64_t cwnd)
{
    if (r->bytes_a_second == 0)
        return 2 * cwnd;
    uint64_t usec = (ROUND_TRIPS * r->rtt + SCHEDULER_NSEC) / NSEC_PER_USEC;
    uint64_t room = r->bytes_a_second / 1000 * usec / 1000;
    return room < 2 * cwnd ? room : 2 * cwnd;
}
