/* Which transports are dialled, when, and which of them is taken. */
#include "base/log.h"
#include "dialled.h"

static struct dialled *const QUIC = &by_kind[TRANSPORT_QUIC], *const H2 = &by_kind[TRANSPORT_H2];

struct track {
    struct loop *loop;
    struct task task;
    struct race race;
    struct metric_set *metrics;
    struct transport *winner;
};

static void track_open(struct track *k)
{
    *k = (struct track){ 0 };
    memset(by_kind, 0, sizeof by_kind);
    log_setup(LOG_OFF, LOG_LOGFMT, 2);
    assert_int_equal(loop_new(&k->loop), 0);
    task_init(&k->task, k->loop, do_nothing);
    k->metrics = serve_metrics_new();
    assert_non_null(k->metrics);
}

static void start(struct track *k, enum protocol protocol, bool h2_first)
{
    const struct transport_dial dial = { .loop = k->loop, .owner = &k->task };
    race_start(&k->race, &dial, protocol, h2_first, k->metrics);
}

static int run(struct track *k)
{
    return race_run(&k->race, &k->winner);
}

static int64_t quics(const struct track *k)
{
    return (int64_t)(atomic_load(&k->metrics->cells[SERVE_quic_opened]) -
                     atomic_load(&k->metrics->cells[SERVE_quic_closed]));
}

/* Whoever won is let go as the connection would. */
static void track_close(struct track *k, void **state_)
{
    race_done(&k->race);
    race_let_go(k->metrics, k->winner);
    CHECK(quics(k) == 0);
    for (unsigned kind = 0; kind < TRANSPORT_KINDS; kind++)
        CHECK(by_kind[kind].closed == (by_kind[kind].dial_err == 0 ? by_kind[kind].dialled : 0));
    free(k->metrics);
    task_done(&k->task);
    loop_turn(k->loop, 0);
    loop_free(k->loop);
}

/* Until the rival's moment has come, and a good while longer. */
static void wait_for_the_rival(struct track *k)
{
    nsec end = clock_monotonic() + NSEC_PER_SEC / 2;
    while (clock_monotonic() < end && H2->dialled == 0) {
        loop_turn(k->loop, 10);
        (void)run(k);
    }
}

TEST(quic_that_opens_is_taken_and_nothing_else_is_dialled)
{
    struct track k;
    track_open(&k);
    start(&k, PROTOCOL_AUTO, false);
    CHECK_ERR(ERR_AGAIN, run(&k));
    QUIC->state = TRANSPORT_OPEN;
    CHECK_OK(run(&k));
    CHECK(k.winner == &QUIC->base && H2->dialled == 0 && quics(&k) == 1);
    track_close(&k, state_);
}

TEST(http2_joins_when_quic_is_silent_and_whoever_opens_first_is_taken)
{
    for (int h2_wins = 0; h2_wins < 2; h2_wins++) {
        struct track k;
        track_open(&k);
        start(&k, PROTOCOL_AUTO, false);
        CHECK_ERR(ERR_AGAIN, run(&k));
        CHECK(H2->dialled == 0);
        UNTIL(k.loop, (run(&k), H2->dialled == 1));
        CHECK(QUIC->closed == 0); /* it may still come */
        (h2_wins ? H2 : QUIC)->state = TRANSPORT_OPEN;
        CHECK_OK(run(&k));
        CHECK(k.winner == &(h2_wins ? H2 : QUIC)->base);
        CHECK((h2_wins ? QUIC : H2)->closed == 1);
        track_close(&k, state_);
    }
}

TEST(http2_stays_away_while_quic_answers)
{
    struct track k;
    track_open(&k);
    start(&k, PROTOCOL_AUTO, false);
    QUIC->has_heard = true;
    wait_for_the_rival(&k);
    CHECK(H2->dialled == 0);
    track_close(&k, state_);
}

TEST(quic_that_fails_is_followed_by_http2_at_once)
{
    struct track k;
    track_open(&k);
    start(&k, PROTOCOL_AUTO, false);
    QUIC->state = TRANSPORT_CLOSED;
    CHECK_ERR(ERR_AGAIN, run(&k));
    CHECK(H2->dialled == 1 && QUIC->closed == 1);
    H2->state = TRANSPORT_OPEN;
    CHECK_OK(run(&k));
    CHECK(k.winner == &H2->base);
    track_close(&k, state_);
}

TEST(quic_that_cannot_even_be_dialled_is_followed_by_http2)
{
    struct track k;
    track_open(&k);
    QUIC->dial_err = ERR_IO;
    start(&k, PROTOCOL_AUTO, false);
    CHECK_ERR(ERR_AGAIN, run(&k));
    CHECK(H2->dialled == 1 && quics(&k) == 0);
    track_close(&k, state_);
}

TEST(after_a_disappointment_http2_is_dialled_alone_and_quic_when_it_fails)
{
    struct track k;
    track_open(&k);
    start(&k, PROTOCOL_AUTO, true);
    wait_for_the_rival(&k);
    CHECK(H2->dialled == 1 && QUIC->dialled == 0);
    H2->state = TRANSPORT_CLOSED;
    CHECK_ERR(ERR_AGAIN, run(&k));
    CHECK(QUIC->dialled == 1);
    track_close(&k, state_);
}

TEST(when_both_fail_both_reasons_are_told)
{
    struct track k;
    track_open(&k);
    start(&k, PROTOCOL_AUTO, false);
    QUIC->state = H2->state = TRANSPORT_CLOSED;
    int r = ERR_AGAIN;
    for (int i = 0; i < 3 && r == ERR_AGAIN; i++)
        r = run(&k);
    CHECK_ERR(ERR_TLS, r);
    CHECK(strstr(k.race.why, "quic: nobody there") != NULL);
    CHECK(strstr(k.race.why, "http2: no TLS") != NULL);
    track_close(&k, state_);
}

TEST(a_protocol_that_was_asked_for_is_the_only_one)
{
    static const enum protocol ASKED[] = { PROTOCOL_QUIC, PROTOCOL_H2 };
    for (int i = 0; i < 2; i++) {
        struct track k;
        track_open(&k);
        start(&k, ASKED[i], false);
        struct dialled *one = ASKED[i] == PROTOCOL_QUIC ? QUIC : H2;
        struct dialled *other = ASKED[i] == PROTOCOL_QUIC ? H2 : QUIC;
        wait_for_the_rival(&k);
        CHECK(one->dialled == 1);
        one->state = TRANSPORT_CLOSED;
        CHECK_ERR(ASKED[i] == PROTOCOL_QUIC ? ERR_TIMEOUT : ERR_TLS, run(&k));
        CHECK(other->dialled == 0 && one->closed == 1);
        track_close(&k, state_);
    }
}

TEST(a_race_that_is_called_off_lets_both_go)
{
    struct track k;
    struct race none = { 0 };
    track_open(&k);
    start(&k, PROTOCOL_AUTO, false);
    UNTIL(k.loop, (run(&k), H2->dialled == 1));
    race_done(&k.race);
    CHECK(QUIC->closed == 1 && H2->closed == 1);
    none.metrics = k.metrics;
    race_done(&none);
    track_close(&k, state_);
}

TESTS(RUN(quic_that_opens_is_taken_and_nothing_else_is_dialled),
      RUN(http2_joins_when_quic_is_silent_and_whoever_opens_first_is_taken),
      RUN(http2_stays_away_while_quic_answers), RUN(quic_that_fails_is_followed_by_http2_at_once),
      RUN(quic_that_cannot_even_be_dialled_is_followed_by_http2),
      RUN(after_a_disappointment_http2_is_dialled_alone_and_quic_when_it_fails),
      RUN(when_both_fail_both_reasons_are_told), RUN(a_protocol_that_was_asked_for_is_the_only_one),
      RUN(a_race_that_is_called_off_lets_both_go))
