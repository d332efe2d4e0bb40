/* The edge's end of a connector's connection over HTTP/2, with the connector's end, or the bytes of
 * one, at the other side of a stream in memory. */
#include "base/limits.h"
#include "edge/carrier.h"
#include "net/pipe.h"
#include "net/turn.h"
#include "tunnel/h2_words.h"

#define WINDOW (1 << 20)

struct world {
    struct loop *loop;
    struct task task;
    struct carrier carrier;
    struct h2_conn *connector;
    struct h2_stream *asked; /* the control stream at the connector */
    struct stream *raw;      /* instead of a connector */
    struct stream *control;
};

static void turns(struct world *w, int count)
{
    for (int i = 0; i < count; i++)
        loop_turn(w->loop, 0);
}

static void world_open(struct world *w, bool is_raw)
{
    const struct h2_conf conf = { .is_server = true, .head_bytes = TUNNEL_H2_HEAD_BYTES_MAX };
    struct stream *near, *far;
    struct addr peer;
    *w = (struct world){ 0 };
    assert_int_equal(loop_new(&w->loop), 0);
    task_init(&w->task, w->loop, do_nothing);
    assert_int_equal(addr_parse(SLICE("192.0.2.9:5"), &peer), 0);
    assert_int_equal(pipe_new(w->loop, WINDOW, &near, &far), 0);
    assert_int_equal(carrier_init_h2(&w->carrier, w->loop, near, &peer, &w->task), 0);
    if (is_raw)
        w->raw = far;
    else
        assert_int_equal(h2_open(w->loop, &conf, far, &w->task, &w->connector), 0);
    turns(w, 8);
}

static void world_close(struct world *w)
{
    stream_release(w->control);
    carrier_done(&w->carrier);
    carrier_done(&w->carrier); /* safe on a zeroed one */
    if (w->asked != NULL)
        stream_release(h2_stream_body(w->asked));
    h2_conn_abort(w->connector);
    stream_release(w->raw);
    turns(w, 20);
    task_done(&w->task);
    loop_free(w->loop);
}

static int control(struct world *w)
{
    return carrier_control(&w->carrier, &w->task, &w->control);
}

static void answer(struct world *w, unsigned status)
{
    const struct h2_send_head head = { .status = status };
    assert_int_equal(h2_stream_respond(w->asked, &head, false), 0);
    turns(w, 8);
}

TEST(the_control_stream_is_asked_for_at_once_and_had_when_it_is_agreed_to)
{
    struct world w;
    const struct h2_head *head;
    world_open(&w, false);
    CHECK_OK(h2_conn_accept(w.connector, &w.task, &w.asked));
    CHECK_OK(h2_stream_head(w.asked, &head));
    CHECK(h2_kind_of(head) == H2_CONTROL && !head->ends);
    CHECK_ERR(ERR_AGAIN, control(&w));
    answer(&w, 200);
    CHECK_OK(control(&w));
    CHECK(w.control != NULL);
    CHECK_ERR(ERR_AGAIN, control(&w)); /* once */
    CHECK(strcmp(carrier_name(&w.carrier), "http2") == 0 && !carrier_is_closed(&w.carrier));
    world_close(&w);
}

TEST(a_control_stream_that_is_refused_is_a_breach)
{
    struct world w;
    world_open(&w, false);
    CHECK_OK(h2_conn_accept(w.connector, &w.task, &w.asked));
    answer(&w, 404);
    CHECK_ERR(ERR_PROTO, control(&w));
    CHECK(w.control == NULL);
    world_close(&w);
    world_open(&w, false);
    CHECK_OK(h2_conn_accept(w.connector, &w.task, &w.asked));
    h2_stream_reset(w.asked, H2_CANCEL);
    turns(&w, 8);
    CHECK_ERR(ERR_RESET, control(&w));
    world_close(&w);
}

TEST(a_connector_that_hangs_up_was_cut_off_and_at_no_fault)
{
    struct world w;
    world_open(&w, true);
    CHECK(!carrier_is_closed(&w.carrier));
    stream_finish(w.raw);
    UNTIL(w.loop, carrier_is_closed(&w.carrier));
    CHECK(w.carrier.why[0] != 0 && w.carrier.err == ERR_CUT);
    world_close(&w);
}

TEST(a_connector_that_breaks_the_protocol_is_known_by_its_error)
{
    static const char noise[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    struct world w;
    struct buf b;
    world_open(&w, true);
    buf_init(&b, loop_chunks(w.loop), 100);
    CHECK_OK(buf_put(&b, slice_of(noise, sizeof noise - 1)));
    CHECK_OK(stream_write(w.raw, &b));
    buf_done(&b);
    UNTIL(w.loop, carrier_is_closed(&w.carrier));
    CHECK_ERR(ERR_PROTO, w.carrier.err);
    CHECK(w.carrier.why[0] != 0);
    world_close(&w);
}

TEST(an_idle_connector_owes_nothing_and_is_not_suspect)
{
    struct world w;
    world_open(&w, false);
    CHECK_OK(h2_conn_accept(w.connector, &w.task, &w.asked));
    answer(&w, 200);
    struct carrier_health h = carrier_health(&w.carrier, loop_now_fresh(w.loop));
    CHECK(!h.is_owed && h.silent_for == 0 && h.written > 0);
    CHECK(h.patience >= 200 * NSEC_PER_MSEC && h.give_up >= NSEC_PER_SEC);
    world_close(&w);
}

/* The connector's end lives on the same loop and would answer: this one is a stream that is read by
 * nobody. */
TEST(a_connector_that_says_nothing_is_asked_and_its_silence_is_counted_from_then)
{
    struct world w;
    world_open(&w, true);
    nsec now = loop_now_fresh(w.loop);
    struct carrier_health h = carrier_health(&w.carrier, now);
    CHECK(h.is_owed && h.silent_for == 0); /* it was asked for the control stream just now */
    h = carrier_health(&w.carrier, now + NSEC_PER_SEC);
    turns(&w, 4); /* a PING is on its way */
    now = loop_now_fresh(w.loop);
    h = carrier_health(&w.carrier, now + NSEC_PER_SEC);
    CHECK(h.silent_for >= NSEC_PER_SEC && h.silent_for < 2 * NSEC_PER_SEC);
    CHECK(h.silent_for > h.patience && h.silent_for < h.give_up);
    world_close(&w);
}

TEST(a_sign_of_life_ends_the_silence_and_tells_the_round_trip)
{
    struct world w;
    world_open(&w, false);
    CHECK_OK(h2_conn_accept(w.connector, &w.task, &w.asked));
    CHECK(carrier_rtt(&w.carrier) == 0);
    carrier_probe(&w.carrier);
    UNTIL(w.loop, carrier_rtt(&w.carrier) > 0);
    struct carrier_health h = carrier_health(&w.carrier, loop_now_fresh(w.loop) + NSEC_PER_SEC);
    CHECK(h.silent_for == 0);
    world_close(&w);
}

TESTS(RUN(the_control_stream_is_asked_for_at_once_and_had_when_it_is_agreed_to),
      RUN(a_control_stream_that_is_refused_is_a_breach),
      RUN(a_connector_that_hangs_up_was_cut_off_and_at_no_fault),
      RUN(a_connector_that_breaks_the_protocol_is_known_by_its_error),
      RUN(an_idle_connector_owes_nothing_and_is_not_suspect),
      RUN(a_connector_that_says_nothing_is_asked_and_its_silence_is_counted_from_then),
      RUN(a_sign_of_life_ends_the_silence_and_tells_the_round_trip))
