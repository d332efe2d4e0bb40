/* Small writes do not wait for company: what a stream is given leaves with the turn, what comes is
 * there in the turn that it came in, and from then on the peer owes an acknowledgement. */
#include <time.h>

#include "world.h"

#define EVENTS      1000
#define EVENT_BYTES 200 /* more than acknowledgements and credit have, which may travel alone */

static uint64_t sent_by(const struct quic_conn *c)
{
    struct quic_stats stats;
    quic_conn_stats(c, &stats);
    return stats.bytes_sent;
}

static uint64_t received_by(const struct quic_conn *c)
{
    struct quic_stats stats;
    quic_conn_stats(c, &stats);
    return stats.bytes_received;
}

TEST(each_of_a_thousand_events_leaves_and_is_there_within_one_turn)
{
    static const uint8_t EVENT[EVENT_BYTES] = "data: event\n\n";
    struct world w;
    struct buf out, in;
    struct stream *near, *far = NULL;
    unsigned paced = 0;
    world_open(&w, "a.example", "a.example");
    world_connect(&w, state_);
    buf_init(&out, loop_chunks(w.loop), EVENT_BYTES);
    buf_init(&in, loop_chunks(w.loop), EVENT_BYTES);
    CHECK_OK(quic_conn_open(w.server, &w.task, &near));
    for (int i = 0; i < EVENTS; i++) {
        uint64_t sent = sent_by(w.server), received = received_by(w.client);
        CHECK_OK(buf_put(&out, slice_of(EVENT, sizeof EVENT)));
        CHECK_OK(stream_write(near, &out));
        loop_turn(w.loop, 0);
        paced += sent_by(w.server) < sent + EVENT_BYTES;
        /* The turn that receives it. The next event is written only then. */
        UNTIL(&w, received_by(w.client) >= received + EVENT_BYTES);
        if (far == NULL)
            CHECK_OK(quic_conn_accept(w.client, &w.task, &far));
        CHECK_OK(stream_read(far, &in, EVENT_BYTES));
        CHECK(buf_len(&in) == EVENT_BYTES);
        buf_drop(&in, EVENT_BYTES);
    }
    /* The pacer may hold one back when the machine was stopped amid a round trip, which it then
     * takes for a slow network; a delay that somebody meant would hold nearly all. */
    CHECK(paced < EVENTS / 20);
    buf_done(&out);
    buf_done(&in);
    stream_release(near);
    stream_release(far);
    world_close(&w);
}

static bool is_owed(const struct quic_conn *c)
{
    struct quic_stats stats;
    quic_conn_stats(c, &stats);
    return stats.unacked_since > 0;
}

TEST(a_lone_small_write_is_owed_an_acknowledgement_from_the_turn_that_sent_it)
{
    struct world w;
    struct buf out;
    struct stream *near;
    world_open(&w, "a.example", "a.example");
    world_connect(&w, state_);
    buf_init(&out, loop_chunks(w.loop), EVENT_BYTES);
    CHECK_OK(quic_conn_open(w.server, &w.task, &near));
    UNTIL(&w, !is_owed(w.server) && !is_owed(w.client));
    CHECK_OK(buf_put(&out, SLICE("alone")));
    CHECK_OK(stream_write(near, &out));
    uint64_t sent = sent_by(w.server);
    UNTIL(&w, is_owed(w.server) || sent_by(w.server) > sent);
    CHECK(is_owed(w.server));
    UNTIL(&w, !is_owed(w.server));
    buf_done(&out);
    stream_release(near);
    world_close(&w);
}

/* As after SIGSTOP, or on a machine that slept: the acknowledgement is in the socket, and the time
 * for it is over. */
TEST(who_stood_still_itself_reads_before_it_gives_the_peer_up)
{
    const struct wish hasty = { .client = { .give_up = 20 * NSEC_PER_MSEC } };
    const struct timespec stopped = { .tv_nsec = 400 * NSEC_PER_MSEC };
    struct world w;
    struct buf out;
    struct stream *near;
    world_open_with(&w, &hasty, "a.example", "a.example");
    world_connect(&w, state_);
    buf_init(&out, loop_chunks(w.loop), EVENT_BYTES);
    CHECK_OK(quic_conn_open(w.client, &w.task, &near));
    UNTIL(&w, !is_owed(w.server) && !is_owed(w.client));
    CHECK_OK(buf_put(&out, SLICE("asked")));
    CHECK_OK(stream_write(near, &out));
    UNTIL(&w, is_owed(w.client));
    CHECK(nanosleep(&stopped, NULL) == 0);
    UNTIL(&w, !is_owed(w.client) || quic_conn_state(w.client) != QUIC_OPEN);
    CHECK(quic_conn_state(w.client) == QUIC_OPEN);
    buf_done(&out);
    stream_release(near);
    world_close(&w);
}

TESTS(RUN(who_stood_still_itself_reads_before_it_gives_the_peer_up),
      RUN(a_lone_small_write_is_owed_an_acknowledgement_from_the_turn_that_sent_it),
      RUN(each_of_a_thousand_events_leaves_and_is_there_within_one_turn))
